package repair

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

const testPartitions = 4

// world is a few exchangers that call each other directly, in virtual time. Its views are those of states that are told, recorded and merged as nodes do (rig_test.go).
type world struct {
	t      testing.TB
	layout *ring.Layout // where things are in the layout that the test is about
	nodes  []*testNode
	stamp  uint64

	mu     sync.Mutex
	counts map[transport.Kind]int
	down   map[ring.ID]bool
	cut    map[[2]ring.ID]bool
	places map[layouts.Hash]*ring.Layout
	fail   func(kind transport.Kind) bool // drops an answer
	early  func(from, to ring.ID, kind transport.Kind)
}

// testNode is one node of it: its store, its exchanger and its membership.
type testNode struct {
	w     *world
	id    ring.ID
	store *store.Store
	x     *Exchanger
	d     *Deliverer
	pulse Latency

	swapping chan struct{} // full while a view takes another's place, and by who is alone
	inside   sync.RWMutex  // read-held by who has entered
	state    layouts.State
	view     *layouts.View // guarded by w.mu, as state
	reported int
}

func (n *testNode) Call(ctx context.Context, to ring.ID, kind transport.Kind, body []byte) transport.Response {
	w := n.w
	w.mu.Lock()
	w.counts[kind]++
	lost := w.down[to] || w.down[n.id] || w.cut[[2]ring.ID{n.id, to}] || w.cut[[2]ring.ID{to, n.id}]
	w.mu.Unlock()
	if w.early != nil {
		w.early(n.id, to, kind)
	}
	if lost {
		return transport.Response{Err: transport.ErrUnreachable}
	}
	deadline, _ := ctx.Deadline()
	var answer transport.Response
	serve := w.node(to).x.Serve
	if kind == KindHandOff || kind == KindSettle || kind == KindHolding {
		serve = w.node(to).d.Serve
	}
	serve(transport.NewRequest(n.id, kind, append([]byte(nil), body...), deadline, func(s transport.Status, b []byte) {
		answer = transport.Response{Status: s, Body: append([]byte(nil), b...), Sent: true}
	}))
	if w.fail != nil && w.fail(kind) {
		return transport.Response{Err: transport.ErrLost, Sent: true}
	}
	return answer
}

func (w *world) node(id ring.ID) *testNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (w *world) set(m map[ring.ID]bool, id ring.ID, v bool) {
	w.mu.Lock()
	m[id] = v
	w.mu.Unlock()
}

