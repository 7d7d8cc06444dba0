package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// facts are what left a store. None may be missing afterwards, whatever happens.
type facts struct {
	mu          sync.Mutex
	incarnation ring.ID
	dots        map[Key][]version.Dot // acknowledged, or shown by Get
	clocks      map[ring.Partition]version.Vector
	metas       map[string]string
	known       issuedDots // every dot that was given to a version, acknowledged or not
	actors      map[version.ActorID]bool
	// held are the dots of hand-offs that left the store, as records or acknowledged, and were not delivered to anybody since.
	held map[Key][]version.Dot
}

func newFacts() *facts {
	return &facts{dots: map[Key][]version.Dot{}, clocks: map[ring.Partition]version.Vector{}, metas: map[string]string{}, known: issuedDots{}, actors: map[version.ActorID]bool{}, held: map[Key][]version.Dot{}}
}

// standing notes a hand-off that was acknowledged or shown. The caller holds the lock.
func (f *facts) standing(k Key, r version.Record) {
	for i := range r.Versions {
		f.held[k] = append(f.held[k], r.Versions[i].Dot)
	}
}

// delivering notes that hand-offs may be gone from now on. The caller holds the lock.
func (f *facts) delivering(page []HandOff) {
	for _, h := range page {
		delete(f.held, h.Key)
	}
}

func (f *facts) copy() *facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := newFacts()
	c.incarnation = f.incarnation
	for k, d := range f.dots {
		c.dots[k] = slices.Clone(d)
	}
	for k, d := range f.held {
		c.held[k] = slices.Clone(d)
	}
	for p, v := range f.clocks {
		c.clocks[p] = v.Clone()
	}
	for p, dots := range f.known {
		c.known[p] = maps.Clone(dots)
	}
	maps.Copy(c.metas, f.metas)
	maps.Copy(c.actors, f.actors)
	return c
}

func (f *facts) note(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *facts) opened(s *Store) {
	f.note(func() { f.incarnation = s.Incarnation(); f.actors[s.Actor()], f.actors[s.StandActor()] = true, true })
}

func (f *facts) shown(k Key, r version.Record) {
	f.note(func() {
		for i := range r.Versions {
			f.dots[k] = append(f.dots[k], r.Versions[i].Dot)
		}
	})
}

// check opens what is left after a crash and looks for everything that had left the store.
func (f *facts) check(t *testing.T, o Options) {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open after the crash: %v", err)
	}
	defer mustClose(t, s)
	f.checkOpen(t, s)
	if f.actors[s.Actor()] || f.actors[s.StandActor()] {
		t.Fatalf("actor %v or %v was used before", s.Actor(), s.StandActor())
	}
	// It must also go on from here.
	var dot version.Dot
	k := keyOf("after", o.Partitions)
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "after", nil, &dot)).Commit)
	if f.known[k.Partition][dot] {
		t.Fatalf("dot %v was used twice", dot)
	}
	wantValues(t, s, k, "after")
}

func (f *facts) checkOpen(t *testing.T, s *Store) {
	t.Helper()
	if !f.incarnation.IsZero() && s.Incarnation() != f.incarnation {
		t.Fatalf("incarnation %v, was %v", s.Incarnation(), f.incarnation)
	}
	checkStore(t, s, f.known)
	for k, dots := range f.dots {
		r, err := s.Get(k)
		if err != nil {
			t.Fatalf("get %q: %v", k.Key, err)
		}
		for _, d := range dots {
			if !r.Covers(d) {
				t.Fatalf("key %q: dot %v had left the store and is gone: %v", k.Key, d, r)
			}
			if !s.Clock(k.Partition).Covers(d) {
				t.Fatalf("key %q: dot %v had left the store and is not in the clock %v", k.Key, d, s.Clock(k.Partition))
			}
		}
	}
	for k, dots := range f.held {
		r, _, err := s.StandGet(k)
		if err != nil {
			t.Fatalf("hand-off of %q: %v", k.Key, err)
		}
		for _, d := range dots {
			if !r.Covers(d) {
				t.Fatalf("hand-off of %q: dot %v had left the store and is gone: %v", k.Key, d, r)
			}
		}
	}
	for p, clock := range f.clocks {
		if !s.Clock(p).CoversAll(clock) {
			t.Fatalf("partition %d: the clock %v was reported and is now %v", p, clock, s.Clock(p))
		}
	}
	for name, want := range f.metas {
		if got, err := s.LoadMeta(name); err != nil || string(got) != want {
			t.Fatalf("entry %q: %q, %v; want %q", name, got, err, want)
		}
	}
}

