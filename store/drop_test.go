package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
	"pgregory.net/rapid"
)

// heldOf is what Held says of one partition.
func heldOf(t testing.TB, s *Store, p ring.Partition) []uint8 {
	t.Helper()
	all, err := s.Held()
	if err != nil {
		t.Fatalf("held: %v", err)
	}
	for _, h := range all {
		if h.Partition == p {
			return h.N
		}
	}
	return nil
}

// checkHeld compares what Held says with what is on the disk: every record's n, and every clock's unless a live version of a larger n brought it.
func checkHeld(t testing.TB, s *Store) {
	t.Helper()
	e := s.cur.Load()
	fresh := epoch{db: e.db, parts: make([]partition, len(e.parts))}
	if err := fresh.loadHeld(); err != nil {
		t.Fatalf("held: %v", err)
	}
	for i := range e.parts {
		if e.parts[i].held != fresh.parts[i].held {
			t.Fatalf("partition %d holds %b, on the disk %b", i, e.parts[i].held, fresh.parts[i].held)
		}
	}
	err := scanPrefix(e.db, prefixRecord, func(key, value []byte) error {
		k, _ := parseRecordKey(key)
		r, err := version.DecodeRecord(slices.Clone(value))
		if held := heldOf(t, s, k.Partition); err == nil && !slices.Contains(held, r.N) {
			t.Fatalf("partition %d holds n=%v, and %q with n=%d", k.Partition, held, k.Key, r.N)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drop drops sets of a store, in the model too; what is being fetched for it is given up, as Drop asks.
func (m *model) drop(i int, from, to uint8, open []*modelPull) []*modelPull {
	before := heldOf(tbOf(m.t), m.stores[i], 0)
	if err := m.stores[i].Drop(0, from, to); err != nil {
		m.t.Fatal(err)
	}
	for k, r := range m.exact[i] {
		if from <= r.N && r.N <= to {
			delete(m.exact[i], k)
		}
	}
	want := slices.DeleteFunc(before, func(n uint8) bool { return from <= n && n <= to })
	if held := heldOf(tbOf(m.t), m.stores[i], 0); !slices.Equal(held, want) {
		m.t.Fatalf("n=%v are held after n=%d to %d were dropped; want %v", held, from, to, want)
	}
	m.checkAll(i)
	return slices.DeleteFunc(open, func(x *modelPull) bool { return x.x == i && m.closed(x) })
}

func (m *model) closed(x *modelPull) bool {
	if err := x.pull.from.Close(); err != nil {
		m.t.Fatal(err)
	}
	return true
}

func (m *model) checkAll(i int) {
	checkStore(tbOf(m.t), m.stores[i], m.known)
	checkHeld(tbOf(m.t), m.stores[i])
	for j := range 6 {
		k := keyOf(fmt.Sprint("k", j), 1)
		r, err := m.stores[i].Get(k)
		if err != nil {
			m.t.Fatal(err)
		}
		m.check(i, k, r)
		if exact := m.exact[i][k]; modeOf(k) == version.Siblings && !m.remembers(k, r, exact) {
			m.t.Fatalf("store %d, key %q has forgotten something of its past:\n%v\nwant %v", i, k.Key, r, exact)
		}
	}
}

// remembers reports whether a record covers all dots of its key that the exact one does: of other keys' dots it may say anything. So it is for siblings, whose
// vectors are causally closed; of an lww key an exchange with a clock that has forgotten may leave out dots that lose by their stamps wherever they come.
func (m *model) remembers(k Key, r, exact version.Record) bool {
	for _, d := range m.byKey[k] {
		if exact.Covers(d) && !r.Covers(d) {
			return false
		}
	}
	return true
}

// TestDropHistories: under random writes, deliveries late and twice, exchanges, drops of sets, writes to them after that, and reopenings,
// stores hold what exact records would hold; no dot is made twice; and snapshots show what they showed.
func TestDropHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, known: issuedDots{}, byKey: map[Key][]version.Dot{}}
		for i := range 2 {
			o := testOptions(vfs.NewMem())
			o.Dir, o.Partitions = fmt.Sprint("data", i), 1
			o.RecordCache = rapid.SampledFrom([]int64{0, 64 << 20}).Draw(t, "cache")
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			m.stores, m.opts, m.exact = append(m.stores, s), append(m.opts, o), append(m.exact, map[Key]version.Record{})
		}
		defer func() {
			for _, s := range m.stores {
				_ = s.Close()
			}
		}()
		store := rapid.IntRange(0, 1)
		key := rapid.Map(rapid.IntRange(0, 5), func(i int) Key { return keyOf(fmt.Sprint("k", i), 1) })
		var open []*modelPull
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				// The odd ones are written as siblings, and their n may be raised: what clocks cannot show of an lww key is in package repair's doc.go.
				k := key.Draw(t, "key")
				n := uint8(2 + k.Key[1]%3)
				if modeOf(k) == version.Siblings && rapid.IntRange(0, 3).Draw(t, "raise") == 0 {
					n = 5
				}
				m.update(store.Draw(t, "store"), k, modeOf(k), rapid.Bool().Draw(t, "read"), n)
			},
			"deliver": func(t *rapid.T) {
				if len(m.sent) > 0 {
					m.deliver(store.Draw(t, "store"), m.sent[rapid.IntRange(0, len(m.sent)-1).Draw(t, "message")])
				}
			},
			"drop": func(t *rapid.T) {
				from := rapid.SampledFrom([]int{1, 1, 1, 2, 3, 4}).Draw(t, "from")
				to := rapid.IntRange(from, 5).Draw(t, "to")
				if from == 1 && rapid.Bool().Draw(t, "all") {
					to = version.MaxN
				}
				open = m.drop(store.Draw(t, "store"), uint8(from), uint8(to), open)
			},
			"open": func(t *rapid.T) {
				if x := store.Draw(t, "into"); len(open) < 4 {
					open = append(open, m.open(x, 1-x))
				}
			},
			"page": func(t *rapid.T) {
				if len(open) > 0 {
					m.page(open[rapid.IntRange(0, len(open)-1).Draw(t, "exchange")])
				}
			},
			"finish": func(t *rapid.T) {
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "exchange")
					m.finish(open[i])
					open = slices.Delete(open, i, i+1)
				}
			},
			"flush":   func(t *rapid.T) { flush(m.stores[store.Draw(t, "store")]) },
			"compact": func(t *rapid.T) { compact(t, m.stores[store.Draw(t, "store")]) },
			"reopen": func(t *rapid.T) {
				i := store.Draw(t, "store")
				clock := m.stores[i].Clock(0)
				if err := m.stores[i].Close(); err != nil {
					t.Fatal(err)
				}
				s, err := Open(m.opts[i])
				if err != nil {
					t.Fatal(err)
				}
				m.stores[i], open = s, nil // an exchange ends with either side's process
				if !s.Clock(0).Equal(clock) {
					t.Fatalf("the clock was %v and is now %v", clock, s.Clock(0))
				}
				m.checkAll(i)
			},
		})
		for i := range m.stores {
			m.checkAll(i)
		}
		m.converge()
	})
}

