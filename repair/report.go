package repair

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// reportEvery is how soon at the latest partitions are reported that a long round has finished: each report is a sync and a message to all.
const reportEvery = time.Second

// sight is what of a view makes rounds begin at once when it changes.
type sight struct {
	digest uint64
	fallen bool // its fence
}

// fetched are counters at one moment.
type fetched struct{ records, bytes int64 }

// territory is what the view means for this node, computed once for each digest.
func (x *Exchanger) territory(o *Ownership) *territory {
	if t := x.land.Load(); t != nil && o.Rings != nil && t.digest == o.Digest {
		return t
	}
	t := territoryOf(o.Rings, o.Self)
	x.land.Store(t)
	return t
}

// gaining reports whether this node has still to fetch something before a report.
func (x *Exchanger) gaining(o *Ownership) bool {
	t := x.territory(o)
	if !t.fetches {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for p, n := range t.gaining {
		if n > 0 && !x.ledger.isTold(o.Rings, o.Self, ring.Partition(p)) {
			return true
		}
	}
	return false
}

// begin is the present view if an exchange counts for reports that begins now, nil if not.
func (x *Exchanger) begin(o *Ownership) *layouts.View {
	now := x.member.Ownership()
	if now.Rings == nil || now.Digest != o.Digest || !begins(now.Rings) || !x.gaining(&now) {
		return nil
	}
	return now.Rings
}

// met notes that exchanges of partitions with a peer are complete that were begun under a view.
func (x *Exchanger) met(begun *layouts.View, id ring.ID, at ...ring.Partition) {
	if begun == nil || len(at) == 0 {
		return
	}
	now := x.member.Ownership()
	if now.Rings == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.look(&now)
	x.ledger.met(begun, id, at)
}

// owes reports whether an exchange with a peer that was begun under a view is missing for a report.
func (x *Exchanger) owes(begun *layouts.View, self ring.ID, p ring.Partition, id ring.ID) bool {
	if begun == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ledger.owes(begun, self, p, id)
}

// look makes the ledger that of the present view. If that is another one than at the last look, or its fence has fallen since, all rounds are to begin. x.mu is held.
func (x *Exchanger) look(o *Ownership) {
	if o.Rings == nil {
		return
	}
	top := x.ledger.top
	if x.ledger.follow(o.Rings) && x.ledger.top != top {
		x.base = fetched{x.Stats.Records.Load(), x.Stats.Bytes.Load()}
	}
	now := sight{o.Digest, len(o.Rings.Fence()) == 0}
	if now == x.sight {
		return
	}
	x.sight, x.told, x.hurry = now, time.Time{}, true
	x.missing = x.ledger.missing(o.Rings, o.Self, x.territory(o).gaining)
}

// follow begins what a view calls for beside rounds: reports, the answer to invitations, and showing what this node holds and owns no more.
func (x *Exchanger) follow(ctx context.Context, running *sync.WaitGroup, now time.Time) {
	o := x.member.Ownership()
	if o.Rings == nil {
		return
	}
	x.mu.Lock()
	report := !x.telling && now.Sub(x.told) >= reportEvery
	if report {
		x.telling, x.told = true, now
	}
	x.mu.Unlock()
	if report {
		running.Go(func() { x.report(&o) })
	}
	if id, ok := x.invited.next(o.Digest, o.answers, now); ok {
		running.Go(func() { x.accept(ctx, &o, id) })
	}
	if x.former.begin(o.Digest, now) {
		running.Go(func() { x.show(ctx, &o) })
	}
}

// report tells the membership, in one batch, which partitions this node holds all of that the top layout gives it there.
func (x *Exchanger) report(o *Ownership) {
	gaining := x.territory(o).gaining
	x.mu.Lock()
	x.look(o)
	due := x.ledger.due(o.Rings, o.Self, gaining)
	x.missing = x.ledger.missing(o.Rings, o.Self, gaining)
	top := x.ledger.top
	x.mu.Unlock()
	var err error
	if len(due) > 0 {
		err = x.member.Synced(top, due)
	}
	x.mu.Lock()
	x.telling = false
	if err == nil && x.ledger.top == top {
		for _, p := range due {
			x.ledger.told[p] = true
		}
	}
	x.mu.Unlock()
	switch {
	case err != nil:
		x.log.Warn("fetched partitions are not reported yet; it is tried again", "partitions", len(due), "err", err)
	case len(due) > 0:
		x.log.Info("this node holds what the newest layout gives it", "partitions", len(due), "layout", top.String())
	}
}

// Progress is how far the change under way is, and this node with what it has to do for it.
type Progress struct {
	Done, Of  int       // reports that the newest layout has, and needs; equal when nothing is under way
	Remaining uint64    // versions that this node may lack, by the clocks of others
	Rate      float64   // records a second, over the last seconds; 0 when nothing is being fetched
	Records   int64     // fetched since the change began, or this node started
	Bytes     int64     // of the pages that they came in
	Former    int       // partitions of which it holds something that it owns no more
	WaitsFor  []ring.ID // sorted: who has not recorded the newest layout, and peers that are down with whom an exchange is missing here or whom something is to be shown to
}

// Progress returns how far things are.
func (x *Exchanger) Progress() Progress {
	o := x.member.Ownership()
	x.mu.Lock()
	defer x.mu.Unlock()
	p := Progress{Rate: x.rate.read(time.Now()), Records: x.Stats.Records.Load() - x.base.records, Bytes: x.Stats.Bytes.Load() - x.base.bytes}
	for _, left := range x.left { // several peers may have the same versions
		p.Remaining = max(p.Remaining, left)
	}
	if o.Rings == nil {
		return p
	}
	p.Done, p.Of = o.Rings.Progress()
	var waits, shows []ring.ID
	if p.Done < p.Of {
		waits = o.Rings.Fence()
	}
	p.Former, shows = x.former.left()
	for id := range x.missing {
		shows = append(shows, id)
	}
	for _, id := range shows {
		if !o.answers(id) && id != o.Self {
			waits = append(waits, id)
		}
	}
	slices.SortFunc(waits, ring.ID.Compare)
	p.WaitsFor = slices.Compact(waits)
	return p
}
