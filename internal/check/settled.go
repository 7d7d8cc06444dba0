package check

import (
	"slices"
	"time"
)

// Ring is what a member says of the layouts at the end, when everything has had its time to settle.
type Ring struct {
	Node    string
	Layout  string // the one above all others
	Settled bool
	Waits   string // what a change waits for, in words
	Strays  []Partition
}

// Report is how far a change of the ring is, as one node saw it.
type Report struct {
	Node, Layout string
	At           time.Duration
	Done, Of     int
}

// Exit is a member that was told to leave.
type Exit struct {
	Node   string
	At     time.Duration
	Done   time.Duration // when it ended by itself; 0: it never did
	Reason string        // why it ended, if for anything but that
}

// settled looks for changes of the ring that did not end: members that do not all serve under one layout which waits for nothing; former owners that still hold what no
// layout gives them; leavers that are still there; and reports that were taken back.
func settled(m *Model, report func(string, ...any)) {
	for _, r := range m.Rings {
		switch first := m.Rings[0]; {
		case !r.Settled:
			report("the ring has not settled for %s: %s", r.Node, r.Waits)
		case r.Layout != first.Layout:
			report("%s is under layout %s, %s under %s", first.Node, first.Layout, r.Node, r.Layout)
		case len(r.Strays) > 0:
			report("%s still holds partitions %v, and owns nothing there", r.Node, r.Strays)
		}
	}
	// What a damaged disk does not take, a leaver keeps, and stays.
	damaged := slices.ContainsFunc(m.Losses, func(l Loss) bool { return l.Silent })
	for _, e := range m.Exits {
		switch {
		case e.Reason != "":
			report("%s, which was told to leave at %v, ended otherwise: %s", e.Node, e.At, e.Reason)
		case e.Done == 0 && !damaged:
			report("%s was told to leave at %v, and is still there", e.Node, e.At)
		}
	}
	for _, what := range m.Refused {
		report("never done, and never refused for good: %s", what)
	}
	m.backwards(report)
}

// backwards looks for progress that was taken back: reports are kept on disk, and told.
func (m *Model) backwards(report func(string, ...any)) {
	type seen struct{ node, layout string }
	most := map[seen]Report{}
	reports := slices.Clone(m.Reports)
	slices.SortStableFunc(reports, func(a, b Report) int { return int(a.At - b.At) })
	for _, r := range reports {
		at := seen{r.Node, r.Layout}
		before, known := most[at]
		if known && r.Done < before.Done && !m.lostAt(r.Node, before.At, r.At) {
			report("%s saw %d of %d reports of layout %s at %v, and %d at %v", r.Node, before.Done, before.Of, r.Layout, before.At, r.Done, r.At)
		}
		if !known || r.Done > before.Done {
			most[at] = r
		}
	}
}
