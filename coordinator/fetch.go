package coordinator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// nearest picks the replica that sends its values whole: this node's own, unless its disk is far slower than others, or else the first that is
// about as near as any by recent answers, those of this node's zone before the others. It counts for the read. -1: nobody.
func (c *Coordinator) nearest(v *View, f *round) int {
	first, least := -1, 0.0
	now, zone := f.slots[0].sent, v.Peers[v.Self].Zone
	for _, near := range [...]bool{true, false} {
		for i := range f.slots {
			id := f.slots[i].id
			p := v.Peers[id]
			if (p.Zone == zone) != near || !f.counting.Has(i) {
				continue
			}
			d := c.pace.distance(id, now)
			if id == v.Self && d < ownFar {
				return i
			}
			if !p.Down && (first < 0 || d*nearEnough < least) {
				first, least = i, d
			}
		}
	}
	return first
}

// distance is how far a replica is for this node, which prefers its own zone as long as latency does not say much else.
func (c *Coordinator) distance(v *View, id ring.ID, now time.Time) float64 {
	d := c.pace.distance(id, now)
	if v.Peers[id].Zone != v.Peers[v.Self].Zone {
		d *= nearEnough
	}
	return d
}

// pursuit decides whom a value is asked from, and when. It has no clock and no lock; end is the deadline.
//
//	nobody is asked, or all asked have failed     the next is asked at once
//	the latest is later than its patience         the next is asked as well, a hedge, if there is an allowance for one
//	half of the time that was left is over        the next is asked as well, whatever the allowance: late is not down, but the request would be lost
type pursuit struct {
	ids      []ring.ID // in the order in which they are asked
	patience func(ring.ID) time.Duration
	end      time.Time
	spend    func() bool   // nil: never hedge
	late     func(ring.ID) // told of whoever is later than its patience

	next    int       // of ids
	open    int       // asked, and not answered yet
	latest  ring.ID   // asked last
	since   time.Time // and when
	dueAt   time.Time // its patience ends
	refused bool      // there was no allowance when it did
}

// asked notes that a replica is being waited for since then.
func (p *pursuit) asked(id ring.ID, since time.Time) {
	p.open++
	p.latest, p.since, p.refused = id, since, false
	p.dueAt = since.Add(p.patience(id))
}

