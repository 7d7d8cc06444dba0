package cluster

import (
	"net/netip"
	"slices"
	"sync"
)

// moves knows at which address running peers are now that do not answer where memberlist looks for them: it keeps to the address
// that a node told at its start, while a container's can change under it, with every other one's view of its name.
type moves struct {
	mu sync.Mutex
	to map[string]string // memberlist's name of the peer → gossip address
}

func newMoves() *moves { return &moves{to: make(map[string]string)} }

// where is the address to use for a node that memberlist has at addr.
func (m *moves) where(node, addr string) string {
	if node == "" {
		return addr
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if to, ok := m.to[node]; ok {
		return to
	}
	return addr
}

// set records where a node is; the address that memberlist has, or none, forgets it. It reports whether that is new.
func (m *moves) set(node, known, to string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, ok := m.to[node]
	if to == "" || to == known {
		delete(m.to, node)
		return ok
	}
	m.to[node] = to
	return was != to
}

// keep forgets all nodes but these.
func (m *moves) keep(running []peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for node := range m.to {
		if !slices.ContainsFunc(running, func(p peer) bool { return p.node == node }) {
			delete(m.to, node)
		}
	}
}

// movedTo is where to look for a silent node, given the address that it told and what its name resolves to now: where it
// said, if that is still among its addresses.
func movedTo(told string, now []netip.AddrPort) string {
	for _, a := range now {
		if a.String() == told {
			return told
		}
	}
	if len(now) == 0 {
		return told
	}
	return now[0].String()
}

// follow looks a silent peer's advertised name up again. A literal address says nothing new, and a name that does not resolve now keeps
// what it resolved to.
func (c *Cluster) follow(p peer) {
	row, ok := c.Table().Get(p.meta.ID)
	if !ok || row.Addrs.Gossip == "" {
		return
	}
	now, err := c.resolve(c.ctx, row.Addrs.Gossip)
	if err != nil {
		return
	}
	if to := movedTo(p.addr, now); c.moves.set(p.node, p.addr, to) {
		c.log.Info("peer moved while it runs", "name", p.name(), "told", p.addr, "now", to)
	}
}
