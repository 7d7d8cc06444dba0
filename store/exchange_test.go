package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// pull is one side of an exchange as package repair runs it, a few records a page.
type pull struct {
	into  *Store
	from  *Snapshot
	at    ring.Partition
	want  Wanted
	last  version.Dot
	ended bool
}

func begin(into, from *Store, p ring.Partition, least uint8) (*pull, error) {
	snap, err := from.Snapshot(p)
	if err != nil {
		return nil, err
	}
	return &pull{into: into, from: snap, at: p, want: Wanted{Known: into.Clock(p).AtLeast(least), Least: least}}, nil
}

// page merges one page and waits for it.
func (x *pull) page(records int) error {
	var commits []*Commit
	var merge error
	last, end, err := x.from.Page(x.at, x.want, x.last, func(k Key, r version.Record) bool {
		res, err := x.into.Mend(k, r.Fill(x.from.Clock(x.at)))
		if merge = err; err != nil {
			return false
		}
		commits = append(commits, res.Commit)
		return len(commits) < records
	})
	if err = firstError(err, merge); err != nil {
		return err
	}
	for _, c := range commits {
		if err := c.Wait(); err != nil {
			return err
		}
	}
	x.last, x.ended = last, end
	return nil
}

func (x *pull) finish() error {
	for !x.ended {
		if err := x.page(2); err != nil {
			return errors.Join(err, x.from.Close())
		}
	}
	return firstError(x.into.Adopt(x.at, x.from.Clock(x.at).AtLeast(x.want.Least)), x.from.Close())
}

// TestSnapshotIsOneMoment: what is written after the snapshot was taken is in none of its pages, and what was there is in one.
func TestSnapshotIsOneMoment(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	want := map[string]string{}
	for i := range 20 {
		name := fmt.Sprint("k", i)
		want[name] = "old"
		mustUpdate(t, s, keyOf(name, 1), 3, put(version.LWW, "old", nil, nil))
	}
	snap, err := s.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	clock := s.Clock(0)
	got := map[string]string{}
	from := version.Dot{}
	for page := 0; ; page++ {
		mustWait(t, mustUpdate(t, s, keyOf(fmt.Sprint("k", 19-page), 1), 3, put(version.LWW, "new", nil, nil)).Commit)
		mustWait(t, mustUpdate(t, s, keyOf(fmt.Sprint("later", page), 1), 3, put(version.LWW, "new", nil, nil)).Commit)
		left := 3
		last, end, err := snap.Page(0, Wanted{Least: 1}, from, func(k Key, r version.Record) bool {
			got[k.Key] = values(r)[0]
			for _, d := range r.Versions {
				if !r.Fill(snap.Clock(0)).Covers(d.Dot) {
					t.Fatalf("%q does not cover its own version: %v", k.Key, r)
				}
			}
			left--
			return left > 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if from = last; end {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("pages held %v, want %v", got, want)
	}
	if !snap.Clock(0).Equal(clock) {
		t.Fatalf("the snapshot's clock %v, at its moment it was %v", snap.Clock(0), clock)
	}
	if err := errors.Join(snap.Close(), snap.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := snap.Page(0, Wanted{Least: 1}, version.Dot{}, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("a page of a closed snapshot: %v", err)
	}
}

// TestPageSendsWhatIsWanted: entries that the clock covers are leapt over, a record with several wanted versions comes once, and others' n stay.
func TestPageSendsWhatIsWanted(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	for i := range 6 {
		mustUpdate(t, s, keyOf(fmt.Sprint("three", i), 1), 3, put(version.LWW, "v", nil, nil))
	}
	known := s.Clock(0)
	mustUpdate(t, s, keyOf("two", 1), 2, put(version.LWW, "v", nil, nil))
	mustUpdate(t, s, keyOf("three4", 1), 3, put(version.LWW, "v", nil, nil))
	for range 3 { // siblings
		mustWait(t, mustUpdate(t, s, keyOf("many", 1), 3, put(version.Siblings, "v", &version.Vector{}, nil)).Commit)
	}
	snap, err := s.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for _, c := range []struct {
		want Wanted
		keys string
	}{
		{Wanted{Known: known, Least: 1}, "[two three4 many]"},
		{Wanted{Known: known, Least: 3}, "[three4 many]"},
		{Wanted{Known: snap.Clock(0), Least: 1}, "[]"},
		{Wanted{Known: known, Least: 4}, "[]"},
	} {
		keys := []string{}
		_, end, err := snap.Page(0, c.want, version.Dot{}, func(k Key, r version.Record) bool { keys = append(keys, k.Key); return true })
		if err != nil || !end || fmt.Sprint(keys) != c.keys {
			t.Errorf("least %d: %v, end %v, %v; want %s", c.want.Least, keys, end, err, c.keys)
		}
	}
}

// TestSnapshotEndsWithItsEpoch: an open snapshot holds up neither closing nor reopening, and then fails.
func TestSnapshotEndsWithItsEpoch(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	snap, err := s.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, _, err := snap.Page(0, Wanted{Least: 1}, version.Dot{}, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("a page after the store was closed: %v", err)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptLeavesOwnDots: a peer cannot tell this store of writes of its own that never were.
func TestAdoptLeavesOwnDots(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	var clock version.Vector
	own, other := version.Actor{ID: s.Actor(), N: 3}, version.Actor{ID: s.Actor() + 1, N: 3}
	clock.AddBase(own, 10)
	clock.AddBase(other, 10)
	if err := s.Adopt(0, clock); err != nil {
		t.Fatal(err)
	}
	got := s.Clock(0)
	if _, mine := got.Entry(own); mine || !got.Covers(version.Dot{Actor: other, Counter: 10}) {
		t.Fatalf("the clock after the adoption: %v", got)
	}
	if err := s.Adopt(99, clock); !errors.Is(err, ErrKey) {
		t.Fatalf("adopting for a partition that is not there: %v", err)
	}
}

// TestExchangeHistories: under random writes, deliveries, reopenings and exchanges whose pages lie between them, stores hold what exact
// records would hold; and a store that has pulled from another lacks nothing of what that one had at the opening.
func TestExchangeHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, known: issuedDots{}}
		for i := range 3 {
			o := testOptions(vfs.NewMem())
			o.Dir, o.Partitions = fmt.Sprint("data", i), 1
			o.MaxDetached = rapid.SampledFrom([]int{2, 1024}).Draw(t, "detached")
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
		store := rapid.IntRange(0, 2)
		key := rapid.Map(rapid.IntRange(0, 3), func(i int) Key { return keyOf(fmt.Sprint("k", i), 1) })
		var open []*modelPull
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m.update(store.Draw(t, "store"), k, modeOf(k), rapid.Bool().Draw(t, "read"), 3)
			},
			"deliver": func(t *rapid.T) {
				if len(m.sent) > 0 {
					m.deliver(store.Draw(t, "store"), m.sent[rapid.IntRange(0, len(m.sent)-1).Draw(t, "message")])
				}
			},
			"open": func(t *rapid.T) {
				if x, y := store.Draw(t, "into"), store.Draw(t, "from"); x != y && len(open) < 4 {
					open = append(open, m.open(x, y))
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
					open = append(open[:i], open[i+1:]...)
				}
			},
			"compact": func(t *rapid.T) { compact(t, m.stores[store.Draw(t, "store")]) },
			"reopen": func(t *rapid.T) {
				i := store.Draw(t, "store")
				if err := m.stores[i].Close(); err != nil {
					t.Fatal(err)
				}
				s, err := Open(m.opts[i])
				if err != nil {
					t.Fatal(err)
				}
				m.stores[i] = s
				kept := open[:0] // an exchange ends with either side's process
				for _, x := range open {
					if x.x != i && x.y != i {
						kept = append(kept, x)
					}
				}
				open = kept
			},
			"": func(*rapid.T) {
				for _, s := range m.stores {
					checkBounds(tbOf(m.t), s)
				}
			},
		})
		m.converge()
	})
}