// put writes at one node, and gives the record to some others.
func (w *world) put(at *testNode, key string, to ...*testNode) {
	w.t.Helper()
	k := store.Key{Partition: ring.PartitionOf(ring.Hash("b", key), testPartitions), Bucket: "b", Key: key}
	w.stamp++
	res, err := at.store.Update(k, 3, func(local version.Record, d version.Dot) (version.Record, error) {
		return version.Supersede(local, version.Write{Dot: d, Mode: version.LWW, Value: fmt.Appendf(nil, "%s %d", key, w.stamp),
			Stamp: version.Stamp{Time: w.stamp << 12, Actor: d.Actor.ID}, Context: local.Vector})
	})
	if err == nil {
		err = res.Commit.Wait()
	}
	for _, n := range to {
		if err == nil {
			_, err = n.store.Apply(k, res.Record)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// differ returns the first difference between two nodes' clocks or records.
func (w *world) differ(a, b *testNode) error {
	for p := range ring.Partition(testPartitions) {
		if mine, theirs := a.store.Clock(p), b.store.Clock(p); !mine.Equal(theirs) {
			return fmt.Errorf("partition %d: clocks %v and %v", p, mine, theirs)
		}
		records := map[string]version.Record{}
		err := a.store.Scan(p, "b", "", "", func(key string, r version.Record) bool { records[key] = r; return true })
		if err != nil {
			return err
		}
		var found error
		err = b.store.Scan(p, "b", "", "", func(key string, r version.Record) bool {
			if mine, ok := records[key]; !ok || !mine.SameVersions(r) {
				found = fmt.Errorf("key %s: %v and %v", key, records[key], r)
			}
			delete(records, key)
			return true
		})
		if err := errors.Join(err, found); err != nil || len(records) > 0 {
			return fmt.Errorf("partition %d: %w, and %d keys too many", p, err, len(records))
		}
	}
	return nil
}

// inWorld runs a test with a number of nodes; run starts their exchangers, and the telling of states.
func inWorld(t *testing.T, size int, cfg ExchangeConfig, test func(t *testing.T, w *world, run func())) {
	inWorldOf(t, size, size, cfg, test)
}

// inWorldOf is inWorld with some more nodes, which own nothing yet.
func inWorldOf(t *testing.T, owners, size int, cfg ExchangeConfig, test func(t *testing.T, w *world, run func())) {
	// Pebble's goroutines and the race detector starve each other in a bubble on several processors.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, owners)
		for i := range size {
			w.add(ring.ID{byte(i + 1)}, vfs.NewMem(), cfg)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer func() { // also when the test gives up, or virtual time would go on for ever
			stop()
			running.Wait()
			for _, n := range w.nodes {
				if n.x.Open() != 0 && !t.Failed() {
					t.Errorf("node %v answers %d exchanges after it has stopped", n.id.Short(), n.x.Open())
				}
				if err := n.store.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
		test(t, w, func() {
			for _, n := range w.nodes {
				running.Go(func() { n.x.Run(ctx) })
				running.Go(func() { n.d.Run(ctx) })
			}
			running.Go(func() { w.gossip(ctx) })
		})
	})
}

// TestConverges: whatever was delivered to whom, all become equal without a read, with small pages and answers that get lost; and then
// a pair exchanges one comparison a cycle in each direction.
func TestConverges(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Page = 400
	inWorld(t, 3, cfg, func(t *testing.T, w *world, run func()) {
		rng := rand.New(rand.NewPCG(1, 2))
		load := func() {
			for range 300 {
				at := w.nodes[rng.IntN(3)]
				var to []*testNode
				for _, n := range w.nodes {
					if n != at && rng.IntN(3) == 0 {
						to = append(to, n)
					}
				}
				w.put(at, fmt.Sprint("k", rng.IntN(60)), to...)
			}
		}
		load()
		lossy, chance := true, rand.New(rand.NewPCG(3, 4))
		w.fail = func(transport.Kind) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return lossy && chance.IntN(10) == 0
		}
		run()
		time.Sleep(10 * time.Second) // virtual
		load()
		w.mu.Lock()
		lossy = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		for _, n := range w.nodes[1:] {
			if err := w.differ(w.nodes[0], n); err != nil {
				t.Fatal(err)
			}
		}
		w.mu.Lock()
		clear(w.counts)
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if c := w.counts; len(c) != 1 || c[KindCompare] < 6*12 || c[KindCompare] > 6*20 {
			t.Errorf("messages of an idle minute: %v; want about 15 comparisons for each of 6 directions", c)
		}
	})
}

// TestCatchesUpAtOnce: a peer that answers again is compared at once, not after a cycle.
func TestCatchesUpAtOnce(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Cycle = time.Hour
	inWorld(t, 2, cfg, func(t *testing.T, w *world, run func()) {
		a, b := w.nodes[0], w.nodes[1]
		w.set(w.down, b.id, true)
		run()
		w.put(a, "k")
		time.Sleep(time.Minute)
		w.set(w.down, b.id, false)
		a.x.Changed()
		b.x.Changed()
		time.Sleep(5 * time.Second)
		if err := w.differ(a, b); err != nil {
			t.Error(err)
		}
	})
}

// TestExchangeStopsAtAFailure: an exchange that loses an answer anywhere leaves a clock that does not say more than its data.
func TestExchangeStopsAtAFailure(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Page = 1 // a record a page
	for at := range 12 {
		inWorld(t, 2, cfg, func(t *testing.T, w *world, _ func()) {
			a, b := w.nodes[0], w.nodes[1]
			for i := range 6 { // overwritten: their dots are known only by a clock
				w.put(a, fmt.Sprint("k", i%3))
			}
			calls := 0
			w.fail = func(transport.Kind) bool { calls++; return calls == at+1 }
			o := b.Ownership()
			_, err := b.x.compareAndFetch(t.Context(), &o, a.id)
			if failed := calls > at; failed && err == nil {
				t.Errorf("call %d was lost, and the round says that it was whole", at+1)
			}
			for p := range ring.Partition(testPartitions) {
				for _, e := range b.store.Clock(p).Entries() {
					if whole := e.Base > 0 && b.store.Clock(p).Equal(a.store.Clock(p)); whole && w.lacks(a, b, p) {
						t.Errorf("call %d lost: partition %d has the whole clock and not the data", at+1, p)
					}
				}
			}
			w.fail = nil
			if _, err := b.x.compareAndFetch(t.Context(), &o, a.id); err != nil {
				t.Fatal(err)
			}
			if err := w.differ(a, b); err != nil {
				t.Errorf("after call %d was lost: %v", at+1, err)
			}
		})
	}
}

// lacks reports whether b lacks a version of a in a partition.
func (w *world) lacks(a, b *testNode, p ring.Partition) bool {
	missing := false
	_ = a.store.Scan(p, "b", "", "", func(key string, r version.Record) bool {
		mine, err := b.store.Get(store.Key{Partition: p, Bucket: "b", Key: key})
		missing = missing || err != nil || !mine.SameVersions(r)
		return true
	})
	return missing
}

// TestRefusals: another layout, no session, too many sessions, a partition that is not there.
func TestRefusals(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Sessions, cfg.Page = 1, 1
	inWorld(t, 3, cfg, func(t *testing.T, w *world, _ func()) {
		y := w.nodes[0]
		digest := y.Ownership().Digest
		for i := range 40 {
			w.put(y, fmt.Sprint("k", i))
		}
		ask := func(from *testNode, kind transport.Kind, body []byte) (transport.Status, []byte) {
			r := from.Call(t.Context(), y.id, kind, body)
			return r.Status, r.Body
		}
		begin := func(from *testNode, hash uint64, p ring.Partition) (transport.Status, opened) {
			status, body := ask(from, KindOpen, (&open{Digest: hash, Hold: true, Partitions: []ring.Partition{p}, Columns: []uint64{0}}).append(nil))
			m, _ := decodeOpened(body, 1, 1)
			return status, m
		}
		wanted := func(session uint64, bits ...bool) []byte {
			has := lacks(version.Vector{}, y.store.Clock(0))
			return (&next{Digest: digest, Session: session, First: true, Wanted: bits, Known: [][]version.Entry{has}}).append(nil)
		}
		if status, _ := begin(w.nodes[1], 78, 0); status != statusLayout {
			t.Errorf("another layout: %v", status)
		}
		if status, _ := begin(w.nodes[1], digest, testPartitions); status != statusBad {
			t.Errorf("a partition too many: %v", status)
		}
		status, first := begin(w.nodes[1], digest, 0)
		if status != transport.StatusOK || first.Session == 0 || !first.Rows[0].Equal(y.store.Clock(0).AtLeast(1)) {
			t.Fatalf("%v %+v", status, first)
		}
		if status, _ := ask(w.nodes[1], KindPage, (&next{Digest: digest, Session: first.Session}).append(nil)); status != statusBad {
			t.Errorf("a page before it was said what is wanted: %v", status)
		}
		if status, _ := ask(w.nodes[1], KindPage, wanted(first.Session, false, true)); status != statusBad {
			t.Errorf("a partition that was not opened: %v", status)
		}
		status, body := ask(w.nodes[1], KindPage, wanted(first.Session, true))
		if p, err := decodePage(body); err != nil || status != transport.StatusOK || p.Last || len(p.Sections) != 1 || len(p.Sections[0].Records) != 1 {
			t.Fatalf("the first page: %v %+v, %v", status, p, err)
		}
		if status, _ := begin(w.nodes[2], digest, 0); status != statusBusy {
			t.Errorf("one exchange too many: %v", status)
		}
		if status, _ := ask(w.nodes[2], KindPage, (&next{Digest: digest, Session: first.Session}).append(nil)); status != statusUnknown {
			t.Errorf("a page of somebody else's exchange: %v", status)
		}
		status, second := begin(w.nodes[1], digest, 0) // its own earlier one ends with it
		if status != transport.StatusOK {
			t.Errorf("a second exchange of one peer: %v", status)
		}
		if status, _ := ask(w.nodes[1], KindPage, (&next{Digest: digest, Session: first.Session}).append(nil)); status != statusUnknown {
			t.Errorf("a page of an exchange that has ended: %v", status)
		}
		if status, _ := ask(w.nodes[1], KindEnd, (&next{Digest: digest, Session: second.Session}).append(nil)); status != transport.StatusOK || y.x.Open() != 0 {
			t.Errorf("the end: %v, %d open", status, y.x.Open())
		}
		for _, kind := range []transport.Kind{KindCompare, KindOpen, KindPage, KindEnd, KindShow} {
			if status, _ := ask(w.nodes[1], kind, []byte("garbage")); status != statusBad {
				t.Errorf("garbage of kind %d: %v", kind, status)
			}
		}
	})
}

// TestForgottenSessions: an exchange that nobody asks on gives its snapshot up.
func TestForgottenSessions(t *testing.T) {
	cfg := DefaultExchangeConfig()
	cfg.Page, cfg.Cycle = 1, time.Hour
	inWorld(t, 2, cfg, func(t *testing.T, w *world, run func()) {
		for i := range 40 {
			w.put(w.nodes[0], fmt.Sprint("k", i), w.nodes[1])
		}
		run()
		time.Sleep(time.Second)
		r := w.nodes[1].Call(t.Context(), w.nodes[0].id, KindOpen, (&open{Digest: w.nodes[0].Ownership().Digest, Hold: true, Partitions: []ring.Partition{0}, Columns: []uint64{0}}).append(nil))
		if r.Status != transport.StatusOK || w.nodes[0].x.Open() != 1 {
			t.Fatalf("%v, %d open", r.Status, w.nodes[0].x.Open())
		}
		time.Sleep(2 * cfg.Idle)
		if open := w.nodes[0].x.Open(); open != 0 {
			t.Errorf("%d open after twice the idle time", open)
		}
	})
}
