package check

// bounds looks for queues beyond their bounds.
func bounds(m *Model, report func(string, ...any)) {
	for _, g := range m.Gauges {
		if g.Value > g.Bound {
			report("%s of %s is %v at %v, at most %v", g.Name, g.Node, g.Value, g.At, g.Bound)
		}
	}
}
