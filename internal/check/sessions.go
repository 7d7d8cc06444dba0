package check

// sessions looks for reads that show less than what their context had seen: a client's own writes, and what it read before.
func sessions(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, read := range h.reads {
			if read.Basis < 0 || read.Kind != Get {
				continue
			}
			basis := m.Ops[read.Basis]
			for _, d := range basis.Token.Seen {
				if !read.Token.Vector.Covers(d) {
					report("%v\n  was given the context of %v\n  and knows nothing of %v", read, basis, d)
				}
				w := h.byDot[d]
				if w == nil || w.Outcome != Acked || w.dot() != d { // with another dot its coordinator made it again, and with another stamp
					continue
				}
				if ok, why := m.shows(h, w, *read); !ok {
					report("%v\n  was given the context of %v\n  %s", read, basis, why)
				}
			}
		}
	}
}
