package cluster

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// metaLayouts is the name under which Storage keeps what the node knows of layouts.
const metaLayouts = "cluster/layouts"

// Rings is what a node knows of layouts: the state on its disk, and the view of it. Whatever changes is on the disk before anyone sees it, and a change that the
// disk refused, or that is foreign, corrupt or too large, leaves what was held. Its methods are safe for concurrent use.
type Rings struct {
	storage Storage
	self    ring.ID

	// saving has one place: who holds it changes, saves and publishes. A mutex would stop virtual time in tests whose disks take some.
	saving chan struct{}
	placed map[layouts.Hash]*ring.Layout // of saving's holder

	now atomic.Pointer[rings]
}

// rings is an immutable snapshot of what the disk holds and of what follows from it.
type rings struct {
	view   *layouts.View
	layout *ring.Layout // nil before the cluster
}

// OpenRings loads what the incarnation self saved, or begins with nothing. State that another version of the program wrote, or nobody, is an error.
func OpenRings(s Storage, self ring.ID) (*Rings, error) {
	b, err := s.LoadMeta(metaLayouts)
	if err != nil {
		return nil, fmt.Errorf("cluster: loading the layouts: %w", err)
	}
	var state layouts.State
	if b != nil {
		if state, err = layouts.Decode(b); err != nil {
			return nil, fmt.Errorf("cluster: the saved layouts: %w", err)
		}
	}
	r := &Rings{storage: s, self: self, saving: make(chan struct{}, 1), placed: make(map[layouts.Hash]*ring.Layout)}
	r.now.Store(r.viewOf(state))
	return r, nil
}

// View is what the state on disk means, or nil while there is none: before this node has founded or met a cluster.
func (r *Rings) View() *layouts.View {
	if now := r.now.Load(); now.layout != nil {
		return now.view
	}
	return nil
}

// Layout is the placement of the top layout. While changes that met are not one it is that of the least, by hash, of those that reads are answered in. nil exactly
// while View is.
func (r *Rings) Layout() *ring.Layout { return r.now.Load().layout }

// Change merges what fn makes of the view into the state, and reports whether that says anything new. It calls fn once, one caller at a time; before the cluster, fn
// gets the view of the empty state. When it returns nil the result is on disk. After an error nothing new was shown to anyone, though the disk may hold it.
func (r *Rings) Change(fn func(*layouts.View) (layouts.State, error)) (changed bool, err error) {
	r.saving <- struct{}{}
	defer func() { <-r.saving }()
	old := r.now.Load().view
	next, err := fn(old)
	if err != nil {
		return false, err
	}
	if next, err = layouts.Merge(old.State(), next); err != nil {
		return false, fmt.Errorf("cluster: merging layouts: %w", err)
	}
	if next.Equal(old.State()) {
		return false, nil
	}
	if err := r.storage.SaveMeta(metaLayouts, next.Encode()); err != nil {
		return false, fmt.Errorf("cluster: saving the layouts: %w", err)
	}
	r.now.Store(r.viewOf(next))
	return true, nil
}

// Merge joins what somebody else knows into the state. layouts.ErrForeign: it is another cluster's. layouts.ErrFull: it cannot all be held.
func (r *Rings) Merge(s layouts.State) (changed bool, err error) {
	return r.Change(func(*layouts.View) (layouts.State, error) { return s, nil })
}

// Record is State.Record for this node. Its user calls it with the digest of the view that it acts under, when nothing that it let in under an older one still runs. If
// another view has come meanwhile it does nothing: what is recorded is only what the user acts under.
func (r *Rings) Record(digest uint64) (changed bool, err error) {
	return r.Change(func(v *layouts.View) (layouts.State, error) { return recorded(v, r.self, digest), nil })
}

func recorded(v *layouts.View, self ring.ID, digest uint64) layouts.State {
	if v.Digest() != digest {
		return v.State()
	}
	return v.State().Record(self)
}

// Synced reports partitions synced for this node, which View.MaySync must have said. For a top that is no longer the top it does nothing.
func (r *Rings) Synced(top layouts.Hash, at []ring.Partition) (changed bool, err error) {
	return r.Change(func(v *layouts.View) (layouts.State, error) { return synced(v, r.self, top, at) })
}

func synced(v *layouts.View, self ring.ID, top layouts.Hash, at []ring.Partition) (layouts.State, error) {
	s := v.State()
	now, ok := v.Top()
	if !ok || now.Hash() != top {
		return s, nil
	}
	if now.Standing(self) != layouts.Owns {
		return s, errNotOwner
	}
	for _, p := range at {
		if int(p) >= now.Partitions() {
			return s, fmt.Errorf("cluster: partition %d of %d reported synced", p, now.Partitions())
		}
		s = s.Synced(self, top, p)
	}
	return s, nil
}

var errNotOwner = errors.New("cluster: this node owns nothing in the newest layout")

// viewOf computes the view of s and keeps the placements of its live layouts.
func (r *Rings) viewOf(s layouts.State) *rings {
	live := make(map[layouts.Hash]*ring.Layout)
	view := layouts.NewView(s, func(v layouts.Version) layouts.Placement {
		place := r.placed[v.Hash()]
		if place == nil {
			place = v.Place()
		}
		live[v.Hash()] = place
		return place
	})
	r.placed = live
	now := &rings{view: view}
	if top, ok := view.Top(); ok {
		now.layout = live[top.Hash()]
		return now
	}
	for _, versions := range [][]layouts.Version{view.Reads(), view.Live()} {
		if len(versions) > 0 && now.layout == nil {
			now.layout = live[versions[0].Hash()]
		}
	}
	return now
}
