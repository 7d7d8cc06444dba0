package repair

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// fill writes keys at their owners, n=3: each is at all three, or at w of them, and some are overwritten. It returns the latest writes.
func (w *world) fill(prefix string, keys int) map[string]uint64 {
	latest := map[string]uint64{}
	for i := range keys {
		key := fmt.Sprint(prefix, i)
		owners := w.owners(key, 3)
		for range 1 + i%3 {
			w.put(owners[i%len(owners)], key, slices.Delete(slices.Clone(owners), i%len(owners), i%len(owners)+1)[i%2:]...)
			latest[key] = w.stamp
		}
	}
	return latest
}

// await runs until a condition holds, for some virtual minutes at most.
func await(t *testing.T, what string, fn func() error) {
	t.Helper()
	var err error
	for range 600 {
		if err = fn(); err == nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// TestJoin: a fourth node gets all that the layout gives it, hardly anything twice, and counts; the others drop what they own no more.
func TestJoin(t *testing.T) {
	inWorldOf(t, 3, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		latest := w.fill("k", 600)
		run()
		await(t, "log exchange", func() error { return w.have(latest, 3) })
		for _, n := range w.nodes {
			n.x.Stats.Records.Store(0)
		}
		w.nodes[0].propose(rowOf(4, layouts.Owns))
		if p := w.nodes[0].x.Progress(); p.Done >= p.Of || p.Of != 4*testPartitions {
			t.Errorf("progress %+v", p)
		}
		await(t, "the join", func() error { return w.whole(w.nodes...) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
		joined, needed := w.nodes[3], 0
		for key := range latest {
			if v := joined.rings(); v.Keeps(joined.id, w.keyOf(key).Partition, 3) {
				needed++
			}
		}
		fetched := joined.x.Stats.Records.Load()
		t.Logf("%d records fetched, %d needed", fetched, needed)
		if needed == 0 || fetched*10 > int64(needed)*11 {
			t.Errorf("%d records were fetched, and %d needed", fetched, needed)
		}
		if joined.reported > 2*testPartitions {
			t.Errorf("%d batches of reports", joined.reported)
		}
		dropped := int64(0)
		for _, n := range w.nodes {
			dropped += n.x.Stats.Dropped.Load()
		}
		if dropped == 0 {
			t.Error("nothing was dropped")
		}
	})
}

// TestFetchesFromTwoAtOnce: two rounds that run side by side do not fetch the same.
func TestFetchesFromTwoAtOnce(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Page = 600 // a few records, so that the rounds take turns
	inWorldOf(t, 3, 4, cfg, func(t *testing.T, w *world, run func()) {
		latest := w.fill("k", 600)
		run()
		await(t, "log exchange", func() error { return w.have(latest, 3) })
		joiner := w.nodes[3]
		joiner.x.Stats.Records.Store(0)
		from := map[ring.ID]int{}
		w.early = func(by, to ring.ID, kind transport.Kind) {
			if by == joiner.id && kind == KindPage {
				w.mu.Lock()
				from[to]++
				w.mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		}
		w.nodes[0].propose(rowOf(4, layouts.Owns))
		await(t, "the join", func() error { return w.whole(w.nodes...) })
		needed := 0
		for key := range latest {
			if joiner.rings().Keeps(joiner.id, w.keyOf(key).Partition, 3) {
				needed++
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if fetched := joiner.x.Stats.Records.Load(); fetched*10 > int64(needed)*11 || len(from) < 2 {
			t.Errorf("%d records were fetched, and %d needed; pages from %v", fetched, needed, from)
		}
	})
}

// TestLeave: a member leaves; the others get what it alone had before it drops, also of keys that went through many versions, and then it may go.
func TestLeave(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		leaver := w.nodes[3]
		latest := w.fill("k", 200)
		for i := range 60 { // acknowledged by it alone, w=1, and overwritten there
			key := fmt.Sprint("alone", i)
			if slices.Contains(w.owners(key, 3), leaver) {
				for range 3 {
					w.put(leaver, key)
				}
				latest[key] = w.stamp
			}
		}
		run()
		w.nodes[0].propose(rowOf(4, layouts.Leaves))
		await(t, "the leave", func() error { return w.whole(w.nodes[:3]...) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
		if !leaver.rings().MayExit(leaver.id) || leaver.d.Kept() != 0 || leaver.x.Progress().Former != 0 {
			t.Errorf("it may not go: %+v", leaver.x.Progress())
		}
		for p := range ring.Partition(testPartitions) {
			if clock := leaver.store.Clock(p); !clock.IsEmpty() {
				t.Errorf("partition %d: a clock is left: %v", p, clock)
			}
		}
	})
}

// TestShowBeforeDrop: what only a former owner has, and came when all others had reported, is fetched by every owner before it is dropped; one that is down is
// waited for; one that cannot take it keeps it from being dropped.
func TestShowBeforeDrop(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		leaver, slow := w.nodes[3], w.nodes[0]
		latest := w.fill("k", 100)
		var late string
		for i := 0; late == ""; i++ {
			if key := fmt.Sprint("late", i); slices.Contains(w.owners(key, 3), leaver) {
				late = key
			}
		}
		var shows atomic.Int64
		w.early = func(_, to ring.ID, kind transport.Kind) {
			if kind != KindShow {
				return
			}
			if shows.Add(1) == 1 { // after the first look, and before anything is shown
				for range 3 {
					w.put(leaver, late)
				}
				w.set(w.down, slow.id, true)
			}
		}
		run()
		w.nodes[1].propose(rowOf(4, layouts.Leaves))
		time.Sleep(2 * time.Minute)
		k := w.keyOf(late)
		r, err := leaver.store.Get(k)
		if err != nil || r.IsAbsent() || shows.Load() < 2 || leaver.x.Dropped() {
			t.Fatalf("dropped while an owner is down: %v, %v, shown %d times", r, err, shows.Load())
		}
		if p := leaver.x.Progress(); !slices.Equal(p.WaitsFor, []ring.ID{slow.id}) || p.Former == 0 {
			t.Errorf("it waits for %v, and keeps %d", p.WaitsFor, p.Former)
		}
		w.set(w.down, slow.id, false)
		await(t, "the drop", func() error { return w.whole(w.nodes[:3]...) })
		latest[late] = w.stamp
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
	})
}

// namesake puts another incarnation with an empty disk in the place of a node.
func (w *world) namesake(of *testNode, by *testNode) {
	w.set(w.down, of.id, true)
	w.nodes[0].propose(layouts.Row{ID: of.id, Standing: layouts.Replaced, Name: fmt.Sprint("node-", of.id[0]), Weight: 1},
		layouts.Row{ID: by.id, Standing: layouts.Owns, Name: fmt.Sprint("node-", of.id[0]), Weight: 1})
}

// TestNamesakeWaitsForEverybody: a node that lost its disk is refilled by those who answer, and reports only what it has heard from all about; it says whom it waits
// for.
func TestNamesakeWaitsForEverybody(t *testing.T) {
	inWorldOf(t, 3, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		a, b, lost, fresh := w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[3]
		latest := map[string]uint64{}
		for i := range 100 {
			key := fmt.Sprint("k", i)
			w.put(a, key, b, lost)
			latest[key] = w.stamp
		}
		w.put(b, "only b", lost) // with w=2, the other copy was on the lost disk
		latest["only b"] = w.stamp
		w.namesake(lost, fresh)
		w.set(w.down, b.id, true)
		run()
		time.Sleep(time.Minute)
		if v := fresh.rings(); v.Settled() || v.Reported(fresh.id, 0) || fresh.reported > 0 {
			t.Fatalf("it counts, and has not heard from everybody:\n%v", v)
		}
		if p := fresh.x.Progress(); !slices.Equal(p.WaitsFor, []ring.ID{b.id}) {
			t.Errorf("it waits for %v", p.WaitsFor)
		}
		if fresh.x.Stats.Records.Load() < 100 {
			t.Errorf("%d records fetched meanwhile", fresh.x.Stats.Records.Load())
		}
		w.set(w.down, b.id, false)
		await(t, "the refill", func() error { return w.whole(a, b, fresh) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
	})
}

// TestAllGaining: two of three owners have lost their disks, one after the other. The second exchanges with the first, which has not reported itself: what was written
// in between is nowhere else. Clocks of those who have not reported are not adopted.
func TestAllGaining(t *testing.T) {
	inWorldOf(t, 3, 5, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		a, first, second := w.nodes[0], w.nodes[3], w.nodes[4]
		latest := map[string]uint64{}
		for i := range 50 {
			w.put(a, fmt.Sprint("k", i), w.nodes[1], w.nodes[2])
			latest[fmt.Sprint("k", i)] = w.stamp
		}
		w.namesake(w.nodes[1], first)
		w.tell()
		w.put(first, "only the first") // acknowledged under both layouts with w=1
		w.put(first, "only the first")
		latest["only the first"] = w.stamp
		w.namesake(w.nodes[2], second)
		run()
		await(t, "both", func() error { return w.whole(a, first, second) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
	})
}

// TestGainingClockIsNotAdopted: of an owner that has not reported the records are taken, by whoever must meet it, and the clock is not; nobody else takes anything. So it
// is also if only one side knows, or says so.
func TestGainingClockIsNotAdopted(t *testing.T) {
	inWorldOf(t, 3, 5, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		a, first, second := w.nodes[0], w.nodes[3], w.nodes[4]
		w.namesake(w.nodes[1], first)
		w.tell()
		w.put(first, "k")
		w.put(first, "k")
		p := w.keyOf("k").Partition
		fetch := func(n *testNode) haul {
			o := n.Ownership()
			n.x.look(&o)
			h, err := n.x.compareAndFetch(t.Context(), &o, first.id)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if h := fetch(a); h.clocks != 0 || !a.store.Clock(p).Covers(version.Dot{}) && h.records > 1 {
			t.Errorf("an owner that must meet it: %+v", h)
		}
		w.namesake(w.nodes[2], second)
		w.tell()
		w.tell()
		if h := fetch(second); h.records != 1 || h.clocks != 0 {
			t.Errorf("another that is gaining: %+v, want the record and no clock", h)
		}
		if h := fetch(second); h.records != 0 {
			t.Errorf("the second time: %+v", h)
		}
		if clock := second.store.Clock(p); clock.IsEmpty() || clock.CoversAll(first.store.Clock(p)) {
			t.Errorf("clock %v of %v", clock, first.store.Clock(p))
		}
		o := second.Ownership()
		if s := (share{p, 3}); holds(&o, first.id, s, true) || holds(&o, a.id, s, false) || !holds(&o, a.id, s, true) {
			t.Error("who holds what")
		}
	})
}

// TestCut: a joiner that is cut off from one owner has all that the others have, reports nothing, and ends when it is not any more; a change that comes
// meanwhile is taken in.
func TestCut(t *testing.T) {
	inWorldOf(t, 4, 6, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		latest := w.fill("k", 100)
		away := w.nodes[1]
		for _, n := range w.nodes {
			w.cut[[2]ring.ID{away.id, n.id}] = n != away
		}
		run()
		w.nodes[0].propose(rowOf(5, layouts.Owns))
		time.Sleep(time.Minute)
		if v := w.nodes[4].rings(); v.Settled() || len(v.Fence()) != 1 {
			t.Errorf("settled without one of the owners:\n%v", v)
		}
		w.nodes[4].propose(rowOf(6, layouts.Owns), rowOf(3, layouts.Leaves))
		time.Sleep(time.Minute)
		w.mu.Lock()
		clear(w.cut)
		w.mu.Unlock()
		await(t, "after the cut", func() error { return w.whole(w.nodes[0], away, w.nodes[3], w.nodes[4], w.nodes[5]) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
	})
}

// TestRegained: a member that leaves, and a namesake's place that moves again, while answers get lost: whatever was dropped is fetched again by who regains it.
func TestRegained(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Page = 400
	inWorldOf(t, 3, 6, cfg, func(t *testing.T, w *world, run func()) {
		calls := 0
		w.fail = func(transport.Kind) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			calls++
			return calls%7 == 0
		}
		latest := w.fill("k", 120)
		run()
		owners := []*testNode{w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[3]}
		w.nodes[0].propose(rowOf(4, layouts.Owns))
		await(t, "a join", func() error { return w.whole(owners...) })
		w.nodes[1].propose(rowOf(4, layouts.Leaves))
		await(t, "a leave", func() error { return w.whole(owners[:3]...) })
		w.nodes[0].propose(rowOf(5, layouts.Owns))
		time.Sleep(700 * time.Millisecond) // and another one in the middle of it
		w.nodes[2].propose(rowOf(6, layouts.Owns))
		await(t, "two joins", func() error { return w.whole(w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[4], w.nodes[5]) })
		if err := w.have(latest, 3); err != nil {
			t.Error(err)
		}
	})
}

// TestDropUnderAnotherView: what was shown under one view is not dropped under another, nor if more has come to it since.
func TestDropUnderAnotherView(t *testing.T) {
	inWorldOf(t, 4, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		n := w.nodes[0]
		w.put(n, "k")
		p := w.keyOf("k").Partition
		r := &relic{partition: p, to: version.MaxN, sets: []uint8{3}, clock: n.store.Clock(p)}
		digest := n.Ownership().Digest
		if done, err := n.x.drop(t.Context(), digest+1, r); done || err == nil {
			t.Errorf("another view: %v, %v", done, err)
		}
		w.put(n, "k")
		if done, err := n.x.drop(t.Context(), digest, r); done || err != nil || n.store.Clock(p).IsEmpty() {
			t.Errorf("more has come: %v, %v", done, err)
		}
		r.clock = n.store.Clock(p)
		if done, err := n.x.drop(t.Context(), digest, r); !done || err != nil || !n.store.Clock(p).IsEmpty() {
			t.Errorf("%v, %v", done, err)
		}
		// what a fallback was told before rests on what is gone
		var dots version.Vector
		dots.AddBase(version.Actor{ID: 77, N: 3}, 5)
		if answer, err := n.d.adopt(&settle{Digest: digest, Partition: p, Opening: n.store.Actor(), Dots: dots}); n.rings().Keeps(n.id, p, 3) && (err != nil || answer.Adopted) {
			t.Errorf("dots of what was dropped: %+v, %v", answer, err)
		}
	})
}

// TestLedger: what counts was begun under the top layout, past its fence, with all layouts known that are live now.
func TestLedger(t *testing.T) {
	self, peer := ring.ID{4}, ring.ID{2}
	settled := viewOf(t, testPartitions, 3)
	state, err := settled.Propose(ring.ID{1}, rowOf(4, layouts.Owns))
	if err != nil {
		t.Fatal(err)
	}
	unfenced := placed(state)
	fenced := placed(state.Record(ring.ID{1}).Record(ring.ID{2}).Record(ring.ID{3}))
	if begins(settled) != true || begins(unfenced) || !begins(fenced) {
		t.Errorf("which exchanges count: %v %v", begins(unfenced), begins(fenced))
	}
	gaining := territoryOf(fenced, self).gaining
	p := ring.Partition(slices.IndexFunc(gaining, func(n uint8) bool { return n > 0 }))
	var l ledger
	if !l.follow(unfenced) || l.follow(fenced) {
		t.Error("begun anew by a fact of the same layouts")
	}
	if !l.owes(fenced, self, p, peer) || l.missing(fenced, self, gaining)[peer] == 0 {
		t.Error("nothing is owed")
	}
	if due := l.due(unfenced, self, gaining); slices.Contains(due, p) {
		t.Error("reported before the fence")
	}
	for _, id := range fenced.Peers(self, p) {
		if slices.Contains(l.due(fenced, self, gaining), p) {
			t.Errorf("reported without %v", id.Short())
		}
		l.met(settled, id, []ring.Partition{p}) // begun under another top
		l.met(fenced, id, []ring.Partition{p})
		l.met(fenced, id, []ring.Partition{p})
	}
	if !slices.Contains(l.due(fenced, self, gaining), p) || l.owes(fenced, self, p, peer) {
		t.Errorf("not reported: %v", l.with)
	}
	// a layout beneath the top becomes known: what was exchanged before does not count
	beneath, err := settled.Propose(ring.ID{1}, rowOf(5, layouts.Owns))
	if err != nil {
		t.Fatal(err)
	}
	two, err := layouts.Merge(state, beneath)
	if err != nil {
		t.Fatal(err)
	}
	united, _, err := placed(two).Unify(ring.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	top, _ := placed(united).Top()
	var late ledger
	late.follow(placed(united))
	late.live = late.live[:0]
	for _, h := range hashes(placed(united)) {
		if h == top.Hash() || len(late.live) == 0 {
			late.live = append(late.live, h)
		}
	}
	if !late.follow(placed(united)) {
		t.Error("what was exchanged before a layout was known counts")
	}
	if late.follow(placed(two)) || len(late.live) != 0 {
		t.Error("a ledger without a top layout")
	}
}

// TestJoinCrashes: at every change of the joiner's disk it loses what was not synced. What it had reported then is there, and going on it gets everything.
func TestJoinCrashes(t *testing.T) {
	type moment struct {
		disk     vfs.FS
		reported []ring.Partition
	}
	var all []moment
	disk := vfs.NewCrashableMem()
	var watching atomic.Bool // the store looks at its disk on its own as well
	var joiner *testNode
	var reported []ring.Partition
	injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if watching.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			all = append(all, moment{disk.CrashClone(vfs.CrashCloneCfg{}), slices.Clone(reported)})
		}
		return nil
	})
	build := func(fs vfs.FS) *world {
		w := newWorld(t, 3)
		cfg := DefaultExchangeConfig()
		cfg.Settle, cfg.Page = 0, 600
		for i := range 3 {
			w.add(ring.ID{byte(i + 1)}, vfs.NewMem(), cfg)
		}
		joiner = w.add(ring.ID{4}, fs, cfg)
		return w
	}
	errands := func(w *world) {
		for range 8 {
			w.tell()
			for _, n := range w.nodes {
				for _, other := range w.nodes {
					if n != other {
						n.x.round(t.Context(), other.id)
					}
				}
				o := n.Ownership()
				n.x.report(&o)
			}
			for p := range ring.Partition(testPartitions) {
				if joiner.rings().Reported(joiner.id, p) && !slices.Contains(reported, p) {
					reported = append(reported, p)
				}
			}
		}
	}
	w := build(errorfs.Wrap(disk, injector))
	latest := w.fill("k", 40)
	watching.Store(true)
	w.nodes[0].propose(rowOf(4, layouts.Owns))
	errands(w)
	watching.Store(false)
	if len(reported) != testPartitions {
		t.Fatalf("reported: %v\n%v", reported, joiner.rings())
	}
	w.close()
	t.Logf("%d crashes", len(all))
	if len(all) < 15 {
		t.Fatal("too few to mean anything")
	}
	for at, m := range all {
		w := build(m.disk)
		stamp := w.stamp
		w.fill("k", 40) // the same
		for _, p := range m.reported {
			for key := range latest {
				if k := w.keyOf(key); k.Partition == p && joiner.rings() != nil {
					want, err := w.owners(key, 3)[0].store.Get(k)
					got, err2 := joiner.store.Get(k)
					if err != nil || err2 != nil || len(got.Versions) == 0 && w.gives(joiner, k.Partition) {
						t.Fatalf("crash %d: partition %d was reported, and %v is missing (%v), %v %v", at, p, want, got, err, err2)
					}
				}
			}
		}
		w.nodes[0].propose(rowOf(4, layouts.Owns))
		reported = nil
		errands(w)
		if err := w.have(latest, 3); err != nil {
			t.Fatalf("crash %d (stamps from %d): %v", at, stamp, err)
		}
		if len(reported) != testPartitions {
			t.Fatalf("crash %d: reported %v", at, reported)
		}
		w.close()
	}
}

// gives reports whether the layout of four gives a node sets of n=3 in a partition.
func (w *world) gives(n *testNode, p ring.Partition) bool {
	return slices.Contains(versionOf(w.t, testPartitions, 4).Place().Owners(p, 3), n.id)
}

// damagedStore cannot read what it is to drop.
type damagedStore struct {
	Store
	drops atomic.Int64
}

func (s *damagedStore) Drop(ring.Partition, uint8, uint8) error {
	s.drops.Add(1)
	return fmt.Errorf("%w: in the middle of a table", store.ErrCorrupt)
}

// TestDamageIsNotTriedAtOnce: what cannot be dropped because it cannot be read is tried again, but seldom: each try reads it all.
func TestDamageIsNotTriedAtOnce(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		leaver := w.nodes[3]
		w.fill("k", 50)
		s := &damagedStore{Store: leaver.x.store}
		leaver.x.store = s
		run()
		w.nodes[0].propose(rowOf(4, layouts.Leaves))
		await(t, "the first try", func() error {
			if s.drops.Load() == 0 {
				return errors.New("nothing has been dropped yet")
			}
			return nil
		})
		time.Sleep(leaver.x.cfg.Retry) // other partitions of the same try
		first := s.drops.Load()
		time.Sleep(damaged * leaver.x.cfg.Retry / 2)
		if now := s.drops.Load(); now != first || leaver.x.Dropped() {
			t.Errorf("%d drops in the first try, %d within half the pause; dropped: %v", first, now, leaver.x.Dropped())
		}
		time.Sleep(damaged * leaver.x.cfg.Retry)
		if now := s.drops.Load(); now != 2*first {
			t.Errorf("%d drops, want the %d of the first try once more", now, first)
		}
	})
}