// workload does a little of everything, and notes what left the store. Failed writes are noted as issued only.
func workload(s *Store, f *facts, partitions, rounds int) {
	r := rand.New(rand.NewPCG(1, 2))
	foreign := version.Actor{ID: 77, N: 3}
	var peer version.Vector
	write := func(k Key, wait bool) {
		var dot version.Dot
		mode := []version.Mode{version.LWW, version.Siblings}[r.IntN(2)]
		res, err := s.Update(k, 3, func(local version.Record, d version.Dot) (version.Record, error) {
			f.note(func() { f.known.add(k.Partition, d) })
			return put(mode, fmt.Sprint("value of ", d), nil, &dot)(local, d)
		})
		if err == nil && wait && await(res.Commit, r.IntN(2) == 0) == nil {
			f.shown(k, res.Record)
		}
	}
	for i := range rounds {
		k := keyOf(fmt.Sprint("k", r.IntN(5)), partitions)
		write(k, r.IntN(4) > 0)
		if i%3 == 0 { // a write of another node, with a hole before every second one
			k := Key{Partition: 0, Bucket: "b", Key: fmt.Sprint("foreign", r.IntN(3))}
			entry, _ := peer.Entry(foreign)
			d := version.Dot{Actor: foreign, Counter: entry.Highest() + 1 + uint64(i%2)}
			peer.Add(d)
			f.note(func() { f.known.add(k.Partition, d) })
			res, err := s.Apply(k, version.NewRecord(version.Write{Dot: d, Mode: version.Siblings, Value: []byte("foreign"), Stamp: clockOf.next(77)}))
			if err == nil && res.Commit.Wait() == nil {
				f.shown(k, res.Record)
			}
		}
		if rec, err := s.Get(k); err == nil {
			f.shown(k, rec)
		}
		if i%5 == 0 {
			clock := s.Clock(k.Partition)
			f.note(func() {
				if known := f.clocks[k.Partition]; !known.CoversAll(clock) {
					known = known.Clone()
					known.Merge(clock)
					f.clocks[k.Partition] = known
				}
			})
		}
		if i%7 == 0 {
			name, value := fmt.Sprint("meta", i), fmt.Sprint(i)
			if s.SaveMeta(name, []byte(value)) == nil {
				f.note(func() { f.metas[name] = value })
			}
		}
		if i%4 == 1 {
			write(keyOf("k0", partitions), false)
			p := keyOf("k0", partitions).Partition
			_ = s.Scan(p, "b", "", "", func(key string, r version.Record) bool {
				f.shown(Key{Partition: p, Bucket: "b", Key: key}, r)
				return true
			})
		}
		standWorkload(s, f, partitions, r)
		if i%11 == 10 { // a flush brings in tables, a new log and the manifest
			flush(s)
		}
	}
}

// await is Commit.Wait, by way of Then if told is set.
func await(c *Commit, told bool) error {
	if !told {
		return c.Wait()
	}
	done := make(chan error, 1)
	c.Then(func(err error) { done <- err })
	return <-done
}

// flush waits until what was written is in tables, if the disk lets it.
func flush(s *Store) {
	e, err := s.enterWrite()
	if err != nil {
		return
	}
	defer e.leave()
	done, err := e.db.AsyncFlush()
	if err != nil {
		return
	}
	select {
	case <-done:
	case <-e.gate.tripped:
	case <-time.After(3 * tableRetryPause):
	}
}

// onWrite is an injector that calls itself before every change of the disk, one at a time.
func onWrite(before func(op int, o errorfs.Op) error) errorfs.Injector {
	var mu sync.Mutex
	ops := 0
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		ops++
		return before(ops, op)
	})
}

// TestCrashEverywhere crashes at every change of the disk: with all that was not synced gone, and with a random half of it.
func TestCrashEverywhere(t *testing.T) {
	fs := vfs.NewCrashableMem()
	f := newFacts()
	type crash struct {
		op    int
		left  *vfs.MemFS
		facts *facts
	}
	var all []crash
	rng := rand.New(rand.NewPCG(5, 6))
	injector := onWrite(func(op int, _ errorfs.Op) error {
		known := f.copy() // before the clone: what leaves between the two need not be in it
		for _, percent := range []int{0, 50} {
			left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			all = append(all, crash{op, left, known})
		}
		return nil
	})
	o := testOptions(errorfs.Wrap(fs, injector))
	o.Partitions = 2
	for range 2 {
		s := mustOpen(t, o)
		f.opened(s)
		workload(s, f, o.Partitions, 24)
		mustClose(t, s)
	}
	t.Logf("%d crashes", len(all))
	for _, crash := range all {
		o.FS = crash.left
		crash.facts.known = f.known // a dot may have been issued after the copy and before the clone
		if !t.Run(fmt.Sprint("op=", crash.op), func(t *testing.T) { crash.facts.check(t, o) }) {
			return
		}
	}
}