// converge lets all pull from all: then they are equal.
func (m *model) converge() {
	for range 2 {
		for x := range m.stores {
			for y := range m.stores {
				if x != y {
					m.finish(m.open(x, y))
				}
			}
		}
	}
	for i, s := range m.stores {
		checkStore(tbOf(m.t), s, m.known)
		for k := range m.exact[0] {
			r, err := s.Get(k)
			if err != nil {
				m.t.Fatal(err)
			}
			m.check(i, k, r)
			if !r.SameVersions(m.exact[0][k]) {
				m.t.Fatalf("after pairwise exchanges store %d has %v, store 0 %v", i, r, m.exact[0][k])
			}
		}
		if m.opts[i].MaxDetached > 2 && m.opts[0].MaxDetached > 2 && !s.Clock(0).Equal(m.stores[0].Clock(0)) {
			m.t.Fatalf("after pairwise exchanges the clock of store %d is %v, of store 0 %v", i, s.Clock(0), m.stores[0].Clock(0))
		}
	}
}

// modeOf gives each key one mode, as buckets do: what clocks cannot show of a key that was written in both is in package repair's doc.go.
func modeOf(k Key) version.Mode {
	return []version.Mode{version.LWW, version.Siblings}[k.Key[1]%2]
}

// modelPull is an exchange in the model: the exact records of the other store when the snapshot was taken.
type modelPull struct {
	x, y  int
	pull  *pull
	exact map[Key]version.Record
}

func (m *model) open(x, y int) *modelPull {
	p, err := begin(m.stores[x], m.stores[y], 0, 1)
	if err != nil {
		m.t.Fatal(err)
	}
	exact := map[Key]version.Record{}
	for k, r := range m.exact[y] {
		exact[k] = r
	}
	return &modelPull{x, y, p, exact}
}