// TestDropReusesNoDot: who drops a set and regains it in the same opening goes on above all dots that it ever made, claims none of
// those that it dropped, and takes them from others.
func TestDropReusesNoDot(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	own := version.Actor{ID: s.Actor(), N: 3}
	write := func(name string) (dot version.Dot) {
		mustWait(t, mustUpdate(t, s, keyOf(name, 1), 3, put(version.LWW, name, nil, &dot)).Commit)
		return dot
	}
	for i := range 3 {
		write(fmt.Sprint("k", i))
	}
	theirs := s.Clock(0)
	if err := s.Drop(0, 1, version.MaxN); err != nil {
		t.Fatal(err)
	}
	if got := s.Clock(0); !got.IsEmpty() {
		t.Fatalf("the clock claims what was dropped: %v", got)
	}
	if issued, mine := s.Issued(0, own); issued != 3 || !mine {
		t.Fatalf("issued %d, %v; want 3: a token with such a dot is no forgery", issued, mine)
	}
	if dot := write("k0"); dot != (version.Dot{Actor: own, Counter: 4}) {
		t.Fatalf("the first dot afterwards is %v", dot)
	}
	if got := s.Clock(0).String(); got != fmt.Sprintf("{%v:0+4}", own) {
		t.Fatalf("the clock is %v", got)
	}
	if err := s.AdoptUnder(s.Actor(), 0, theirs); !errors.Is(err, ErrReopened) {
		t.Fatalf("adopting what was confirmed before the drop: %v", err)
	}
	theirs.AddBase(own, 9)
	if err := s.Adopt(0, theirs); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Clock(0).Entry(own); got.Base != 4 || len(got.Detached) > 0 {
		t.Fatalf("the clock after an adoption: %v", got)
	}
	if dot := write("k1"); dot.Counter != 5 {
		t.Fatalf("the next dot is %v", dot)
	}
	checkStore(t, s, nil)
}

