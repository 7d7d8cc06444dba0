package cluster

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/ring"
)

// peer is a running node that gossip holds for alive.
type peer struct {
	node    string // memberlist's name of it: the node's name, "/", its boot
	addr    string // gossip address
	meta    meta
	suspect bool
	offset  time.Duration // how far its clock is ahead
	timed   bool          // offset was measured
}

func (p *peer) name() string {
	name, _, _ := strings.Cut(p.node, "/")
	return name
}

// peers is what this node knows of the others that run now. It implements memberlist's event and ping delegates, which are called
// under memberlist's lock: they copy, signal, and leave.
type peers struct {
	self    string // this node's memberlist name
	changed func() // must not block

	live atomic.Pointer[map[ring.ID]Liveness]

	mu     sync.Mutex
	byNode map[string]*peer
}

func newPeers(self string, changed func()) *peers {
	ps := &peers{self: self, changed: changed, byNode: make(map[string]*peer)}
	ps.live.Store(&map[ring.ID]Liveness{})
	return ps
}

var (
	_ memberlist.EventDelegate = (*peers)(nil)
	_ memberlist.PingDelegate  = (*peers)(nil)
)

func (ps *peers) NotifyJoin(n *memberlist.Node)   { ps.set(n) }
func (ps *peers) NotifyUpdate(n *memberlist.Node) { ps.set(n) }

func (ps *peers) set(n *memberlist.Node) {
	m, err := decodeMeta(n.Meta)
	if n.Name == ps.self || err != nil {
		return
	}
	p := &peer{node: n.Name, addr: net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port))), meta: m}
	ps.mu.Lock()
	ps.byNode[n.Name] = p
	ps.publishLocked()
	ps.mu.Unlock()
	ps.changed()
}

func (ps *peers) NotifyLeave(n *memberlist.Node) {
	ps.mu.Lock()
	delete(ps.byNode, n.Name)
	ps.publishLocked()
	ps.mu.Unlock()
	ps.changed()
}

// AckPayload tells the prober what time it is here.
func (ps *peers) AckPayload() []byte {
	w := newWriter()
	w.u64(uint64(time.Now().UnixMicro()))
	return w.b
}

// NotifyPingComplete measures the clock of a peer: when its answer came it showed what it showed half a round trip ago.
func (ps *peers) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, payload []byte) {
	s := scan(payload)
	theirs := time.UnixMicro(int64(s.U64()))
	if s.done("clock") != nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byNode[n.Name]; p != nil {
		p.offset, p.timed = time.Until(theirs.Add(rtt/2)), true
	}
}

// clockOffset returns the median over all peers measured, and their number.
func (ps *peers) clockOffset() (time.Duration, int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var offsets []time.Duration
	for _, p := range ps.byNode {
		if p.timed {
			offsets = append(offsets, p.offset)
		}
	}
	if len(offsets) == 0 {
		return 0, 0
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2], len(offsets)
}

// all returns copies, ordered by name and boot.
func (ps *peers) all() []peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]peer, 0, len(ps.byNode))
	for _, p := range ps.byNode {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b peer) int { return strings.Compare(a.node, b.node) })
	return list
}

// setSuspect records whether a peer answers this node's probes.
func (ps *peers) setSuspect(node string, suspect bool) {
	ps.mu.Lock()
	p := ps.byNode[node]
	news := p != nil && p.suspect != suspect
	if news {
		p.suspect = suspect
		ps.publishLocked()
	}
	ps.mu.Unlock()
	if news {
		ps.changed()
	}
}

// publishLocked makes the map of the incarnations that are not dead. Where two starts of one incarnation are still listed, the later one counts.
func (ps *peers) publishLocked() {
	latest := make(map[ring.ID]*peer, len(ps.byNode))
	for _, p := range ps.byNode {
		if other := latest[p.meta.ID]; other == nil || other.meta.Starts < p.meta.Starts {
			latest[p.meta.ID] = p
		}
	}
	live := make(map[ring.ID]Liveness, len(latest))
	for id, p := range latest {
		live[id] = Alive
		if p.suspect {
			live[id] = Suspect
		}
	}
	ps.live.Store(&live)
}

// watchPeers probes every peer in turn, for ever. memberlist's own probes find the dead reliably but later, with the whole
// cluster's help, and it tells nobody whom it suspects.
func (c *Cluster) watchPeers() {
	slots := make(chan struct{}, MaxProbes)
	for c.sleep(c.cfg.Timing.Probe) {
		running := c.peers.all()
		c.moves.keep(running)
		for _, p := range running {
			select {
			case slots <- struct{}{}:
			case <-c.ctx.Done():
				return
			}
			c.background.Go(func() {
				defer func() { <-slots }()
				c.watchPeer(p)
			})
			if len(slots) == MaxProbes && !c.sleep(c.cfg.Timing.Probe) {
				return
			}
		}
	}
}

func (c *Cluster) watchPeer(p peer) {
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.addr))
	for range c.cfg.Timing.SuspectAfter {
		if _, err := c.list.Ping(p.node, at); err == nil {
			c.peers.setSuspect(p.node, false)
			return
		}
		if c.ctx.Err() != nil {
			return
		}
	}
	c.peers.setSuspect(p.node, true)
	c.follow(p)
}
