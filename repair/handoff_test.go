package repair

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
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

func (w *world) keyOf(key string) store.Key {
	return store.Key{Partition: ring.PartitionOf(ring.Hash("b", key), testPartitions), Bucket: "b", Key: key}
}

// owners and fallbacks are the nodes of a key, in order of preference.
func (w *world) owners(key string, n int) (out []*testNode) {
	for _, id := range w.layout.Owners(w.keyOf(key).Partition, n) {
		out = append(out, w.node(id))
	}
	return out
}

func (w *world) fallbacks(key string, n int) (out []*testNode) {
	for _, id := range w.layout.Fallbacks(w.keyOf(key).Partition, n) {
		out = append(out, w.node(id))
	}
	return out
}

// stand coordinates a write at a fallback for all owners of a key, n=3; others stand in for one owner each.
func (w *world) stand(at *testNode, key string, mode version.Mode, others ...*testNode) version.Dot {
	w.t.Helper()
	k := w.keyOf(key)
	w.stamp++
	var dot version.Dot
	res, err := at.store.StandUpdate(k, 3, w.layout.Owners(k.Partition, 3), func(local version.Record, d version.Dot) (version.Record, error) {
		dot = d
		return version.Supersede(local, version.Write{Dot: d, Mode: mode, Value: fmt.Appendf(nil, "%s %d", key, w.stamp),
			Stamp: version.Stamp{Time: w.stamp << 12, Actor: d.Actor.ID}})
	})
	if err == nil {
		err = res.Commit.Wait()
	}
	for i, n := range others {
		if err == nil {
			var r store.Result
			r, err = n.store.StandApply(k, res.Record, w.layout.Owners(k.Partition, 3)[i])
			err = errors.Join(err, r.Commit.Wait())
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return dot
}

// settled returns what still differs between the owners of a partition, or is still kept for them.
func (w *world) settled() error {
	for p := range ring.Partition(testPartitions) {
		owners := w.layout.Owners(p, 3)
		first := w.node(owners[0])
		clock := first.store.Clock(p).AtLeast(3)
		for _, e := range clock.Entries() {
			if len(e.Detached) > 0 {
				return fmt.Errorf("partition %d: a hole in %v", p, clock)
			}
		}
		for _, id := range owners[1:] {
			if other := w.node(id).store.Clock(p).AtLeast(3); !clock.Equal(other) {
				return fmt.Errorf("partition %d: clocks %v and %v", p, clock, other)
			}
			err := first.store.Scan(p, "b", "", "", func(key string, r version.Record) bool {
				theirs, err := w.node(id).store.Get(w.keyOf(key))
				if err != nil || !theirs.SameVersions(r) {
					w.t.Errorf("key %s: %v and %v, %v", key, r, theirs, err)
				}
				return true
			})
			if err != nil {
				return err
			}
		}
	}
	for _, n := range w.nodes {
		if owed, held := n.store.Owed(), n.store.HandOffs(); len(owed) > 0 || held.Count != 0 || held.Bytes != 0 {
			return fmt.Errorf("node %v keeps %+v: %+v", n.id.Short(), held, owed)
		}
	}
	return nil
}

// TestHandOffs: whoever stood in for whom while owners came and went and answers got lost, all owners get everything, clocks have no hole, and
// nothing is kept any more. It ends in silence.
func TestHandOffs(t *testing.T) {
	inWorld(t, 5, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, n := range w.nodes {
			n.d.cfg.Page = 400
		}
		lossy, chance := true, rand.New(rand.NewPCG(3, 4))
		w.fail = func(transport.Kind) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return lossy && chance.IntN(10) == 0
		}
		run()
		latest, siblings := map[string]string{}, map[string]int{}
		for round := range 40 {
			down := w.nodes[rng.IntN(5)]
			w.set(w.down, down.id, true)
			for range 20 {
				key, sibs := fmt.Sprint("k", rng.IntN(30)), fmt.Sprint("s", rng.IntN(5))
				fallbacks := w.fallbacks(key, 3)
				switch rng.IntN(3) {
				case 0:
					w.stand(fallbacks[0], key, version.LWW, fallbacks[1:]...)
				case 1:
					w.stand(fallbacks[1], key, version.LWW)
				case 2:
					owners := w.owners(key, 3)
					w.put(owners[rng.IntN(3)], key)
				}
				latest[key] = fmt.Sprintf("%s %d", key, w.stamp)
				w.stand(w.fallbacks(sibs, 3)[rng.IntN(2)], sibs, version.Siblings)
				siblings[sibs]++
			}
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond) // virtual
			w.set(w.down, down.id, false)
			if round%8 == 7 {
				time.Sleep(20 * time.Second)
			}
		}
		w.mu.Lock()
		lossy = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if err := w.settled(); err != nil {
			t.Fatal(err)
		}
		for key, want := range latest {
			if r, err := w.owners(key, 3)[2].store.Get(w.keyOf(key)); err != nil || len(r.Versions) != 1 || string(r.Versions[0].Value) != want {
				t.Errorf("%v, %v; want %q", r, err, want)
			}
		}
		for key, want := range siblings {
			if r, err := w.owners(key, 3)[1].store.Get(w.keyOf(key)); err != nil || len(r.Versions) != want {
				t.Errorf("%s: %d siblings, %v; want %d", key, len(r.Versions), err, want)
			}
		}
		w.mu.Lock()
		clear(w.counts)
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if c := w.counts; c[KindHandOff]+c[KindSettle]+c[KindHolding] > 0 {
			t.Errorf("messages of an idle minute: %v", c)
		}
	})
}

