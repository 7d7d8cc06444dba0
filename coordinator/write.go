package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// writing is one client write while it runs on its coordinating owner.
type writing struct {
	req      *PutRequest
	params   quorum.Params
	mode     version.Mode
	key      store.Key
	n        int // the larger of the request's and the key's
	begun    time.Time
	deadline time.Time
	covered  version.Vector // what the next version replaces: the token, and this request's own versions before the newest
	stamp    version.Stamp  // every new version exceeds it
	dot      version.Dot    // of the newest version made
	made     bool           // a version was made: from now on a failure is indeterminate
	rec      version.Record // holds the newest version; sent again as it is when only the layout moved
	fresh    bool           // rec is still to be replicated
	under    uint64         // digest of the view under which this node holds rec
	commit   *store.Commit  // of rec on this node
	// restamped: the version in rec was made above every stamp that a quorum reported. What beats it now is a write
	// that runs at the same time, and to lose against that is no wrong.
	restamped bool
	sent      *fanout   // the newest round, for the answer
	passed    []Replica // those that it could not be handed to
	standing  bool      // this node coordinates it as a fallback
	stood     int       // of the acks received in the newest round, fallbacks
	handed    bool      // another node forwarded it: it is not forwarded again
	needed    int       // acks asked for and received in the newest round
	got       int
}

// Put stores a value or a tombstone. The parameters are valid and complete, and mode is the bucket's. The deadline is
// ctx's or now + req.Timeout, the earlier. Errors are *Error.
func (c *Coordinator) Put(ctx context.Context, req *PutRequest, params quorum.Params, mode version.Mode) (PutResult, error) {
	return c.put(ctx, newWriting(req, params, mode))
}

func newWriting(req *PutRequest, params quorum.Params, mode version.Mode) *writing {
	now := time.Now()
	w := &writing{req: req, params: params, mode: mode, n: params.N, begun: now, deadline: now.Add(req.Timeout)}
	if t := req.Token; t != nil {
		w.covered, w.stamp = t.Vector, t.Stamp
		if mutation.StampBelowContext {
			w.stamp = version.Stamp{}
		}
	}
	return w
}

func (c *Coordinator) put(ctx context.Context, w *writing) (PutResult, error) {
	for refused := 0; ; refused++ {
		v := c.member.View()
		if v.Rings == nil {
			return PutResult{}, c.fail(w, NotReady, "this node has not met its cluster yet")
		}
		w.key = keyOf(v, w.req.Bucket, w.req.Key)
		if !w.made && !c.checkToken(w.key.Partition, w.req.Token) {
			return PutResult{}, c.fail(w, BadRequest, badToken)
		}
		run := c.coordinate
		if !w.made && !v.owns(v.Self, w.key.Partition, w.n) && !mutation.CountNonOwner {
			run = c.forward
			if w.handed {
				run = c.stand
			}
		}
		res, retry, err := run(ctx, v, w)
		if !retry {
			return res, err
		}
		if !c.pause(ctx, w.deadline, refused) {
			return PutResult{}, c.undecided(w)
		}
	}
}

// coordinate runs a write on this node as an owner, synced or not, under one view. retry says that the view changed under it.
func (c *Coordinator) coordinate(ctx context.Context, v *View, w *writing) (_ PutResult, retry bool, _ error) {
	if skew, bad := c.member.Skewed(); bad && w.req.Token == nil && !w.made {
		return PutResult{}, false, c.fail(w, ClockSkew, fmt.Sprintf("this node's clock is %v from most of its peers'; set it right, or write through another node", skew.Round(time.Millisecond)))
	}
	if w.req.Delete && w.mode == version.Siblings && w.req.Token == nil {
		if err := c.readForDelete(ctx, w); err != nil {
			return PutResult{}, false, err
		}
	}
	for range c.cfg.MaxTries {
		r, ok := v.writers(w.key.Partition, w.n)
		if !ok {
			return PutResult{}, w.made, c.divided(v, w)
		}
		if err := c.available(v, &r, w); err != nil {
			return PutResult{}, false, err
		}
		switch err := c.local(v, &r, w); {
		case errors.Is(err, errLayoutMoved):
			return PutResult{}, true, nil
		case errors.Is(err, errLargerN):
			continue
		case err != nil:
			return PutResult{}, false, c.storeFailed(w, err)
		}
		again, retry, err := c.replicate(ctx, v, &r, w)
		if retry || err != nil {
			return PutResult{}, retry, err
		}
		if again == (ack{}) {
			return c.stored(w), false, nil
		}
		c.Stats.Rewritten.Add(1)
		w.exceed(again)
	}
	return PutResult{}, false, c.undecided(w)
}

