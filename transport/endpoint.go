package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// medium is where connections come from: TCP, or a Network in memory.
type medium interface {
	dial(ctx context.Context, addr string) (net.Conn, error)
	listen(addr string) (net.Listener, error)
}

// Endpoint is one node's end of the traffic between nodes. Its methods are safe for concurrent use, except that Handle comes before Open.
type Endpoint struct {
	cfg     Config
	medium  medium
	kinds   [256]registered
	load    load
	count   counters
	workers workers

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	crew crew // every goroutine that Close waits for

	refusals repeats

	peers atomic.Pointer[map[ring.ID]*peer] // the address book: a map that is never written, swapped whole

	mu       sync.Mutex // before peer.mu
	listener net.Listener
	conns    map[*conn]struct{}
	accepted int
	opened   bool
	closed   bool
}

type registered struct {
	class   Class
	handler Handler
}

// New makes an endpoint on TCP. Handle and Open come next.
func New(cfg Config) (*Endpoint, error) {
	return newEndpoint(cfg, tcp{})
}

func newEndpoint(cfg Config, m medium) (*Endpoint, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Endpoint{cfg: cfg.withDefaults(), medium: m, workers: workers{wake: make(chan struct{}, 1)}, conns: make(map[*conn]struct{})}
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.peers.Store(&map[ring.ID]*peer{})
	return e, nil
}

// Handle registers the handler for requests of a kind, and the class of the kind for calls too: every node must register the same. A kind
// without a handler can still be called and is of ClassOther. Before Open only; registering a kind twice panics.
func (e *Endpoint) Handle(kind Kind, class Class, h Handler) {
	if e.kinds[kind].handler != nil {
		panic(fmt.Sprintf("transport: kind %d has a handler already", kind))
	}
	e.kinds[kind] = registered{class, h}
}

// Open starts to listen. Calls can be made from now on.
func (e *Endpoint) Open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opened || e.closed {
		return fmt.Errorf("%w: opened twice, or closed", ErrClosed)
	}
	l, err := e.medium.listen(e.cfg.Listen)
	if err != nil {
		return fmt.Errorf("transport: listening on %s: %w", e.cfg.Listen, err)
	}
	e.listener, e.opened = l, true
	e.crew.spawn(e.acceptAll)
	return nil
}

// Addr is the address that Open listens on.
func (e *Endpoint) Addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener == nil {
		return ""
	}
	return e.listener.Addr().String()
}

// Close breaks every connection, fails what is pending with ErrClosed, and waits for the handlers that run.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.stop()
		if e.listener != nil {
			e.listener.Close()
		}
		for c := range e.conns {
			c.shut(ErrClosed)
		}
		var abandoned []*call
		for _, p := range *e.peers.Load() {
			abandoned = append(abandoned, p.remove(ErrClosed)...)
		}
		e.abandon(abandoned, ErrClosed)
		e.crew.close()
	}
	e.mu.Unlock()
	e.crew.wait()
	return nil
}

// SetPeers replaces the address book. Connections to a peer that is no longer in it, or whose address has changed, are closed, and what is
// pending on them fails.
func (e *Endpoint) SetPeers(book map[ring.ID]Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	old := *e.peers.Load()
	peers := make(map[ring.ID]*peer, len(book))
	for id, entry := range book {
		if p := old[id]; p != nil {
			p.update(entry)
			peers[id] = p
		} else {
			peers[id] = newPeer(e, id, entry)
		}
	}
	e.peers.Store(&peers)
	for id, p := range old {
		if peers[id] == nil {
			cause := fmt.Errorf("%w: %s left the address book", ErrUnreachable, p.name())
			e.abandon(p.remove(cause), cause)
		}
	}
}

// abandon completes calls that waited for a connection, on a goroutine because the caller holds locks that done may take.
func (e *Endpoint) abandon(calls []*call, cause error) {
	if len(calls) == 0 {
		return
	}
	e.crew.spawn(func() {
		for _, c := range calls {
			e.complete(c, Response{Err: cause})
		}
	})
}

// Health reports how the calls to a peer have been going; the zero Health for one that is not in the address book.
func (e *Endpoint) Health(id ring.ID) Health {
	if p := (*e.peers.Load())[id]; p != nil {
		return p.reportHealth()
	}
	return Health{}
}

// Go sends a request and returns at once. done gets the outcome exactly once, on another goroutine and never before Go returns; it must not
// block and must not call Close. body is copied. A zero deadline is CallTimeout from now. To call a node not in the address book is ErrUnreachable.
func (e *Endpoint) Go(to ring.ID, kind Kind, body []byte, deadline time.Time, done func(Response)) {
	now := time.Now()
	if deadline.IsZero() {
		deadline = now.Add(e.cfg.CallTimeout)
	}
	c := &call{peer: (*e.peers.Load())[to], kind: kind, begun: now, deadline: deadline, done: done}
	if err := e.start(to, c, body); err != nil {
		go e.complete(c, Response{Err: err}) // a goroutine, so that a caller may hold a lock that done takes
	}
}

