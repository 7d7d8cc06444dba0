package check

import "time"

// Adoption is a round of log exchange, by one node with another, that fetched something.
type Adoption struct {
	Node, From string
	At         time.Duration // when it ended
	Clocks     int           // of partitions that were adopted
	Gaining    bool          // by its own table the other node was still gaining at the end, so it was throughout
}

// adopted looks for clocks that were taken over from an owner which was still fetching itself. Harm need not follow: the rule is checked.
func adopted(m *Model, report func(string, ...any)) {
	for _, a := range m.Adoptions {
		if a.Gaining && a.Clocks > 0 {
			report("%s adopted %d clocks from %s, which was gaining, in a round that ended at %v", a.Node, a.Clocks, a.From, a.At)
		}
	}
}
