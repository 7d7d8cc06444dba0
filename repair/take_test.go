package repair

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// TestRefusedPageLeavesNoCommit: records that came before one which does not belong there are waited for as any others; their commits would be kept, and
// counted as on their way to the disk, for ever.
func TestRefusedPageLeavesNoCommit(t *testing.T) {
	inWorld(t, 3, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		x := w.nodes[0].x
		actor := version.Actor{ID: 99, N: 3}
		record := func(key string, counter uint64) logged {
			v := version.Version{Dot: version.Dot{Actor: actor, Counter: counter}, Stamp: version.Stamp{Time: counter << 12, Actor: 99}}
			r := version.Record{Versions: []version.Version{v}, N: 3}
			r.Vector.Add(v.Dot)
			return logged{"b", key, r}
		}
		var keys []string
		for i := 0; len(keys) < 2; i++ {
			if k := string(rune('a' + i)); ring.PartitionOf(ring.Hash("b", k), testPartitions) == 1 {
				keys = append(keys, k)
			}
		}
		o := w.nodes[0].Ownership()
		s := section{Partition: 1, Records: []logged{record(keys[0], 1), record(keys[1], 2), record("of another partition", 3)}}
		if _, _, err := x.take(&o, &s, version.Vector{}); !errors.Is(err, errWire) {
			t.Fatal(err)
		}
		if n := w.nodes[0].store.Stats().Pending; n != 0 {
			t.Errorf("%d commits that nobody waits for", n)
		}
	})
}

// TestExchangeTooLarge: one record that this node's store cannot take keeps none of the others back, on its page, behind it and in other partitions; the
// clock of its own partition is not adopted, those of the others are, and nobody asks for it again at once.
func TestExchangeTooLarge(t *testing.T) {
	inWorld(t, 3, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		a, b := w.nodes[0], w.nodes[1]
		value := []byte(strings.Repeat("x", 40<<20))
		k := w.keyOf("k")
		for _, at := range []*testNode{a, b} { // together they are more than a record may have
			res, err := at.store.Update(k, 3, func(local version.Record, d version.Dot) (version.Record, error) {
				return version.Supersede(local, version.Write{Dot: d, Mode: version.Siblings, Value: value, Stamp: version.Stamp{Time: 5 << 12, Actor: d.Actor.ID}})
			})
			if err == nil {
				err = res.Commit.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range 40 {
			w.put(a, fmt.Sprint("small", i))
		}
		run()
		time.Sleep(time.Minute) // virtual
		for i := range 40 {
			key := fmt.Sprint("small", i)
			if r, err := b.store.Get(w.keyOf(key)); err != nil || r.IsAbsent() {
				t.Errorf("%s: %v, %v", key, r, err)
			}
		}
		for p := range ring.Partition(testPartitions) {
			if equal := a.store.Clock(p).Equal(b.store.Clock(p)); equal == (p == k.Partition) {
				t.Errorf("partition %d of the large record's %d: clocks are equal: %v", p, k.Partition, equal)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.counts[KindPage]; n > 30 {
			t.Errorf("%d pages were asked for in a minute", n)
		}
	})
}
