package layouts

import (
	"math/bits"
	"slices"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/ring"
)

// What follows is decided for the top layout only: while two changes that met are not one yet, nobody syncs for either.

// Fence are the unremoved members of the older live layouts that have not recorded the top one. While there are any, no exchange that a gaining owner opens
// counts.
func (v *View) Fence() []ring.ID {
	if v.top < 0 {
		return nil
	}
	top := v.live[v.top]
	return top.lacking(v.older(v.top), top.recorded)
}

// Gaining is the largest n of which self has to fetch the set (p, n) before it may report the partition synced in the top layout: it owns the set there, and in some
// older live layout the set has other owners, or one of them has lost something since. 0: there is nothing to fetch.
//
// That is asked of an owner that stays as well as of one that is new: see invariant 6.
func (v *View) Gaining(self ring.ID, p ring.Partition) int {
	if v.top < 0 || v.live[v.top].whole {
		return 0
	}
	rank := slices.Index(v.live[v.top].place.Owners(p, ring.MaxReplicas), self)
	if rank < 0 {
		return 0
	}
	// It owns the sets with more than rank owners, so what counts is the largest n of all, if it is one of those.
	if n := bits.Len32(uint32(v.changed(p))) - 1; n > rank {
		return n
	}
	return 0
}

// nset is a set of numbers of replicas: bit n for n.
type nset uint32

// changed are the n of which the set (p, n) has to be fetched in the top layout by all its owners.
func (v *View) changed(p ring.Partition) (ns nset) {
	kept := v.tallies.changedAt(p)
	if kept != nil {
		if known := kept.Load(); known != 0 {
			return nset(known) &^ 1
		}
	}
	for n := 1; n <= ring.MaxReplicas; n++ {
		owners := v.live[v.top].place.Owners(p, n)
		if slices.ContainsFunc(v.live, func(l live) bool { return !sameMembers(l.place.Owners(p, n), owners) || v.lossSince(l, owners) }) {
			ns |= 1 << n
		}
	}
	if kept != nil {
		kept.Store(uint32(ns | 1)) // bit 0: it is known
	}
	return ns
}

// lossSince reports whether one of ids has lost something that layout l does not know of.
func (v *View) lossSince(l live, ids []ring.ID) bool {
	return slices.ContainsFunc(ids, func(id ring.ID) bool { return l.version.losses(id) < v.losses(id) })
}

// Intact reports whether id owns under a maximal whole layout that knows of all its losses: it has lost nothing of what it ever promised to keep.
func (v *View) Intact(id ring.ID) bool {
	return slices.ContainsFunc(v.live, func(l live) bool {
		return l.maximal && l.version.Standing(id) == Owns && !v.lossSince(l, []ring.ID{id}) && !v.Lost(id)
	})
}

// losses is how many losses of id are known.
func (v *View) losses(id ring.ID) uint64 {
	var most uint64
	for _, l := range v.live {
		most = max(most, l.version.losses(id))
	}
	return most
}

// Peers are those with whom self must complete an exchange of the partition, both ways: the unremoved owners, in all older live layouts, of the sets that it is
// gaining. It is nil if self is not gaining.
func (v *View) Peers(self ring.ID, p ring.Partition) []ring.ID {
	n := v.Gaining(self, p)
	if n == 0 {
		return nil
	}
	var peers []ring.ID
	for i, l := range v.live {
		if i == v.top {
			continue
		}
		for _, id := range l.place.Owners(p, n) {
			if id != self && !slices.Contains(peers, id) && !v.Lost(id) {
				peers = append(peers, id)
			}
		}
	}
	return peers
}

// MaySync reports whether self may report the partition synced in the top layout (State.Synced). exchanged are the peers with whom an exchange of the partition was
// completed that both sides opened under a view with this top and with nobody left in its Fence.
func (v *View) MaySync(self ring.ID, p ring.Partition, exchanged []ring.ID) bool {
	if v.top < 0 || v.live[v.top].whole || v.live[v.top].version.Standing(self) != Owns {
		return false
	}
	if v.Gaining(self, p) == 0 {
		return true
	}
	// The fence last: it takes a look at all rows, and this is asked of every partition again and again.
	return !slices.ContainsFunc(v.Peers(self, p), func(id ring.ID) bool { return !slices.Contains(exchanged, id) }) && len(v.Fence()) == 0
}

// Reported reports whether self has reported the partition synced in the top layout.
func (v *View) Reported(self ring.ID, p ring.Partition) bool {
	if v.top < 0 {
		return false
	}
	top := v.live[v.top]
	row := top.version.index(self)
	return top.whole || row >= 0 && len(top.synced) > 0 && top.synced[row].has(int(p))
}

// MayBury are the layouts below which everything is dead: whole, and every unremoved member of it and of what is below has recorded that it starts and answers no
// read there (the third tracker).
func (v *View) MayBury() []Hash {
	var out []Hash
	for i, l := range v.live {
		below := slices.ContainsFunc(v.live, func(k live) bool { return k.version.below(l.version) })
		if l.maximal && below && (len(v.unmoved(i)) == 0 || mutation.NoThirdTracker) {
			out = append(out, l.version.hash)
		}
	}
	return out
}

// unmoved are those whose word is missing before what is below layout i may die.
func (v *View) unmoved(i int) []ring.ID {
	l := v.live[i]
	ids := v.older(i)
	for _, id := range l.version.Owners() {
		if !slices.Contains(ids, id) && !v.Lost(id) {
			ids = append(ids, id)
		}
	}
	return l.lacking(ids, l.moved)
}

// Keeps reports whether id owns the set (p, n) in some live layout, or is in the place of an owner there that it has replaced.
func (v *View) Keeps(id ring.ID, p ring.Partition, n int) bool {
	return slices.ContainsFunc(v.live, func(l live) bool { return slices.Contains(l.owners(p, n), id) })
}

// MayDrop reports whether a node that holds the set (p, n) without owning it may drop it: no live layout gives it the set, and an exchange under this
// view has shown every unremoved owner of it in every maximal whole layout to hold all that this node does.
func (v *View) MayDrop(self ring.ID, p ring.Partition, n int, shown []ring.ID) bool {
	if v.Keeps(self, p, n) || mutation.HoldForever {
		return false
	}
	receivers := v.Receivers(p, n)
	return len(receivers) > 0 && !slices.ContainsFunc(receivers, func(id ring.ID) bool { return !slices.Contains(shown, id) })
}

// Receivers are the unremoved owners of the set (p, n) in the maximal whole layouts.
func (v *View) Receivers(p ring.Partition, n int) []ring.ID {
	var ids []ring.ID
	for _, l := range v.live {
		if !l.maximal {
			continue
		}
		for _, id := range l.place.Owners(p, n) {
			if !slices.Contains(ids, id) && !v.Lost(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// MayExit reports whether id, which has left, is no member of any live layout: once it has dropped what it holds nothing of it is needed.
func (v *View) MayExit(id ring.ID) bool {
	if v.top < 0 || v.live[v.top].version.Standing(id) < Leaves {
		return false
	}
	return !slices.ContainsFunc(v.live, func(l live) bool { return l.version.Standing(id) == Owns })
}
