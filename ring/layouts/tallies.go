package layouts

import (
	"cmp"
	"sync/atomic"

	"github.com/quorate/quorate/ring"
)

// tallies keep the groups of a view's sets from the first time that somebody asks for them: during a change every request does. They depend on nothing but what the digest
// covers.
//
// It is one pointer for each set: 32 KiB for 256 partitions, 512 KiB for the most; made when first asked for. And what is asked for: some 300 bytes for a set with two groups.
type tallies struct {
	partitions int
	sets       atomic.Pointer[[]atomic.Pointer[tally]]
	differ     atomic.Pointer[[]atomic.Uint32] // by partition: View.changed and bit 0, 0 as long as nobody has asked
}

type tally struct{ writes, reads []Group }

func newTallies(partitions int) *tallies { return &tallies{partitions: partitions} }

// at is where the set's groups are kept; nil if there is no such set.
func (t *tallies) at(p ring.Partition, n int) *atomic.Pointer[tally] {
	if t == nil || int(p) >= t.partitions || n < 1 || n > ring.MaxReplicas {
		return nil
	}
	sets := t.sets.Load()
	if sets == nil {
		made := make([]atomic.Pointer[tally], t.partitions*ring.MaxReplicas)
		if sets = &made; !t.sets.CompareAndSwap(nil, sets) {
			sets = t.sets.Load()
		}
	}
	return &(*sets)[int(p)*ring.MaxReplicas+n-1]
}

// changedAt is where View.changed keeps what it has found; nil if there is no such partition. 16 KiB at the most, made when first asked for.
func (t *tallies) changedAt(p ring.Partition) *atomic.Uint32 {
	if t == nil || int(p) >= t.partitions {
		return nil
	}
	differ := t.differ.Load()
	if differ == nil {
		made := make([]atomic.Uint32, t.partitions)
		if differ = &made; !t.differ.CompareAndSwap(nil, differ) {
			differ = t.differ.Load()
		}
	}
	return &(*differ)[p]
}

// tally computes the groups of a set, once but for who asks at the same moment.
func (v *View) tally(p ring.Partition, n int) *tally {
	kept := v.tallies.at(p, n)
	if kept != nil {
		if t := kept.Load(); t != nil {
			return t
		}
	}
	t := &tally{
		writes: v.groups(p, n, func(live) bool { return true }),
		reads:  v.groups(p, n, func(l live) bool { return l.maximal }),
	}
	if kept != nil {
		kept.Store(t)
	}
	return t
}

// After is v, which follows prev. If both have the same digest, it keeps what prev has computed of groups: reports and records, of which a change makes thousands, are other
// views with the same groups. prev may be nil.
func (v *View) After(prev *View) *View {
	if prev == nil || prev.digest != v.digest || len(v.live) == 0 {
		return v
	}
	next := *v
	next.tallies = prev.tallies
	return &next
}

// findAway finds, for each live layout, who does not count for r there any more, and which namesake is in its place.
func (v *View) findAway() {
	if len(v.live) == 1 {
		return // what nobody has heard of has not happened
	}
	newest := v.rows()
	for i := range v.live {
		l := &v.live[i]
		for _, r := range l.version.rows {
			if r.Standing != Owns {
				continue
			}
			known := newest[r.ID]
			if known.Standing != Replaced && known.Losses <= r.Losses {
				continue
			}
			if l.away == nil {
				l.away = make(map[ring.ID]ring.ID)
			}
			l.away[r.ID] = ring.ID{}
			if known.Standing == Replaced {
				l.away[r.ID] = l.namesake(known, newest)
			}
		}
	}
}

// rows are those of all live layouts.
func (v *View) rows() map[ring.ID]Row {
	rows := make(map[ring.ID]Row)
	for _, l := range v.live {
		for _, r := range l.version.rows {
			if known, ok := rows[r.ID]; ok {
				r = r.join(known)
			}
			rows[r.ID] = r
		}
	}
	return rows
}

// stands reports whether id is in somebody's place already.
func (l live) stands(id ring.ID) bool {
	for _, namesake := range l.away {
		if namesake == id {
			return true
		}
	}
	return false
}

// namesake is the incarnation that has the place of a replaced one in the newest rows, or had it and leaves; zero if there is none, or it has a place in l already. If two sides
// of a split have both replaced it, it is the one that owns, and of two the one with the least ID: all who act on this view choose the same.
func (l live) namesake(replaced Row, newest map[ring.ID]Row) (id ring.ID) {
	for _, r := range newest {
		free := r.Name == replaced.Name && r.Standing <= Leaves && l.version.Standing(r.ID) != Owns && !l.stands(r.ID)
		if free && (id.IsZero() || cmp.Or(cmp.Compare(r.Standing, newest[id].Standing), r.ID.Compare(id)) < 0) {
			id = r.ID
		}
	}
	return id
}
