package layouts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/ring"
)

// MaxLayouts bounds the layouts of a State, and so its size. MaxLive is what changes keep to by themselves (View.MayChange); sides of a split each have
// their own, and losses of disks are let in beyond it, up to MaxLosses.
const (
	MaxLive    = 4
	MaxLosses  = 32
	MaxLayouts = 128
)

// State is all that a node knows about layouts: what it keeps on disk and tells. It is an immutable value. States form a lattice: facts are only added, and what
// a buried layout leaves behind is forgotten for good, in whatever order it is heard.
//
// The zero State knows nothing and is the neutral element of Merge.
type State struct {
	layouts []layout // sorted by hash, none below a buried one
}

// layout is what is known of one layout. Each fact is there for one stage of its life, and says nothing any more, and is forgotten, in the next.
type layout struct {
	version Version
	// Until it is whole: the rows that have it on their disk, and per row the partitions that it reported synced.
	recorded set
	synced   []set
	// Whole, because every owner has reported every partition synced or because it founded the cluster. From then on: the rows that start no read below it, nor
	// answer one.
	whole bool
	moved set
	// Buried: whatever is below it is dead.
	buried bool
}

// Found is the state of a cluster that begins with v: its first layout is whole, and there is nothing to wait for.
func Found(v Version) State {
	return State{layouts: []layout{{version: v, whole: true, buried: true}}}
}

// Merge is the least state that knows all that a and b know. It fails with ErrForeign, and with ErrFull for more than MaxLayouts.
func Merge(a, b State) (State, error) {
	all := make([]layout, 0, max(len(a.layouts), len(b.layouts)))
	x, y := a.layouts, b.layouts
	for len(x) > 0 && len(y) > 0 {
		switch {
		case x[0].version.hash < y[0].version.hash:
			all, x = append(all, x[0]), x[1:]
		case x[0].version.hash > y[0].version.hash:
			all, y = append(all, y[0]), y[1:]
		default:
			all, x, y = append(all, x[0].join(y[0])), x[1:], y[1:]
		}
	}
	all = append(append(all, x...), y...)
	for _, l := range all {
		if l.version.partitions != all[0].version.partitions {
			return State{}, fmt.Errorf("%w: %d and %d", ErrForeign, l.version.partitions, all[0].version.partitions)
		}
	}
	return normal(all)
}

// join merges what is known of one layout.
func (l layout) join(other layout) layout {
	l.recorded = l.recorded.union(other.recorded)
	l.synced = joinSynced(l.synced, other.synced)
	l.whole = l.whole || other.whole
	l.moved = l.moved.union(other.moved)
	l.buried = l.buried || other.buried
	return l.settle()
}

func joinSynced(a, b []set) []set {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := slices.Clone(a)
	for i := range out {
		out[i] = out[i].union(b[i])
	}
	return out
}

// settle makes a layout whole if all its owners have reported everything, and forgets what is said otherwise now.
func (l layout) settle() layout {
	l.whole = l.whole || l.allSynced()
	if l.whole {
		l.recorded, l.synced = nil, nil
	}
	if l.buried {
		l.moved = nil
	}
	return l
}

func (l layout) allSynced() bool {
	if len(l.synced) == 0 {
		return false
	}
	owners := 0
	for i, r := range l.version.rows {
		if r.Standing != Owns {
			continue
		}
		owners++
		if l.synced[i].len() < l.version.partitions {
			return false
		}
	}
	return owners > 0
}

// normal forgets what is dead: everything below a buried layout. A buried layout that is forgotten takes nothing with it that the one above it does not.
func normal(all []layout) (State, error) {
	kept := make([]layout, 0, len(all))
	for _, l := range all {
		dead := slices.ContainsFunc(all, func(k layout) bool { return k.buried && l.version.below(k.version) })
		if !dead {
			kept = append(kept, l)
		}
	}
	if len(kept) > MaxLayouts {
		return State{}, fmt.Errorf("%w: %d layouts", ErrFull, len(kept))
	}
	return State{layouts: kept}, nil
}

