package layouts

import (
	"fmt"
	"math/bits"
	"slices"
)

// What must be so in every state of the model.

// lacking reports whether an owner among those still owns, as it knows, has lost nothing, and has not got the write.
func (m *model) lacking(w world, owners nodes) bool {
	for j := range maxNodes {
		if owners.has(j) && !w.lost.has(j) && w.filled.has(j) && !w.data.has(j) && m.know(w, j).keeps.has(j) {
			return true
		}
	}
	return false
}

// bound reports whether reads under the view are to see the write: not if it is of a lineage that has not met the writer's yet.
func (m *model) bound(v *View) bool {
	return m.second == 0 || slices.ContainsFunc(v.live, func(l live) bool { return l.maximal && m.ofFirst(l.version) })
}

func (m *model) ofFirst(v Version) bool {
	for i := range maxNodes {
		if m.start.has(i) && v.Standing(nodeID(i)) == 0 {
			return false
		}
	}
	return true
}

// wrong is what is broken in w, "" if nothing is.
func (m *model) wrong(w world) string {
	if w.hasty {
		return "dropped what a present owner does not have"
	}
	promised := w.phase == acked && !m.spent(w)
	if promised && w.data&^w.lost == 0 {
		return "the acknowledged write is on no disk"
	}
	if promised && w.reader > 0 && m.met(m.views[w.reader-1].reads, m.r, w.replies) {
		return "the read has its answers, and misses the acknowledged write"
	}
	for i := range maxNodes {
		if w.lost.has(i) || w.facts[i] == 0 {
			continue
		}
		seen := m.know(w, i).seen
		var same nodes
		for j := range maxNodes {
			if m.admits(w, seen, j) {
				same |= 1 << j
			}
		}
		if empty := union(m.views[seen].reads) & same &^ w.filled; empty != 0 && m.second == 0 {
			return fmt.Sprintf("%v would answer reads from emptiness", empty)
		}
		if promised && m.views[seen].bound && m.met(m.views[seen].reads, m.r, same&^w.data) {
			return fmt.Sprintf("a read answered by %v misses the acknowledged write", same&^w.data)
		}
	}
	return ""
}

// spent reports whether as many disks were lost with the write on them as acknowledgements were asked for, so that nothing is promised any more.
func (m *model) spent(w world) bool {
	return bits.OnesCount8(uint8(w.burnt)) >= m.w.Resolve(m.n)
}