// TestHandOffAtOnce: an owner that answers again is served at once, not after a cycle; and members know meanwhile what is kept.
func TestHandOffAtOnce(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, run func()) {
		f, owners := w.fallbacks("k", 3)[0], w.owners("k", 3)
		f.d.cfg.Cycle = time.Hour
		w.set(w.down, owners[0].id, true)
		run()
		w.stand(f, "k", version.LWW)
		time.Sleep(5 * time.Second)
		f.d.mu.Lock()
		f.d.telling = time.Time{}
		f.d.mu.Unlock()
		time.Sleep(time.Minute)
		if got := f.store.HandOffs(); got.Count != 1 {
			t.Fatalf("%+v while one of the owners is down", got)
		}
		if count, bytes := owners[1].d.Holding(f.id); count != 1 || bytes != f.store.HandOffs().Bytes {
			t.Errorf("another one believes that %d hand-offs with %d bytes are kept", count, bytes)
		}
		w.set(w.down, owners[0].id, false)
		f.d.Changed()
		time.Sleep(5 * time.Second)
		if err := w.settled(); err != nil {
			t.Error(err)
		}
	})
}

// replace puts a namesake with an empty disk, or nobody, in the place of a member; all have the new layout at once.
func (w *world) replace(gone, by ring.ID) {
	w.t.Helper()
	var rows []layouts.Row
	for _, m := range w.layout.Members() {
		if m.ID == gone {
			m.ID = by
		}
		if !m.ID.IsZero() {
			rows = append(rows, layouts.Row{ID: m.ID, Standing: layouts.Owns, Name: m.Name, Weight: 1})
		}
	}
	v, err := layouts.NewVersion(testPartitions, rows...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.force(v)
	w.set(w.down, gone, true)
	w.set(w.down, by, false)
}

// together returns names of keys in the partition of the first.
func (w *world) together(first string, count int) []string {
	names := []string{first}
	for i := 0; len(names) < count; i++ {
		if name := fmt.Sprint("with ", first, i); w.keyOf(name).Partition == w.keyOf(first).Partition {
			names = append(names, name)
		}
	}
	return names
}

// TestReplacedTarget: what is kept for an owner that lost its disk goes to whoever has its place, with the dots of the writes since then and none
// of those before; and to the fallback itself if it has become an owner.
func TestReplacedTarget(t *testing.T) {
	inWorld(t, 5, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		namesake := w.nodes[4]
		w.replace(namesake.id, ring.ID{}) // it is no member yet
		f, lost, stays := w.fallbacks("k", 3)[0], w.owners("k", 3)[0], w.owners("k", 3)[1]
		p := w.keyOf("k").Partition
		other := w.together("k", 2)[1]
		first := w.stand(f, "k", version.Siblings)
		for _, o := range w.owners("k", 3) {
			f.d.errand(t.Context(), o.id) // all have it, and it is forgotten
		}
		kept := w.stand(f, other, version.Siblings)
		w.replace(lost.id, namesake.id)
		f.d.errand(t.Context(), lost.id)
		since := w.stand(f, "k", version.Siblings)
		f.d.errand(t.Context(), namesake.id)
		if r, err := namesake.store.Get(w.keyOf(other)); err != nil || !r.Has(kept) {
			t.Errorf("what was kept for the lost one: %v, %v", r, err)
		}
		clock := namesake.store.Clock(p)
		if clock.Covers(first) || !clock.Covers(kept) || !clock.Covers(since) {
			t.Errorf("the namesake's clock %v covers %v: %v, %v: %v, %v: %v", clock, first, clock.Covers(first), kept, clock.Covers(kept), since, clock.Covers(since))
		}
		for _, d := range f.store.Owed() {
			if d.Owner == lost.id || d.Owner == namesake.id {
				t.Errorf("still owed: %+v", d)
			}
		}
		w.replace(stays.id, ring.ID{}) // three are left, so the fallback owns everything
		f.d.errand(t.Context(), stays.id)
		f.d.errand(t.Context(), f.id)
		if r, err := f.store.Get(w.keyOf("k")); err != nil || !r.Has(since) {
			t.Errorf("the fallback, which is an owner now: %v, %v", r, err)
		}
	})
}

