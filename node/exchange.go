package node

import (
	"context"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/repair"
	"github.com/quorate/quorate/ring"
)

// exchanges shows the membership to log exchange.
type exchanges struct{ n *Node }

// Ownership implements repair.Membership. Here a peer is down also as long as gossip has not heard of it: after a start a call to an address that
// is out of date would fail, and requests would take the peer for down until the next dial.
func (e exchanges) Ownership() repair.Ownership {
	v := e.n.member.View()
	o := repair.Ownership{Layout: v.Layout, Hash: v.Hash, Self: v.Self, Peers: make(map[ring.ID]repair.Peer, len(v.Peers))}
	if e.n.replaced.Load() {
		o.Layout = nil // this node is out: it owns nothing any more
	}
	for id, p := range v.Peers {
		down := p.Down || id != v.Self && e.n.cluster.Liveness(id) == cluster.Dead
		o.Peers[id] = repair.Peer{Name: p.Name, Down: down, Gaining: p.Gaining}
	}
	return o
}

// Fence implements repair.Membership. The table whose layout a view shows is on disk; so what is left is to see the last operation end
// that was let in before that view. That is looked at once for each layout: later ones were let in under it.
func (e exchanges) Fence(ctx context.Context, hash uint64) repair.Fence {
	m := e.n.member
	v := m.View()
	switch {
	case v.Layout == nil, m.frozen.Load(), e.n.replaced.Load(), v.Hash != e.n.cluster.Layout().Hash():
		return repair.FenceFrozen
	case v.Hash != hash:
		return repair.FenceOther
	case m.fenced.Load() == hash:
		return repair.FenceHeld
	}
	if m.drain(ctx) != nil {
		return repair.FenceFrozen
	}
	m.fenced.Store(hash)
	return repair.FenceHeld
}

// Table implements repair.Membership.
func (e exchanges) Table() []byte { return e.n.member.Table() }

// Reconcile implements repair.Membership.
func (e exchanges) Reconcile(from ring.ID, table []byte) { e.n.member.Reconcile(from, table) }

// Synced implements repair.Membership.
func (e exchanges) Synced() error {
	err := e.n.cluster.MarkSynced()
	e.n.member.refresh()
	return err
}

var _ repair.Membership = exchanges{}
