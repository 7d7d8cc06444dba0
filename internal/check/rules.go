package check

import "time"

// Harm need not follow at once from what these look for: the rules of package ring/layouts are checked themselves.

// Early is a report that a partition is synced which came before a member of an older layout had recorded the newest one.
type Early struct {
	Node, Of   string // who reported, and whose word was missing
	At         time.Duration
	Partitions int
}

// Loose is a version that a former owner dropped while one of those who own it now lacked it.
type Loose struct {
	Node, Lacks string
	Key         KeyName
	Shown       Shown
	At          time.Duration
}

// fence looks for reports that waited for too few (ring/layouts, 8).
func fence(m *Model, report func(string, ...any)) {
	for _, e := range m.Early {
		report("%s reported %d partitions synced at %v, and %s had not recorded the layout", e.Node, e.Partitions, e.At, e.Of)
	}
}

// dropped looks for what former owners dropped and had not shown to those who own it now (ring/layouts, 11). The disk of an owner that lost something without notice says
// nothing of the rule.
func dropped(m *Model, report func(string, ...any)) {
	for _, l := range m.Loose {
		if !m.lostSilently(l.Lacks) {
			report("%s dropped %v [%v %q] at %v, and %s did not have it", l.Node, l.Key, l.Shown.Dot, l.Shown.Value, l.At, l.Lacks)
		}
	}
}
