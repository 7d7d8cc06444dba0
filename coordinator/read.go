package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// reading is one client read while it runs.
type reading struct {
	req      *GetRequest
	params   quorum.Params
	key      store.Key
	n        int
	deadline time.Time
	round    *round // the newest one, for the answer
}

// round is one fan-out of a read. Its late replies count for nothing but itself: a read that goes on under another view
// or with a larger n begins a new one.
type round struct {
	fanout
	r     *reading
	tally quorum.ReadTally // guarded by mu
}

// Get reads one key. The parameters are valid and complete. Errors are *Error.
func (c *Coordinator) Get(ctx context.Context, req *GetRequest, params quorum.Params) (GetResult, error) {
	r := &reading{req: req, params: params, n: params.N, deadline: time.Now().Add(req.Timeout)}
	for round := 0; ; {
		v := c.member.View()
		if v.Layout == nil {
			return GetResult{}, c.readFailed(r, NotReady, "this node has not met its cluster yet")
		}
		r.key = keyOf(v, req.Bucket, req.Key)
		if !c.checkToken(r.key.Partition, req.Token) {
			return GetResult{}, c.readFailed(r, BadRequest, badToken)
		}
		if req.Local {
			return c.getLocal(v, r)
		}
		rec, verdict, err := c.gather(ctx, v, r)
		if err != nil {
			return GetResult{}, err
		}
		switch verdict {
		case readDone:
			return c.found(r, rec), nil
		case readWiden:
			continue
		case readUnsatisfied:
			if round++; round > c.cfg.SessionRetries {
				return GetResult{}, c.readFailed(r, SessionUnsatisfied, "no replica that answered has what the context has seen")
			}
		case readStaleView:
			c.Stats.LayoutRetries.Add(1)
		}
		if !c.pause(ctx, r.deadline) {
			if verdict == readUnsatisfied {
				return GetResult{}, c.readFailed(r, SessionUnsatisfied, "no replica that answered in time has what the context has seen")
			}
			return GetResult{}, c.readFailed(r, QuorumUnavailable, "the membership did not settle in time")
		}
	}
}

// getLocal reads this node's own store and nothing else. A replica that is gaining shows what has reached it, and says of the
// rest that it does not know: its emptiness is no answer.
func (c *Coordinator) getLocal(v *View, r *reading) (GetResult, error) {
	start := time.Now()
	rec, err := c.store.Get(r.key)
	if err != nil {
		return GetResult{}, c.readFailed(r, Internal, err.Error())
	}
	if rec.IsAbsent() && v.Peers[v.Self].Gaining {
		const detail = "it is still fetching its data and holds nothing of this key yet"
		e := c.readFailed(r, QuorumUnavailable, "this node cannot tell whether the key exists: "+detail)
		e.Needed, e.Replicas = 1, []Replica{{Name: c.cfg.Name, Outcome: OutcomeNotSent, Detail: detail}}
		return GetResult{}, e
	}
	res := GetResult{Record: rec, N: r.n, R: 1, Replies: 1, Coordinator: c.cfg.Name}
	if r.req.Detail {
		res.Replicas = []Replica{{Name: c.cfg.Name, Outcome: OutcomeOK, Elapsed: time.Since(start)}}
	}
	return res, nil
}

// verdict is what became of one round of a read.
type verdict uint8

const (
	readDone        verdict = iota
	readWiden               // a replica knows a larger n: ask the owners of that
	readUnsatisfied         // everybody answered, and the context demands more
	readStaleView           // the view changed under the round
)

// gather asks all owners at once and waits until r of them, and the request's context, are satisfied.
func (c *Coordinator) gather(ctx context.Context, v *View, r *reading) (version.Record, verdict, error) {
	owners := v.Layout.Owners(r.key.Partition, r.n)
	need := r.params.R.Resolve(len(owners))
	f := &round{r: r}
	group := f.begin(v, owners, time.Now())
	r.round = f
	if _, synced := up(v, owners); synced < need {
		return version.Record{}, 0, c.unavailable(v, r, need, synced)
	}
	f.tally = quorum.NewRead(r.params.R, []quorum.Group{group})
	c.fanRead(v, f)

	timer := c.timers.start(r.deadline)
	defer c.timers.stop(timer)
	inTime := true
	for {
		f.mu.Lock()
		state := f.tally.State()
		if f.remake || f.frozen && state == quorum.Unmet {
			f.closed = true
			f.mu.Unlock()
			return version.Record{}, readStaleView, nil
		}
		if state == quorum.Unmet || state == quorum.Pending && !inTime {
			f.closed = true
			f.mu.Unlock()
			return version.Record{}, 0, c.readUnmet(r)
		}
		if state == quorum.Met {
			rec := merged(&f.fanout, r.req.Token != nil)
			left := f.left
			f.mu.Unlock()
			if verdict, done := c.judge(r, &rec, left == 0 || !inTime); done {
				return c.conclude(ctx, v, f, rec, verdict)
			}
		} else {
			f.mu.Unlock()
		}
		inTime = f.wait(ctx, timer)
	}
}

