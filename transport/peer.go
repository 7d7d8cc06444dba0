package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/ring"
)

// peer is a line of the address book with the connections that were opened to it. Each connection has a goroutine (keep) that dials, serves the
// connection, and dials again; the first starts with the first call, the others when the first has succeeded.
//
//	idle --call--> dialling --ok--> up --broken--> dialling --failed--> down --redial ok--> up
//	               calls wait                      calls wait           calls fail at once
type peer struct {
	e    *Endpoint
	id   ring.ID
	ctx  context.Context // ends when the peer leaves the address book
	stop context.CancelFunc

	conns atomic.Pointer[[]*conn] // those that stand; never written, swapped whole under mu

	mu       sync.Mutex
	entry    Peer
	started  int // goroutines that keep a connection
	down     error
	waiting  *pending // calls, while there is no connection and the latest dial has not failed
	waitSize int      // bytes of their bodies
	removed  error
	kick     chan struct{} // closed and replaced when a new address ends the pause before a redial

	healthMu sync.Mutex
	health   Health
	spread   time.Duration // mean deviation of the round trips
}

func newPeer(e *Endpoint, id ring.ID, entry Peer) *peer {
	p := &peer{e: e, id: id, entry: entry, kick: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(e.ctx)
	p.conns.Store(&[]*conn{})
	p.waiting = newPending(e.cfg.MaxPending, p.expire)
	return p
}

// line is the present entry, and a channel that is closed when its address changes.
func (p *peer) line() (Peer, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry, p.kick
}

func (p *peer) name() string {
	entry, _ := p.line()
	return entry.Name
}

// send hands a call to a connection, or lets it wait for one. It fails if the call can do neither; on success somebody else completes it.
func (p *peer) send(c *call, body []byte) error {
	for range 4 { // a connection can break between being picked and being used; each time it then no longer counts
		if conn := p.pick(); conn != nil {
			if err := conn.send(c, body); err != errBroken {
				return err
			}
			continue
		}
		if err := p.wait(c, body); err != errRetry {
			return err
		}
	}
	return fmt.Errorf("%w: connections to %s keep breaking", ErrUnreachable, p.name())
}

// errRetry: there is a connection after all.
var errRetry = errors.New("connected meanwhile")

// pick takes the first connection, so that frames gather there and leave in one system call, except that nobody queues behind a large frame if
// another connection has less to write. nil: none stands.
func (p *peer) pick() *conn {
	conns := *p.conns.Load()
	var best *conn
	least := 0
	for _, c := range conns {
		queued, closed := c.out.backlog()
		if closed {
			continue
		}
		if queued < largeBody {
			return c
		}
		if best == nil || queued < least {
			best, least = c, queued
		}
	}
	return best
}

func (p *peer) wait(c *call, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.removed != nil:
		return p.removed
	case p.pick() != nil:
		return errRetry
	case p.down != nil:
		return p.down
	case p.waitSize > 0 && p.waitSize+len(body) > p.e.cfg.MaxQueued:
		return fmt.Errorf("%w: waiting for a connection to %s", ErrOverloaded, p.entry.Name)
	}
	c.body, c.waited = append([]byte{}, body...), true
	if _, err := p.waiting.add(c, time.Now()); err != nil {
		return fmt.Errorf("%w: waiting for a connection to %s", ErrOverloaded, p.entry.Name)
	}
	p.waitSize += len(body)
	p.startKeeping(1)
	return nil
}

// expire completes a call whose deadline passed while it waited for a connection.
func (p *peer) expire(c *call) {
	p.mu.Lock()
	p.waitSize -= len(c.body)
	p.mu.Unlock()
	p.e.complete(c, Response{Err: fmt.Errorf("%w: no connection to %s within %v", ErrTimeout, p.name(), c.deadline.Sub(c.begun))})
}

// takeWaiting empties the queue of calls that wait for a connection. The caller holds mu.
func (p *peer) takeWaiting() []*call {
	calls := p.waiting.takeAll()
	for _, c := range calls {
		p.waitSize -= len(c.body)
	}
	return calls
}

// startKeeping sees to it that n connections are kept. The caller holds mu.
func (p *peer) startKeeping(n int) {
	for ; p.started < n; p.started++ {
		p.e.crew.spawn(p.keep)
	}
}

// keep keeps one connection until the peer leaves the address book.
func (p *peer) keep() {
	for failures := 0; p.ctx.Err() == nil; {
		entry, kick := p.line()
		c, err := p.e.connect(p.ctx, entry.Addr, p.id, entry.Name)
		if err != nil {
			if now, _ := p.line(); now.Addr != entry.Addr {
				continue
			}
			failures++
			p.dialFailed(err)
			p.rest(failures, kick)
			continue
		}
		began := time.Now()
		if p.attach(c, entry.Addr) {
			cause := c.serve()
			p.detach(c, cause)
		} else {
			c.forget()
		}
		// A peer that accepts and hangs up at once is not hammered.
		if time.Since(began) > p.e.cfg.BackoffMax {
			failures = 0
		} else {
			failures++
			p.rest(failures, kick)
		}
	}
}

