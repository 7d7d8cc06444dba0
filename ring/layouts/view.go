package layouts

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/quorate/quorate/ring"
)

// Placement says who owns what under one layout; *ring.Layout is one.
type Placement interface {
	// Owners are the owners of p for n replicas, in order of preference. Those for a smaller n are a prefix of those for a larger one.
	Owners(p ring.Partition, n int) []ring.ID
}

// View is what a state means: which layouts count, and what may be done. It is immutable and safe for concurrent use. A node acts on one view at a
// time, that of the state on its disk.
type View struct {
	state   State
	live    []live // sorted by hash
	top     int    // index of the layout above all others, -1 if there is none
	digest  uint64
	tallies *tallies
}

// live is a layout that counts for writes.
type live struct {
	layout
	place   Placement
	maximal bool // whole, and no whole layout is above it: it counts for reads
	// away are the owners that do not count for r: replaced, or they have lost something since. Each has the namesake that is in its place for w, or is zero.
	away map[ring.ID]ring.ID
}

// owners are those that count for w in the set (p, n): the layout's own, but a namesake in the place of whoever it has replaced since.
func (l live) owners(p ring.Partition, n int) []ring.ID {
	owners := l.place.Owners(p, n)
	if !slices.ContainsFunc(owners, func(id ring.ID) bool { return !l.away[id].IsZero() }) {
		return owners
	}
	owners = slices.Clone(owners)
	for i, id := range owners {
		if namesake := l.away[id]; !namesake.IsZero() {
			owners[i] = namesake
		}
	}
	return owners
}

// NewView computes the view of s. place is called once for each live layout; Version.Place computes a placement, which is worth keeping.
func NewView(s State, place func(Version) Placement) *View {
	v := &View{state: s, live: make([]live, len(s.layouts)), top: -1}
	var b []byte
	for i, l := range s.layouts {
		v.live[i] = live{layout: l, place: place(l.version), maximal: l.whole && s.maximalWhole(l)}
		above := !slices.ContainsFunc(s.layouts, func(other layout) bool { return !l.version.Covers(other.version) })
		if above {
			v.top = i
		}
		b = binary.BigEndian.AppendUint64(b, uint64(l.version.hash))
		if v.live[i].maximal {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	v.digest = xxhash.Sum64(b)
	v.findAway()
	v.tallies = newTallies(v.Partitions())
	return v
}

// State is what the view was computed from.
func (v *View) State() State { return v.state }

// Digest covers the live layouts and which of them are maximal whole ones. Every request between nodes carries the sender's; a replica serves only its own, and
// answers another with its state, so that the two merge (invariant 3).
func (v *View) Digest() uint64 { return v.digest }

// Live are the versions that count for writes, sorted by hash.
func (v *View) Live() []Version {
	versions := make([]Version, len(v.live))
	for i, l := range v.live {
		versions[i] = l.version
	}
	return versions
}

// Top is the version above all others: the one that owners sync for, and that further changes start from. There is none while changes that have met are not
// one yet (Unify), nor before the cluster.
func (v *View) Top() (Version, bool) {
	if v.top < 0 {
		return Version{}, false
	}
	return v.live[v.top].version, true
}

// Settled reports whether nothing is under way: one live layout, and it is whole.
func (v *View) Settled() bool { return len(v.live) == 1 && v.live[0].whole }

// Group is the owners of a set in one layout, in order of preference. In the place of an incarnation that was replaced since is the namesake that has its place in the newest
// layout: it counts for w, and not for r (invariant 8).
type Group struct {
	Owners []ring.ID // each counts for w
	Synced []ring.ID // those of the layout's own that have lost nothing since it was whole: only they count for r
}

// WriteGroups are the owners of the set (p, n) in every live layout: a write needs its w acknowledgements in each. Equal groups are listed once. There may
// be more than a tally takes, while sides of a split that both changed have just met: then the request must be refused. The caller must not change what it gets.
func (v *View) WriteGroups(p ring.Partition, n int) []Group { return v.tally(p, n).writes }

// ReadGroups are the owners of the set (p, n) in every maximal whole layout: a read needs r answers in each. The caller must not change what it gets.
func (v *View) ReadGroups(p ring.Partition, n int) []Group { return v.tally(p, n).reads }

func (v *View) groups(p ring.Partition, n int, counts func(live) bool) []Group {
	var groups []Group
	for _, l := range v.live {
		if !counts(l) {
			continue
		}
		own := l.place.Owners(p, n)
		g := Group{Owners: l.owners(p, n), Synced: own}
		if isAway := func(id ring.ID) bool { _, away := l.away[id]; return away }; slices.ContainsFunc(own, isAway) {
			g.Synced = slices.DeleteFunc(slices.Clone(own), isAway)
		}
		if !slices.ContainsFunc(groups, func(other Group) bool {
			return sameMembers(other.Owners, g.Owners) && sameMembers(other.Synced, g.Synced)
		}) {
			groups = append(groups, g)
		}
	}
	return groups
}

func sameMembers(a, b []ring.ID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id ring.ID) bool { return !slices.Contains(b, id) })
}

