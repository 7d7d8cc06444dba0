package check

// lost looks for writes that were acknowledged and are in no replica at the end, although nothing may have taken their place.
func lost(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		if len(m.Replicas) == 0 {
			return
		}
		end := m.final(h)
		for _, w := range h.writes {
			if w.Outcome != Acked || m.gone(w, h.name) {
				continue
			}
			if ok, why := m.shows(h, w, end); !ok {
				report("%v\n  at the end: %s\n  %v", w, why, &end)
			}
		}
	}
}
