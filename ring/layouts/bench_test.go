package layouts

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/ring"
)

// changing is the view of a cluster of so many members that two more join, when everyone has recorded that, and each owner has reported every other partition.
func changing(b *testing.B, partitions, members int) (v *View, place func(Version) Placement) {
	b.Helper()
	var rows []Row
	for i := range members {
		rows = append(rows, nodeRow(i, Owns))
	}
	founding, err := NewVersion(partitions, rows...)
	if err != nil {
		b.Fatal(err)
	}
	placed := make(map[Hash]Placement)
	place = func(v Version) Placement {
		if placed[v.Hash()] == nil {
			placed[v.Hash()] = v.Place()
		}
		return placed[v.Hash()]
	}
	s, err := NewView(Found(founding), place).Propose(nodeID(0), nodeRow(members, Owns), nodeRow(members+1, Owns))
	if err != nil {
		b.Fatal(err)
	}
	v = NewView(s, place)
	top, ok := v.Top()
	if !ok {
		b.Fatal("no top layout")
	}
	for i := range members + 2 {
		s = s.Record(nodeID(i))
	}
	for i := range members + 2 {
		for p := 0; p < partitions; p += 2 {
			s = s.Synced(nodeID(i), top.Hash(), ring.Partition(p))
		}
	}
	return NewView(s, place), place
}

// BenchmarkChange is what a step of the control plane computes while the ring changes.
func BenchmarkChange(b *testing.B) {
	for _, size := range []struct{ partitions, members int }{{256, 3}, {256, 20}, {4096, 3}, {4096, 20}} {
		v, place := changing(b, size.partitions, size.members)
		top, _ := v.Top()
		self := nodeID(size.members)
		run := func(name string, fn func()) {
			b.Run(fmt.Sprintf("q=%d/members=%d/%s", size.partitions, size.members, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					fn()
				}
			})
		}
		run("Place", func() { top.Place() })
		run("NewView", func() { NewView(v.State(), place) })
		run("Merge", func() { _, _ = Merge(v.State(), v.State()) })
		run("Decode", func() { _, _ = Decode(v.State().Encode()) })
		run("Unsynced", func() { v.Unsynced() })
		run("Progress", func() { v.Progress() })
		run("Waits", func() { v.Waits() })
		run("MaySync", func() {
			for p := range ring.Partition(size.partitions) {
				v.MaySync(self, p, nil)
			}
		})
		run("Synced", func() { // a report of what is left
			s := v.State()
			for p := range ring.Partition(size.partitions) {
				s = s.Synced(self, top.Hash(), p)
			}
		})
		b.Run(fmt.Sprintf("q=%d/members=%d/State", size.partitions, size.members), func(b *testing.B) {
			for b.Loop() {
				v.State().Encode()
			}
			b.ReportMetric(float64(len(v.State().Encode())), "bytes")
		})
	}
}