// exceed makes the next round begin with a new version, above what replicas reported.
func (w *writing) exceed(a ack) {
	if a == (ack{}) {
		return
	}
	w.fresh = false
	w.n = max(w.n, int(a.N))
	w.stamp = version.Later(w.stamp, a.MaxLWW)
}

// available refuses a write that certainly cannot reach w in some live layout, before anything is written.
func (c *Coordinator) available(v *View, r *roster, w *writing) error {
	if w.made {
		return nil
	}
	if !time.Now().Before(w.deadline) {
		// A request that has waited this long is answered as failed, or will be: it must not be written after that.
		return c.tooLate(w)
	}
	up, standIns := r.up(v)
	s := r.write.short(w.params.W, w.params, forWrites, up, standIns)
	if !s.short() {
		return nil
	}
	f := new(fanout)
	f.begin(v, r.owners, time.Now())
	c.standBy(v, w.params, f, r.fallbacks, w.deadline)
	for i := range f.slots {
		if v.mayAnswer(f.slots[i].id) {
			f.answer(i, OutcomeNotSent, "", f.slots[i].sent)
		} else {
			f.answer(i, OutcomeUnreachable, downDetail, f.slots[i].sent)
		}
	}
	w.sent = f
	e := c.fail(w, QuorumUnavailable, fmt.Sprintf("%d of %d owners%s are up%s, w=%d needs %d", s.got, s.owners, orStandIns(f), r.write.inOne(), s.need, s.need))
	e.Needed, e.Got = s.need, s.got
	return e
}

// divided refuses a write to a key with owners in more layouts than a tally takes, or lets one that was made wait.
func (c *Coordinator) divided(v *View, w *writing) error {
	if w.made {
		return nil
	}
	e := c.fail(w, QuorumUnavailable, v.dividedDetail(w.key.Partition, w.n)+"; nothing was written")
	e.RetryAfter = retryLater
	return e
}

var (
	errLayoutMoved = errors.New("coordinator: the layout changed")
	errLargerN     = errors.New("coordinator: the key has a larger n")
	errTooLate     = errors.New("coordinator: the time was up before the version was made")
	errUnsynced    = errors.New("coordinator: the version was made and not synced")
)

// local makes the new version and merges it into this node's record; it does not wait for the disk. A version that was
// made under an older view and is still to be replicated is kept as it is: same version, same dot.
func (c *Coordinator) local(v *View, r *roster, w *writing) error {
	if w.fresh && w.under == v.Digest {
		return nil
	}
	if c.member.Enter(v.Digest) != Entered {
		return errLayoutMoved
	}
	if w.fresh {
		err := c.holdOn(v, r, w)
		c.member.Leave()
		return err
	}
	if w.made {
		w.covered = w.covered.Clone()
		w.covered.Add(w.dot)
	}
	res, err := c.update(v, r, w, func(local version.Record, dot version.Dot) (version.Record, error) {
		if int(local.N) > w.n {
			w.n = int(local.N)
			return version.Record{}, errLargerN
		}
		if !time.Now().Before(w.deadline) {
			return version.Record{}, errTooLate
		}
		nw := version.Write{Dot: dot, Mode: w.mode, Deleted: w.req.Delete, ContentType: w.req.ContentType, Value: w.req.Value, Context: w.covered}
		nw.Stamp = c.hlc.Next(c.cfg.Now(), version.Later(w.stamp, local.MaxStamp()), dot.Actor.ID)
		rec, err := version.Supersede(local, nw)
		if err == nil {
			w.dot = dot
		}
		return rec, err
	})
	c.member.Leave()
	if err != nil {
		return err
	}
	w.made, w.fresh, w.rec, w.commit, w.under = true, true, res.Record, res.Commit, v.Digest
	return nil
}

// holdOn makes sure, under this view, of a version that this node holds since an older one. An acknowledgement counts only under the view that it was given
// under: meanwhile the set may have been dropped here, and be this node's once more. The caller has entered.
func (c *Coordinator) holdOn(v *View, r *roster, w *writing) error {
	var res store.Result
	var err error
	switch {
	case owns(r.owners, v.Self):
		res, err = c.store.Apply(w.key, w.rec)
	case w.standing && owns(r.fallbacks, v.Self):
		for _, owner := range r.owners { // those that it has been kept for all along, too
			if res, err = c.hands.StandApply(w.key, w.rec, owner); err != nil {
				break
			}
		}
	default: // it has its place no longer, and is not counted
		w.under = v.Digest
		return nil
	}
	if err != nil {
		return err
	}
	if w.under, w.commit = v.Digest, res.Commit; int(res.Record.N) > w.n {
		w.exceed(ack{N: res.Record.N})
		return errLargerN
	}
	return nil
}