// TestDropRefuses: what is not there is dropped without a word, and nonsense is refused.
func TestDropRefuses(t *testing.T) {
	o := testOptions(vfs.NewMem())
	s := mustOpen(t, o)
	for _, bad := range []struct {
		p        ring.Partition
		from, to uint8
	}{{99, 1, 2}, {0, 0, 2}, {0, 3, 2}, {0, 1, version.MaxN + 1}} {
		if err := s.Drop(bad.p, bad.from, bad.to); !errors.Is(err, ErrKey) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := s.Drop(0, 1, version.MaxN); err != nil {
		t.Error(err)
	}
	mustClose(t, s)
	if err := s.Drop(0, 1, 2); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Held(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestDropLeaves: other partitions, hand-offs, and a snapshot that was taken before, stay.
func TestDropLeaves(t *testing.T) {
	o := testOptions(vfs.NewMem())
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	at := func(p ring.Partition, name string) Key { return Key{Partition: p, Bucket: "b", Key: name} }
	target := ring.ID{1}
	for p := range ring.Partition(3) {
		for i := range 5 {
			mustUpdate(t, s, at(p, fmt.Sprint("k", i)), 3, put(version.LWW, "v", nil, nil))
		}
		if _, err := s.StandUpdate(at(p, "stood in"), 3, []ring.ID{target}, put(version.LWW, "v", nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if err := s.Drop(1, 1, version.MaxN); err != nil {
		t.Fatal(err)
	}
	seen := 0
	if _, end, err := snap.Page(1, Wanted{Least: 1}, version.Dot{}, func(Key, version.Record) bool { seen++; return true }); seen != 5 || !end || err != nil {
		t.Errorf("the snapshot shows %d records, %v", seen, err)
	}
	look := func() {
		t.Helper()
		for p := range ring.Partition(3) {
			want := []string{"v"}
			if p == 1 {
				want = nil
			}
			wantValues(t, s, at(p, "k2"), want...)
			if _, held, err := s.StandGet(at(p, "stood in")); !held || err != nil {
				t.Errorf("the hand-off of partition %d: %v", p, err)
			}
			if held := heldOf(t, s, p); (len(held) == 0) != (p == 1) {
				t.Errorf("partition %d holds %v", p, held)
			}
		}
		checkStore(t, s, nil)
	}
	look()
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	look()
}

// TestDropBesideWriters: writes that raise a key's n, or keep it, go on while the partition's other sets are dropped page by page.
func TestDropBesideWriters(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	const keys = 64
	big := strings.Repeat("v", dropPage/4)
	name := func(i int) Key { return keyOf(fmt.Sprint("k", i), 1) }
	for i := range keys {
		n := uint8(3)
		if i%4 == 0 {
			n = 5
		}
		mustUpdate(t, s, name(i), n, put(version.LWW, big, nil, nil))
	}
	var wg sync.WaitGroup
	var raised [keys]atomic.Bool
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for range 200 {
				i := r.IntN(keys)
				res, err := s.Update(name(i), 5, put(version.LWW, "new", nil, nil))
				if err == nil {
					err = res.Commit.Wait()
				}
				if err != nil {
					t.Error(err)
				}
				raised[i].Store(true)
			}
		})
	}
	if err := s.Drop(0, 1, 4); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for i := range keys {
		r, err := s.Get(name(i))
		if err != nil {
			t.Fatal(err)
		}
		stays := i%4 == 0 || raised[i].Load()
		if r.IsAbsent() == stays || stays && r.N != 5 {
			t.Fatalf("%q: %v; written with n=5: %v", name(i).Key, r, stays)
		}
	}
	if held := heldOf(t, s, 0); !slices.Equal(held, []uint8{5}) {
		t.Fatalf("held: %v", held)
	}
	checkStore(t, s, nil)
	checkHeld(t, s)
}

// dropScript writes keys of two n, of which some were raised, drops the lower one or everything, and writes again. stage counts its steps.
func dropScript(s *Store, f *facts, to uint8, stage *atomic.Int64) {
	write := func(name string, n uint8) {
		var dot version.Dot
		k := Key{Partition: 0, Bucket: "b", Key: name}
		res, err := s.Update(k, n, func(local version.Record, d version.Dot) (version.Record, error) {
			f.note(func() { f.known.add(0, d) })
			return put(version.Siblings, name, nil, &dot)(local, d)
		})
		if err == nil {
			_ = res.Commit.Wait()
		}
	}
	for i := range 6 {
		write(fmt.Sprint("goes", i), 3)
		write(fmt.Sprint("stays", i), 3)
	}
	flush(s)
	for i := range 6 {
		write(fmt.Sprint("stays", i), 5)
	}
	stage.Store(1)
	err := s.Drop(0, 1, to)
	if err == nil {
		stage.Store(2)
	}
	flush(s)
}

// dropState tells what is there: "before" or "after" the drop; anything between is an error.
func dropState(t *testing.T, s *Store, to uint8) string {
	t.Helper()
	found := map[string]int{}
	for i := range 6 {
		for _, name := range []string{"goes", "stays"} {
			r, err := s.Get(Key{Partition: 0, Bucket: "b", Key: fmt.Sprint(name, i)})
			if err != nil {
				t.Fatal(err)
			}
			if r.IsAbsent() {
				continue
			}
			found[name]++
			if name == "stays" { // what it has replaced must not come back
				seen := false
				for _, e := range r.Vector.Entries() {
					seen = seen || e.Actor.N == 3 && e.Base >= uint64(2*i+2)
				}
				if !seen && r.N == 5 {
					t.Fatalf("%s%d has forgotten its past: %v", name, i, r)
				}
			}
		}
	}
	held := heldOf(t, s, 0)
	switch {
	case found["goes"] == 6 && found["stays"] == 6 && slices.Equal(held, []uint8{3, 5}):
		return "before"
	case to == version.MaxN && len(found) == 0 && len(held) == 0 && s.Clock(0).IsEmpty():
		return "after"
	case to < version.MaxN && found["goes"] == 0 && found["stays"] == 6 && slices.Equal(held, []uint8{5}) && s.Clock(0).Equal(s.Clock(0).AtLeast(5)):
		return "after"
	}
	t.Fatalf("half dropped: %v, held %v, clock %v", found, held, s.Clock(0))
	return ""
}

// TestDropCrashes crashes at every change of the disk: a drop was all or nothing, and once it has returned it stays.
func TestDropCrashes(t *testing.T) {
	for _, to := range []uint8{4, version.MaxN} {
		t.Run(fmt.Sprint("to=", to), func(t *testing.T) { dropCrashes(t, to) })
	}
}

func dropCrashes(t *testing.T, to uint8) {
	fs := vfs.NewCrashableMem()
	f := newFacts()
	var stage atomic.Int64
	type crash struct {
		op, stage int
		left      *vfs.MemFS
	}
	var all []crash
	rng := rand.New(rand.NewPCG(8, 9))
	o := testOptions(errorfs.Wrap(fs, onWrite(func(op int, _ errorfs.Op) error {
		at := int(stage.Load())
		for _, percent := range []int{0, 50} {
			all = append(all, crash{op, at, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})})
		}
		return nil
	})))
	o.Partitions = 1
	s := mustOpen(t, o)
	dropScript(s, f, to, &stage)
	mustClose(t, s)
	states := map[string]int{}
	for _, c := range all {
		if c.stage == 0 {
			continue
		}
		o.FS = c.left
		s := mustOpen(t, o)
		state := dropState(t, s, to)
		if c.stage == 2 && state != "after" {
			t.Fatalf("op %d: the drop had returned, and the data is back", c.op)
		}
		states[state]++
		checkStore(t, s, f.known)
		checkHeld(t, s)
		mustClose(t, s)
	}
	if len(states) != 2 {
		t.Fatalf("the crashes were not around the drop: %v", states)
	}
	t.Logf("%v", slices.Sorted(maps.Keys(states)))
}

// TestDropFails fails every change of the disk in turn: the store comes back with all or nothing.
func TestDropFails(t *testing.T) {
	for _, to := range []uint8{4, version.MaxN} {
		done := false
		for op := 1; !done; op++ {
			if !t.Run(fmt.Sprintf("to=%d/op=%d", to, op), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { done = !dropFailsAt(t, to, op) })
			}) {
				return
			}
		}
	}
}

// dropFailsAt returns false if there were fewer changes than that from the drop on.
func dropFailsAt(t *testing.T, to uint8, at int) bool {
	var stage, ops atomic.Int64
	var failed atomic.Bool
	o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if stage.Load() > 0 && !failed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && int(ops.Add(1)) == at {
			failed.Store(true)
			return syscall.EIO
		}
		return nil
	})))
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	f := newFacts()
	dropScript(s, f, to, &stage)
	missed := !failed.Swap(true)
	awaitWritable(t, s)
	if state := dropState(t, s, to); stage.Load() == 2 && state != "after" {
		t.Fatal("the drop had returned, and the data is back")
	}
	checkStore(t, s, f.known)
	checkHeld(t, s)
	if err := s.Drop(0, 1, to); err != nil || dropState(t, s, to) != "after" {
		t.Fatalf("dropped again: %v", err)
	}
	return !missed
}