// TestHandOffRefusals: who may not take a delivery says why, and the fallback keeps it.
func TestHandOffRefusals(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		f, owners := w.fallbacks("k", 3)[0], w.owners("k", 3)
		w.stand(f, "k", version.Siblings)
		before := f.Ownership().Digest
		owners[0].propose(rowOf(9, layouts.Owns))
		f.d.errand(t.Context(), owners[0].id)
		digest := f.Ownership().Digest
		if digest == before || digest != owners[0].Ownership().Digest || f.store.HandOffs().Count != 1 || f.d.Stats.Failed.Load() != 1 {
			t.Errorf("another view: %+v", f.store.HandOffs())
		}

		status := func(kind transport.Kind, body []byte, at *testNode) transport.Status {
			return f.Call(t.Context(), at.id, kind, body).Status
		}
		k := w.keyOf("k")
		record, _, err := f.store.StandGet(k)
		if err != nil {
			t.Fatal(err)
		}
		m := handOffs{Digest: digest, Partition: k.Partition, Records: []handed{{"b", "k", record}}}
		if got := status(KindHandOff, m.append(nil), f); got != statusBad {
			t.Errorf("no owner: %v", got)
		}
		m.Partition++
		if got := status(KindHandOff, m.append(nil), owners[0]); got != statusBad {
			t.Errorf("another partition: %v", got)
		}
		m.Partition, m.Digest = k.Partition, 76
		for kind, body := range map[transport.Kind][]byte{KindHandOff: m.append(nil), KindSettle: (&settle{Digest: 76, Dots: bases(3, 3)}).append(nil)} {
			if got := status(kind, body, owners[0]); got != statusLayout {
				t.Errorf("%v under another layout: %v", kind, got)
			}
			if got := status(kind, []byte("nonsense"), owners[0]); got != statusBad {
				t.Errorf("%v: nonsense: %v", kind, got)
			}
		}
		var fourth version.Vector
		fourth.AddBase(version.Actor{ID: 9, N: 3}, 5)
		for name, m := range map[string]settle{"no owner of these dots": {Digest: digest, Partition: k.Partition, Dots: fourth}, "no such partition": {Digest: digest, Partition: testPartitions, Dots: fourth}} {
			if got := status(KindSettle, m.append(nil), f); got != statusBad || !f.store.Clock(k.Partition).IsEmpty() {
				t.Errorf("%s: %v", name, got)
			}
		}
		if got := status(KindHolding, nil, owners[0]); got != statusBad {
			t.Errorf("no sums: %v", got)
		}
	})
}

