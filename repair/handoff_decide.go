package repair

import (
	"slices"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// What is decided here about hand-offs is pure: who is to be served, in which partitions, and who gets what its target owns no more.

// errand is all that is owed to one owner.
type errand struct {
	owner      ring.ID
	partitions []ring.Partition // in order
	handOffs   uint64
}

// errandsOf groups debts by owner.
func errandsOf(owed []store.Owed) map[ring.ID]*errand {
	out := make(map[ring.ID]*errand)
	for _, d := range owed {
		e := out[d.Owner]
		if e == nil {
			e = &errand{owner: d.Owner}
			out[d.Owner] = e
		}
		e.partitions = append(e.partitions, d.Partition)
		e.handOffs += d.HandOffs
	}
	return out
}

// reachable reports whether there is something to be done for an owner now: it answers, or it is this node itself, or it owns no more what was kept for it in some
// partition, and others are to get that.
func reachable(o *Ownership, e *errand) bool {
	return e.owner == o.Self || o.answers(e.owner) || slices.ContainsFunc(e.partitions, func(p ring.Partition) bool { return leastOf(o.Rings, e.owner, p) == 0 })
}

// order are the errand's partitions, those first that the owner owns no more: for them it need not answer.
func (e *errand) order(v *layouts.View) []ring.Partition {
	var gone, stay []ring.Partition
	for _, p := range e.partitions {
		if leastOf(v, e.owner, p) == 0 {
			gone = append(gone, p)
		} else {
			stay = append(stay, p)
		}
	}
	return append(gone, stay...)
}

// leastOf is the least n for which a member owns sets of the partition in some live layout; 0 if it owns none, or is lost.
func leastOf(v *layouts.View, id ring.ID, p ring.Partition) int {
	if v.Lost(id) {
		return 0
	}
	return v.Least(id, p)
}

// divide tells the hand-offs that are still the target's, in some live layout, from those that only others own now.
func divide(v *layouts.View, page []store.HandOff, target ring.ID) (stay, move []store.HandOff) {
	for i := range page {
		if least := leastOf(v, target, page[i].Key.Partition); least > 0 && least <= int(page[i].Record.N) {
			stay = append(stay, page[i])
		} else {
			move = append(move, page[i])
		}
	}
	return stay, move
}

// ownersOf are the present owners of a key, in all live layouts, by the n that it was written with.
func ownersOf(v *layouts.View, h *store.HandOff) []ring.ID {
	return slices.DeleteFunc(present(v.WriteGroups(h.Key.Partition, int(h.Record.N))), v.Lost)
}

// ownedDots are those of some dots whose n makes a member an owner of the partition in some live layout.
func ownedDots(v *layouts.View, p ring.Partition, id ring.ID, dots version.Vector) version.Vector {
	least := leastOf(v, id, p)
	if least == 0 {
		return version.Vector{}
	}
	return dots.AtLeast(uint8(least))
}

// served are the hand-offs of a batch that were not refused. refused are indexes, in order.
func served(batch []store.HandOff, refused []refusal) []store.HandOff {
	out := make([]store.HandOff, 0, len(batch))
	for i := range batch {
		if len(refused) > 0 && refused[0].Index == i {
			refused = refused[1:]
			continue
		}
		out = append(out, batch[i])
	}
	return out
}

// sums are what a member holds for others.
type sums struct{ Count, Bytes int64 }

// worthTelling reports whether a member is to be told what this node holds: as long as it holds something, so that one that has started anew
// knows soon; and once when it holds nothing any more, or has just started and may have said something else before (told is nil).
func worthTelling(now sums, told *sums) bool { return now != sums{} || told == nil || *told != now }
