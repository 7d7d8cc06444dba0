package check

import (
	"fmt"
	"strings"
)

// Fate is what became of the attempts to write.
type Fate string

// The fates. Every attempt has exactly one.
const (
	Present      Fate = "acknowledged, present"
	Superseded   Fate = "acknowledged, superseded"
	LostFate     Fate = "acknowledged, lost"
	Excused      Fate = "acknowledged, gone with the disks of w owners"
	Recovered    Fate = "indeterminate, seen"
	NeverSeen    Fate = "indeterminate, never seen"
	Refused      Fate = "not written"
	Phantom      Fate = "not written, seen"
	Unclassified Fate = "unclassified"
)

var fates = []Fate{Present, Superseded, LostFate, Excused, Recovered, NeverSeen, Refused, Phantom, Unclassified}

// Accounts counts the attempts by what became of them, and the reads by how they were answered.
type Accounts struct {
	Attempts int
	Fates    map[Fate]int
	Reads    map[Outcome]int
}

// String is the table, a row a line.
func (a Accounts) String() string {
	var b strings.Builder
	sum := 0
	for _, f := range fates {
		fmt.Fprintf(&b, "%-48s %8d\n", f, a.Fates[f])
		sum += a.Fates[f]
	}
	fmt.Fprintf(&b, "%-48s %8d\n%-48s %8d\n", "sum", sum, "attempts", a.Attempts)
	fmt.Fprintf(&b, "%-48s %8d\n%-48s %8d\n", "reads answered", a.Reads[OK], "reads unavailable", a.Reads[Unavailable])
	return b.String()
}

// Account gives every attempt its fate.
func Account(r *Run) Accounts {
	m := NewModel(r)
	a := Accounts{Fates: map[Fate]int{}, Reads: map[Outcome]int{}}
	for _, o := range r.Ops {
		if o.IsWrite() {
			a.Attempts++
		} else {
			a.Reads[o.Outcome]++
		}
	}
	for _, h := range m.keys {
		end := m.final(h)
		for _, w := range h.writes {
			a.Fates[m.fate(h, w, end)]++
		}
	}
	return a
}

func (m *Model) fate(h *history, w *write, end Op) Fate {
	switch w.Outcome {
	case Acked:
		for _, s := range end.Shown {
			if h.of(s) == w {
				return Present
			}
		}
		if ok, _ := m.shows(h, w, end); ok {
			return Superseded
		}
		if m.gone(w, h.name) {
			return Excused
		}
		return LostFate
	case Indeterminate:
		if w.shown {
			return Recovered
		}
		return NeverSeen
	case NotWritten:
		if w.shown {
			return Phantom
		}
		return Refused
	}
	return Unclassified
}

// accounts looks for attempts without a fate, and for values that were answered as not written and were seen.
func accounts(m *Model, report func(string, ...any)) {
	for _, o := range m.Ops {
		switch o.Outcome {
		case Acked, Indeterminate, NotWritten:
			if !o.IsWrite() {
				report("%v has an outcome of writes", o)
			}
		case OK, Unavailable:
			if o.IsWrite() {
				report("%v has an outcome of reads", o)
			}
		default:
			report("%v has no outcome", o)
		}
	}
	for _, h := range m.keys {
		for _, w := range h.writes {
			if w.Outcome == NotWritten && w.shown {
				report("%v\n  was seen", w)
			}
		}
	}
}
