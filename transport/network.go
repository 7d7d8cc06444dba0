package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Network is a network in memory. Endpoints made by it reach each other, and nobody else, by the addresses that they listen on. They are ordinary
// endpoints: same handshake, frames, bounds and faults; only the bytes go through net.Pipe instead of TCP. Everything in it waits on channels and
// timers, so it runs in virtual time inside a testing/synctest bubble.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

// NewNetwork makes a network without anybody on it.
func NewNetwork() *Network {
	return &Network{listeners: make(map[string]*pipeListener)}
}

// New makes an endpoint on this network. cfg.Listen is any address that is not in use.
func (n *Network) New(cfg Config) (*Endpoint, error) {
	return newEndpoint(cfg, n)
}

func (n *Network) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dialling %s in memory: %w", addr, syscall.ECONNREFUSED)
	}
	ours, theirs := net.Pipe()
	select {
	case l.dialled <- theirs:
		return ours, nil
	case <-l.done:
		return nil, fmt.Errorf("dialling %s in memory: %w", addr, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *Network) listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr == "" || n.listeners[addr] != nil {
		return nil, errors.New("address empty or in use")
	}
	l := &pipeListener{network: n, addr: pipeAddr(addr), dialled: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

type pipeListener struct {
	network *Network
	addr    pipeAddr
	dialled chan net.Conn
	once    sync.Once
	done    chan struct{}
}

// Accept is net.Listener's.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialled:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (l *pipeListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.addr))
		l.network.mu.Unlock()
	})
	return nil
}

// Addr is net.Listener's.
func (l *pipeListener) Addr() net.Addr { return l.addr }

type pipeAddr string

func (pipeAddr) Network() string  { return "memory" }
func (a pipeAddr) String() string { return string(a) }
