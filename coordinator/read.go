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
	round    *round    // the newest one, for the answer
	silent   []ring.ID // fallbacks that were asked for the context's sake and did not answer in time
}

// round is one fan-out of a read. Its late replies count for nothing but itself: a read that goes on under another view
// or with a larger n begins a new one.
type round struct {
	fanout
	r         *reading
	fallbacks []ring.ID  // whether they may stand in or not
	counting  quorum.Set // the owners that count in some maximal whole layout
	back      *groups    // the owners in each live layout, if it writes back; nil if not
	near      int        // the slot that is asked for its values whatever their size; -1: none

	tally quorum.ReadTally // guarded by mu, as all that follows

	want    version.Record // once closed: what the read was answered with, and since then the merge of that and of what came later
	held    quorum.Set     // certainly hold it, or are being repaired
	differ  bool           // some reply lacks some of it
	settled bool           // settle has run
	peeked  bool           // this node's own copy was in memory
}

// Get reads one key. The parameters are valid and complete. Errors are *Error.
func (c *Coordinator) Get(ctx context.Context, req *GetRequest, params quorum.Params) (GetResult, error) {
	r := &reading{req: req, params: params, n: params.N, deadline: time.Now().Add(req.Timeout)}
	for round, refused := 0, 0; ; {
		v := c.member.View()
		if v.Rings == nil {
			return GetResult{}, c.readFailed(r, NotReady, "this node has not met its cluster yet")
		}
		if r.round == nil { // it is the same under every view, and late answers of earlier rounds look at it
			r.key = keyOf(v, req.Bucket, req.Key)
		}
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
				return GetResult{}, c.unsatisfied(r, rec, "no replica that answered has what the context has seen")
			}
			refused = soonTries // a write is on its way: that takes longer
		case readStaleView:
			c.Stats.LayoutRetries.Add(1)
		}
		if !c.pause(ctx, r.deadline, refused) {
			if verdict == readUnsatisfied {
				return GetResult{}, c.unsatisfied(r, rec, "no replica that answered in time has what the context has seen")
			}
			return GetResult{}, c.readFailed(r, QuorumUnavailable, "this node and the key's owners did not come to see the same layouts in time")
		}
		refused++
	}
}

// unsatisfied gives a read up that met nobody who has what its context demands. What it met may still differ.
func (c *Coordinator) unsatisfied(r *reading, rec version.Record, detail string) *Error {
	c.over(r.round, rec)
	return c.readFailed(r, SessionUnsatisfied, detail)
}

