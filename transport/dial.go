package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// tcp is the medium of production.
type tcp struct{}

func (tcp) dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // pings do that, and sooner
	return d.DialContext(ctx, "tcp", addr)
}

func (tcp) listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	return lc.Listen(context.Background(), "tcp", addr)
}

// connect dials addr and shakes hands. want is the node that must answer, zero for any; name is what the address book calls it, empty if unknown.
// The error wraps ErrUnreachable. serve or forget must follow.
func (e *Endpoint) connect(ctx context.Context, addr string, want ring.ID, name string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	e.count.dials.Add(1)
	c, err := e.connectWithin(ctx, addr, want, name)
	if err == nil {
		return c, nil
	}
	e.count.dialFailures.Add(1)
	if e.ctx.Err() != nil {
		return nil, ErrClosed
	}
	return nil, fmt.Errorf("%w: dialling %s: %w", ErrUnreachable, addr, err)
}

func (e *Endpoint) connectWithin(ctx context.Context, addr string, want ring.ID, name string) (*conn, error) {
	if name != "" && !e.pass(ctx, name, fault.Out) {
		return nil, errors.New("no answer (fault rule)")
	}
	nc, err := e.medium.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	own, epoch := e.hello(want), time.Now()
	theirs, err := e.introduce(nc, own)
	if err == nil && !e.pass(ctx, theirs.name, fault.In) {
		err = errors.New("no answer (fault rule)")
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return e.establish(nc, theirs, false, dues{epoch})
}

// introduce is the dialer's half of the handshake.
func (e *Endpoint) introduce(nc net.Conn, own hello) (hello, error) {
	if _, err := nc.Write(own.append(nil)); err != nil {
		return hello{}, err
	}
	theirs, err := readHello(nc)
	if err != nil {
		return hello{}, err
	}
	return theirs, own.accept(theirs)
}

// serveAccepted shakes hands with whoever has dialled, and serves the connection until it ends.
func (e *Endpoint) serveAccepted(nc net.Conn) {
	c, err := e.receive(nc)
	if err != nil {
		nc.Close()
		if e.ctx.Err() == nil {
			e.count.handshakesRefused.Add(1)
			e.cfg.Logger.Log(e.ctx, e.refusals.level(err), "refused a connection from another node", "from", nc.RemoteAddr().String(), "err", err)
		}
		return
	}
	cause := c.serve()
	e.cfg.Logger.Debug("connection from another node ended", "peer", c.remote.name, "cause", cause)
}

// repeats keeps a node that is refused, and dials again every second or two, from filling the log.
type repeats struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

// level is Debug for an error that was reported within the last minute, if no other came between, and Warn otherwise.
func (r *repeats) level(err error) slog.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err.Error() == r.text && time.Since(r.at) < time.Minute {
		return slog.LevelDebug
	}
	r.text, r.at = err.Error(), time.Now()
	return slog.LevelWarn
}

// receive is the acceptor's half of the handshake.
func (e *Endpoint) receive(nc net.Conn) (*conn, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	theirs, err := readHello(nc)
	if err != nil {
		return nil, err
	}
	epoch := time.Now()
	if !e.pass(ctx, theirs.name, fault.In) || !e.pass(ctx, theirs.name, fault.Out) {
		return nil, errors.New("kept waiting by a fault rule")
	}
	answer := e.hello(ring.ID{}).judge(theirs)
	if _, err := nc.Write(answer.append(nil)); err != nil {
		return nil, err
	}
	if answer.verdict != verdictAccepted {
		return nil, fmt.Errorf("%w: node %s (%v) of cluster %q, protocol versions %d to %d, wants %v", ErrRefused,
			theirs.name, theirs.self, theirs.cluster, theirs.min, theirs.max, theirs.want)
	}
	return e.establish(nc, theirs, true, dues{epoch})
}

func (e *Endpoint) establish(nc net.Conn, theirs hello, accepted bool, d dues) (*conn, error) {
	c, err := e.newConn(nc, theirs, accepted, d)
	if err != nil {
		nc.Close()
	}
	return c, err
}

func (e *Endpoint) hello(want ring.ID) hello {
	return hello{min: minVersion, max: maxVersion, self: e.cfg.Self, want: want, maxFrame: uint32(e.cfg.MaxFrame), cluster: e.cfg.Cluster, name: e.cfg.Name}
}

// pass asks the fault matrix about one way of a handshake. Unlike a request, a handshake that loses a message tries again, three times within the
// time that a dial has; with the peer cut off altogether the dial ends as on a cut wire, by its time-out.
func (e *Endpoint) pass(ctx context.Context, peer string, dir fault.Direction) bool {
	for range 3 {
		v := e.decide(peer, dir, fault.Any)
		if !v.Drop {
			return v.Delay == 0 || sleep(ctx, v.Delay)
		}
		if !sleep(ctx, e.cfg.DialTimeout/4) {
			return false
		}
	}
	return false
}
