package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/coordinator"
)

// pipes is a listener of connections in memory, which live in a bubble's virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// inBubble runs a server in virtual time; dial connects to it.
func inBubble(t *testing.T, f Node, test func(t *testing.T, s *Server, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(DefaultConfig(), f, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		s.Open(p)
		test(t, s, func() net.Conn {
			client, server := net.Pipe()
			p.conns <- server
			return client
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestSlowBodies sends large bodies at two paces. Time is virtual.
func TestSlowBodies(t *testing.T) {
	for _, r := range []struct {
		name   string
		pause  time.Duration // before each of four steps
		status int
	}{{"kept", stepTime - time.Second, 204}, {"lost", stepTime + time.Second, 408}} {
		t.Run(r.name, func(t *testing.T) {
			inBubble(t, newFakeNode(), func(t *testing.T, s *Server, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				go func() {
					fmt.Fprintf(conn, "PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 4*bodyStep)
					for range 4 {
						pauseOf(t, r.pause)
						if _, err := conn.Write(make([]byte, bodyStep)); err != nil {
							return // the server has hung up
						}
					}
				}()
				b := &bench{TB: t}
				a := b.want(b.readAnswer(conn), r.status)
				if r.status == 408 {
					b.problem(a, "request-timeout", "not_written")
				}
				if used := s.bodies.used.Load(); used != 0 && r.status == 408 {
					t.Errorf("%d bytes are still held", used)
				}
			})
		})
	}
}

// pauseOf lets virtual time pass.
func pauseOf(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// TestSilentClients opens connections that say too little, and sees each of them ended. Time is virtual.
func TestSilentClients(t *testing.T) {
	for name, opening := range map[string]string{
		"nothing":     "",
		"half header": "PUT /kv/b/k HTTP/1.1\r\nHost:",
		"small body":  "PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345",
		"large body":  "PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n12345",
		"chunked":     "PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, newFakeNode(), func(t *testing.T, _ *Server, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				start := time.Now()
				go func() { _, _ = io.WriteString(conn, opening) }()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > wholeTime+stepTime {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestLongRequestsAreNotCutOff waits in a handler for as long as a request may take. Time is virtual.
func TestLongRequestsAreNotCutOff(t *testing.T) {
	for name, body := range map[string]string{"no body": "", "small body": "v", "large body": strings.Repeat("v", bodyStep+1)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, &slowNode{newFakeNode()}, func(t *testing.T, _ *Server, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				method := "PUT"
				if body == "" {
					method = "GET"
				}
				go fmt.Fprintf(conn, "%s /kv/b/k?timeout=60s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body)
				b := &bench{TB: t}
				if a := b.readAnswer(conn); a.StatusCode >= 500 {
					t.Errorf("%d: %s", a.StatusCode, a.body)
				}
			})
		})
	}
}

// slowNode takes almost a minute for every request, and fails it if the client seems to have gone.
type slowNode struct{ *fakeNode }

func (n *slowNode) wait(ctx context.Context) error {
	almost := time.NewTimer(59 * time.Second)
	defer almost.Stop()
	select {
	case <-almost.C:
		return nil
	case <-ctx.Done():
		return &coordinator.Error{Code: coordinator.QuorumTimeout, Detail: ctx.Err().Error()}
	}
}

func (n *slowNode) Get(ctx context.Context, req coordinator.GetRequest) (coordinator.GetResult, error) {
	if err := n.wait(ctx); err != nil {
		return coordinator.GetResult{}, err
	}
	return n.fakeNode.Get(ctx, req)
}

func (n *slowNode) Put(ctx context.Context, req coordinator.PutRequest) (coordinator.PutResult, error) {
	if err := n.wait(ctx); err != nil {
		return coordinator.PutResult{}, err
	}
	return n.fakeNode.Put(ctx, req)
}

// TestSlowReaders takes a large value too slowly.
func TestSlowReaders(t *testing.T) {
	f := newFakeNode()
	if _, err := f.Put(t.Context(), coordinator.PutRequest{Bucket: "b", Key: "k", Value: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	inBubble(t, f, func(t *testing.T, s *Server, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		fmt.Fprint(conn, "GET /kv/b/k HTTP/1.1\r\nHost: h\r\n\r\n")
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
		pauseOf(t, stepTime+time.Second)
		if n, _ := io.Copy(io.Discard, r); n >= 1<<20 {
			t.Errorf("all %d bytes came", n)
		}
		synctest.Wait()
		if used := s.bodies.used.Load(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
	})
}