func (e *Endpoint) start(to ring.ID, c *call, body []byte) error {
	e.count.calls.Add(1)
	switch {
	case e.ctx.Err() != nil:
		return ErrClosed
	case c.peer == nil:
		return fmt.Errorf("%w: %v is not in the address book", ErrUnreachable, to.Short())
	case len(body) > e.cfg.MaxFrame:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(body), e.cfg.MaxFrame)
	case !c.begun.Before(c.deadline):
		return fmt.Errorf("%w: before the request to %s was sent", ErrTimeout, c.peer.name())
	}
	return c.peer.send(c, body)
}

// Call is Go for a caller that waits. The end of ctx ends the wait, not what the remote side does with the request; until its deadline, or that of
// CallTimeout if ctx has none, the call may still count as pending.
func (e *Endpoint) Call(ctx context.Context, to ring.ID, kind Kind, body []byte) Response {
	deadline, _ := ctx.Deadline()
	answer := make(chan Response, 1)
	e.Go(to, kind, body, deadline, func(r Response) { answer <- r })
	return await(ctx, answer)
}

func await(ctx context.Context, answer <-chan Response) Response {
	select {
	case r := <-answer:
		return r
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Response{Err: fmt.Errorf("%w: %w", ErrTimeout, ctx.Err()), Sent: true}
	}
	return Response{Err: fmt.Errorf("transport: the caller gave up: %w", ctx.Err()), Sent: true}
}

// CallAddr calls whichever node of the cluster answers at addr, on a connection of its own, and returns which node that was: for the time before
// this node knows any member. It may reach this node itself. from is zero if nobody was reached.
func (e *Endpoint) CallAddr(ctx context.Context, addr string, kind Kind, body []byte) (r Response, from ring.ID) {
	e.count.calls.Add(1)
	conn, err := e.connect(ctx, addr, ring.ID{}, "")
	if err != nil {
		e.count.failed(err)
		return Response{Err: err}, ring.ID{}
	}
	finished := make(chan struct{})
	if !e.crew.spawn(func() { defer close(finished); conn.serve() }) {
		conn.forget()
		return Response{Err: ErrClosed}, ring.ID{}
	}
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(e.cfg.CallTimeout)
	}
	answer := make(chan Response, 1)
	c := &call{kind: kind, begun: now, deadline: deadline, done: func(r Response) { answer <- r }}
	if err := conn.send(c, body); err == errBroken {
		e.complete(c, Response{Err: fmt.Errorf("%w: %s hung up after the handshake", ErrUnreachable, addr)})
	} else if err != nil {
		e.complete(c, Response{Err: err})
	}
	r = await(ctx, answer)
	conn.shut(ErrClosed)
	<-finished
	return r, conn.remote.self
}

// complete ends a call that its holder has taken out of its table, so it happens once.
func (e *Endpoint) complete(c *call, r Response) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	if r.Err == nil {
		e.count.responses.Add(1)
	} else {
		e.count.failed(r.Err)
	}
	if c.peer != nil {
		c.peer.noteOutcome(c, r)
	}
	c.done(r)
}

// expire completes a call whose deadline has passed. Its frame may still be in an outbox and leave later.
func (e *Endpoint) expire(c *call) {
	e.complete(c, Response{Err: fmt.Errorf("%w: no response within %v", ErrTimeout, c.deadline.Sub(c.begun)), Sent: true})
}

// acceptAll runs until the listener is closed.
func (e *Endpoint) acceptAll() {
	for pause := time.Duration(0); ; {
		nc, err := e.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			if !e.admit() {
				nc.Close()
			} else if !e.crew.spawn(func() { defer e.dismiss(); e.serveAccepted(nc) }) {
				nc.Close()
			}
		case e.ctx.Err() != nil:
			return
		default:
			// Out of file descriptors, most likely: others may close some.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.cfg.Logger.Error("accepting connections between nodes", "err", err, "pause", pause)
			sleep(e.ctx, pause)
		}
	}
}

func (e *Endpoint) admit() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.accepted >= e.cfg.MaxAccepted {
		return false
	}
	e.accepted++
	return true
}

func (e *Endpoint) dismiss() {
	e.mu.Lock()
	e.accepted--
	e.mu.Unlock()
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// decide asks the fault matrix about one message and counts what it does.
func (e *Endpoint) decide(peer string, dir fault.Direction, kind fault.Kind) fault.Verdict {
	v := e.cfg.Faults.Decide(peer, dir, kind, e.cfg.Rand)
	if v.Drop {
		e.count.faultDrops.Add(1)
	} else if v.Delay > 0 {
		e.count.faultDelays.Add(1)
	}
	return v
}

// trips are the kinds that the fault matrix knows a request and its response as.
func (c Class) trips() (request, response fault.Kind) {
	switch c {
	case ClassWrite:
		return fault.Write, fault.Ack
	case ClassRead:
		return fault.Read, fault.Response
	}
	return fault.Any, fault.Any
}
