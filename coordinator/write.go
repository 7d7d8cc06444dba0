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
	// restamped: the version in rec was made above every stamp that a quorum reported. What beats it now is a write
	// that runs at the same time, and to lose against that is no wrong.
	restamped bool
	sent      *fanout // the newest round, for the answer
	handed    bool    // another node forwarded it: it is not forwarded again
	needed    int     // acks asked for and received in the newest round
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
	for {
		v := c.member.View()
		if v.Layout == nil {
			return PutResult{}, c.fail(w, NotReady, "this node has not met its cluster yet")
		}
		w.key = keyOf(v, w.req.Bucket, w.req.Key)
		if !w.made && !c.checkToken(w.key.Partition, w.req.Token) {
			return PutResult{}, c.fail(w, BadRequest, badToken)
		}
		run := c.coordinate
		if !w.made && !owns(v.Layout.Owners(w.key.Partition, w.n), v.Self) && !mutation.CountNonOwner {
			if w.handed {
				return PutResult{}, c.fail(w, NotReady, "the key's owners changed while the write was on its way")
			}
			run = c.forward
		}
		res, retry, err := run(ctx, v, w)
		if !retry {
			return res, err
		}
		if !c.pause(ctx, w.deadline) {
			return PutResult{}, c.undecided(w)
		}
	}
}

// coordinate runs a write on this node as an owner, under one view. retry says that the view changed under it.
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
		owners := v.Layout.Owners(w.key.Partition, w.n)
		if err := c.available(v, owners, w); err != nil {
			return PutResult{}, false, err
		}
		switch err := c.local(v, w); {
		case errors.Is(err, errLayoutMoved):
			return PutResult{}, true, nil
		case errors.Is(err, errLargerN):
			continue
		case err != nil:
			return PutResult{}, false, c.storeFailed(w, err)
		}
		again, retry, err := c.replicate(ctx, v, w, owners)
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

// available refuses a write that certainly cannot reach w, before anything is written.
func (c *Coordinator) available(v *View, owners []ring.ID, w *writing) error {
	if w.made {
		return nil
	}
	if !time.Now().Before(w.deadline) {
		// A request that has waited this long is answered as failed, or will be: it must not be written after that.
		return c.fail(w, QuorumTimeout, "the time was up before anything was written")
	}
	need := w.params.W.Resolve(len(owners))
	got, _ := up(v, owners)
	if got >= need {
		return nil
	}
	f := new(fanout)
	f.begin(v, owners, time.Now())
	for i := range f.slots {
		if p := v.Peers[f.slots[i].id]; p.Down && f.slots[i].id != v.Self {
			f.answer(i, OutcomeUnreachable, "known to be down", f.slots[i].sent)
		} else {
			f.answer(i, OutcomeNotSent, "", f.slots[i].sent)
		}
	}
	w.sent = f
	e := c.fail(w, QuorumUnavailable, fmt.Sprintf("%d of %d owners are up, w=%d needs %d", got, len(owners), need, need))
	e.Needed, e.Got = need, got
	return e
}

var (
	errLayoutMoved = errors.New("coordinator: the layout changed")
	errLargerN     = errors.New("coordinator: the key has a larger n")
	errUnsynced    = errors.New("coordinator: the version was made and not synced")
)

