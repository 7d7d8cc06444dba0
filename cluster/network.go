package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// MemNetwork carries gossip between the nodes of one process: packets after a latency, streams as pipes. Under
// testing/synctest it runs in virtual time. The fault matrix of each node works on top of it as on sockets.
type MemNetwork struct {
	latency time.Duration

	mu    sync.Mutex
	ends  map[string]*memEnd
	block func(from, to string) bool
	loses func(from, to string) bool
}

// Bounds of what waits at one endpoint; beyond them packets are lost and dials fail, as with full socket buffers.
const (
	memPackets = 4096
	memStreams = 256
)

// NewMemNetwork returns a network in which every packet and every dial takes latency.
func NewMemNetwork(latency time.Duration) *MemNetwork {
	return &MemNetwork{latency: latency, ends: make(map[string]*memEnd)}
}

// Block loses from now on every packet from address from to address to for which lost returns true, and lets dials time out
// where either way is lost. nil heals. lost must not block.
func (n *MemNetwork) Block(lost func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.block = lost
}

// LosePackets loses from now on every packet for which lost returns true; streams go on. nil ends that. lost must not block.
func (n *MemNetwork) LosePackets(lost func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loses = lost
}

func (n *MemNetwork) packetLost(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.loses != nil && n.loses(from, to)
}

// Move gives the endpoint at one address another, as when a running container's network is taken away and given back: what its
// node was told at its start stays as it is.
func (n *MemNetwork) Move(from, to string) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return fmt.Errorf("cluster: in-memory address: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.ends[from]
	if e == nil || n.ends[to] != nil {
		return fmt.Errorf("cluster: nobody is at %s, or somebody is at %s", from, to)
	}
	delete(n.ends, from)
	e.at, e.addr = at, to
	n.ends[to] = e
	return nil
}

// listen opens the endpoint addr, an IP and a port.
func (n *MemNetwork) listen(addr string) (*memEnd, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("cluster: in-memory address: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends[addr] != nil {
		return nil, fmt.Errorf("cluster: in-memory address %s is in use", addr)
	}
	e := &memEnd{
		net: n, at: at, addr: addr,
		packets: make(chan *memberlist.Packet, memPackets),
		streams: make(chan net.Conn, memStreams),
	}
	n.ends[addr] = e
	return e, nil
}

// route finds the endpoint for a packet, or nil when it gets lost.
func (n *MemNetwork) route(from, to string) *memEnd {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.block != nil && n.block(from, to) {
		return nil
	}
	return n.ends[to]
}

// memEnd is one node's end of a MemNetwork.
type memEnd struct {
	net     *MemNetwork
	at      netip.AddrPort // guarded by net.mu, as is addr
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
}

var _ gossipCarrier = (*memEnd)(nil)

func (e *memEnd) boundAddr() string { return e.address().String() }

func (e *memEnd) address() netip.AddrPort {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	return e.at
}

func (e *memEnd) WriteTo(b []byte, addr string) (time.Time, error) {
	now, from := time.Now(), e.address()
	if e.net.route(from.String(), addr) == nil || e.net.packetLost(from.String(), addr) {
		return now, nil
	}
	time.AfterFunc(e.net.latency, func() {
		to := e.net.route(from.String(), addr)
		if to == nil {
			return
		}
		p := &memberlist.Packet{Buf: b, From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case to.packets <- p:
		default:
		}
	})
	return now, nil
}

func (e *memEnd) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	from := e.address().String()
	to := e.net.route(from, addr)
	if to == nil || e.net.route(addr, from) == nil {
		time.Sleep(timeout)
		return nil, fmt.Errorf("cluster: dial %s: %w", addr, errTimeout)
	}
	time.Sleep(min(e.net.latency, timeout))
	near, far := net.Pipe()
	select {
	case to.streams <- far:
		return near, nil
	default:
		return nil, fmt.Errorf("cluster: dial %s: connection refused", addr)
	}
}

var errTimeout = errors.New("time-out")

func (e *memEnd) PacketCh() <-chan *memberlist.Packet { return e.packets }
func (e *memEnd) StreamCh() <-chan net.Conn           { return e.streams }

// Shutdown frees the address. What is still under way to it is lost.
func (e *memEnd) Shutdown() error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if e.net.ends[e.addr] == e {
		delete(e.net.ends, e.addr)
	}
	return nil
}