// delivery is one fan-out of a write. What does not change is a copy: it may still be going out when the write has gone on.
type delivery struct {
	fanout
	bar      bar
	rec      version.Record
	begun    time.Time
	deadline time.Time
	standing bool // the coordinator is a fallback

	tally    quorum.WriteTally // guarded by mu
	unsynced error             // why the coordinator's own copy is not on its disk; guarded by mu
}

// decided reports whether more answers change nothing any more. The caller holds f.mu.
func (f *delivery) decided() bool {
	return f.tally.State() != quorum.Pending || f.left == 0 || f.remake || f.unsynced != nil
}

// release unlocks f.mu, and wakes the request if it has something to do. A request is woken once: it needs no news before the last.
func (f *delivery) release() {
	wakes := !f.closed && f.decided()
	f.mu.Unlock()
	if wakes {
		f.signal()
	}
}

// replicate sends the record to the other owners as soon as it is on this node's disk, and waits for the verdict. A non-zero ack means
// that the write must be made again to count; retry, that the view is stale.
func (c *Coordinator) replicate(ctx context.Context, v *View, r *roster, w *writing) (again ack, retry bool, _ error) {
	f := &delivery{rec: w.rec, begun: w.begun, deadline: w.deadline,
		bar: bar{key: w.key, n: w.n, lww: w.mode == version.LWW, stamp: w.rec.MaxLWW}}
	f.begin(v, r.owners, time.Now())
	f.asked = r.write.most(w.params.W)
	w.sent = &f.fanout
	f.tally = quorum.NewWrite(w.params.W, r.write.list())
	c.standByWrite(v, r, w, f)
	defer f.standDown()
	if mutation.SendBeforeSync {
		go w.commit.Wait()
		c.fanWrite(v, f)
	} else {
		f.held = v.Self
		w.commit.Then(func(err error) { c.synced(v, f, err) })
	}

	timer := c.timers.start(w.deadline)
	defer c.timers.stop(timer)
	inTime, met := true, false
	for {
		f.mu.Lock()
		if f.decided() || !inTime {
			f.closed = true
			met = f.tally.State() == quorum.Met
			w.needed, w.got, w.stood = f.tally.Needed(), f.tally.Got(), f.stoodIn()
			again, retry = f.again, f.remake || f.frozen
			unsynced := f.unsynced
			f.mu.Unlock()
			if unsynced != nil {
				return ack{}, false, c.storeFailed(w, fmt.Errorf("%w: %w", errUnsynced, unsynced))
			}
			break
		}
		f.mu.Unlock()
		inTime = f.wait(ctx, timer)
	}
	switch {
	case met && (again == (ack{}) || w.restamped && int(again.N) <= w.n):
		return ack{}, false, nil
	case !inTime:
		return ack{}, false, c.unmet(w)
	case retry && !met:
		c.Stats.LayoutRetries.Add(1)
		w.exceed(again)
		return ack{}, true, nil
	case again != (ack{}):
		w.restamped = met // only then have w owners said what they hold
		return again, false, nil
	}
	return ack{}, false, c.unmet(w)
}

// synced goes on with a write whose copy on this node is on its disk, or has failed to get there. It runs on the goroutine that tells of
// all syncs of this node, and does not block.
func (c *Coordinator) synced(v *View, f *delivery, err error) {
	f.mu.Lock()
	f.held = ring.ID{}
	if err == nil {
		f.mu.Unlock()
		c.fanWrite(v, f)
		return
	}
	f.unsynced = err
	f.release()
}

// fanWrite acks the coordinator's own copy and sends the record to every other owner that is not known to be down, and to the fallbacks in the places of those that are.
func (c *Coordinator) fanWrite(v *View, f *delivery) {
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	body := (*buf)[:0]
	key := f.bar.key
	own, standIns := f.setOut(v)
	for i := range f.slots {
		s := &f.slots[i]
		if i == own {
			continue
		}
		if v.Peers[s.id].Down {
			c.miss(s.id, key)
			continue
		}
		if len(body) == 0 {
			body = slices.Grow(body, 64+len(key.Bucket)+len(key.Key)+valueBytes(&f.rec)+recordSlack)
			body = appendKeyHeader(body, v.Digest, 0, key.Bucket, key.Key)
			body = version.AppendRecord(body, f.rec)
			*buf = body
		}
		c.send.Go(s.id, KindWrite, body, f.deadline, func(r transport.Response) { c.acked(f, i, &r) })
	}
	f.askStandIns(standIns)
}