// TestHandOffToItself: a fallback that has become an owner serves itself, dots included: no call reaches itself.
func TestHandOffToItself(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		at := w.owners("k", 3)[0]
		w.set(w.down, at.id, true)
		k := w.keyOf("k")
		res, err := at.store.StandUpdate(k, 3, []ring.ID{at.id}, func(local version.Record, d version.Dot) (version.Record, error) {
			return version.Supersede(local, version.Write{Dot: d, Mode: version.LWW, Stamp: version.Stamp{Time: 5 << 12, Actor: d.Actor.ID}})
		})
		if err == nil {
			err = res.Commit.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		at.d.errand(t.Context(), at.id)
		if owed := at.store.Owed(); len(owed) > 0 {
			t.Errorf("still owed: %+v", owed)
		}
		if r, err := at.store.Get(k); err != nil || r.IsAbsent() {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// TestHandOffTooLarge: one record that its owner cannot take keeps none of the others back, and no dot is adopted.
func TestHandOffTooLarge(t *testing.T) {
	inWorld(t, 4, DefaultExchangeConfig(), func(t *testing.T, w *world, _ func()) {
		f, target := w.fallbacks("k", 3)[0], w.owners("k", 3)[0]
		value := []byte(strings.Repeat("x", 40<<20))
		k := w.keyOf("k")
		for _, at := range []*testNode{f, target} { // together they are more than a record may have
			fn := func(local version.Record, d version.Dot) (version.Record, error) {
				return version.Supersede(local, version.Write{Dot: d, Mode: version.Siblings, Value: value, Stamp: version.Stamp{Time: 5 << 12, Actor: d.Actor.ID}})
			}
			res, err := at.store.StandUpdate(k, 3, []ring.ID{target.id}, fn)
			if at == target {
				res, err = at.store.Update(k, 3, fn)
			}
			if err == nil {
				err = res.Commit.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		small := w.together("k", 2)[1]
		f.d.cfg.Page = 64 << 20 // both in one message
		w.stand(f, small, version.LWW)
		f.d.errand(t.Context(), target.id)
		if r, err := target.store.Get(w.keyOf(small)); err != nil || r.IsAbsent() {
			t.Errorf("the small one: %v, %v", r, err)
		}
		if _, held, err := f.store.StandGet(k); err != nil || !held || f.d.Stats.Refused.Load() != 1 {
			t.Errorf("the large one is kept: %v, %v; %d refused", held, err, f.d.Stats.Refused.Load())
		}
		if clock := target.store.Clock(k.Partition); len(clock.Entries()) != 2 {
			t.Errorf("the target's clock: %v", clock)
		}
	})
}

// TestHandOffCrashes: at every change of either disk both lose what was not synced. What the fallback acknowledged is then kept for the owner, or the
// owner has it; and going on from there the owner gets everything, also what came while it was served.
func TestHandOffCrashes(t *testing.T) {
	type moment struct {
		fallback, owner vfs.FS
		acked           map[string]uint64 // stamps
	}
	var all []moment
	disks := [2]*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
	acked := map[string]uint64{}
	var watching atomic.Bool // the store looks at its disk on its own as well
	injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if watching.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			m := moment{acked: maps.Clone(acked)}
			m.fallback = disks[0].CrashClone(vfs.CrashCloneCfg{}) // first: the owner may be ahead of it, never behind
			m.owner = disks[1].CrashClone(vfs.CrashCloneCfg{})
			all = append(all, m)
		}
		return nil
	})
	w := crashWorld(t, errorfs.Wrap(disks[0], injector), errorfs.Wrap(disks[1], injector))
	f, owner := w.nodes[0], w.nodes[1]
	keys := w.together("k", 17)
	write := func(i int) {
		w.stand(f, keys[i], version.LWW)
		acked[keys[i]] = w.stamp
	}
	for i := range 16 {
		write(i)
	}
	watching.Store(true)
	calls := 0
	f.d.cfg.Page = 1 // one key
	w.fail = func(transport.Kind) bool {
		if calls++; calls == 2 || calls == 8 { // what is being served changes before it is forgotten
			for i := range 16 {
				write(i)
			}
		}
		return calls%5 == 4
	}
	for range 16 {
		f.d.errand(t.Context(), owner.id)
	}
	watching.Store(false)
	w.close()
	t.Logf("%d crashes", len(all))
	if len(all) < 50 {
		t.Fatal("too few to mean anything")
	}
	holes := 0 // where the owner had confirmed a part under its last opening
	for at, m := range all {
		w := crashWorld(t, m.fallback, m.owner)
		f, owner := w.nodes[0], w.nodes[1]
		for key, stamp := range m.acked {
			w.stamp = max(w.stamp, stamp)
			k := w.keyOf(key)
			kept, _, err := f.store.StandGet(k)
			has, err2 := owner.store.Get(k)
			if err != nil || err2 != nil || !atLeast(kept, stamp) && !atLeast(has, stamp) {
				t.Fatalf("crash %d: key %s: write %d is neither kept (%v, %v) nor delivered (%v, %v)", at, key, stamp, kept, err, has, err2)
			}
		}
		w.stand(f, keys[16], version.LWW)
		f.d.errand(t.Context(), owner.id)
		if err := w.delivered(m.acked); err != nil {
			t.Fatalf("crash %d: %v", at, err)
		}
		if owner.hole() != nil {
			holes++
		}
		w.close()
	}
	if t.Logf("%d holes", holes); holes == len(all) {
		t.Error("an owner that confirms everything after it was opened is told of the dots")
	}
}

// crashWorld is the fallback and an owner of one partition, on two disks that may hold data. Its other two owners are away.
func crashWorld(t testing.TB, disks ...vfs.FS) *world {
	w := newWorld(t, 4)
	order := w.layout.Order(w.keyOf("k").Partition)
	for i, fs := range disks {
		w.add(order[3*(1-i)], fs, DefaultExchangeConfig())
	}
	return w
}

func (w *world) close() {
	for _, n := range w.nodes {
		if err := n.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// atLeast reports whether a record of an lww key has a write, or a later one.
func atLeast(r version.Record, stamp uint64) bool {
	return len(r.Versions) == 1 && r.Versions[0].Stamp.Time >= stamp<<12
}

// delivered reports what the second node of a crashWorld lacks, or is still owed.
func (w *world) delivered(acked map[string]uint64) error {
	f, owner := w.nodes[0], w.nodes[1]
	for _, d := range f.store.Owed() {
		if d.Owner == owner.id {
			return fmt.Errorf("still owed: %+v", d)
		}
	}
	for key, stamp := range acked {
		if r, err := owner.store.Get(w.keyOf(key)); err != nil || !atLeast(r, stamp) {
			return fmt.Errorf("key %s: %v, %v; write %d was acknowledged", key, r, err, stamp)
		}
	}
	return nil
}

// hole returns the first hole in a clock of a node.
func (n *testNode) hole() error {
	for p := range ring.Partition(testPartitions) {
		for _, e := range n.store.Clock(p).Entries() {
			if len(e.Detached) > 0 {
				return fmt.Errorf("partition %d: a hole in %v", p, e)
			}
		}
	}
	return nil
}