// step says whether to ask ids[next] now, and if that is a hedge, or else until when to wait for the answers that are open.
func (p *pursuit) step(now time.Time) (ask, hedge bool, until time.Time) {
	if p.next == len(p.ids) {
		return false, false, p.end
	}
	if p.open == 0 {
		return true, false, now
	}
	last := p.since.Add(p.end.Sub(p.since) / 2)
	if !now.Before(last) {
		return true, false, now
	}
	if p.spend == nil || p.refused {
		return false, false, last
	}
	if now.Before(p.dueAt) {
		return false, false, earlier(p.dueAt, last)
	}
	p.late(p.latest)
	if p.spend() {
		return true, true, now
	}
	p.refused = true
	return false, false, last
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// fetch gets the values that the merged record lacks: from the replica that was asked for its whole record, as long as that is not late, and else from those that
// said they have them, nearest first, or from those that have not answered yet. A read never falls back to an older value: what cannot be fetched makes it fail.
func (c *Coordinator) fetch(ctx context.Context, v *View, f *round, rec version.Record) (version.Record, error) {
	r := f.r
	bytes := wholeBytes(&rec)
	p := &pursuit{end: r.deadline, spend: c.hedgeOnce,
		patience: func(id ring.ID) time.Duration { return c.pace.patience(id, bytes, time.Now()) },
		late:     func(id ring.ID) { c.pace.late(id, time.Now()) }}
	f.mu.Lock()
	var perhaps []ring.ID
	for i := range f.slots {
		switch s := &f.slots[i]; {
		case i == f.near && s.outcome == "":
			p.asked(s.id, s.sent)
		case s.id == v.Self:
		case s.outcome == "":
			perhaps = append(perhaps, s.id)
		case s.outcome == OutcomeOK && supplies(&s.rec, &rec):
			p.ids = append(p.ids, s.id)
		}
	}
	f.mu.Unlock()
	now := time.Now()
	slices.SortStableFunc(p.ids, func(a, b ring.ID) int { return cmp.Compare(c.distance(v, a, now), c.distance(v, b, now)) })
	p.ids = append(p.ids, perhaps...)
	ctx, cancel := context.WithDeadline(ctx, r.deadline)
	defer cancel()
	whole, err := c.pursue(ctx, &wanted{key: r.key, rec: rec, near: f}, p)
	if p.next > 0 {
		c.Stats.Fetches.Add(1)
	}
	if err != nil {
		e := c.readUnmet(r)
		e.Detail = "a newer value exists and could not be fetched: " + err.Error()
		return rec, e
	}
	return whole, nil
}

// hedgeOnce takes one hedge from the allowance.
func (c *Coordinator) hedgeOnce() bool {
	if !c.hedges.spend() {
		c.Stats.HedgesSuppressed.Add(1)
		return false
	}
	c.Stats.Hedges.Add(1)
	return true
}

// complete fetches the values that rec lacks and that have has not, for a repair: nobody waits for it, so it hedges nothing.
func (c *Coordinator) complete(ctx context.Context, k store.Key, rec version.Record, have *version.Record, holders []ring.ID) (version.Record, error) {
	deadline, _ := ctx.Deadline()
	p := &pursuit{ids: holders, end: deadline, patience: func(ring.ID) time.Duration { return 0 }}
	return c.pursue(ctx, &wanted{key: k, rec: rec, have: have}, p)
}

// wanted is a record of which values are missing.
type wanted struct {
	key  store.Key
	rec  version.Record
	have *version.Record // whose values need not come; nil if all must
	near *round          // a replica of it may still bring them; nil if none is asked
}

func (w *wanted) missing() bool {
	if w.have != nil {
		return wanting(&w.rec, w.have)
	}
	return elided(&w.rec)
}

var errNobodyHas = errors.New("no replica has it")

// pursue asks replicas for whole records until nothing is missing any more. It returns when all have failed, or ctx ends, at the latest.
func (c *Coordinator) pursue(ctx context.Context, w *wanted, p *pursuit) (version.Record, error) {
	type reply struct {
		transport.Response
		id    ring.ID
		since time.Time
		hedge bool
	}
	replies := make(chan reply, len(p.ids)) // each is asked once
	body := appendKeyHeader(nil, c.member.View().Digest, wholeRecord, w.key.Bucket, w.key.Key)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var wake chan struct{}
	waits := w.near != nil && p.open > 0
	if waits {
		wake = w.near.wake
	}
	failure := errNobodyHas
	for {
		if waits {
			if came, err := w.near.nearCame(&w.rec); came {
				waits = false
				p.open--
				if err != nil {
					failure = err
				}
			}
		}
		if !w.missing() {
			return w.rec, nil
		}
		now := time.Now()
		ask, hedge, until := p.step(now)
		switch {
		case ask:
			id := p.ids[p.next]
			p.next++
			p.asked(id, now)
			c.send.Go(id, KindRead, body, p.end, func(r transport.Response) { replies <- reply{r, id, now, hedge} })
			continue
		case p.open == 0:
			return w.rec, failure
		}
		timer.Reset(until.Sub(now))
		select {
		case r := <-replies:
			p.open--
			got, err := decodeRead(&r.Response)
			if err != nil {
				failure = err
				continue
			}
			c.pace.answered(r.id, valueBytes(&got), r.At.Sub(r.since), r.At)
			w.rec = version.Merge(w.rec, got)
			if r.hedge && !w.missing() {
				c.Stats.HedgesWon.Add(1)
			}
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			return w.rec, ctx.Err()
		}
	}
}

// nearCame reports whether the replica that was asked for its whole record has answered, and merges what it sent.
func (f *round) nearCame(rec *version.Record) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s := &f.slots[f.near]; s.outcome {
	case "":
		return false, nil
	case OutcomeOK:
		*rec = version.Merge(*rec, s.rec)
		return true, nil
	default:
		return true, &answerError{s.outcome, s.detail}
	}
}