// Lost reports whether id is held for lost, so that nothing waits for it: replaced, forced out, or removed, once a majority of each maximal whole layout has
// recorded that or a layout without it is whole.
func (v *View) Lost(id ring.ID) bool {
	removed := false
	for _, l := range v.live {
		standing := l.version.Standing(id)
		if standing > Removed || standing == Removed && l.whole {
			return true
		}
		removed = removed || standing == Removed
	}
	if !removed {
		return false
	}
	for _, l := range v.live {
		if owners := l.version.Owners(); l.maximal && 2*len(v.unaware(owners, id)) >= len(owners) {
			return false
		}
	}
	return true
}

// unaware are those of ids that have not recorded that id is removed.
func (v *View) unaware(ids []ring.ID, id ring.ID) []ring.ID {
	var out []ring.ID
	for _, other := range ids {
		aware := slices.ContainsFunc(v.live, func(l live) bool {
			return l.version.Standing(id) >= Removed && l.recorded.has(l.version.index(other))
		})
		if !aware {
			out = append(out, other)
		}
	}
	return out
}

// Member reports whether id owns under some live layout and is not lost. Only members propose layouts; others ask one.
func (v *View) Member(id ring.ID) bool {
	return slices.ContainsFunc(v.live, func(l live) bool { return l.version.Standing(id) == Owns }) && !v.Lost(id)
}

// older are the unremoved members of the live layouts that are below i.
func (v *View) older(i int) []ring.ID {
	var ids []ring.ID
	for _, r := range v.live[i].version.rows {
		owned := slices.ContainsFunc(v.live, func(l live) bool {
			return l.version.below(v.live[i].version) && l.version.Standing(r.ID) == Owns
		})
		if owned && !v.Lost(r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// lacking are those of ids whose row in v's layout i is not in the set.
func (l layout) lacking(ids []ring.ID, in set) []ring.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id ring.ID) bool { return in.has(l.version.index(id)) })
}

// Partitions is Q, the same in all layouts; 0 before the cluster.
func (v *View) Partitions() int {
	if len(v.live) == 0 {
		return 0
	}
	return v.live[0].version.partitions
}

// Sole is the placement of the only live layout if it is whole and nothing was lost since: then its owners are the one group of every set, all synced. nil otherwise.
func (v *View) Sole() Placement {
	if len(v.live) != 1 || !v.live[0].whole {
		return nil
	}
	return v.live[0].place
}

// Members are the unremoved incarnations that own under some live layout, sorted.
func (v *View) Members() []ring.ID {
	var ids []ring.ID
	for _, l := range v.live {
		for _, r := range l.version.rows {
			if r.Standing == Owns && !slices.Contains(ids, r.ID) && !v.Lost(r.ID) {
				ids = append(ids, r.ID)
			}
		}
	}
	slices.SortFunc(ids, ring.ID.Compare)
	return ids
}

// Row is what is known of an incarnation over all live layouts; false if none knows it.
func (v *View) Row(id ring.ID) (row Row, known bool) {
	for _, l := range v.live {
		i := l.version.index(id)
		switch {
		case i < 0:
		case known:
			row = row.join(l.version.rows[i])
		default:
			row, known = l.version.rows[i], true
		}
	}
	return row, known
}

// Least is the least n for which id owns the set (p, n) in some live layout, its own place or that of whom it has replaced, and so owns all for larger n; 0 if it owns none.
func (v *View) Least(id ring.ID, p ring.Partition) int {
	least := 0
	for _, l := range v.live {
		if rank := slices.Index(l.owners(p, ring.MaxReplicas), id); rank >= 0 && (least == 0 || rank+1 < least) {
			least = rank + 1
		}
	}
	return least
}

// Holds reports whether id has what it owns of the set (p, n): it counts for reads of it, or has reported the partition synced in the top layout.
func (v *View) Holds(id ring.ID, p ring.Partition, n int) bool {
	if slices.ContainsFunc(v.ReadGroups(p, n), func(g Group) bool { return slices.Contains(g.Synced, id) }) {
		return true
	}
	return v.top >= 0 && v.Reported(id, p) && slices.Contains(v.live[v.top].place.Owners(p, n), id)
}

// Owners are the incarnations that own under some live layout, those that are lost included, sorted.
func (v *View) Owners() []ring.ID {
	var ids []ring.ID
	for _, l := range v.live {
		for _, r := range l.version.rows {
			if r.Standing == Owns && !slices.Contains(ids, r.ID) {
				ids = append(ids, r.ID)
			}
		}
	}
	slices.SortFunc(ids, ring.ID.Compare)
	return ids
}

// Serves reports whether id owns under a maximal whole layout: its reads may count.
func (v *View) Serves(id ring.ID) bool {
	return slices.ContainsFunc(v.live, func(l live) bool { return l.maximal && l.version.Standing(id) == Owns })
}

// Unsynced are the owners of the top layout that have not reported everything.
func (v *View) Unsynced() []ring.ID {
	if v.top < 0 || v.live[v.top].whole {
		return nil
	}
	return v.unsynced()
}
