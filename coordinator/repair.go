package coordinator

import (
	"context"
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

// merged is the merge of all records that have arrived. The caller holds f.mu. Replicas that agree, the ordinary case,
// cost a comparison, unless it matters what else they have seen.
func merged(f *fanout, vectors bool) version.Record {
	var out version.Record
	first := true
	for i := range f.slots {
		s := &f.slots[i]
		switch {
		case s.outcome != OutcomeOK:
		case first:
			out, first = s.rec, false
		case !vectors && sameWhole(&out, &s.rec):
		default:
			out = version.Merge(out, s.rec)
		}
	}
	return f.withStandIns(out)
}

func elided(r *version.Record) bool {
	for i := range r.Versions {
		if r.Versions[i].Elided {
			return true
		}
	}
	return false
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

// lacks reports whether a replica that holds have would learn anything of want that it keeps: a version, that one is superseded, n, the
// highest stamp, or what the context demands. A key of which nothing is left is not stored, so there is nothing to lack.
func lacks(have, want *version.Record, seen *version.Token) bool {
	switch {
	case mutation.SkipAbsentRepair && have.IsAbsent():
		return false
	case seen == nil && same(have, want), have.IsAbsent() && want.IsAbsent():
		return false
	case seen != nil && version.Satisfied(*seen, *want) && !version.Satisfied(*seen, *have):
		return true
	case same(have, want):
		return false
	}
	both := version.Merge(*have, *want)
	return !same(have, &both)
}

// settleGrace is how long a read that found a difference waits for the rest of the replies before it repairs: healthy owners answer within it even
// under load, one repair then serves them all, and it is nothing beside the time-out after which a silent one is given up.
const settleGrace = 100 * time.Millisecond

// over ends a round for good: its read is answered, with rec, or has failed. Replies that come later feed read repair and nothing else.
func (c *Coordinator) over(f *round, rec version.Record) {
	f.mu.Lock()
	f.closed, f.want = true, rec
	for i := range f.slots {
		s := &f.slots[i]
		f.differ = f.differ || s.outcome == OutcomeOK && !f.held.Has(i) && lacks(&s.rec, &rec, f.r.req.Token)
	}
	differ, left := f.differ, f.left
	f.mu.Unlock()
	switch {
	case !differ:
	case left == 0:
		c.settle(f)
	default:
		time.AfterFunc(settleGrace, func() { c.settle(f) })
	}
}

// late looks at a reply, or a failure, that came after the round was over, and reports whether it is time to settle. The caller holds f.mu.
func (f *round) late(s *slot) bool {
	seen := f.r.req.Token
	differs := s.outcome == OutcomeOK && (!same(&s.rec, &f.want) || seen != nil && lacks(&s.rec, &f.want, seen))
	f.differ = f.differ || differs
	return differs && f.settled || f.differ && f.left == 0
}

// settle hands the owners that lack something over to read repair. It does not block. A later reply that differs settles again, for the owners
// that it concerns.
func (c *Coordinator) settle(f *round) {
	f.mu.Lock()
	f.settled = true
	grown := f.withStandIns(f.want)
	for i := range f.slots {
		if s := &f.slots[i]; s.outcome == OutcomeOK && !same(&s.rec, &grown) {
			grown = version.Merge(grown, s.rec)
		}
	}
	if !same(&grown, &f.want) {
		f.held = 0
	}
	f.want = grown
	cmp := c.compare(&f.fanout, &f.want, f.r.req.Token)
	stale := cmp.Stale() &^ f.held
	f.held |= stale // for this round they are taken care of
	m := mending{key: f.r.key, n: f.r.n, rec: f.want, seen: f.r.req.Token}
	for i := range stale.All() {
		m.to = append(m.to, lack{f.slots[i].id, cmp.Cause(i), cmp.Minority(i)})
	}
	m.holders = f.holders(&m.rec)
	f.mu.Unlock()
	if len(m.to) == 0 {
		return
	}
	c.Stats.StaleReplies.Add(int64(len(m.to)))
	if c.repair == nil || f.r.req.NoRepair {
		return
	}
	if !c.repair.Repair(int64(valueBytes(&m.rec)), func(ctx context.Context) { c.mendAll(ctx, &m) }) {
		for _, l := range m.to {
			c.Stats.Repairs.note(l, repairDropped)
		}
	}
}

// compare holds the replies so far against what they merge to. The caller holds f.mu.
func (c *Coordinator) compare(f *fanout, want *version.Record, seen *version.Token) quorum.Comparison {
	cmp := quorum.Comparison{Holders: make([]quorum.Set, len(want.Versions))}
	for i := range f.slots {
		s := &f.slots[i]
		if s.outcome != OutcomeOK {
			continue
		}
		cmp.Owners, cmp.Replied = cmp.Owners.With(i), cmp.Replied.With(i)
		if !lacks(&s.rec, want, seen) {
			cmp.Equal = cmp.Equal.With(i)
		}
		if s.rec.IsAbsent() {
			cmp.Empty = cmp.Empty.With(i)
		}
		if s.rec.SameVersions(*want) {
			cmp.Same = cmp.Same.With(i)
		}
		for j := range want.Versions {
			if s.rec.Has(want.Versions[j].Dot) {
				cmp.Holders[j] = cmp.Holders[j].With(i)
			}
		}
	}
	return cmp
}

// supplies reports whether a replica with have holds a value that rec lacks.
func supplies(have, rec *version.Record) bool {
	for i := range rec.Versions {
		if v := &rec.Versions[i]; v.Elided && have.Has(v.Dot) {
			return true
		}
	}
	return false
}

// holders are the replicas that said they hold a value which rec lacks. The caller holds f.mu.
func (f *round) holders(rec *version.Record) (ids []ring.ID) {
	for i := range f.slots {
		if s := &f.slots[i]; s.outcome == OutcomeOK && supplies(&s.rec, rec) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// mending is one repair: a record, and the owners that lacked some of it when they answered.
type mending struct {
	key     store.Key
	n       int // that the read had
	rec     version.Record
	seen    *version.Token // what the read's context demands; nil if it had none
	to      []lack
	holders []ring.ID // where the values are that rec does not have
}

type lack struct {
	id       ring.ID
	cause    quorum.Cause
	minority bool
}

// mendAll repairs one owner after the other, until ctx ends, which has a deadline.
func (c *Coordinator) mendAll(ctx context.Context, m *mending) {
	for _, l := range m.to {
		c.Stats.Repairs.note(l, c.mend(ctx, m, l.id))
	}
}

// mend looks once more what an owner holds, and sends it the record if that still lacks some of it. What was under way to it when
// it answered the read has arrived meanwhile, as a rule. One that owns the set no longer is let alone: it may have dropped it.
func (c *Coordinator) mend(ctx context.Context, m *mending, id ring.ID) repairOutcome {
	deadline, _ := ctx.Deadline()
	if v := c.member.View(); !v.owns(id, m.key.Partition, max(m.n, int(m.rec.N))) {
		return repairUnneeded
	}
	have, err := c.look(ctx, m, id, deadline)
	if err == nil && !lacks(&have, &m.rec, m.seen) {
		c.missed.clear(id, m.key)
		return repairUnneeded
	}
	if err == nil && wanting(&m.rec, &have) {
		m.rec, err = c.complete(ctx, m.key, m.rec, &have, m.holders)
	}
	if err == nil {
		err = c.Send(ctx, m.key, without(m.rec, &have), id, deadline)
	}
	if err != nil {
		c.log.Debug("read repair", "bucket", m.key.Bucket, "key", m.key.Key, "to", id.Short(), "err", err)
		return repairFailed
	}
	return repairOK
}

// look asks one owner what it holds; values need not come.
func (c *Coordinator) look(ctx context.Context, m *mending, id ring.ID, deadline time.Time) (version.Record, error) {
	v := c.member.View()
	if id == v.Self {
		if c.member.Enter(v.Digest) != Entered {
			return version.Record{}, errLayoutMoved
		}
		defer c.member.Leave()
		return c.store.Get(m.key)
	}
	body := appendKeyHeader(nil, v.Digest, 0, m.key.Bucket, m.key.Key)
	if m.seen == nil && len(m.rec.Versions) <= maxStateVersions {
		body = appendState(body, &m.rec)
	}
	resp, ok := c.call(ctx, id, KindRead, body, deadline)
	switch {
	case !ok:
		return version.Record{}, context.DeadlineExceeded
	case resp.Err == nil && resp.Status == statusSame:
		return m.rec, nil
	}
	return decodeRead(&resp)
}

// wanting reports whether rec lacks a value that a replica with have does not hold itself.
func wanting(rec, have *version.Record) bool {
	for i := range rec.Versions {
		if v := &rec.Versions[i]; v.Elided && !have.Has(v.Dot) {
			return true
		}
	}
	return false
}

// without leaves out the values of the versions that the receiver has said it holds. Should it hold one no longer by then, its store refuses the
// whole: a version is never kept without its value.
func without(rec version.Record, have *version.Record) version.Record {
	rec.Versions = append([]version.Version(nil), rec.Versions...)
	for i := range rec.Versions {
		if v := &rec.Versions[i]; len(v.Value) > 0 && have.Has(v.Dot) {
			v.Value, v.Elided = nil, true
		}
	}
	return rec
}

// Send merges a record into one owner, this node included, and returns when it is durable there.
func (c *Coordinator) Send(ctx context.Context, k store.Key, rec version.Record, to ring.ID, deadline time.Time) error {
	v := c.member.View()
	if to == v.Self {
		return c.mendOwn(v, k, rec)
	}
	reply := make(chan transport.Response, 1)
	c.send.Go(to, KindRepair, appendMend(v, k, rec), deadline, func(r transport.Response) { reply <- r })
	select {
	case r := <-reply:
		return c.confirmed(to, k, &r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func appendMend(v *View, k store.Key, rec version.Record) []byte {
	return version.AppendRecord(appendKeyHeader(nil, v.Digest, 0, k.Bucket, k.Key), rec)
}

// mendOwn is Send to this node's own store.
func (c *Coordinator) mendOwn(v *View, k store.Key, rec version.Record) error {
	if c.member.Enter(v.Digest) != Entered {
		return errLayoutMoved
	}
	res, err := c.store.Mend(k, rec)
	c.member.Leave()
	if err != nil {
		return err
	}
	return res.Commit.Wait()
}

// confirmed reads an owner's answer to a repair.
func (c *Coordinator) confirmed(from ring.ID, k store.Key, r *transport.Response) error {
	if o, detail, _ := classify(r); o != OutcomeOK {
		return &answerError{o, detail}
	}
	c.missed.clear(from, k)
	return nil
}

// answerError is an answer of a replica that is not the one that was asked for.
type answerError struct {
	outcome Outcome
	detail  string
}

func (r *answerError) Error() string { return string(r.outcome) + ": " + r.detail }

func decodeRead(r *transport.Response) (version.Record, error) {
	if o, detail, _ := classify(r); o != OutcomeOK {
		return version.Record{}, &answerError{o, detail}
	}
	return version.DecodeRecord(r.Body)
}
