package node

import (
	"context"
	"errors"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/repair"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// exchanges shows the membership to log exchange and to the delivery of hand-offs.
type exchanges struct{ n *Node }

// Ownership implements repair.Membership. Here a peer is down also as long as gossip has not heard of it: after a start a call to an address that
// is out of date would fail, and requests would take the peer for down until the next dial.
func (e exchanges) Ownership() repair.Ownership {
	v := e.n.member.View()
	o := repair.Ownership{Rings: v.Rings, Digest: v.Digest, Self: v.Self, Peers: make(map[ring.ID]repair.Peer, len(v.Peers))}
	if e.n.replaced.Load() {
		o.Rings = nil // this node is out: it owns nothing any more
	}
	for id, p := range v.Peers {
		down := p.Down || id != v.Self && e.n.cluster.Liveness(id) == cluster.Dead
		o.Peers[id] = repair.Peer{Name: p.Name, Down: down}
	}
	return o
}

// Fence implements repair.Membership. The state that a view shows is on disk; so what is left is to see the last operation end
// that was let in before that view.
func (e exchanges) Fence(ctx context.Context, digest uint64) repair.Fence {
	m := e.n.member
	v := m.View()
	switch {
	case m.behind(v):
		return repair.FenceFrozen
	case v.Digest != digest:
		return repair.FenceOther
	case m.fence(ctx, digest) != nil:
		return repair.FenceFrozen
	}
	return repair.FenceHeld
}

// Table implements repair.Membership.
func (e exchanges) Table() []byte { return e.n.member.Table() }

// Reconcile implements repair.Membership.
func (e exchanges) Reconcile(from ring.ID, knowledge []byte) { e.n.member.Reconcile(from, knowledge) }

// Synced implements repair.Membership. A node that owns nothing yet and has not heard what was configured stays gaining, and so not ready: it would take a bucket
// of siblings for one of lww.
func (e exchanges) Synced(top layouts.Hash, at []ring.Partition) error {
	if e.n.shared.missing() {
		return errUntold
	}
	return e.n.cluster.Synced(top, at)
}

var errUntold = errors.New("node: nobody has told this node the properties of buckets yet")

// Enter implements repair.Door.
func (e exchanges) Enter(digest uint64) repair.Fence {
	switch e.n.member.Enter(digest) {
	case coordinator.Entered:
		return repair.FenceHeld
	case coordinator.OtherLayout:
		return repair.FenceOther
	}
	return repair.FenceFrozen
}

// Leave implements repair.Door.
func (e exchanges) Leave() { e.n.member.Leave() }

// Alone implements repair.Door. While it runs the view stays: a newer one waits, and what is asked for under that is told to try again.
func (e exchanges) Alone(ctx context.Context, digest uint64, fn func()) repair.Fence {
	m := e.n.member
	m.refreshing <- struct{}{}
	defer func() { <-m.refreshing }()
	held := e.Fence(ctx, digest)
	if held == repair.FenceHeld {
		fn()
	}
	return held
}

var (
	_ repair.Membership = exchanges{}
	_ repair.Door       = exchanges{}
)