// setOut acks the coordinator's own copy, from which time on the others are asked, and gives the places of owners known to be down to fallbacks. All at one moment: a write
// for which the own copy is enough is answered at once, and then nobody is asked any more; who is sent it must not hang on which comes first.
// own is the slot of that copy; -1: it has none, because its place went to another incarnation after it had made the version.
func (f *delivery) setOut(v *View) (own int, standIns []int) {
	now := time.Now()
	f.mu.Lock()
	defer f.release()
	own = slices.IndexFunc(f.slots, func(s slot) bool { return s.id == v.Self })
	if mutation.CountNonOwner && own < 0 && !f.standing {
		own = 0
	}
	for i := range f.slots {
		f.slots[i].sent = now
	}
	f.watch(v)
	switch {
	case f.standing:
		f.ackStandIn(v, now)
	case own >= 0:
		f.slots[own].sent = f.begun
		f.answer(own, OutcomeOK, "", now)
		f.tally.Ack(own)
	}
	for i := range f.slots {
		if i == own || !v.Peers[f.slots[i].id].Down {
			continue
		}
		f.answer(i, OutcomeUnreachable, downDetail, now)
		f.tally.Fail(i)
		standIns = appendStandIn(standIns, f.instead(i, now))
	}
	return own, standIns
}

func valueBytes(r *version.Record) (n int) {
	for i := range r.Versions {
		n += len(r.Versions[i].Value)
	}
	return n
}

// recordSlack is room for a record's own fields beside its value: dots, stamps and a vector of a few actors.
const recordSlack = 192

// acked takes the answer of one replica, or of a stand-in, to a write; it runs on a goroutine of the transport and does not block.
func (c *Coordinator) acked(f *delivery, i int, r *transport.Response) {
	outcome, detail, _ := classify(r)
	var a ack
	barred := r.Err == nil && r.Status == statusSiblings // by what the ack names, if it names anything
	if outcome == OutcomeOK || barred {
		var err error
		if a, err = decodeAck(r.Body); err != nil {
			outcome, detail = OutcomeError, err.Error()
		}
	}
	if r.Err == nil && r.Status == statusLayout {
		c.member.Reconcile(f.at(i).id, r.Body)
	}
	owner, next := i < len(f.slots), -1
	f.mu.Lock()
	s := f.answer(i, outcome, detail, r.At)
	if f.bar.beatenBy(a) {
		f.again.N = max(f.again.N, a.N)
		f.again.MaxLWW = version.Later(f.again.MaxLWW, a.MaxLWW)
	}
	if outcome == OutcomeOK {
		f.tally.Ack(i)
	} else {
		f.tally.Fail(i)
		f.remake = f.remake || r.Err == nil && r.Status == statusLayout
		f.frozen = f.frozen || r.Err == nil && r.Status == statusFrozen
		if replaceable(r, !owner) {
			next = f.instead(i, time.Now())
		}
	}
	f.release()
	f.askStandIn(next)
	if !owner {
		return // it has missed nothing that it should have
	}
	if outcome == OutcomeOK {
		c.missed.clear(s.id, f.bar.key)
	} else {
		c.miss(s.id, f.bar.key)
	}
}

// bar is what an ack must not exceed to count for one round of a write.
type bar struct {
	key   store.Key
	n     int
	lww   bool // a version that is kept as a sibling is beaten by no stamp
	stamp version.Stamp
}

func (b bar) beatenBy(a ack) bool {
	return b.lww && a.MaxLWW.Compare(b.stamp) > 0 || int(a.N) > b.n
}

func (c *Coordinator) miss(id ring.ID, k store.Key) {
	c.Stats.MissedWrites.Add(1)
	if !c.missed.add(id, k) {
		c.Stats.MissedDropped.Add(1)
	}
}

// readForDelete makes a delete without a context remove what a read at this moment shows.
func (c *Coordinator) readForDelete(ctx context.Context, w *writing) error {
	if w.made {
		return nil
	}
	get := GetRequest{Options: w.req.Options, Bucket: w.req.Bucket, Key: w.req.Key, NoRepair: true}
	get.Timeout = time.Until(w.deadline)
	res, err := c.Get(ctx, &get, w.params)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Detail = "the read that a delete without a context begins with: " + e.Detail
		}
		return err
	}
	t := version.ReadToken(res.Record)
	w.covered = t.Vector
	w.stamp = version.Later(w.stamp, t.Stamp)
	return nil
}

// stored is the answer to a write that reached w.
func (c *Coordinator) stored(w *writing) PutResult {
	f := w.sent
	f.mu.Lock()
	defer f.mu.Unlock()
	r := PutResult{Token: version.PutToken(w.rec, w.req.Token, w.dot), ETag: version.ETag(w.rec), N: w.n, W: f.asked, Coordinator: c.cfg.Name}
	for i := range f.slots {
		if f.slots[i].outcome == OutcomeOK {
			r.Acks++
		}
	}
	r.Fallbacks = f.stoodIn()
	r.Acks += r.Fallbacks
	if w.req.Detail {
		r.Replicas = f.replicas(false, time.Now())
	}
	return r
}
