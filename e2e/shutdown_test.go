package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// begun starts a PUT and returns once the node has taken its header, by its 100 Continue.
func begun(t *testing.T, n *node, path string, length int) (io.Writer, *bufio.Reader) {
	t.Helper()
	conn := dial(t, n.http, 2*time.Minute)
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, length)
	reader := bufio.NewReader(conn)
	if line, err := reader.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := reader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return conn, reader
}

// TestDrain asks a node to end while a request is under way: the request is finished, no other is begun, and
// the exit status is 0. The node does not give up its place.
func TestDrain(t *testing.T) {
	c := newCluster(t, 3)
	n, path := c.nodes[0], fresh("drain")
	body, answer := begun(t, n, path+"?w=3", 8)
	if _, err := io.WriteString(body, "half"); err != nil {
		t.Fatal(err)
	}
	n.proc.signal(syscall.SIGTERM)
	eventually(t, soon, "new requests are refused", func() error { return refuses(n) })
	if !n.running() {
		t.Fatal("it ended with a request under way")
	}
	if _, err := io.WriteString(body, "half"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Errorf("the request under way: status %d", response.StatusCode)
	}
	if code := n.proc.exit(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	c.nodes[1].get(t, path).wantsValue(t, "halfhalf")
	v, err := c.nodes[1].view()
	if err != nil {
		t.Fatal(err)
	}
	if m := v.member(n.name); m.Status != "member" {
		t.Errorf("after SIGTERM it is %q", m.Status)
	}
	n.restart(t)
	n.get(t, path+"?local=true").wantsValue(t, "halfhalf")
	c.waitSettled(t)
}

// refuses returns nil if the node takes no new write: by 503 `draining`, or by not listening any more.
func refuses(n *node) error {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	n.client.forget() // a connection that was open before may be served to its end
	a, err := n.send(ctx, http.MethodPut, fresh("drain"), []byte("v"))
	if err != nil {
		return nil
	}
	if a.status != http.StatusServiceUnavailable {
		return fmt.Errorf("status %d", a.status)
	}
	p, err := a.problem()
	if err != nil {
		return err
	}
	if p.Type != "urn:quorate:draining" || p.Outcome != "not_written" || a.header.Get("Retry-After") == "" {
		return fmt.Errorf("%v %s", a.header, a.body)
	}
	return nil
}

// TestSecondSignal does not wait for a request that never ends: the second SIGTERM ends the node at once.
func TestSecondSignal(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	begun(t, n, fresh("drain"), 8)
	n.proc.signal(syscall.SIGTERM)
	eventually(t, soon, "new requests are refused", func() error { return refuses(n) })
	n.proc.signal(syscall.SIGTERM)
	n.proc.exit(t)
	n.restart(t)
	serves(t, n)
}

// TestInterrupt ends an idle node by SIGINT as by SIGTERM.
func TestInterrupt(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	n.proc.signal(syscall.SIGINT)
	if code := n.proc.exit(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