// getLocal reads this node's own store and nothing else. An owner that still fetches the set shows what has reached it, and says of the
// rest that it does not know: its emptiness is no answer.
func (c *Coordinator) getLocal(v *View, r *reading) (GetResult, error) {
	start := time.Now()
	rec, err := c.store.Get(r.key)
	if err != nil {
		return GetResult{}, c.readFailed(r, Internal, err.Error())
	}
	if rec.IsAbsent() && v.owns(v.Self, r.key.Partition, r.n) && !v.Rings.Holds(v.Self, r.key.Partition, r.n) {
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
	f, ros, err := c.beginRead(v, r)
	if err != nil {
		return version.Record{}, 0, err
	}
	up, standIns := ros.up(v)
	short := ros.read.short(r.params.R, quorum.Params{}, forReads, up, 0) // without fallbacks
	if short.short() {
		if s := ros.read.short(r.params.R, r.params, forReads, up, standIns); s.short() {
			return version.Record{}, 0, c.unavailable(v, r, &ros, s)
		}
	}
	f.tally = quorum.NewRead(r.params.R, ros.read.list())
	c.standByRead(v, f)
	defer f.standDown()
	c.fanRead(v, f)

	timer := c.timers.start(r.deadline)
	defer c.timers.stop(timer)
	inTime := true
	for {
		f.mu.Lock()
		state := f.state()
		// A quorum that is met was met under one view: that another has come since takes nothing from it.
		if state != quorum.Met && f.remake || f.frozen && state == quorum.Unmet {
			f.mu.Unlock()
			return version.Record{}, readStaleView, nil
		}
		if state == quorum.Unmet || state == quorum.Pending && !inTime {
			rec := merged(&f.fanout, r.req.Token != nil)
			f.mu.Unlock()
			c.over(f, rec)
			if short.short() && state == quorum.Unmet {
				return version.Record{}, 0, c.tooFew(r, short)
			}
			return version.Record{}, 0, c.readUnmet(r)
		}
		if state == quorum.Met {
			rec := merged(&f.fanout, r.req.Token != nil)
			left, remake := f.left, f.remake
			f.mu.Unlock()
			verdict, done := c.judge(r, &rec, left == 0 || !inTime)
			if remake && (!done || verdict == readUnsatisfied) { // the owners of the newer view may have what the context has seen
				return version.Record{}, readStaleView, nil
			}
			if done {
				if verdict == readUnsatisfied && inTime {
					rec, verdict = c.beyond(ctx, v, f, rec)
				}
				f.standDown() // the values may take their time
				return c.conclude(ctx, v, f, rec, verdict, timer, inTime)
			}
		} else {
			f.mu.Unlock()
		}
		inTime = f.wait(ctx, timer)
	}
}

// beginRead begins a round. It asks the owners in the maximal whole layouts; and those in every live one if what it answers is to be with them.
func (c *Coordinator) beginRead(v *View, r *reading) (*round, roster, error) {
	f := &round{r: r}
	ros, ok := v.readers(r.key.Partition, r.n)
	awaits := ok && r.awaits(&ros.read)
	if awaits && ros.write.count == 0 {
		ros, ok = v.writers(r.key.Partition, r.n)
	}
	if !ok {
		e := c.readFailed(r, QuorumUnavailable, v.dividedDetail(r.key.Partition, r.n))
		e.RetryAfter = retryLater
		return nil, ros, e
	}
	if awaits && len(ros.owners) > 1 {
		write := ros.write
		f.back = &write
	}
	f.begin(v, ros.owners, time.Now())
	f.fallbacks, f.counting, f.asked = ros.fallbacks, ros.read.counting(forReads), ros.read.most(r.params.R)
	r.round = f
	return f, ros, nil
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

// conclude fetches what values are missing, waits for the repairs that the answer needs, and leaves the rest to read repair. A round after which
// another one follows repairs nothing: that one asks the same owners.
func (c *Coordinator) conclude(ctx context.Context, v *View, f *round, rec version.Record, verdict verdict, timer *time.Timer, inTime bool) (version.Record, verdict, error) {
	if verdict != readDone {
		return rec, verdict, nil
	}
	var err error
	if wholeBytes(&rec) > c.cfg.Inline {
		c.hedges.earn()
	}
	if elided(&rec) { // a small value too, if it was left out together with a large one that has been replaced
		rec, err = c.fetch(ctx, v, f, rec)
	}
	if err == nil && f.back != nil {
		verdict, err = c.backed(ctx, v, f, rec, timer, inTime)
	}
	if verdict == readDone {
		c.over(f, rec)
	}
	return rec, verdict, err
}

// fanRead asks every owner that is not known to be down, and this node's own store last, while the others work.
func (c *Coordinator) fanRead(v *View, f *round) {
	r := f.r
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	body := *buf
	self := -1 // this node's slot
	own := c.peek(v, f)
	if own == nil {
		f.near = c.nearest(v, f)
	}
	for i := range f.slots {
		s := &f.slots[i]
		switch {
		case s.id == v.Self:
			self = i
			continue
		case v.Peers[s.id].Down:
			f.mu.Lock()
			f.answer(i, OutcomeUnreachable, downDetail, s.sent)
			f.tally.Fail(i)
			next := f.instead(i, s.sent)
			f.mu.Unlock()
			f.askStandIn(next)
			continue
		}
		inline := c.cfg.Inline
		if i == f.near {
			inline = wholeRecord
		}
		body = appendKeyHeader(body[:0], v.Digest, uint32(inline), r.key.Bucket, r.key.Key)
		if own != nil {
			body = appendState(body, own)
		}
		*buf = body
		c.send.Go(s.id, KindRead, body, r.deadline, func(resp transport.Response) { c.replied(f, i, own, &resp) })
	}
	if self >= 0 && own == nil {
		c.startOwnRead(v, f, self)
	}
}

// peek answers this node's own slot at once if its record is in memory, and on disk: the others are then told what it
// is, and answer with their record only if it differs. Not for a read with a context: what that demands is looked up in
// what each replica has seen, which replicas with the same versions need not agree in.
func (c *Coordinator) peek(v *View, f *round) *version.Record {
	i := 0
	for i < len(f.slots) && f.slots[i].id != v.Self {
		i++
	}
	if i == len(f.slots) || f.r.req.Token != nil || c.member.Enter(v.Digest) != Entered {
		return nil
	}
	rec, ok := c.store.Peek(f.r.key)
	c.member.Leave()
	if !ok || len(rec.Versions) > maxStateVersions {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.answer(i, OutcomeOK, "", f.slots[i].sent) // a look into memory
	s.rec = rec
	f.near, f.peeked = i, true
	f.tally.Reply(i)
	return &s.rec
}

// wholeRecord asks for every value, whatever its size.
const wholeRecord = 1<<31 - 1

// startOwnRead reads this node's own store on the side: it may have to wait for the disk, and the others may not.
func (c *Coordinator) startOwnRead(v *View, f *round, i int) {
	if c.ownReads.Add(1) > int64(c.cfg.MaxOwnReads) {
		c.ownReads.Add(-1)
		f.mu.Lock()
		f.took(c, i, OutcomeRefused, "too many reads wait for its disk", version.Record{}, time.Now())
		return
	}
	go func() {
		defer c.ownReads.Add(-1)
		c.readOwn(v, f, i)
	}()
}

func (c *Coordinator) readOwn(v *View, f *round, i int) {
	rec, outcome, detail := version.Record{}, OutcomeOK, ""
	ok := c.member.Enter(v.Digest) == Entered
	if ok {
		var err error
		rec, err = c.store.Get(f.r.key)
		c.member.Leave()
		if err != nil {
			outcome, detail = OutcomeError, err.Error()
		}
	} else {
		outcome, detail = OutcomeRefused, "its layouts changed"
	}
	f.mu.Lock()
	f.remake = f.remake || !ok
	f.took(c, i, outcome, detail, rec, time.Now())
}

// took notes a replica's answer and wakes the read, or read repair if it was answered without this. The caller holds f.mu, which took gives back.
func (f *round) took(c *Coordinator, i int, outcome Outcome, detail string, rec version.Record, at time.Time) {
	s := f.answer(i, outcome, detail, at)
	s.rec = rec
	if outcome == OutcomeOK {
		f.tally.Reply(i)
	} else {
		f.tally.Fail(i)
	}
	next := f.search(i, s)
	settle := f.closed && f.late(s)
	took, tells := s.elapsed, !f.peeked && (outcome == OutcomeOK || outcome == OutcomeTimeout)
	f.mu.Unlock()
	f.signal()
	f.askStandIns(next)
	if settle {
		c.settle(f)
	}
	if tells { // of who is near nothing was asked while the own copy was in memory, and that is the path where every nanosecond counts
		c.pace.answered(s.id, valueBytes(&rec), took, at)
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

// found is the answer to a read that reached its quorum.
func (c *Coordinator) found(r *reading, rec version.Record) GetResult {
	f := r.round
	f.mu.Lock()
	defer f.mu.Unlock()
	res := GetResult{Record: rec, N: r.n, R: f.asked, Coordinator: c.cfg.Name}
	for i := range f.slots {
		if s := &f.slots[i]; s.outcome == OutcomeOK {
			res.Replies++
			s.behind = lacking(&s.rec, &rec)
		}
	}
	res.Fallbacks = f.stoodIn()
	res.Replies += res.Fallbacks
	if r.req.Detail {
		res.Replicas = f.replicas(false, time.Now())
	}
	return res
}

func (c *Coordinator) unavailable(v *View, r *reading, ros *roster, short shortage) *Error {
	f := r.round
	c.standBy(v, r.params, &f.fanout, f.fallbacks, r.deadline)
	for i := range f.slots {
		s := &f.slots[i]
		switch {
		case !v.mayAnswer(s.id):
			f.answer(i, OutcomeUnreachable, downDetail, s.sent)
		case !f.counting.Has(i):
			f.answer(i, OutcomeNotSent, "it is still fetching its data and does not count for reads", s.sent)
		default:
			f.answer(i, OutcomeNotSent, "", s.sent)
		}
	}
	e := c.readFailed(r, QuorumUnavailable, fmt.Sprintf("%d of %d owners%s can answer a read%s, r=%d needs %d",
		short.got, short.owners, orStandIns(&f.fanout), ros.read.inOne(), short.need, short.need))
	e.Needed, e.Got = short.need, short.got
	return e
}

func (c *Coordinator) readUnmet(r *reading) *Error {
	r.round.mu.Lock()
	known := r.round.counts()
	r.round.mu.Unlock()
	needed, got := known.Needed(), known.Got()
	e := c.readFailed(r, QuorumTimeout, fmt.Sprintf("%d of %d replies", got, needed))
	e.Needed, e.Got, e.Fallbacks = needed, got, known.Fallbacks()
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
