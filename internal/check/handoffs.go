package check

import "slices"

// handoffs looks for what a fallback took on for an owner and then forgot: at the end the owner knows of it, and the fallback keeps nothing. A write that
// it coordinated it keeps for every owner. And it looks for fallbacks that count in strict mode, or for the
// absence of a key.
func handoffs(m *Model, report func(string, ...any)) {
	final := map[string]Replica{}
	for _, rep := range m.Replicas {
		final[rep.Node] = rep
	}
	for _, o := range m.Ops {
		if !o.Sloppy && (o.Fallbacks > 0 || len(o.StandIns) > 0) {
			report("%v\n  is strict, and counts fallbacks", o)
		}
		if o.Kind == Get && o.Outcome == OK && len(o.Shown) == 0 && o.Fallbacks > 0 {
			report("%v\n  says that nothing is there by what fallbacks hold", o)
		}
	}
	for _, h := range m.keys {
		owners := m.Owners[h.name]
		for _, w := range h.writes {
			if w.Outcome != Acked {
				continue
			}
			for _, s := range w.StandIns {
				targets := []string{s.For}
				if s.Node == w.Coordinator || !slices.Contains(owners, s.For) { // whose place went to others: they are the targets then
					targets = owners
				}
				for _, owner := range targets {
					m.handedOver(h, w, s.Node, final[s.Node], final[owner], report)
				}
			}
		}
		for _, rep := range m.Replicas {
			for owner := range rep.Held[h.name] {
				// Who cannot read its own record takes no other, and what a fallback cannot read it cannot hand over.
				if slices.Contains(owners, owner) && !m.lostSilently(owner) && !m.lostSilently(rep.Node) {
					report("%s still keeps %v for %s at the end", rep.Node, h.name, owner)
				}
			}
		}
	}
}

func (m *Model) handedOver(h *history, w *write, by string, from, to Replica, report func(string, ...any)) {
	if from.Clocks == nil || to.Clocks == nil || to.Damaged[h.name] || m.lostAt(by, w.Invoked, 1<<62) || m.lostAt(to.Node, w.Invoked, 1<<62) {
		return
	}
	d := w.dot()
	if to.Clocks[m.partition(h)].Covers(d) || to.Copies[h.name].Vector.Covers(d) || from.Held[h.name][to.Node].Covers(d) {
		return
	}
	report("%s took %v on for %s\n  which knows nothing of it at the end, and it keeps nothing", by, w, to.Node)
}

// lostSilently reports whether a node goes on with a disk that was damaged or rolled back behind its back.
func (m *Model) lostSilently(node string) bool {
	return slices.ContainsFunc(m.Losses, func(l Loss) bool { return l.Node == node && l.Silent })
}
