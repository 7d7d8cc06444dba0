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

// overlap reports whether a read must have met an owner that holds the write. Where fallbacks counted, on either side, they need not have met. A disk whose loss was noticed is refilled from
// the others before it counts again; only where as many were lost as had acknowledged may nobody be left to refill it from.
func (m *Model) overlap(h *history, w *write, read *Op) bool {
	if w.Sloppy && w.Fallbacks > 0 || read.Sloppy && read.Fallbacks > 0 || m.gone(w, h.name) || apart(w.Op, read) {
		return false
	}
	return w.W-m.lost(h.name, w.Invoked, true)+read.R > max(w.N, read.N)
}