// page merges one record; the model merges what it is a copy of.
func (m *model) page(x *modelPull) {
	if x.pull.ended {
		return
	}
	before := x.pull.last
	if err := x.pull.page(1); err != nil {
		m.t.Fatal(err)
	}
	if x.pull.last == before {
		return
	}
	for k, r := range x.exact {
		if r.Has(x.pull.last) {
			m.exact[x.x][k] = version.Merge(m.exact[x.x][k], r)
		}
	}
}

// finish takes the rest and adopts: from then on the store is as if it had merged everything.
func (m *model) finish(x *modelPull) {
	for !x.pull.ended {
		m.page(x)
	}
	if err := x.pull.finish(); err != nil {
		m.t.Fatal(err)
	}
	for k, r := range x.exact {
		m.exact[x.x][k] = version.Merge(m.exact[x.x][k], r)
		got, err := m.stores[x.x].Get(k)
		if err != nil {
			m.t.Fatal(err)
		}
		m.check(x.x, k, got)
	}
}

// seedPair fills a store with keys of which some were overwritten, and gives the other store some of that.
func seedPair(t *testing.T, y *Store, known issuedDots) []message {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	var sent []message
	for range 30 {
		k := keyOf(fmt.Sprint("k", rng.IntN(10)), 1)
		var dot version.Dot
		res := mustUpdate(t, y, k, 3, put(modeOf(k), "v", nil, &dot))
		known.add(k.Partition, dot)
		mustWait(t, res.Commit)
		if rng.IntN(3) == 0 {
			sent = append(sent, message{key: k, real: res.Record})
		}
	}
	return sent
}

// lacking returns a live version of y that x neither has nor has superseded, after x has pulled from y.
func lacking(t *testing.T, x, y *Store) error {
	t.Helper()
	p, err := begin(x, y, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		k := keyOf(fmt.Sprint("k", i), 1)
		theirs, err := y.Get(k)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := x.Get(k)
		if err != nil {
			t.Fatal(err)
		}
		if !mine.SameVersions(version.Merge(mine, theirs)) {
			return fmt.Errorf("key %q: %v, the other has %v", k.Key, mine, theirs)
		}
	}
	return nil
}

// TestAdoptCrashes crashes the store that catches up at every change of its disk. What is left never claims to have seen what it does
// not have: a second exchange brings everything.
func TestAdoptCrashes(t *testing.T) {
	known := issuedDots{}
	yo := testOptions(vfs.NewMem())
	yo.Partitions = 1
	y := mustOpen(t, yo)
	defer mustClose(t, y)
	sent := seedPair(t, y, known)
	fs := vfs.NewCrashableMem()
	var left []*vfs.MemFS
	rng := rand.New(rand.NewPCG(7, 8))
	o := testOptions(errorfs.Wrap(fs, onWrite(func(int, errorfs.Op) error {
		for _, percent := range []int{0, 50} {
			left = append(left, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
		return nil
	})))
	o.Partitions = 1
	x := mustOpen(t, o)
	for i, m := range sent {
		if _, err := x.Apply(m.key, m.real); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 {
			flush(x)
		}
	}
	p, err := begin(x, y, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, x)
	t.Logf("%d crashes", len(left))
	for i, fs := range left {
		o.FS = fs
		x, err := Open(o)
		if err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		checkStore(t, x, known)
		if err := lacking(t, x, y); err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		mustClose(t, x)
	}
}

// TestExchangeFailures fails every change of the disk of the store that catches up, and lets the exchange go on as far as it gets, over
// the reopening too: the clock never gets ahead of the data.
func TestExchangeFailures(t *testing.T) {
	done := false
	for op := 1; !done; op++ {
		if !t.Run(fmt.Sprint("op=", op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { done = !exchangeFailsAt(t, op) })
		}) {
			return
		}
	}
}

func exchangeFailsAt(t *testing.T, at int) bool {
	yo := testOptions(vfs.NewMem())
	yo.Partitions = 1
	y := mustOpen(t, yo)
	defer mustClose(t, y)
	sent := seedPair(t, y, issuedDots{})
	var armed atomic.Bool
	var ops atomic.Int64
	o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && int(ops.Add(1)) == at {
			return syscall.EIO
		}
		return nil
	})))
	o.Partitions = 1
	x := mustOpen(t, o)
	defer mustClose(t, x)
	armed.Store(true)
	for _, m := range sent {
		if res, err := x.Apply(m.key, m.real); err == nil {
			_ = res.Commit.Wait()
		}
	}
	if p, err := begin(x, y, 0, 1); err == nil {
		for range 50 { // a caller that went on after an error would meet the store reopened: then it must not adopt
			if err := p.page(2); err != nil || p.ended {
				break
			}
		}
		if p.ended {
			_ = x.Adopt(0, p.from.Clock(0))
		}
		_ = p.from.Close()
	}
	failed := int(ops.Load()) >= at
	armed.Store(false)
	awaitWritable(t, x)
	checkStore(t, x, nil)
	if err := lacking(t, x, y); err != nil {
		t.Fatal(err)
	}
	return failed
}
