package http

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/coordinator"
)

// Bounds of the answers to connections that are refused.
const (
	maxFarewells = 64          // at once; beyond it a connection is closed without a word
	farewellTime = time.Second // for the client to send what it is about to, so that closing does not reset the answer away
	farewellRead = 64 << 10
)

// conns is a listener that hands out at most max connections at once. One more is told 503 and closed, so that its client learns why instead of
// waiting.
type conns struct {
	net.Listener
	max       int64
	open      atomic.Int64
	farewells atomic.Int64
	farewell  []byte
}

func newConns(l net.Listener, most int) *conns {
	p := codeProblem(coordinator.Overloaded, "this node has as many connections as it takes")
	return &conns{Listener: l, max: int64(most), farewell: wholeAnswer(p)}
}

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.open.Add(1) <= c.max {
			return &openConn{Conn: conn, open: &c.open}, nil
		}
		c.open.Add(-1)
		c.refuse(conn)
	}
}

func (c *conns) refuse(conn net.Conn) {
	if c.farewells.Add(1) > maxFarewells {
		c.farewells.Add(-1)
		_ = conn.Close()
		return
	}
	go func() {
		defer c.farewells.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(farewellTime))
		if _, err := conn.Write(c.farewell); err != nil {
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, conn, farewellRead)
		}
	}()
}

// openConn is a connection that counts as open until it is closed.
type openConn struct {
	net.Conn
	open   *atomic.Int64
	closed sync.Once
	quiet  bool // no answer has begun since the last one ended; only the goroutine that serves the connection touches it
}

// Write implements net.Conn. What net/http refuses by itself, in plain text, goes out as a problem document.
func (c *openConn) Write(b []byte) (int, error) {
	if c.quiet {
		c.quiet = false
		if p := translated(b); p != nil {
			_, err := c.Conn.Write(p)
			return len(b), err
		}
	}
	return c.Conn.Write(b)
}

// noteState follows a connection: between two requests it is quiet.
func noteState(c net.Conn, state http.ConnState) {
	if open, ok := c.(*openConn); ok && (state == http.StateNew || state == http.StateIdle) {
		open.quiet = true
	}
}

// Close implements net.Conn.
func (c *openConn) Close() error {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection without losing the answer.
func (c *openConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