// rest pauses before the next dial: doubling, and somewhere between half and the whole, so that many nodes do not return at once.
func (p *peer) rest(failures int, kick <-chan struct{}) {
	cfg := &p.e.cfg
	pause := min(cfg.BackoffMin<<min(failures-1, 20), cfg.BackoffMax)
	t := time.NewTimer(time.Duration((0.5 + p.e.cfg.Rand()/2) * float64(pause)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-p.ctx.Done():
	}
}

// attach offers a new connection to callers, first to those who wait. It declines one to an address that the peer no longer has.
func (p *peer) attach(c *conn, addr string) bool {
	p.mu.Lock()
	if p.removed != nil || p.entry.Addr != addr {
		p.mu.Unlock()
		return false
	}
	conns := append(slices.Clone(*p.conns.Load()), c)
	p.conns.Store(&conns)
	calls := p.takeWaiting()
	wasDown := p.down != nil
	p.down = nil
	p.startKeeping(p.e.cfg.Conns)
	p.mu.Unlock()

	p.e.count.connected.Add(1)
	if wasDown {
		p.e.cfg.Logger.Info("node reachable again", "peer", c.remote.name, "addr", addr)
	}
	for _, call := range calls {
		body := call.body
		call.body = nil
		if err := p.send(call, body); err != nil {
			p.e.complete(call, Response{Err: err})
		}
	}
	return true
}

func (p *peer) detach(c *conn, cause error) {
	p.mu.Lock()
	conns := slices.DeleteFunc(slices.Clone(*p.conns.Load()), func(other *conn) bool { return other == c })
	p.conns.Store(&conns)
	p.mu.Unlock()
	p.e.count.connected.Add(-1)
	if p.ctx.Err() == nil {
		p.e.count.broken.Add(1)
		p.e.cfg.Logger.Warn("connection to a node broke", "peer", c.remote.name, "cause", cause)
	}
}

// dialFailed makes calls fail at once until a dial succeeds, unless another connection stands.
func (p *peer) dialFailed(err error) {
	p.noteFailure(err)
	p.mu.Lock()
	if p.removed != nil || p.pick() != nil {
		p.mu.Unlock()
		return
	}
	wasDown := p.down != nil
	p.down = err
	calls := p.takeWaiting()
	p.mu.Unlock()
	if !wasDown {
		p.e.cfg.Logger.Warn("node unreachable", "peer", p.name(), "err", err)
	}
	for _, c := range calls {
		p.e.complete(c, Response{Err: err})
	}
}

// update takes a new line of the address book. Another address ends the connections: whoever answers there has started anew.
func (p *peer) update(entry Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := entry.Addr != p.entry.Addr
	p.entry = entry
	if !moved {
		return
	}
	p.down = nil
	close(p.kick)
	p.kick = make(chan struct{})
	for _, c := range *p.conns.Load() {
		c.shut(fmt.Errorf("%s moved to %s", entry.Name, entry.Addr))
	}
}

// remove ends everything for this peer. The calls that waited for a connection are returned, to be completed without a lock.
func (p *peer) remove(cause error) []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = cause
	p.stop()
	for _, c := range *p.conns.Load() {
		c.shut(cause)
	}
	return p.waiting.close()
}

// noteOutcome keeps the health. What this node itself refused says nothing about the peer.
func (p *peer) noteOutcome(c *call, r Response) {
	if r.Err != nil {
		if r.Sent && (errors.Is(r.Err, ErrTimeout) || errors.Is(r.Err, ErrLost)) {
			p.noteFailure(r.Err)
		}
		return
	}
	p.healthMu.Lock()
	defer p.healthMu.Unlock()
	h := &p.health
	h.Failures, h.LastErr, h.LastOK = 0, nil, r.At
	if c.waited {
		return // for a dial: no round trip
	}
	rtt := r.At.Sub(c.begun)
	if h.RTT == 0 {
		h.RTT, p.spread = rtt, rtt/2
		return
	}
	p.spread += (max(rtt-h.RTT, h.RTT-rtt) - p.spread) / 4
	h.RTT += (rtt - h.RTT) / 8
}

func (p *peer) noteFailure(err error) {
	p.healthMu.Lock()
	defer p.healthMu.Unlock()
	p.health.Failures++
	p.health.LastErr = err
}

func (p *peer) reportHealth() Health {
	p.healthMu.Lock()
	defer p.healthMu.Unlock()
	h := p.health
	h.Up = p.pick() != nil
	h.Slow = h.RTT + 4*p.spread
	return h
}
