package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// A former owner shows what it holds of sets that no live layout gives it to those who own them, and drops the sets when all of them have all of it.

// relic is what is held of a partition and owned no more: all sets with an n of at most to.
type relic struct {
	partition ring.Partition
	to        uint8
	sets      []uint8        // those n of which there is something, ascending
	clock     version.Vector // of all of them, synced
	shown     []ring.ID      // receivers that hold all of it
}

// relicsOf are the relics among what is held, without their clocks.
func relicsOf(v *layouts.View, self ring.ID, held []store.Held) (out []*relic) {
	for _, h := range held {
		r := &relic{partition: h.Partition, to: version.MaxN}
		if least := v.Least(self, h.Partition); least > 0 {
			r.to = uint8(least - 1)
		}
		r.sets = slices.DeleteFunc(slices.Clone(h.N), func(n uint8) bool { return n > r.to })
		if len(r.sets) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// of is what a clock says of the relic's sets.
func (r *relic) of(clock version.Vector) version.Vector { return beneath(clock, r.to+1) }

// receivers are those whom it is to be shown to, each with the least n of which it is a receiver. It is one for all larger n.
func (r *relic) receivers(v *layouts.View) map[ring.ID]uint8 {
	out := make(map[ring.ID]uint8)
	for _, n := range r.sets {
		for _, id := range v.Receivers(r.partition, int(n)) {
			if out[id] == 0 {
				out[id] = n
			}
		}
	}
	return out
}

// mayDrop decides whether it may be dropped: all who are to have it were shown to.
func (r *relic) mayDrop(v *layouts.View, self ring.ID) bool {
	return mutation.DropUnshown || !slices.ContainsFunc(r.sets, func(n uint8) bool { return !v.MayDrop(self, r.partition, int(n), r.shown) })
}

// former is what is known of this node's relics.
type former struct {
	mu      sync.Mutex
	digest  uint64 // of the view under which was looked last
	looked  bool   // to the end, and relics is what was found
	relics  []*relic
	waits   []ring.ID // receivers that something has yet to be shown to
	running bool
	due     time.Time
	dropped map[ring.Partition]bool // since this process began
}

// begin reports whether to look, and show, now: once under every view, and again as long as there are relics.
func (f *former) begin(digest uint64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := f.digest == digest
	if f.running || same && (f.looked && len(f.relics) == 0 || now.Before(f.due)) {
		return false
	}
	if !same {
		f.digest, f.looked, f.relics, f.waits = digest, false, nil, nil
	}
	f.running = true
	return true
}

func (f *former) end(due time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running, f.due = false, due
}

func (f *former) found(relics []*relic, waits []ring.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked, f.relics, f.waits = true, relics, waits
}

// left is how many partitions have relics, and who is still to be shown some.
func (f *former) left() (partitions int, waits []ring.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.relics), slices.Clone(f.waits)
}

// hasDropped reports whether something of the partition was dropped since this process began.
func (f *former) hasDropped(p ring.Partition) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped[p]
}

func (f *former) drops(p ring.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped == nil {
		f.dropped = make(map[ring.Partition]bool)
	}
	f.dropped[p] = true
}

// Dropped reports whether it is certain that this node holds nothing that no live layout gives it, hand-offs aside. It does not block.
func (x *Exchanger) Dropped() bool {
	o := x.member.Ownership()
	x.former.mu.Lock()
	defer x.former.mu.Unlock()
	return o.Rings != nil && x.former.looked && x.former.digest == o.Digest && len(x.former.relics) == 0
}

// show looks for relics, shows them, and drops what it may.
func (x *Exchanger) show(ctx context.Context, o *Ownership) {
	err := x.showAll(ctx, o)
	if err != nil {
		x.log.Debug("showing what this node owns no more", "err", err)
	}
	x.former.end(time.Now().Add(untilShown(x.cfg.Retry, err)))
	x.Changed()
}

// damaged is how many times the usual pause follows an attempt that met damage: what is read then, in vain, is whole tables.
const damaged = 60

// untilShown is the pause before this node tries again, under the same view, to show what is left.
func untilShown(retry time.Duration, err error) time.Duration {
	if errors.Is(err, store.ErrCorrupt) {
		return damaged * retry
	}
	return retry
}

func (x *Exchanger) showAll(ctx context.Context, o *Ownership) error {
	fence, cancel := context.WithTimeout(ctx, x.cfg.Timeout)
	defer cancel()
	if x.member.Fence(fence, o.Digest) != FenceHeld {
		return fmt.Errorf("%w: the view is not in force", errAgain)
	}
	held, err := x.store.Held()
	if err != nil {
		return err
	}
	relics := relicsOf(o.Rings, o.Self, held)
	for _, r := range relics {
		if err := x.describe(r); err != nil {
			return err
		}
	}
	x.former.found(relics, unshown(o.Rings, relics))
	for _, id := range unshown(o.Rings, relics) {
		if !o.answers(id) {
			continue
		}
		if failure := x.showTo(ctx, o, id, relics); failure != nil {
			err = failure
		}
	}
	x.former.found(relics, unshown(o.Rings, relics))
	left, failure := x.dropAll(ctx, o, relics)
	x.former.found(left, unshown(o.Rings, left))
	if failure != nil {
		return failure
	}
	return err
}

