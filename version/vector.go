package version

import (
	"slices"
	"strings"
)

// Vector is a set of dots: the one causal type, used for clocks, for what a record has seen, and for tokens.
// The zero value is the empty set.
//
// Methods with a pointer receiver change the set in place. The receiver owns its memory and never keeps a part of
// an argument; copying a Vector by assignment shares memory, so Clone before changing a copy.
type Vector struct {
	entries []Entry // sorted by actor, each in normal form
}

// Entries is a view of the set, sorted by actor. The caller must not change it, nor keep it over a change of v.
func (v Vector) Entries() []Entry { return v.entries }

// Len is the number of actors that v has dots of.
func (v Vector) Len() int { return len(v.entries) }

// IsEmpty reports whether v has no dots.
func (v Vector) IsEmpty() bool { return len(v.entries) == 0 }

// Entry returns what v says of one actor; false if nothing. Detached is a view, as for Entries.
func (v Vector) Entry(a Actor) (Entry, bool) {
	if i, ok := v.find(a); ok {
		return v.entries[i], true
	}
	return Entry{}, false
}

// Covers reports whether d is in the set. It does not allocate.
func (v Vector) Covers(d Dot) bool {
	i, ok := v.find(d.Actor)
	return ok && v.entries[i].covers(d.Counter)
}

// CoversAll reports whether every dot of o is in the set. It does not allocate.
func (v Vector) CoversAll(o Vector) bool {
	i := 0
	for j := range o.entries {
		for i < len(v.entries) && v.entries[i].Actor.Compare(o.entries[j].Actor) < 0 {
			i++
		}
		if i == len(v.entries) || v.entries[i].Actor != o.entries[j].Actor || !v.entries[i].coversAll(&o.entries[j]) {
			return false
		}
	}
	return true
}

// Equal reports whether v and o are the same set.
func (v Vector) Equal(o Vector) bool {
	return slices.EqualFunc(v.entries, o.entries, func(a, b Entry) bool { return a.equal(&b) })
}

// Clone returns a copy that shares no memory with v.
func (v Vector) Clone() Vector {
	return v.grown(0)
}

// String writes the set as {actor:base+intervals actor:base …}, in the order of actors.
func (v Vector) String() string {
	var s strings.Builder
	s.WriteByte('{')
	for i := range v.entries {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(v.entries[i].String())
	}
	s.WriteByte('}')
	return s.String()
}

// Add puts one dot (counter at least 1) into the set.
func (v *Vector) Add(d Dot) {
	if d.Counter > 0 {
		v.at(d.Actor).add(d.Counter)
	}
}

// AddBase puts every dot of an actor up to the counter base into the set.
func (v *Vector) AddBase(a Actor, base uint64) {
	if base > 0 {
		v.at(a).raise(base)
	}
}

// Remove takes one dot out of the set, and nothing else: dots above it become detached.
func (v *Vector) Remove(d Dot) {
	i, ok := v.find(d.Actor)
	if !ok || d.Counter == 0 {
		return
	}
	v.entries[i].remove(d.Counter)
	if v.entries[i].isEmpty() {
		v.entries = slices.Delete(v.entries, i, i+1)
	}
}

// Merge puts every dot of o into the set. It takes time linear in both and allocates only for what is new.
func (v *Vector) Merge(o Vector) {
	if missing := v.missing(o); missing > 0 {
		v.entries = slices.Grow(v.entries, missing)
	}
	v.merge(o)
}

// MergeEntry puts every dot of an entry of another set into this one.
func (v *Vector) MergeEntry(e Entry) {
	if !e.isEmpty() {
		v.at(e.Actor).merge(&e)
	}
}

// StripBases takes out what the bases of clock can restore: after it, v and those bases together are what they
// were. Bases only, because a clock may forget detached dots and never lowers a base.
func (v *Vector) StripBases(clock Vector) {
	kept, j := v.entries[:0], 0
	for i := range v.entries {
		e := v.entries[i]
		for j < len(clock.entries) && clock.entries[j].Actor.Compare(e.Actor) < 0 {
			j++
		}
		if j < len(clock.entries) && clock.entries[j].Actor == e.Actor {
			e.strip(clock.entries[j].Base)
		}
		if !e.isEmpty() {
			kept = append(kept, e)
		}
	}
	clear(v.entries[len(kept):])
	v.entries = kept
}

