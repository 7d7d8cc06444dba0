package sim

import (
	"slices"

	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// What is watched here is compared with what other nodes said, did and hold, never with what the node itself knows of them.

// record is that an incarnation has said of a layout that nothing runs under a view without it.
type record struct {
	id     ring.ID
	layout layouts.Hash
}

// records notes what an incarnation has just said of its view.
func (w *world) records(id ring.ID, v *layouts.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range v.Live() {
		w.recorded[record{id, l.Hash()}] = true
	}
}

// reports looks whether reports come too early.
func (w *world) reports(self ring.ID, v *layouts.View, top layouts.Hash, at []ring.Partition) {
	if now, ok := v.Top(); !ok || now.Hash() != top {
		return // it will be ignored
	}
	fetched := len(slices.DeleteFunc(slices.Clone(at), func(p ring.Partition) bool { return v.Gaining(self, p) == 0 }))
	if fetched == 0 {
		return
	}
	missing := map[ring.ID]bool{}
	for _, l := range v.Live() {
		for _, id := range l.Owners() {
			missing[id] = missing[id] || l.Hash() != top && !v.Lost(id) && !w.says(id, top)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, missing := range missing {
		if missing && !w.recorded[record{id, top}] {
			w.run.Early = append(w.run.Early, check.Early{Node: w.names[self], Of: w.names[id], At: w.now(), Partitions: fetched})
		}
	}
}

// says reports whether an incarnation that runs has recorded a layout by its own state.
func (w *world) says(id ring.ID, layout layouts.Hash) bool {
	return slices.ContainsFunc(w.nodes, func(n *simNode) bool {
		m := n.members()
		if m == nil || m.cfg.ID != id || m.Rings() == nil {
			return false
		}
		top, ok := m.Rings().Top()
		return ok && top.Hash() == layout && !slices.Contains(m.Rings().Fence(), id)
	})
}

// drops looks whether all that a former owner drops is held by the owners that run.
func (w *world) drops(n *simNode, p ring.Partition, digest uint64) {
	m := n.members()
	if m == nil || m.Rings().Digest() != digest {
		return
	}
	v := m.Rings()
	w.mu.Lock()
	var keys []check.KeyName
	for name, at := range w.run.Partitions {
		if at == p && !v.Keeps(m.cfg.ID, p, buckets[name.Bucket].N) {
			keys = append(keys, name)
		}
	}
	w.mu.Unlock()
	for _, other := range w.nodes {
		peer := other.members()
		if peer == nil || peer.life.store == nil {
			continue
		}
		for _, name := range keys {
			if slices.Contains(v.Receivers(p, buckets[name.Bucket].N), peer.cfg.ID) {
				w.compare(n, other, store.Key{Partition: p, Bucket: name.Bucket, Key: name.Key}, m.life.store, peer.life.store)
			}
		}
	}
}

// compare notes the versions of a key that one node holds and another does not know of, nor of any that beats them by its stamp: that one's record need not cover them
// (package repair, what clocks cannot show). What cannot be read is not compared.
func (w *world) compare(n, other *simNode, k store.Key, from, to *store.Store) {
	mine, err := from.Get(k)
	if err != nil {
		return
	}
	theirs, err := to.Get(k)
	if err != nil {
		return
	}
	for _, v := range mine.Versions {
		if beaten := v.Mode == version.LWW && theirs.MaxStamp().Compare(v.Stamp) > 0; !beaten && !theirs.Vector.Covers(v.Dot) {
			w.mu.Lock()
			w.run.Loose = append(w.run.Loose, check.Loose{Node: n.name, Lacks: other.name, Key: check.KeyName{Bucket: k.Bucket, Key: k.Key}, Shown: showing(v), At: w.now()})
			w.mu.Unlock()
		}
	}
}

func showing(v version.Version) check.Shown {
	return check.Shown{Dot: v.Dot, Value: string(v.Value), Deleted: v.Deleted, Stamp: v.Stamp}
}

// look begins what waits for a moment, if that has come. It is called after every change of what some node knows of the layouts.
func (w *world) look() {
	w.mu.Lock()
	active := slices.Clone(w.active)
	w.mu.Unlock()
	for _, f := range active {
		if side := kindOf(f).moment; side != nil {
			w.cut(f, side(w))
		}
	}
}

// cut splits the cluster for as long as f lasts, once.
func (w *world) cut(f *Fault, side []int) {
	w.mu.Lock()
	begun := len(side) == 0 || slices.ContainsFunc(w.active, func(other *Fault) bool { return other.of == f })
	cut := &Fault{Kind: "split", Node: f.Node, Other: f.Node, Side: side, At: f.At, For: f.For, of: f}
	w.mu.Unlock()
	if !begun {
		w.begin(cut)
	}
}

// half is one side of a split when somebody has just found the newest layout whole, and at least two have not heard of it: those who know, and one whom they will tell.
func half(w *world) (side []int) {
	var fresh []int
	for _, n := range w.nodes {
		m := n.members()
		if m == nil || m.Rings() == nil {
			continue
		}
		v := m.Rings()
		done, of := v.Progress()
		switch _, ok := v.Top(); {
		case ok && done == of && len(v.Live()) > 1:
			side = append(side, n.index)
		case ok && done < of:
			fresh = append(fresh, n.index)
		}
	}
	if len(side) == 0 || len(fresh) < 3 {
		return nil
	}
	return append(side, fresh[len(fresh)-1]) // who joins comes last, and owns in the newest layout alone
}
