package repair

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
)

// A world's membership is the protocol of package layouts and nothing else: states that are merged, kept over a restart, recorded when nothing runs under the old
// view, unified and buried; all by its functions.

func rowOf(i int, s layouts.Standing) layouts.Row {
	return layouts.Row{ID: ring.ID{byte(i)}, Standing: s, Name: fmt.Sprint("node-", i), Weight: 1}
}

// versionOf is a layout of node-1, node-2, …
func versionOf(t testing.TB, partitions, owners int) layouts.Version {
	t.Helper()
	var rows []layouts.Row
	for i := range owners {
		rows = append(rows, rowOf(i+1, layouts.Owns))
	}
	v, err := layouts.NewVersion(partitions, rows...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// viewOf is the settled view of such a layout.
func viewOf(t testing.TB, partitions, owners int) *layouts.View {
	t.Helper()
	return placed(layouts.Found(versionOf(t, partitions, owners)))
}

func placed(s layouts.State) *layouts.View {
	return layouts.NewView(s, func(v layouts.Version) layouts.Placement { return v.Place() })
}

func newWorld(t testing.TB, owners int) *world {
	w := &world{t: t, counts: map[transport.Kind]int{}, down: map[ring.ID]bool{}, cut: map[[2]ring.ID]bool{}, places: map[layouts.Hash]*ring.Layout{}}
	w.layout = versionOf(t, testPartitions, owners).Place()
	return w
}

// version is the layout that w.layout is the placement of.
func (w *world) version() layouts.Version {
	var rows []layouts.Row
	for _, m := range w.layout.Members() {
		rows = append(rows, layouts.Row{ID: m.ID, Standing: layouts.Owns, Name: m.Name, Weight: 1})
	}
	v, err := layouts.NewVersion(testPartitions, rows...)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// add makes a node on a disk, which knows of the founding layout.
func (w *world) add(id ring.ID, fs vfs.FS, cfg ExchangeConfig) *testNode {
	n := &testNode{w: w, id: id, swapping: make(chan struct{}, 1)}
	n.open(fs, cfg)
	n.state = layouts.Found(w.version())
	n.view = w.viewOf(n.state)
	w.nodes = append(w.nodes, n)
	return n
}

func (n *testNode) open(fs vfs.FS, cfg ExchangeConfig) {
	o := store.DefaultOptions()
	o.FS, o.Dir, o.Partitions = fs, "data", testPartitions
	if fs == vfs.Default {
		o.Dir = n.w.t.TempDir()
	}
	s, err := store.Open(o)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.store = s
	n.x = NewExchanger(cfg, s, n, n, n, &n.pulse, slog.New(slog.DiscardHandler))
	n.d = NewDeliverer(DefaultDeliverConfig(), s, s, n.x, slog.New(slog.DiscardHandler))
}

func (w *world) viewOf(s layouts.State) *layouts.View {
	return layouts.NewView(s, func(v layouts.Version) layouts.Placement {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.places[v.Hash()] == nil {
			w.places[v.Hash()] = v.Place()
		}
		return w.places[v.Hash()]
	})
}

func (n *testNode) Ownership() Ownership {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	o := Ownership{Rings: n.view, Digest: n.view.Digest(), Self: n.id, Peers: map[ring.ID]Peer{}}
	for _, other := range n.w.nodes {
		o.Peers[other.id] = Peer{Name: other.id.Short(), Down: n.w.down[other.id]}
	}
	return o
}

func (n *testNode) rings() *layouts.View { return n.Ownership().Rings }

func (n *testNode) Fence(_ context.Context, digest uint64) Fence {
	if digest != n.Ownership().Digest {
		return FenceOther
	}
	n.drain()
	return FenceHeld
}

// drain returns when nothing runs that an older view let in. Nobody waits for a lock here: in a bubble that would stop the time, which a disk's syncs need.
func (n *testNode) drain() {
	for !n.inside.TryLock() {
		time.Sleep(time.Millisecond)
	}
	n.inside.Unlock()
}

func (n *testNode) Enter(digest uint64) Fence {
	n.inside.RLock()
	if digest != n.Ownership().Digest {
		n.inside.RUnlock()
		return FenceOther
	}
	return FenceHeld
}

func (n *testNode) Leave() { n.inside.RUnlock() }

func (n *testNode) Alone(ctx context.Context, digest uint64, fn func()) Fence {
	n.swapping <- struct{}{}
	defer func() { <-n.swapping }()
	fence := n.Fence(ctx, digest)
	if fence == FenceHeld {
		fn()
	}
	return fence
}

func (n *testNode) Table() []byte {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.state.Encode()
}

func (n *testNode) Reconcile(_ ring.ID, table []byte) {
	s, err := layouts.Decode(table)
	if err != nil {
		n.w.t.Error(err)
	}
	n.learn(s)
}

func (n *testNode) Synced(top layouts.Hash, at []ring.Partition) error {
	n.change(func(v *layouts.View) layouts.State {
		s := v.State()
		if now, ok := v.Top(); ok && now.Hash() == top {
			for _, p := range at {
				s = s.Synced(n.id, top, p)
			}
		}
		return s
	})
	n.w.mu.Lock()
	n.reported++
	n.w.mu.Unlock()
	return nil
}

func (n *testNode) learn(s layouts.State) {
	n.change(func(v *layouts.View) layouts.State {
		merged, err := layouts.Merge(v.State(), s)
		if err != nil {
			n.w.t.Error(err)
		}
		return merged
	})
}

// change gives the node another state, waits for what runs under the old view, and records it.
func (n *testNode) change(fn func(*layouts.View) layouts.State) {
	n.swapping <- struct{}{}
	defer func() { <-n.swapping }()
	before := n.rings()
	s := fn(before)
	if s.Equal(before.State()) {
		return
	}
	n.publish(s)
	n.drain()
	n.publish(s.Record(n.id))
	n.x.Changed()
	n.d.Changed()
}

func (n *testNode) publish(s layouts.State) {
	v := n.w.viewOf(s)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.state, n.view = s, v
}

// propose makes a layout of the present one with some rows changed.
func (n *testNode) propose(rows ...layouts.Row) {
	n.w.t.Helper()
	n.change(func(v *layouts.View) layouts.State {
		s, err := v.Propose(n.id, rows...)
		if err != nil {
			n.w.t.Fatal(err)
		}
		return s
	})
}

// tell lets everybody who answers hear everybody, unify and bury, once.
func (w *world) tell() {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			w.mu.Lock()
			s, deaf := b.state, a == b || w.down[a.id] || w.down[b.id] || w.cut[[2]ring.ID{a.id, b.id}] || w.cut[[2]ring.ID{b.id, a.id}]
			w.mu.Unlock()
			if !deaf {
				a.learn(s)
			}
		}
		w.mu.Lock()
		down := w.down[a.id]
		w.mu.Unlock()
		if down {
			continue
		}
		a.change(func(v *layouts.View) layouts.State {
			s, _, err := v.Unify(a.id)
			if err != nil {
				w.t.Error(err)
			}
			for _, h := range v.MayBury() {
				s = s.Bury(h)
			}
			return s.Record(a.id)
		})
	}
}

// gossip tells, until ctx ends.
func (w *world) gossip(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond) {
		w.tell()
	}
}

