package check

// regular looks for reads that began after a write was acknowledged, with r + w > n, and show neither it nor what took its place.
func regular(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, read := range h.reads {
			if read.Kind != Get {
				continue
			}
			for _, w := range h.writes {
				if w.Outcome != Acked || w.Returned >= read.Invoked || !m.overlap(h, w, read) {
					continue
				}
				if ok, why := m.shows(h, w, *read); !ok {
					report("%v\n  was acknowledged before %v\n  %s", w, read, why)
				}
			}
		}
	}
}

// overlap reports whether a read must have met an owner that holds the write.
func (m *Model) overlap(h *history, w *write, read *Op) bool {
	return w.W-m.lost(h.name, w.Invoked, true)+read.R > max(w.N, read.N)
}