// Limit forgets detached intervals until at most limit are left in the whole set, and returns a bound of what it
// forgot: of each actor that lost some, every dot up to the highest. Each time it is the highest interval of the actor
// with the most. Forgetting under-reports, which is safe for a clock that is asked what is here (a dot is sent or
// checked again), but not if it is asked what is not; a record's vector must never be limited, as it keeps dead dots dead.
func (v *Vector) Limit(limit int) (bound Vector) {
	total := 0
	for i := range v.entries {
		total += len(v.entries[i].Detached)
	}
	for ; total > limit && total > 0; total-- {
		most := 0
		for i := range v.entries {
			if len(v.entries[i].Detached) > len(v.entries[most].Detached) {
				most = i
			}
		}
		e := &v.entries[most]
		bound.AddBase(e.Actor, e.Highest())
		e.Detached = e.Detached[:len(e.Detached)-1]
	}
	if !bound.IsEmpty() {
		v.entries = slices.DeleteFunc(v.entries, func(e Entry) bool { return e.isEmpty() })
	}
	return bound
}

// linear is the number of entries up to which a scan beats a binary search.
const linear = 8

// find returns where the entry of a is, or would be.
func (v Vector) find(a Actor) (int, bool) {
	lo, hi := 0, len(v.entries)
	for hi-lo > linear {
		mid := int(uint(lo+hi) >> 1)
		if v.entries[mid].Actor.Compare(a) < 0 {
			lo = mid + 1
		} else {
			hi = mid + 1
		}
	}
	for lo < hi && v.entries[lo].Actor.Compare(a) < 0 {
		lo++
	}
	return lo, lo < len(v.entries) && v.entries[lo].Actor == a
}

// at returns the entry of a, a new one if there was none; the caller adds a dot to it.
func (v *Vector) at(a Actor) *Entry {
	i, ok := v.find(a)
	if !ok {
		v.entries = slices.Insert(v.entries, i, Entry{Actor: a})
	}
	return &v.entries[i]
}

// missing counts the actors of o that v has nothing of.
func (v Vector) missing(o Vector) int {
	n, i := 0, 0
	for j := range o.entries {
		for i < len(v.entries) && v.entries[i].Actor.Compare(o.entries[j].Actor) < 0 {
			i++
		}
		if i == len(v.entries) || v.entries[i].Actor != o.entries[j].Actor {
			n++
		}
	}
	return n
}

// merge merges from the highest actor down, so that every entry moves at most once. There must be room.
func (v *Vector) merge(o Vector) {
	i, j := len(v.entries)-1, len(o.entries)-1
	v.entries = v.entries[:len(v.entries)+v.missing(o)]
	for k := len(v.entries) - 1; j >= 0; k-- {
		side := 1
		if i >= 0 {
			side = o.entries[j].Actor.Compare(v.entries[i].Actor)
		}
		switch {
		case side > 0:
			v.entries[k] = o.entries[j].clone()
			j--
		case side == 0:
			v.entries[i].merge(&o.entries[j])
			v.move(k, i)
			i--
			j--
		default:
			v.move(k, i)
			i--
		}
	}
}

// move saves the write where nothing moves, which is most often.
func (v *Vector) move(to, from int) {
	if to != from {
		v.entries[to] = v.entries[from]
	}
}

// union returns the dots of both, in memory of its own.
func union(a, b Vector) Vector {
	out := a.grown(a.missing(b))
	out.merge(b)
	return out
}

// grown returns a copy in memory of its own, with room for more entries.
func (v Vector) grown(room int) Vector {
	if len(v.entries)+room == 0 {
		return Vector{}
	}
	out := Vector{make([]Entry, len(v.entries), len(v.entries)+room)}
	copy(out.entries, v.entries)
	for i := range out.entries {
		if e := &out.entries[i]; cap(e.Detached) > 0 {
			e.Detached = slices.Clone(e.Detached)
		}
	}
	return out
}

// bases returns the dots of v less the detached ones.
func (v Vector) bases() Vector {
	var out Vector
	for i := range v.entries {
		if e := &v.entries[i]; e.Base > 0 {
			if out.entries == nil {
				out.entries = make([]Entry, 0, len(v.entries)-i)
			}
			out.entries = append(out.entries, Entry{Actor: e.Actor, Base: e.Base})
		}
	}
	return out
}

// restoredBy reports whether StripBases would leave nothing of v.
func (v Vector) restoredBy(clock Vector) bool { return v.restoredWith(clock, Dot{}) }

// restoredWith is restoredBy for a clock that has one dot more, which follows its actor's base.
func (v Vector) restoredWith(clock Vector, next Dot) bool {
	j := 0
	for i := range v.entries {
		e := &v.entries[i]
		for j < len(clock.entries) && clock.entries[j].Actor.Compare(e.Actor) < 0 {
			j++
		}
		base := uint64(0)
		if j < len(clock.entries) && clock.entries[j].Actor == e.Actor {
			base = clock.entries[j].Base
		}
		if e.Actor == next.Actor {
			base = max(base, next.Counter)
		}
		highest := e.Base
		if n := len(e.Detached); n > 0 {
			highest = e.Detached[n-1].Hi
		}
		if highest > base {
			return false
		}
	}
	return true
}
