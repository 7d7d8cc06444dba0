package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// dial opens a raw connection that gives up by itself.
func dial(t testing.TB, address string, limit time.Duration) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, soon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// raw sends bytes as they are, ends its side, and returns the status of the answer, 0 if there is none.
func raw(t testing.TB, n *node, request string) int {
	t.Helper()
	conn := dial(t, n.http, soon)
	// A server that has seen enough may close before it has read everything.
	_, _ = io.WriteString(conn, request)
	_ = conn.(*net.TCPConn).CloseWrite()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	// What follows the status is not looked at.
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// serves fails unless the node still does all of its work.
func serves(t testing.TB, n *node) {
	t.Helper()
	path := fresh("hostile")
	n.put(t, path+"?w=all", "v").wants(t, http.StatusNoContent)
	n.get(t, path+"?r=all").wantsValue(t, "v")
}

// TestMalformedRequests sends what no HTTP library would. The answers are client errors or a closed
// connection, and nothing is stored.
func TestMalformedRequests(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("hostile")
		put := "PUT " + path + " HTTP/1.1\r\nHost: x\r\n"
		rows := map[string]string{
			"no request":            "\x00\x01\x02\x03 nonsense\r\n\r\n",
			"tls":                   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\xa5", 500),
			"http/2 preface":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"bad escape":            "GET /kv/hostile/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
			"cut escape":            "GET /kv/hostile/abc% HTTP/1.1\r\nHost: x\r\n\r\n",
			"half escape":           "PUT /kv/hostile/abc%4 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv",
			"bad escape in query":   "GET /kv/hostile/k?n=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
			"control in the path":   "GET /kv/hostile/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n",
			"no host":               "GET " + path + " HTTP/1.1\r\n\r\n",
			"two lengths":           put + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nvv",
			"negative length":       put + "Content-Length: -1\r\n\r\nv",
			"bad chunk":             put + "Transfer-Encoding: chunked\r\n\r\nzz\r\nv\r\n0\r\n\r\n",
			"huge chunk":            put + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nv",
			"cut body":              put + "Content-Length: 1000\r\n\r\nonly this",
			"cut chunks":            put + "Transfer-Encoding: chunked\r\n\r\n5\r\nonly \r\n5\r\nth",
			"no end of chunks":      put + "Transfer-Encoding: chunked\r\n\r\n5\r\nonly \r\n",
			"unknown coding":        put + "Transfer-Encoding: gzip\r\n\r\nvvvv",
			"huge announced length": put + "Content-Length: 999999999999999\r\n\r\nv",
			"bad header":            put + "no colon here\r\nContent-Length: 1\r\n\r\nv",
			"huge header":           put + "X-Huge: " + strings.Repeat("h", 4<<20) + "\r\nContent-Length: 1\r\n\r\nv",
			"many headers":          put + strings.Repeat("X-Many: m\r\n", 400_000) + "Content-Length: 1\r\n\r\nv",
			"huge path":             "GET /kv/hostile/" + strings.Repeat("p", 4<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		}
		for name, request := range rows {
			if status := raw(t, n, request); status != 0 && (status < 400 || status > 499) && status != http.StatusNotImplemented {
				t.Errorf("%s: status %d", name, status)
			}
		}
		n.get(t, path).wants(t, http.StatusNotFound)
		serves(t, n)
	})
}

// TestGarbageToNodes sends noise to the ports that nodes talk to each other on: from random bytes to the
// beginnings of honest-looking messages. The seed is fixed, so a failure can be repeated.
func TestGarbageToNodes(t *testing.T) {
	c := sharedCluster(t)
	chance := rand.New(rand.NewPCG(2, 2026))
	noise := func(size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(chance.Uint32())
		}
		return b
	}
	c.each(t, func(t *testing.T, n *node) {
		for round := range 40 {
			size := []int{0, 1, 7, 64, 1000, 70_000}[round%6]
			for _, address := range []string{n.rpc, n.gossip} {
				conn := dial(t, address, soon)
				// The node may hang up at any byte; that is its right.
				_, _ = conn.Write(noise(size))
				conn.Close()
			}
			message := noise(min(size, 1400))
			if len(message) > 0 {
				message[0] = byte(round) // the types of gossip messages are small numbers
			}
			sendUDP(t, n.gossip, message)
		}
		for _, head := range []string{
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("\x00", 4096),
			"\x7f\xff\xff\xff" + strings.Repeat("\x01", 64), "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
		} {
			for _, address := range []string{n.rpc, n.gossip} {
				conn := dial(t, address, soon)
				_, _ = io.WriteString(conn, head)
				conn.Close()
			}
			sendUDP(t, n.gossip, []byte(head))
		}
		serves(t, n)
	})
	c.waitSettled(t)
}

func sendUDP(t testing.TB, address string, message []byte) {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A datagram may get lost anywhere, in the sending kernel too.
	_, _ = conn.Write(message)
}

// TestIdleConnections opens many connections to each port that never say anything, and works beside them.
func TestIdleConnections(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		for range 200 {
			for _, address := range []string{n.http, n.rpc, n.gossip} {
				dial(t, address, 2*time.Minute)
			}
		}
		serves(t, n)
	})
	c.waitSettled(t)
}

// TestSlowClients starts requests and never ends them. The node bears it, and hangs up in the end: a slow
// client is bounded.
func TestSlowClients(t *testing.T) {
	slow(t)
	t.Parallel()
	c := sharedCluster(t)
	rows := map[string]string{
		"in the header":  "X-Slow: ",
		"in the body":    "Content-Length: 1000000\r\n\r\nsome",
		"between chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
	}
	for name, rest := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, path := c.nodes[0], fresh("hostile")
			conn := dial(t, n.http, 3*time.Minute)
			if _, err := io.WriteString(conn, "PUT "+path+" HTTP/1.1\r\nHost: x\r\n"+rest); err != nil {
				t.Fatal(err)
			}
			serves(t, n)
			_, err := io.Copy(io.Discard, conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("still connected after three minutes")
			}
			n.get(t, path).wants(t, http.StatusNotFound)
		})
	}
}

// TestPipelining sends several requests at once on one connection and reads the answers in their order.
func TestPipelining(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("hostile")
		conn := dial(t, n.http, soon)
		var requests bytes.Buffer
		fmt.Fprintf(&requests, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst", path)
		fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		fmt.Fprintf(&requests, "GET %s HTTP/1.0\r\n\r\n", path)
		if _, err := requests.WriteTo(conn); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		for _, status := range []int{http.StatusNoContent, http.StatusOK, http.StatusOK} {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != status {
				t.Fatalf("status %d, want %d", response.StatusCode, status)
			}
		}
	})
}
