package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/fault"
)

const (
	readBuffer     = 32 << 10
	silentPings    = 3  // pings without anything in return: the peer is gone
	silentAcceptor = 10 // times PingEvery without anything: the acceptor's side of the same, with room for a dialer that is merely late
)

// conn is one connection after its handshake. The dialer sends requests and pings on it, the acceptor responses and pongs.
type conn struct {
	e        *Endpoint
	nc       net.Conn
	remote   hello // what the other side said
	accepted bool
	dues     dues
	largest  int // bytes of a body that both sides allow
	out      *outbox
	calls    *pending // the dialer's

	heard  atomic.Bool // a frame or a slice of one came in, or a slice of a large one went out, since the last look
	silent int         // looks in a row before which nothing was heard; only look touches it
	read   time.Time   // when bytes were last read; only readAll touches it. Frames that came together share the reading of the clock

	mu    sync.Mutex // after the endpoint's
	watch *time.Timer
	cause error // why it was shut; nil while it stands
}

// newConn makes a connection known to the endpoint, whose Close shuts it; it fails once that has begun.
func (e *Endpoint) newConn(nc net.Conn, remote hello, accepted bool, d dues) (*conn, error) {
	c := &conn{e: e, nc: nc, remote: remote, accepted: accepted, dues: d, out: newOutbox(e.cfg.MaxQueued), calls: newPending(e.cfg.MaxPending, e.expire)}
	c.largest = min(e.cfg.MaxFrame, int(remote.maxFrame))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.conns[c] = struct{}{}
	return c, nil
}

// serve runs the connection until it breaks or is shut, and returns why.
func (c *conn) serve() error {
	var writer sync.WaitGroup
	writer.Go(func() { c.shut(c.out.run(c.nc, c.noteWrite)) })
	c.startWatch()
	c.shut(c.readAll())
	writer.Wait()
	return c.forget()
}

// forget shuts the connection and fails what is pending on it.
func (c *conn) forget() error {
	c.shut(ErrClosed)
	c.e.mu.Lock()
	delete(c.e.conns, c)
	c.e.mu.Unlock()
	cause := c.why()
	for _, call := range c.calls.close() {
		err := fmt.Errorf("%w: to %s: %w", ErrLost, c.remote.name, cause)
		c.e.complete(call, Response{Err: err, Sent: c.out.took(&call.mark)})
	}
	return cause
}

// shut breaks the connection; the first cause stays. serve sees to the rest.
func (c *conn) shut(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if cause == nil {
		cause = io.EOF
	}
	c.cause = cause
	if c.watch != nil {
		c.watch.Stop()
	}
	c.out.close()
	c.nc.Close()
}

func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// readAll reads frames until the connection ends, and returns why it did.
func (c *conn) readAll() error {
	r := bufio.NewReaderSize(meter{c}, readBuffer)
	for {
		b, err := r.Peek(headSize)
		if err != nil {
			return err
		}
		h, err := parseHead(b, c.e.cfg.MaxFrame)
		if err != nil {
			return err
		}
		r.Discard(headSize) // cannot fail: Peek has seen them
		switch {
		case c.accepted && h.typ == frameRequest:
			err = c.readRequest(r, h)
		case c.accepted && h.typ == framePing:
			c.control(fault.In, func() { c.hear(); c.sendControl(framePong) })
		case !c.accepted && h.typ == frameResponse:
			err = c.readResponse(r, h)
		case !c.accepted && h.typ == framePong:
			c.control(fault.In, c.hear)
		default:
			err = fmt.Errorf("%w: frame type %d from the wrong side", ErrProtocol, h.typ)
		}
		if err != nil {
			return err
		}
	}
}

// meter counts what comes in.
type meter struct{ c *conn }

func (m meter) Read(b []byte) (int, error) {
	n, err := m.c.nc.Read(b)
	m.c.read = time.Now()
	m.c.e.count.bytesIn.Add(uint64(n))
	return n, err
}

// hear notes a sign of life. A frame that the fault matrix drops is none.
func (c *conn) hear() {
	if !c.heard.Load() { // written seldom, so that the processors do not take the line from each other
		c.heard.Store(true)
	}
}

// readBody fills b. Each slice of it shows that the peer is alive, however long the whole takes.
func (c *conn) readBody(r *bufio.Reader, b []byte) error {
	for c.hear(); len(b) > 0; c.hear() {
		n, err := io.ReadFull(r, b[:min(len(b), slice)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// skip reads a body that nobody wants.
func (c *conn) skip(r *bufio.Reader, size int) error {
	for c.hear(); size > 0; c.hear() {
		n, err := r.Discard(min(size, slice))
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// lose reads a body that, as the fault matrix has it, never came.
func lose(r *bufio.Reader, size int) error {
	_, err := r.Discard(size)
	return err
}

// noteWrite counts. Small frames vanish into the buffers of a peer that has stopped; a slice of a large frame goes only where somebody reads.
func (c *conn) noteWrite(n int, large bool) {
	c.e.count.bytesOut.Add(uint64(n))
	if large {
		c.hear()
	}
}

func (c *conn) startWatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.watch = time.AfterFunc(c.e.cfg.PingEvery, c.look)
	}
}

// look runs every PingEvery. It counts silent rounds rather than the time since the last byte, so that a process which was itself stopped for a
// while asks before it judges.
func (c *conn) look() {
	if c.heard.Swap(false) {
		c.silent = 0
	} else {
		c.silent++
	}
	switch {
	case c.accepted && c.silent > silentAcceptor, !c.accepted && c.silent > silentPings:
		c.shut(fmt.Errorf("%w for %v", errSilent, time.Duration(c.silent)*c.e.cfg.PingEvery))
		return
	case !c.accepted && c.silent > 0:
		c.sendControl(framePing)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.watch.Reset(c.e.cfg.PingEvery)
	}
}

func (c *conn) sendControl(typ frameType) {
	c.control(fault.Out, func() {
		// A full outbox has no room for it; what is queued there will be heard or not.
		_ = c.out.add(head{typ: typ}, nil, nil, 0)
	})
}

// control lets the fault matrix judge a ping or a pong.
func (c *conn) control(dir fault.Direction, pass func()) {
	switch v := c.e.decide(c.remote.name, dir, fault.Any); {
	case v.Drop:
	case v.Delay > 0:
		time.AfterFunc(v.Delay, pass)
	default:
		pass()
	}
}
