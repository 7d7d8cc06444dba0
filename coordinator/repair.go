package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// sameWhole reports whether b adds nothing to a: the same versions, and no value that a lacks.
func sameWhole(a, b *version.Record) bool {
	return same(a, b) && (!elided(a) || elided(b))
}

// same reports whether two replicas agree about a key. Vectors are left out: they tell of other keys too.
func same(a, b *version.Record) bool {
	return a.N == b.N && a.MaxLWW == b.MaxLWW && a.SameVersions(*b)
}

// lacking counts the versions of the answer that a reply did not have.
func lacking(have, want *version.Record) int {
	n := 0
	for i := range want.Versions {
		if !have.Has(want.Versions[i].Dot) {
			n++
		}
	}
	return n
}

// settle hands the owners that lack something to read repair, once every reply is in. It does not block.
func (c *Coordinator) settle(f *round) {
	f.mu.Lock()
	rec := merged(&f.fanout, false)
	cmp := quorum.Comparison{}
	for i := range f.slots {
		s := &f.slots[i]
		if s.outcome != OutcomeOK {
			continue
		}
		cmp.Owners, cmp.Replied = cmp.Owners.With(i), cmp.Replied.With(i)
		if same(&s.rec, &rec) || mutation.SkipAbsentRepair && s.rec.IsAbsent() {
			cmp.Equal = cmp.Equal.With(i)
		}
	}
	stale := cmp.Stale()
	if stale == 0 {
		f.mu.Unlock()
		return
	}
	var to, holders []ring.ID
	for i := range f.slots {
		if stale.Has(i) {
			to = append(to, f.slots[i].id)
		}
		if cmp.Replied.Has(i) && lacking(&f.slots[i].rec, &rec) < len(rec.Versions) {
			holders = append(holders, f.slots[i].id)
		}
	}
	f.mu.Unlock()
	c.Stats.StaleReplies.Add(int64(len(to)))
	if c.repair != nil && !f.r.req.NoRepair {
		c.repair.Repair(f.r.key, rec, to, holders)
	}
}

// fetch gets the values that the merged record lacks, from the replicas that said they have them, or else from
// those that have not answered yet. A read never falls back to an older value: what cannot be fetched makes it fail.
func (c *Coordinator) fetch(ctx context.Context, v *View, f *round, rec version.Record) (version.Record, error) {
	r := f.r
	f.mu.Lock()
	var holders, perhaps []ring.ID
	for i := range f.slots {
		switch s := &f.slots[i]; {
		case s.id == v.Self:
		case s.outcome == "":
			perhaps = append(perhaps, s.id)
		case s.outcome == OutcomeOK && lacking(&s.rec, &rec) < len(rec.Versions):
			holders = append(holders, s.id)
		}
	}
	f.mu.Unlock()
	holders = append(holders, perhaps...)
	c.Stats.Fetches.Add(1)
	ctx, cancel := context.WithDeadline(ctx, r.deadline)
	defer cancel()
	whole, err := c.Complete(ctx, r.key, rec, holders)
	if err != nil {
		e := c.readUnmet(r)
		e.Detail = "a newer value exists and could not be fetched: " + err.Error()
		return rec, e
	}
	return whole, nil
}

// fetchPatience is how long one holder is waited for before the next is asked as well.
const fetchPatience = 50 * time.Millisecond

// Complete fetches the values that rec lacks from holders, asking the next as well when one is slow. It returns when
// all are there, all holders have failed, or ctx ends.
func (c *Coordinator) Complete(ctx context.Context, k store.Key, rec version.Record, holders []ring.ID) (version.Record, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	body := appendKeyHeader(nil, c.member.View().Hash, wholeRecord, k.Bucket, k.Key)
	replies := make(chan transport.Response, len(holders))
	patience := time.NewTimer(0)
	defer patience.Stop()
	asked, answered := 0, 0
	last := errors.New("no replica has it")
	for elided(&rec) {
		if answered == len(holders) {
			return rec, last
		}
		select {
		case <-patience.C:
			if asked < len(holders) {
				c.send.Go(holders[asked], KindRead, body, deadline, func(r transport.Response) { replies <- r })
				asked++
				patience.Reset(fetchPatience)
			}
		case r := <-replies:
			answered++
			patience.Reset(0)
			got, err := decodeRead(&r)
			if err != nil {
				last = err
				continue
			}
			rec = version.Merge(rec, got)
		case <-ctx.Done():
			return rec, ctx.Err()
		}
	}
	return rec, nil
}

func decodeRead(r *transport.Response) (version.Record, error) {
	if o, detail, _ := classify(r); o != OutcomeOK {
		return version.Record{}, fmt.Errorf("%s: %s", o, detail)
	}
	return version.DecodeRecord(r.Body)
}

// Send merges a whole record into one owner, this node included, and returns when it is durable there.
func (c *Coordinator) Send(ctx context.Context, k store.Key, rec version.Record, to ring.ID, deadline time.Time) error {
	v := c.member.View()
	if to == v.Self {
		if c.member.Enter(v.Hash) != Entered {
			return errLayoutMoved
		}
		res, err := c.store.Mend(k, rec)
		c.member.Leave()
		if err != nil {
			return err
		}
		return res.Commit.Wait()
	}
	body := appendKeyHeader(nil, v.Hash, 0, k.Bucket, k.Key)
	body = version.AppendRecord(body, rec)
	reply := make(chan transport.Response, 1)
	c.send.Go(to, KindRepair, body, deadline, func(r transport.Response) { reply <- r })
	select {
	case r := <-reply:
		if o, detail, _ := classify(&r); o != OutcomeOK {
			return fmt.Errorf("%s: %s", o, detail)
		}
		c.missed.clear(to, k)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