// judge decides what a read that has its quorum does next; done is false while waiting for more replies may help.
func (c *Coordinator) judge(r *reading, rec *version.Record, last bool) (verdict, bool) {
	if int(rec.N) > r.n {
		r.n = int(rec.N)
		return readWiden, true
	}
	if r.req.Token != nil && !version.Satisfied(*r.req.Token, *rec) && !mutation.ForgetSession {
		return readUnsatisfied, last
	}
	return readDone, true
}

// conclude fetches what values are missing, and hands the rest of the replies over to read repair.
func (c *Coordinator) conclude(ctx context.Context, v *View, f *round, rec version.Record, verdict verdict) (version.Record, verdict, error) {
	if verdict == readDone && elided(&rec) {
		var err error
		if rec, err = c.fetch(ctx, v, f, rec); err != nil {
			return rec, verdict, err
		}
	}
	f.mu.Lock()
	f.closed = true
	last := f.left == 0
	f.mu.Unlock()
	if last && verdict == readDone {
		c.settle(f)
	}
	return rec, verdict, nil
}

// fanRead asks every owner that is not known to be down, and this node's own store last, while the others work.
func (c *Coordinator) fanRead(v *View, f *round) {
	r := f.r
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	body := *buf
	self := -1 // this node's slot
	near := nearest(v, &f.fanout)
	own := c.peek(v, f, near)
	for i := range f.slots {
		s := &f.slots[i]
		switch {
		case s.id == v.Self:
			self = i
			continue
		case v.Peers[s.id].Down:
			f.mu.Lock()
			f.answer(i, OutcomeUnreachable, "known to be down", s.sent)
			f.tally.Fail(i)
			f.mu.Unlock()
			continue
		}
		inline := c.cfg.Inline
		if i == near {
			inline = wholeRecord
		}
		body = appendKeyHeader(body[:0], v.Hash, uint32(inline), r.key.Bucket, r.key.Key)
		if own != nil {
			body = appendState(body, own)
		}
		*buf = body
		c.send.Go(s.id, KindRead, body, r.deadline, func(resp transport.Response) { c.replied(f, i, own, &resp) })
	}
	if self >= 0 && own == nil {
		go c.readOwn(v, f, self) // it may have to wait for the disk, and the others may not
	}
}