// describe finds out what there is of a relic.
func (x *Exchanger) describe(r *relic) error {
	clock, err := x.has(r.partition)
	r.clock = r.of(clock)
	return err
}

// has is a partition's synced clock, with the dots of live versions that it has forgotten.
func (x *Exchanger) has(p ring.Partition) (version.Vector, error) {
	clock, err := x.store.SyncedClock(p)
	if err != nil {
		return clock, err
	}
	if bound, err := x.store.SyncedBound(p); err != nil || bound.Equal(clock) {
		return clock, err
	}
	snap, err := x.store.Snapshot(p)
	if err != nil {
		return version.Vector{}, err
	}
	clock, err = unlimited(snap, p)
	return clock, errors.Join(err, snap.Close())
}

// unlimited is a snapshot's clock with the dots of live versions that it has forgotten (Vector.Limit): by the clock alone, nobody would miss what is about to be dropped.
func unlimited(snap *store.Snapshot, p ring.Partition) (version.Vector, error) {
	clock := snap.Clock(p).Clone()
	_, _, err := snap.Page(p, store.Wanted{Known: snap.Clock(p)}, version.Dot{}, func(_ store.Key, r version.Record) bool {
		for i := range r.Versions {
			clock.Add(r.Versions[i].Dot)
		}
		return true
	})
	return clock, err
}

// unshown are the receivers that have not been shown to hold all of some relics, sorted.
func unshown(v *layouts.View, relics []*relic) (ids []ring.ID) {
	for _, r := range relics {
		for id := range r.receivers(v) {
			if !slices.Contains(r.shown, id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, ring.ID.Compare)
	return ids
}

// showEntries is about how many entries of clocks are shown in one message: some 50 kilobytes.
const showEntries = 4096

// showTo shows relics to one receiver and notes of which it holds all.
func (x *Exchanger) showTo(ctx context.Context, o *Ownership, id ring.ID, relics []*relic) error {
	m, some, entries := show{Digest: o.Digest}, []*relic(nil), 0
	send := func() error {
		body, err := x.ask(ctx, id, KindShow, m.append(nil))
		if err != nil {
			return err
		}
		answer, err := decodeShown(body, len(some))
		for i, has := range answer.Held {
			if has {
				some[i].shown = append(some[i].shown, id)
			}
		}
		m, some, entries = show{Digest: o.Digest}, nil, 0
		return err
	}
	for _, r := range relics {
		least := r.receivers(o.Rings)[id]
		if least == 0 {
			continue
		}
		clock := r.clock.AtLeast(least)
		if entries += clock.Len(); entries > showEntries && len(some) > 0 {
			if err := send(); err != nil {
				return err
			}
			entries = clock.Len()
		}
		m.Partitions, m.Least, m.Clocks = append(m.Partitions, r.partition), append(m.Least, least), append(m.Clocks, clock)
		some = append(some, r)
	}
	if len(some) == 0 {
		return nil
	}
	return send()
}

// dropRest times as long as the drop of a partition took, a node that stays rests after it, but no longer than longestRest: nobody waits for the space, and clients wait for the
// processor and the disk.
const (
	dropRest    = 4
	longestRest = time.Second
)

// dropAll drops the relics that may be dropped, and returns the others.
func (x *Exchanger) dropAll(ctx context.Context, o *Ownership, relics []*relic) (left []*relic, err error) {
	stays := slices.Contains(o.Rings.Owners(), o.Self)
	for _, r := range relics {
		if !r.mayDrop(o.Rings, o.Self) {
			left = append(left, r)
			continue
		}
		begun := time.Now()
		done, failure := x.drop(ctx, o.Digest, r)
		err = errors.Join(err, failure)
		if !done {
			left = append(left, r)
		} else if stays {
			sleep(ctx, min(dropRest*time.Since(begun), longestRest)) // an ended ctx ends what follows
		}
	}
	if n := len(relics) - len(left); n > 0 {
		x.log.Info("dropped what this node owns no more, and others hold", "partitions", n, "left", len(left))
	}
	return left, err
}

// drop drops a relic if the view is still that under which it was shown, and the clock is no more than was shown.
func (x *Exchanger) drop(ctx context.Context, digest uint64, r *relic) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Timeout)
	defer cancel()
	fence := x.door.Alone(ctx, digest, func() {
		var clock version.Vector
		if clock, err = x.has(r.partition); err != nil || !r.clock.CoversAll(r.of(clock)) {
			return
		}
		x.log.Debug("dropping what this node owns no more", "partition", r.partition, "view", digest)
		x.former.drops(r.partition) // before: it may be done although it fails
		err = x.store.Drop(r.partition, 1, r.to)
		done = err == nil
	})
	if fence != FenceHeld {
		return false, fmt.Errorf("%w: the view changed", errAgain)
	}
	if done {
		x.Stats.Dropped.Add(1)
	}
	return done, err
}
