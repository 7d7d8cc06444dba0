package repair

import (
	"slices"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// ledger is what this node has to show for its reports: with whom an exchange of which partition is complete that was begun under the top layout
// and past its fence. It says nothing of another top layout, nor after a layout has become known that was not when an exchange began. It is lost with the
// process: then all is compared again.
type ledger struct {
	top  layouts.Hash
	live []layouts.Hash // empty if there is no top layout
	with map[ring.Partition][]ring.ID
	told []bool // by partition: reported, whether or not the view shows it yet
}

// follow makes it that of the view, and reports whether it began anew.
func (l *ledger) follow(v *layouts.View) (anew bool) {
	top, ok := v.Top()
	if !ok {
		*l = ledger{}
		return false
	}
	live := hashes(v)
	if anew = len(l.live) == 0 || l.top != top.Hash() || !known(live, l.live); anew {
		*l = ledger{top: top.Hash(), with: make(map[ring.Partition][]ring.ID), told: make([]bool, v.Partitions())}
	}
	l.live = live
	return anew
}

func hashes(v *layouts.View) (live []layouts.Hash) {
	for _, l := range v.Live() {
		live = append(live, l.Hash())
	}
	return live
}

// known reports whether all of some are among others.
func known[T comparable](some, among []T) bool {
	return !slices.ContainsFunc(some, func(one T) bool { return !slices.Contains(among, one) })
}

// met notes completed exchanges of partitions with a peer that were begun under a view which begins let count.
func (l *ledger) met(begun *layouts.View, id ring.ID, at []ring.Partition) {
	if top, ok := begun.Top(); !ok || top.Hash() != l.top || !known(l.live, hashes(begun)) {
		return
	}
	for _, p := range at {
		if !slices.Contains(l.with[p], id) {
			l.with[p] = append(l.with[p], id)
		}
	}
}

// begins reports whether an exchange counts that begins under the view: the layout is recorded by all members of the older ones.
func begins(v *layouts.View) bool { return len(v.Fence()) == 0 || mutation.SkipFence }

// owes reports whether an exchange with a peer is missing for a report of the partition.
func (l *ledger) owes(v *layouts.View, self ring.ID, p ring.Partition, id ring.ID) bool {
	return !l.isTold(v, self, p) && !slices.Contains(l.with[p], id) && slices.Contains(v.Peers(self, p), id)
}

func (l *ledger) isTold(v *layouts.View, self ring.ID, p ring.Partition) bool {
	return v.Reported(self, p) || int(p) < len(l.told) && l.told[p]
}

// due are the partitions that may be reported now, and have not been.
func (l *ledger) due(v *layouts.View, self ring.ID, gaining []uint8) (due []ring.Partition) {
	if top, ok := v.Top(); !ok || top.Standing(self) != layouts.Owns {
		return nil
	}
	fenced := len(v.Fence()) > 0
	for p := range ring.Partition(v.Partitions()) {
		if l.isTold(v, self, p) || fenced && gaining[p] > 0 && !mutation.SkipFence {
			continue
		}
		if v.MaySync(self, p, l.with[p]) || mutation.SkipFence && known(v.Peers(self, p), l.with[p]) {
			due = append(due, p)
		}
	}
	return due
}

// missing is in how many partitions an exchange with each peer is missing for a report.
func (l *ledger) missing(v *layouts.View, self ring.ID, gaining []uint8) map[ring.ID]int {
	out := make(map[ring.ID]int)
	for p, n := range gaining {
		p := ring.Partition(p)
		if n == 0 || l.isTold(v, self, p) {
			continue
		}
		for _, id := range v.Peers(self, p) {
			if !slices.Contains(l.with[p], id) {
				out[id]++
			}
		}
	}
	return out
}
