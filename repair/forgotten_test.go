package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// mostDetached is how many detached intervals a clock keeps.
const mostDetached = 1024

// give puts a record with one version into some nodes' stores. Its value is that of a write whose number is the dot's counter.
func (w *world) give(key string, d version.Dot, to ...*testNode) {
	w.t.Helper()
	r, err := version.Supersede(version.Record{}, version.Write{Dot: d, Mode: version.LWW, Value: fmt.Appendf(nil, "%s %d", key, d.Counter),
		Stamp: version.Stamp{Time: d.Counter << 12, Actor: d.Actor.ID}})
	for _, n := range to {
		var res store.Result
		if err == nil {
			res, err = n.store.Apply(w.keyOf(key), r)
		}
		if err == nil {
			err = res.Commit.Wait()
		}
	}
	if err != nil {
		w.t.Error(err)
	}
}

// scatterer is the actor of scatter.
var scatterer = version.Actor{N: 3, ID: 99}

// scatter writes keys of partition 0 at some nodes, with every other dot of an actor, so many that a clock forgets two of them more. Those two it writes at a few nodes only, and
// returns. holes are the dots in between, and keys for them.
func (w *world) scatter(all []*testNode, to ...*testNode) (late map[string]uint64, holes map[string]version.Dot) {
	late, holes = map[string]uint64{}, map[string]version.Dot{}
	d := version.Dot{Actor: scatterer}
	for i := 0; d.Counter < 2*(mostDetached+2); i++ {
		key := fmt.Sprint("k", i)
		if w.keyOf(key).Partition != 0 {
			continue
		}
		switch d.Counter++; {
		case d.Counter%2 == 1:
			holes[key] = d
		case d.Counter <= 2*mostDetached:
			w.give(key, d, all...)
		default:
			late[key] = d.Counter
			w.give(key, d, to...)
		}
	}
	return late, holes
}

// TestShowsWhatTheClockForgot: a clock that keeps no more than 1,024 detached intervals does not say all that a former owner holds; what it forgot is shown before it is dropped.
func TestShowsWhatTheClockForgot(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		leaver := w.nodes[3]
		var late map[string]uint64
		w.early = func(_, _ ring.ID, kind transport.Kind) {
			if kind == KindShow && late == nil {
				late, _ = w.scatter(w.nodes, leaver)
			}
		}
		w.fill("x", 100)
		run()
		w.nodes[1].propose(rowOf(4, layouts.Leaves))
		await(t, "the drop", func() error { return w.whole(w.nodes[:3]...) })
		await(t, "the leaver", func() error {
			if !leaver.x.Dropped() {
				return fmt.Errorf("it still holds %+v", leaver.x.Progress())
			}
			return nil
		})
		if late == nil {
			t.Fatal("nothing was shown")
		}
		if err := w.have(late, 3); err != nil {
			t.Error(err)
		}
	})
}

// TestReportsNothingThatAClockForgot: two owners of three have acknowledged writes that the clock of one forgot, and the other's disk is lost. Nobody reports before it has them, neither
// the third owner, whose clock covers what is left of that clock, nor the namesake, which has its clock. Holes that nobody fills hold up no report, and call for nothing when all
// have reported; when they are filled, nothing is forgotten any more.
func TestReportsNothingThatAClockForgot(t *testing.T) {
	for _, filled := range []bool{false, true} {
		t.Run(fmt.Sprint("filled=", filled), func(t *testing.T) {
			inWorldOf(t, 3, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) { reportsWhatAClockForgot(t, w, run, filled) })
		})
	}
}

func reportsWhatAClockForgot(t *testing.T, w *world, run func(), filled bool) {
	a, b, lost, fresh := w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[3]
	late, holes := w.scatter([]*testNode{a, b, lost}, b, lost)
	if !a.store.Clock(0).Equal(b.store.Clock(0)) || b.vouches() {
		t.Fatalf("the clock forgot nothing: %v", b.store.Clock(0))
	}
	if filled {
		for key, d := range holes {
			w.give(key, d, a)
		}
	}
	w.namesake(lost, fresh)
	w.set(w.down, b.id, true)
	run()
	await(t, "the namesake has what one owner has", func() error {
		if !fresh.store.Clock(0).Equal(a.store.Clock(0)) {
			return fmt.Errorf("%d records fetched", fresh.x.Stats.Records.Load())
		}
		return nil
	})
	w.set(w.down, b.id, false)
	await(t, "the refill", func() error { return w.whole(a, b, fresh) })
	if err := w.have(late, 3); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Minute)
	for _, n := range []*testNode{a, b, fresh} {
		if n.vouches() != filled {
			t.Errorf("node %v: clock %v", n.id.Short(), n.store.Clock(0))
		}
	}
	w.mu.Lock()
	clear(w.counts)
	w.mu.Unlock()
	time.Sleep(time.Minute)
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.counts; c[KindCompare] == 0 || c[KindOpen] > 0 || c[KindPage] > 0 {
		t.Errorf("messages of an idle minute: %v; want comparisons, and nothing that they call for", c)
	}
}

// TestDropsNothingThatAClockForgot: a version reaches a leaver after it has looked at what it is about to drop, and its clock forgets the dot at once. The drop is off, and
// another owner gets the version first. In turn before each of the nine messages in which three partitions are shown to three owners.
func TestDropsNothingThatAClockForgot(t *testing.T) {
	for nth := 1; nth <= 9; nth++ {
		inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
			leaver := w.nodes[3]
			w.scatter(w.nodes[:4], w.nodes...)
			shows, given := 0, ""
			w.early = func(from, _ ring.ID, kind transport.Kind) {
				if kind != KindShow || from != leaver.id {
					return
				}
				if shows++; shows != nth {
					return
				}
				for i := 0; w.keyOf(given).Partition != 0 || i == 0; i++ {
					given = fmt.Sprint("given", i)
				}
				d := version.Dot{Actor: scatterer, Counter: 10_000}
				w.give(given, d, leaver)
				if clock := leaver.store.Clock(0); clock.Covers(d) {
					t.Error("the clock forgot nothing")
				}
			}
			run()
			w.nodes[1].propose(rowOf(4, layouts.Leaves))
			await(t, "the drop", func() error {
				if err := w.whole(w.nodes[:3]...); err != nil || leaver.x.Dropped() {
					return err
				}
				return fmt.Errorf("the leaver still holds something: %+v", leaver.x.Progress())
			})
			if shows < nth {
				t.Fatalf("%d shows", shows)
			}
			if r, err := w.nodes[0].store.Get(w.keyOf(given)); err != nil || len(r.Versions) != 1 {
				t.Errorf("given before show %d: %v, %v", nth, r, err)
			}
		})
	}
}

// vouches reports whether a node's clock of partition 0 shows all that is there.
func (n *testNode) vouches() bool {
	bound, err := n.store.SyncedBound(0)
	return err == nil && bound.Equal(n.store.Clock(0))
}