// force gives all nodes the same settled layout at once.
func (w *world) force(v layouts.Version) {
	w.layout = v.Place()
	for _, n := range w.nodes {
		n.publish(layouts.Found(v))
	}
}

// whole reports what keeps the cluster from being settled in the layout of some nodes.
func (w *world) whole(nodes ...*testNode) error {
	for _, n := range w.nodes {
		w.mu.Lock()
		down := w.down[n.id]
		w.mu.Unlock()
		if down {
			continue
		}
		v := n.rings()
		if !v.Settled() {
			return fmt.Errorf("node %v is not settled:\n%v", n.id.Short(), v)
		}
		var want []ring.ID
		for _, o := range nodes {
			want = append(want, o.id)
		}
		slices.SortFunc(want, ring.ID.Compare)
		if got := v.Members(); !slices.Equal(got, want) {
			return fmt.Errorf("members %v, want %v", got, want)
		}
		if !n.x.Dropped() {
			return fmt.Errorf("node %v still holds what it does not own: %+v", n.id.Short(), n.x.Progress())
		}
		held, err := n.store.Held()
		if err != nil {
			return err
		}
		for _, h := range held {
			for _, of := range h.N {
				if !v.Keeps(n.id, h.Partition, int(of)) {
					return fmt.Errorf("node %v holds n=%d of partition %d", n.id.Short(), of, h.Partition)
				}
			}
		}
	}
	return nil
}

// have reports the first of some keys that not all of its present owners hold the latest write of.
func (w *world) have(latest map[string]uint64, n int) error {
	for key, stamp := range latest {
		k := w.keyOf(key)
		for _, g := range w.nodes[0].rings().WriteGroups(k.Partition, n) {
			for _, id := range g.Owners {
				if r, err := w.node(id).store.Get(k); err != nil || len(r.Versions) != 1 || !bytes.Equal(r.Versions[0].Value, fmt.Appendf(nil, "%s %d", key, stamp)) {
					return fmt.Errorf("key %s of partition %d at %v: %v, %v; want write %d", key, k.Partition, id.Short(), r, err, stamp)
				}
			}
		}
	}
	return nil
}
