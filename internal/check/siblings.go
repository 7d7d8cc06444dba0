package check

// siblings looks for answers whose versions cannot stand beside each other: one replaced another, or, of a key where the last write
// wins, there are several; and for values that nobody wrote.
func siblings(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, read := range h.reads {
			m.together(h, read, report)
		}
		end := m.final(h)
		m.together(h, &end, report)
	}
}

func (m *Model) together(h *history, read *Op, report func(string, ...any)) {
	if !h.siblings && len(read.Shown) > 1 {
		report("%v\n  shows %d versions of a key where the last write wins", read, len(read.Shown))
	}
	for _, a := range read.Shown {
		v := h.of(a)
		if v == nil {
			if !a.Deleted {
				report("%v\n  shows %q, which nobody wrote there", read, a.Value)
			}
			continue
		}
		if v.Invoked > read.Returned {
			report("%v\n  shows what was written later: %v", read, v)
		}
		for _, b := range read.Shown {
			if m.sent(v, b) {
				report("%v\n  shows %v\n  beside what it replaced: %+v", read, v, b)
			}
		}
	}
}
