package cluster

import (
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// What follows is for a membership that carries its news by other means than gossip, as the simulator's does: what is done about the layouts is decided by the same
// functions as in Cluster.

// Knowledge encodes a table and the layouts as Cluster tells them; Known decodes them.
func Knowledge(t ring.Table, s layouts.State) []byte { return knowledge{t, s}.encode() }

// Known decodes what Knowledge encoded.
func Known(b []byte) (ring.Table, layouts.State, error) {
	k, err := decodeKnowledge(b)
	return k.table, k.state, err
}

// Founded is the state of a cluster that begins with a table.
func Founded(t ring.Table) (layouts.State, error) {
	k, err := founded(t)
	return k.state, err
}

// Mirrored is t with what the layouts say about each incarnation that they know.
func Mirrored(t ring.Table, v *layouts.View) (ring.Table, error) { return mirrored(t, v) }

// Removal is the state in which self, a member, has removed another.
func Removal(v *layouts.View, self, id ring.ID, force bool) (layouts.State, error) {
	return removal(v, self, id, force)
}

// Replacement is the state in which self, a member, has given the place of an incarnation to another of its name.
func Replacement(v *layouts.View, self ring.ID, to ring.Member, old ring.ID) (layouts.State, error) {
	return replacement(v, self, to, old)
}

// Departed is why an incarnation takes no part in the cluster any more, and who took its place if somebody did; empty if it does take part.
func Departed(t ring.Table, v *layouts.View, self ring.Member) (why string, by ring.ID) {
	return departed(t, v, self)
}