// Knows reports whether s has everything that other has.
func (s State) Knows(other State) bool {
	merged, err := Merge(s, other)
	return err == nil && merged.Equal(s)
}

// Equal reports whether both know the same.
func (s State) Equal(other State) bool {
	return slices.EqualFunc(s.layouts, other.layouts, layout.equal)
}

func (l layout) equal(other layout) bool {
	return l.version.hash == other.version.hash && l.whole == other.whole && l.buried == other.buried && slices.Equal(l.recorded, other.recorded) &&
		slices.Equal(l.moved, other.moved) && slices.EqualFunc(l.synced, other.synced, slices.Equal[set])
}

// change is s with the layout at i replaced.
func (s State) change(i int, l layout) State {
	s.layouts = slices.Clone(s.layouts)
	s.layouts[i] = l
	return s
}

// with is s with a layout that it does not have yet.
func (s State) with(v Version) (State, error) {
	return Merge(s, State{layouts: []layout{{version: v}}})
}

// Record is s with what self may say as soon as this state is on its disk and nothing that it let in under an older one still runs: it has
// recorded every layout that it has a row in, and starts and answers no read below the maximal whole ones.
func (s State) Record(self ring.ID) State {
	for i, l := range s.layouts {
		row, size := l.version.index(self), len(l.version.rows)
		switch {
		case row < 0:
		case !l.whole && !l.recorded.has(row):
			l.recorded = l.recorded.with(row, size)
			s = s.change(i, l)
		case l.whole && !l.buried && !l.moved.has(row) && s.maximalWhole(l):
			l.moved = l.moved.with(row, size)
			s = s.change(i, l)
		}
	}
	return s
}

// maximalWhole reports whether no whole layout is above l, which is whole.
func (s State) maximalWhole(l layout) bool {
	return !slices.ContainsFunc(s.layouts, func(k layout) bool { return k.whole && l.version.below(k.version) })
}

// Synced is s with self's report that it holds all that v gives it in the partition. Only View.MaySync says when it may report that.
func (s State) Synced(self ring.ID, h Hash, p ring.Partition) State {
	i := slices.IndexFunc(s.layouts, func(l layout) bool { return l.version.hash == h })
	if i < 0 || s.layouts[i].whole {
		return s
	}
	l := s.layouts[i]
	row := l.version.index(self)
	if row < 0 || l.version.rows[row].Standing != Owns || int(p) >= l.version.partitions {
		panic(fmt.Sprintf("layouts: %s reports partition %d synced in %v", self.Short(), p, l.version))
	}
	synced := make([]set, len(l.version.rows))
	copy(synced, l.synced)
	synced[row] = synced[row].with(int(p), l.version.partitions)
	l.synced = synced
	return s.change(i, l.settle())
}

// Bury is s without the layouts below h. Only View.MayBury says when it may be done.
func (s State) Bury(h Hash) State {
	i := slices.IndexFunc(s.layouts, func(l layout) bool { return l.version.hash == h })
	if i < 0 || s.layouts[i].buried {
		return s
	}
	l := s.layouts[i]
	l.buried = true
	next, err := normal(s.change(i, l.settle()).layouts)
	if err != nil {
		panic(err) // fewer layouts than before are not too many
	}
	return next
}

// String is one line for each layout.
func (s State) String() string {
	var b strings.Builder
	for _, l := range s.layouts {
		fmt.Fprintf(&b, "%v", l.version)
		if l.whole {
			b.WriteString(" whole")
		}
		if l.buried {
			b.WriteString(" buried")
		}
		l.describe(&b, "recorded", func(row int) bool { return l.recorded.has(row) })
		l.describe(&b, "moved", func(row int) bool { return l.moved.has(row) })
		l.describe(&b, "synced", func(row int) bool { return len(l.synced) > 0 && l.synced[row].len() == l.version.partitions })
		b.WriteByte('\n')
	}
	return b.String()
}

func (l layout) describe(b *strings.Builder, what string, has func(row int) bool) {
	sep := " " + what + "="
	for i, r := range l.version.rows {
		if has(i) {
			b.WriteString(sep + r.Name)
			sep = ","
		}
	}
}