// local makes the new version, merges it into this node's record and waits until that is on disk. A version that was
// made under an older layout and is still to be replicated is kept as it is: same version, same dot.
func (c *Coordinator) local(v *View, w *writing) error {
	if w.fresh {
		return nil
	}
	if c.member.Enter(v.Hash) != Entered {
		return errLayoutMoved
	}
	if w.made {
		w.covered = w.covered.Clone()
		w.covered.Add(w.dot)
	}
	res, err := c.store.Update(w.key, uint8(w.n), func(local version.Record, dot version.Dot) (version.Record, error) {
		if int(local.N) > w.n {
			w.n = int(local.N)
			return version.Record{}, errLargerN
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
	w.made, w.fresh, w.rec = true, true, res.Record
	if mutation.SendBeforeSync {
		go res.Commit.Wait()
		return nil
	}
	if err := res.Commit.Wait(); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	return nil
}

// delivery is one fan-out of a write.
type delivery struct {
	fanout
	tally quorum.WriteTally // guarded by mu
}

// replicate sends the record to the other owners and waits for the verdict. A non-zero ack means that the write must
// be made again to count; retry, that the view is stale.
func (c *Coordinator) replicate(ctx context.Context, v *View, w *writing, owners []ring.ID) (again ack, retry bool, _ error) {
	f := new(delivery)
	group := f.begin(v, owners, time.Now())
	w.sent = &f.fanout
	f.tally = quorum.NewWrite(w.params.W, []quorum.Group{group})
	c.fanWrite(v, w, f)

	timer := c.timers.start(w.deadline)
	defer c.timers.stop(timer)
	inTime, met := true, false
	for {
		f.mu.Lock()
		state := f.tally.State()
		met = state == quorum.Met
		decided := state != quorum.Pending || !inTime || f.left == 0 || f.remake
		if decided {
			f.closed = true
			w.needed, w.got = f.tally.Needed(), f.tally.Got()
			again, retry = f.again, f.remake || f.frozen
			f.mu.Unlock()
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

// fanWrite acks the coordinator's own copy and sends the record to every other owner that is not known to be down.
func (c *Coordinator) fanWrite(v *View, w *writing, f *delivery) {
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	body := (*buf)[:0]
	limit := bar{key: w.key, n: w.n, lww: w.mode == version.LWW, stamp: w.rec.MaxLWW}
	for i := range f.slots {
		s := &f.slots[i]
		if mutation.CountNonOwner && i == 0 && !owns(v.Layout.Owners(w.key.Partition, w.n), v.Self) {
			f.mu.Lock()
			f.answer(i, OutcomeOK, "", time.Now())
			f.tally.Ack(i)
			f.mu.Unlock()
			continue
		}
		if s.id == v.Self {
			f.mu.Lock()
			sent := s.sent
			s.sent = w.begun // its own copy was written and synced before the others were asked
			f.answer(i, OutcomeOK, "", sent)
			f.tally.Ack(i)
			f.mu.Unlock()
			continue
		}
		if v.Peers[s.id].Down {
			f.mu.Lock()
			f.answer(i, OutcomeUnreachable, "known to be down", s.sent)
			f.tally.Fail(i)
			f.mu.Unlock()
			c.miss(s.id, w.key)
			continue
		}
		if len(body) == 0 {
			body = slices.Grow(body, 64+len(w.key.Bucket)+len(w.key.Key)+len(w.req.Value)+recordSlack)
			body = appendKeyHeader(body, v.Hash, 0, w.key.Bucket, w.key.Key)
			body = version.AppendRecord(body, w.rec)
			*buf = body
		}
		c.send.Go(s.id, KindWrite, body, w.deadline, func(r transport.Response) { c.acked(f, i, limit, &r) })
	}
}

// recordSlack is room for a record's own fields beside its value: dots, stamps and a vector of a few actors.
const recordSlack = 192

// acked takes one replica's answer to a write; it runs on a goroutine of the transport and does not block.
func (c *Coordinator) acked(f *delivery, i int, bar bar, r *transport.Response) {
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
		c.member.Reconcile(f.slots[i].id, r.Body)
	}
	f.mu.Lock()
	s := f.answer(i, outcome, detail, r.At)
	if bar.beatenBy(a) {
		f.again.N = max(f.again.N, a.N)
		f.again.MaxLWW = version.Later(f.again.MaxLWW, a.MaxLWW)
	}
	if outcome == OutcomeOK {
		f.tally.Ack(i)
	} else {
		f.tally.Fail(i)
		f.remake = f.remake || r.Err == nil && r.Status == statusLayout
		f.frozen = f.frozen || r.Err == nil && r.Status == statusFrozen
	}
	f.mu.Unlock()
	f.signal()
	if outcome == OutcomeOK {
		c.missed.clear(s.id, bar.key)
	} else {
		c.miss(s.id, bar.key)
	}
}

// bar is what an ack must not exceed to count for one round of a write. It is a copy: late acks find the write gone on.
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
	r := PutResult{Token: version.PutToken(w.rec, w.req.Token, w.dot), ETag: version.ETag(w.rec), N: w.n,
		W: w.params.W.Resolve(len(f.slots)), Coordinator: c.cfg.Name}
	for i := range f.slots {
		if f.slots[i].outcome == OutcomeOK {
			r.Acks++
		}
	}
	if w.req.Detail {
		r.Replicas = f.replicas(false, time.Now())
	}
	return r
}
