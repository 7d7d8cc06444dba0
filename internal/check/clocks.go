package check

import "slices"

// clocks looks for clocks that lie: a replica whose clock covers a write must hold it, or what took its place.
func clocks(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, rep := range m.Replicas {
			if rep.Clocks == nil || rep.Damaged[h.name] || !slices.Contains(m.Owners[h.name], rep.Node) {
				continue
			}
			clock, held := rep.Clocks[m.partition(h)], rep.Copies[h.name]
			for _, w := range h.writes {
				if w.Outcome != Acked || !clock.Covers(w.dot()) || m.accounted(h, w, held) {
					continue
				}
				report("the clock of %s covers %v\n  and there it is neither present nor replaced: %v", rep.Node, w, held.Shown)
			}
		}
	}
}

func (m *Model) accounted(h *history, w *write, held Copy) bool {
	if !h.siblings {
		return held.MaxLWW.Compare(w.stamp()) >= 0
	}
	for _, s := range held.Shown {
		v := h.of(s)
		if v == nil || v == w || v.mayReplace.has(w.index) {
			return true
		}
	}
	// What replaced it may have gone with a disk, after its client's next write had covered both.
	return m.lost(h.name, 0, false) > 0 && m.replaced(h, w, Op{Returned: 1 << 62})
}