// peek answers this node's own slot at once if its record is in memory, and on disk: the others are then told what it
// is, and answer with their record only if it differs. Not for a read with a context: what that demands is looked up in
// what each replica has seen, which replicas with the same versions need not agree in.
func (c *Coordinator) peek(v *View, f *round, near int) *version.Record {
	if f.r.req.Token != nil || near < 0 || f.slots[near].id != v.Self || c.member.Enter(v.Hash) != Entered {
		return nil
	}
	rec, ok := c.store.Peek(f.r.key)
	c.member.Leave()
	if !ok || len(rec.Versions) > maxStateVersions {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.answer(near, OutcomeOK, "", f.slots[near].sent) // a look into memory
	s.rec = rec
	f.tally.Reply(near)
	return &s.rec
}

// wholeRecord asks for every value, whatever its size.
const wholeRecord = 1<<31 - 1

// nearest picks the replica that sends its values whole: this node's own, or the first that answers.
func nearest(v *View, f *fanout) int {
	first := -1
	for i := range f.slots {
		if f.slots[i].id == v.Self {
			return i
		}
		if p := v.Peers[f.slots[i].id]; first < 0 && !p.Down && !p.Gaining {
			first = i
		}
	}
	return first
}

func (c *Coordinator) readOwn(v *View, f *round, i int) {
	rec, outcome, detail := version.Record{}, OutcomeOK, ""
	ok := c.member.Enter(v.Hash) == Entered
	if ok {
		var err error
		rec, err = c.store.Get(f.r.key)
		c.member.Leave()
		if err != nil {
			outcome, detail = OutcomeError, err.Error()
		}
	} else {
		outcome, detail = OutcomeRefused, "the membership changed"
	}
	f.mu.Lock()
	f.remake = f.remake || !ok
	f.took(c, i, outcome, detail, rec, time.Now())
}

// took notes a replica's answer, wakes the read, and begins read repair if it was the last one. The caller holds f.mu,
// which took gives back.
func (f *round) took(c *Coordinator, i int, outcome Outcome, detail string, rec version.Record, at time.Time) {
	f.answer(i, outcome, detail, at).rec = rec
	if outcome == OutcomeOK {
		f.tally.Reply(i)
	} else {
		f.tally.Fail(i)
	}
	settle := f.closed && f.left == 0 && !f.remake
	f.mu.Unlock()
	f.signal()
	if settle {
		c.settle(f)
	}
}

// replied takes one replica's answer to a read, own being what it was told that this node holds, if it was; it runs on a goroutine of the transport and does not block.
func (c *Coordinator) replied(f *round, i int, own *version.Record, resp *transport.Response) {
	outcome, detail, rec := OutcomeOK, "", version.Record{}
	if resp.Err == nil && resp.Status == statusSame && own != nil {
		rec = *own
	} else if outcome, detail, _ = classify(resp); outcome == OutcomeOK {
		var err error
		if rec, err = version.DecodeRecord(resp.Body); err != nil {
			outcome, detail = OutcomeError, err.Error()
		}
	}
	if resp.Err == nil && resp.Status == statusLayout {
		c.member.Reconcile(f.slots[i].id, resp.Body)
	}
	f.mu.Lock()
	f.remake = f.remake || resp.Err == nil && resp.Status == statusLayout
	f.frozen = f.frozen || resp.Err == nil && resp.Status == statusFrozen
	f.took(c, i, outcome, detail, rec, resp.At)
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
	return out
}

func elided(r *version.Record) bool {
	for i := range r.Versions {
		if r.Versions[i].Elided {
			return true
		}
	}
	return false
}

// found is the answer to a read that reached its quorum.
func (c *Coordinator) found(r *reading, rec version.Record) GetResult {
	f := r.round
	f.mu.Lock()
	defer f.mu.Unlock()
	res := GetResult{Record: rec, N: r.n, R: r.params.R.Resolve(len(f.slots)), Coordinator: c.cfg.Name}
	for i := range f.slots {
		if s := &f.slots[i]; s.outcome == OutcomeOK {
			res.Replies++
			s.behind = lacking(&s.rec, &rec)
		}
	}
	if r.req.Detail {
		res.Replicas = f.replicas(false, time.Now())
	}
	return res
}

func (c *Coordinator) unavailable(v *View, r *reading, need, got int) *Error {
	f := r.round
	for i := range f.slots {
		s := &f.slots[i]
		switch p := v.Peers[s.id]; {
		case p.Down && s.id != v.Self:
			f.answer(i, OutcomeUnreachable, "known to be down", s.sent)
		case p.Gaining:
			f.answer(i, OutcomeNotSent, "it is still fetching its data and does not count for reads", s.sent)
		default:
			f.answer(i, OutcomeNotSent, "", s.sent)
		}
	}
	e := c.readFailed(r, QuorumUnavailable, fmt.Sprintf("%d of %d owners can answer a read, r=%d needs %d", got, len(f.slots), need, need))
	e.Needed, e.Got = need, got
	return e
}

func (c *Coordinator) readUnmet(r *reading) *Error {
	r.round.mu.Lock()
	needed, got := r.round.tally.Needed(), r.round.tally.Got()
	r.round.mu.Unlock()
	e := c.readFailed(r, QuorumTimeout, fmt.Sprintf("%d of %d replies", got, needed))
	e.Needed, e.Got = needed, got
	return e
}

func (c *Coordinator) readFailed(r *reading, code Code, detail string) *Error {
	e := &Error{Code: code, Detail: detail, N: r.n, Coordinator: c.cfg.Name}
	if code == NotReady {
		e.RetryAfter = retrySoon
	}
	if f := r.round; f != nil {
		f.mu.Lock()
		if code == SessionUnsatisfied {
			e.Needed, e.Got = f.tally.Needed(), f.tally.Got()
		}
		e.Replicas = f.replicas(true, time.Now())
		f.mu.Unlock()
	}
	return e
}

// keyOf places a key.
func keyOf(v *View, bucket, key string) store.Key {
	return store.Key{Partition: ring.PartitionOf(ring.Hash(bucket, key), v.Layout.Partitions()), Bucket: bucket, Key: key}
}

func owns(owners []ring.ID, id ring.ID) bool {
	for _, o := range owners {
		if o == id {
			return true
		}
	}
	return false
}
