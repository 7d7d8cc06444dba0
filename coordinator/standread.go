package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// standByRead lets fallbacks answer a read in the place of owners that do not, and would count.
func (c *Coordinator) standByRead(v *View, f *round) {
	r := f.r
	s := c.standBy(v, r.params, &f.fanout, f.fallbacks, r.deadline)
	if s == nil {
		return
	}
	s.plan.Omit((quorum.Set(1)<<len(f.slots) - 1) &^ f.counting)
	s.stand = f.tally.Stand
	s.counted = func() int {
		known := f.counts()
		return known.Fallbacks()
	}
	s.ask = func(j int) {
		c.Stats.StandIns.Add(1)
		c.askHeld(v, r, s.slots[j].id, func(resp transport.Response) { c.shown(f, len(f.slots)+j, &resp) })
	}
	f.mu.Lock()
	f.watch(v)
	f.mu.Unlock()
}

// askHeld asks a fallback, which may be this node, what it holds of the key for others.
func (c *Coordinator) askHeld(v *View, r *reading, id ring.ID, done func(transport.Response)) {
	body := appendKeyHeader(nil, v.Digest, wholeRecord, r.key.Bucket, r.key.Key)
	if id != v.Self {
		c.send.Go(id, KindStandRead, body, r.deadline, done)
		return
	}
	go c.ServeStandRead(transport.NewRequest(id, KindStandRead, body, r.deadline, func(s transport.Status, b []byte) {
		done(transport.Response{Status: s, Body: b, Sent: true, At: time.Now()})
	}))
}

// shown takes what a stand-in holds; it does not block.
func (c *Coordinator) shown(f *round, node int, resp *transport.Response) {
	rec, outcome, detail := decodeHeld(resp)
	if resp.Err == nil && resp.Status == statusLayout {
		c.member.Reconcile(f.at(node).id, resp.Body)
	}
	f.mu.Lock()
	f.remake = f.remake || resp.Err == nil && resp.Status == statusLayout
	f.frozen = f.frozen || resp.Err == nil && resp.Status == statusFrozen
	f.took(c, node, outcome, detail, rec, resp.At)
}

func decodeHeld(resp *transport.Response) (rec version.Record, outcome Outcome, detail string) {
	if outcome, detail, _ = classify(resp); outcome != OutcomeOK || len(resp.Body) == 0 {
		return rec, outcome, detail
	}
	rec, err := version.DecodeRecord(resp.Body)
	if err != nil {
		return rec, OutcomeError, err.Error()
	}
	return rec, outcome, ""
}

// search takes note of how a node answered, and finds out who is to be asked next: the one in the place of a node that failed; and once nobody is waited
// for any longer, and nothing was found that owners could vouch for, those after the stand-ins that hold nothing. The caller holds f.mu.
func (f *round) search(node int, s *slot) (ask []int) {
	if f.standby == nil {
		return nil
	}
	now := time.Now()
	switch {
	case s.outcome != OutcomeOK:
		ask = appendStandIn(ask, f.instead(node, now))
	case node >= len(f.slots) && s.rec.IsAbsent():
		f.standby.empty = f.standby.empty.With(node)
	}
	if f.standby.empty == 0 || f.waiting() || f.state() == quorum.Met || !f.absent() {
		return ask
	}
	for node := range f.standby.empty.All() {
		ask = appendStandIn(ask, f.instead(node, now))
	}
	return ask
}

// absent reports whether nothing of the key has been found. The caller holds f.mu.
func (f *round) absent() bool {
	rec := merged(&f.fanout, false)
	return rec.IsAbsent()
}

// counts is the tally of what has been found. The caller holds f.mu.
func (f *round) counts() quorum.ReadTally {
	if f.standby == nil || f.standby.empty == 0 || !f.absent() {
		return f.tally
	}
	return f.tally.OfAbsence(f.standby.empty)
}

// state is where the read stands. The caller holds f.mu.
func (f *round) state() quorum.State {
	if f.standby == nil {
		return f.tally.State()
	}
	known := f.counts()
	state := known.State()
	if state == quorum.Unmet && f.tally.State() != quorum.Unmet && f.left > 0 {
		return quorum.Pending // who has not answered yet may hold it, be it an owner that is later than its patience
	}
	return state
}

// beyond asks every fallback that is up and was not asked yet, once the owners have answered and do not have what a context demands: an earlier write may
// lie there still. What they hold joins the answer and is repaired, and counts for no quorum. It waits for them as it would for
// stand-ins, but hardly again for one that was silent before.
func (c *Coordinator) beyond(ctx context.Context, v *View, f *round, rec version.Record) (version.Record, verdict) {
	r := f.r
	var ask []ring.ID
	wait := time.Duration(0)
	for j, id := range f.fallbacks {
		asked := f.standby != nil && f.standby.plan.Asked().Has(len(f.slots)+j)
		if !asked && v.mayAnswer(id) {
			ask = append(ask, id)
			patience := c.patienceFor(id, time.Until(r.deadline))
			if owns(r.silent, id) {
				patience = min(patience, minPatience)
			}
			wait = max(wait, patience)
		}
	}
	type answer struct {
		from ring.ID
		resp transport.Response
	}
	replies := make(chan answer, len(ask))
	for _, id := range ask {
		c.askHeld(v, r, id, func(resp transport.Response) { replies <- answer{id, resp} })
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for len(ask) > 0 {
		select {
		case a := <-replies:
			ask = slices.DeleteFunc(ask, func(id ring.ID) bool { return id == a.from })
			held, outcome, _ := decodeHeld(&a.resp)
			if outcome != OutcomeOK || held.IsAbsent() {
				continue
			}
			all := held
			f.mu.Lock()
			if f.beside != nil {
				all = version.Merge(*f.beside, held)
			}
			f.beside = &all
			f.mu.Unlock()
			rec = version.Merge(rec, held)
			if v, _ := c.judge(r, &rec, true); v != readUnsatisfied {
				return rec, v
			}
		case <-timer.C:
			r.silent = append(r.silent, ask...)
			return rec, readUnsatisfied
		case <-ctx.Done():
			return rec, readUnsatisfied
		}
	}
	return rec, readUnsatisfied
}

// withStandIns adds to the owners' merge what fallbacks hold, which is whole. The caller holds f.mu.
func (f *fanout) withStandIns(rec version.Record) version.Record {
	if f.beside != nil {
		rec = version.Merge(rec, *f.beside)
	}
	if f.standby == nil {
		return rec
	}
	for j := range f.standby.slots {
		if s := &f.standby.slots[j]; s.outcome == OutcomeOK && !s.rec.IsAbsent() {
			rec = version.Merge(rec, s.rec)
		}
	}
	return rec
}

// tooFew is the answer to a read that could only hope for fallbacks, and did not get enough of them, or nothing from those that it got.
func (c *Coordinator) tooFew(r *reading, s shortage) *Error {
	e := c.readUnmet(r)
	e.Code = QuorumUnavailable
	e.Detail = fmt.Sprintf("%d of %d owners can answer a read, r=%d needs %d; fallbacks that hold nothing of a key do not tell that it is absent",
		s.got, s.owners, s.need, s.need)
	return e
}
