package check

// takenBack looks for reads that show less than an earlier one had shown which was not to be answered before enough owners held its answer: one with a context,
// or from all owners, and strict. "Enough" is that the two have an owner in common, as for writes (overlap).
func takenBack(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, first := range h.reads {
			// A quorum of two is both, and waits for nothing.
			if first.Kind != Get || first.Sloppy || first.Basis < 0 && (first.R < first.N || first.N < 3) {
				continue
			}
			for _, then := range h.reads {
				if then.Kind != Get || then.Sloppy && then.Fallbacks > 0 || then.Invoked <= first.Returned || !m.meets(h, first, then) {
					continue
				}
				if why := takes(h, first, then); why != "" {
					report("%v\n  was answered before %v\n  %s", first, then, why)
				}
			}
		}
	}
}

// meets reports whether the second read must have met an owner that held the answer of the first.
func (m *Model) meets(h *history, first, then *Op) bool {
	if m.lost(h.name, first.Invoked, false) >= first.R || apart(first, then) {
		return false
	}
	return first.R-m.lost(h.name, first.Invoked, true)+then.R > max(first.N, then.N)
}

// takes says what the second read lacks of the first. Between lww versions the stamp decides, and who is beaten need not be known to who beats it.
func takes(h *history, first, then *Op) string {
	if !h.siblings {
		if then.Token.Stamp.Compare(first.Token.Stamp) < 0 {
			return "nothing with its stamp or a higher one is there"
		}
		return ""
	}
	for _, d := range first.Token.Seen {
		if !then.Token.Vector.Covers(d) {
			return "it knows nothing of " + d.String()
		}
	}
	return ""
}
