package version

import (
	"fmt"
	"slices"
	"strings"
)

// Interval is a run of counters, both ends included.
type Interval struct{ Lo, Hi uint64 }

// String writes a single counter as "5" and a run as "5-9".
func (iv Interval) String() string {
	if iv.Lo == iv.Hi {
		return fmt.Sprint(iv.Lo)
	}
	return fmt.Sprintf("%d-%d", iv.Lo, iv.Hi)
}

// Entry is what a Vector says of one actor: every counter from 1 to Base, and those of the intervals in Detached.
// Normal form: Detached is sorted, its intervals are neither empty nor adjacent, the first starts above Base+1, and
// Base 0 goes with at least one interval. So equal sets have equal entries, and Base+1 is always a hole.
type Entry struct {
	Actor    Actor
	Base     uint64
	Detached []Interval
}

// Highest is the largest counter that the entry covers.
func (e Entry) Highest() uint64 {
	if n := len(e.Detached); n > 0 {
		return e.Detached[n-1].Hi
	}
	return e.Base
}

// CoversAll reports whether every counter of o, an entry of the same actor, is one of e's.
func (e Entry) CoversAll(o Entry) bool { return e.coversAll(&o) }

// String writes the entry as actor:base+intervals.
func (e Entry) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s:%d", e.Actor, e.Base)
	for i, iv := range e.Detached {
		s.WriteByte("+,"[min(i, 1)])
		s.WriteString(iv.String())
	}
	return s.String()
}

func (e *Entry) isEmpty() bool { return e.Base == 0 && len(e.Detached) == 0 }

func (e *Entry) clone() Entry {
	c := *e
	c.Detached = slices.Clone(e.Detached)
	return c
}

func (e *Entry) equal(o *Entry) bool {
	return e.Actor == o.Actor && e.Base == o.Base && slices.Equal(e.Detached, o.Detached)
}

// at returns the index of the first interval that ends at c or above.
func (e *Entry) at(c uint64) int {
	lo, hi := 0, len(e.Detached)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if e.Detached[mid].Hi < c {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (e *Entry) covers(c uint64) bool {
	if c <= e.Base {
		return true
	}
	i := e.at(c)
	return i < len(e.Detached) && e.Detached[i].Lo <= c
}

// coversAll reports whether every counter of o is one of e. As e.Base+1 is a hole, o's base must lie within e's.
func (e *Entry) coversAll(o *Entry) bool {
	return o.Base <= e.Base && e.coversIntervals(o.Detached)
}

func (e *Entry) coversIntervals(ivs []Interval) bool {
	i := 0
	for _, iv := range ivs {
		if iv.Hi <= e.Base {
			continue
		}
		for i < len(e.Detached) && e.Detached[i].Hi < iv.Lo {
			i++
		}
		if i == len(e.Detached) || e.Detached[i].Lo > iv.Lo || e.Detached[i].Hi < iv.Hi {
			return false
		}
	}
	return true
}

// add makes counter c (at least 1) one of e's.
func (e *Entry) add(c uint64) {
	if e.covers(c) {
		return
	}
	if c == e.Base+1 {
		e.raise(c)
		return
	}
	i := e.at(c - 1) // the interval that ends at c-1, or the first beyond c
	if i < len(e.Detached) && e.Detached[i].Hi == c-1 {
		e.Detached[i].Hi = c
		if i+1 < len(e.Detached) && e.Detached[i+1].Lo-1 == c {
			e.Detached[i].Hi = e.Detached[i+1].Hi
			e.Detached = slices.Delete(e.Detached, i+1, i+2)
		}
		return
	}
	if i < len(e.Detached) && e.Detached[i].Lo-1 == c {
		e.Detached[i].Lo = c
		return
	}
	e.Detached = slices.Insert(e.Detached, i, Interval{c, c})
}

// raise makes every counter up to base one of e's.
func (e *Entry) raise(base uint64) {
	if base <= e.Base {
		return
	}
	e.Base = base
	i := 0
	for i < len(e.Detached) && e.Detached[i].Lo-1 <= e.Base {
		e.Base = max(e.Base, e.Detached[i].Hi)
		i++
	}
	e.Detached = slices.Delete(e.Detached, 0, i)
}

// remove takes one counter out, splitting the run that it lies in.
func (e *Entry) remove(c uint64) {
	if c <= e.Base {
		if c < e.Base {
			e.Detached = slices.Insert(e.Detached, 0, Interval{c + 1, e.Base})
		}
		e.Base = c - 1
		return
	}
	i := e.at(c)
	if i == len(e.Detached) || e.Detached[i].Lo > c {
		return
	}
	iv := e.Detached[i]
	switch {
	case iv.Lo == iv.Hi:
		e.Detached = slices.Delete(e.Detached, i, i+1)
	case c == iv.Lo:
		e.Detached[i].Lo++
	case c == iv.Hi:
		e.Detached[i].Hi--
	default:
		e.Detached[i].Hi = c - 1
		e.Detached = slices.Insert(e.Detached, i+1, Interval{c + 1, iv.Hi})
	}
}

// merge makes every counter of o one of e's, in time linear in both.
func (e *Entry) merge(o *Entry) {
	e.raise(o.Base)
	if e.coversIntervals(o.Detached) {
		return
	}
	all := make([]Interval, 0, len(e.Detached)+len(o.Detached))
	a, b := e.Detached, o.Detached
	for len(a) > 0 || len(b) > 0 {
		var iv Interval
		if len(b) == 0 || len(a) > 0 && a[0].Lo <= b[0].Lo {
			iv, a = a[0], a[1:]
		} else {
			iv, b = b[0], b[1:]
		}
		if last := len(all) - 1; last >= 0 && iv.Lo-1 <= all[last].Hi {
			all[last].Hi = max(all[last].Hi, iv.Hi)
		} else {
			all = append(all, iv)
		}
	}
	i := 0
	for i < len(all) && all[i].Lo-1 <= e.Base {
		e.Base = max(e.Base, all[i].Hi)
		i++
	}
	e.Detached = all[i:]
}

// strip takes out what the base of another entry, for the same actor, makes needless: after raise(base) the entry
// is what it would be without the strip. A base above it, and an interval that reaches above it, stay whole.
func (e *Entry) strip(base uint64) {
	i := 0
	for i < len(e.Detached) && e.Detached[i].Hi <= base {
		i++
	}
	e.Detached = slices.Delete(e.Detached, 0, i)
	if e.Base <= base {
		e.Base = 0
	}
}
