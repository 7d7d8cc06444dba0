package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// writeBack is what a read knows of the owners that are to hold its answer before it leaves. Guarded by the round's mu.
type writeBack struct {
	rec    version.Record    // the answer, whole
	tally  quorum.WriteTally // of who holds it, in every live layout
	held   quorum.Set        // certainly hold it
	asked  quorum.Set        // lacked some of it, and were sent that
	failed quorum.Set        // of them, those that did not take it
	why    map[int]*answerError
	moved  bool // one refused because the layouts differ
}

// awaits reports whether a read is answered only once r owners hold what it shows: doc.go, "Reads that write back".
func (r *reading) awaits(in *groups) bool {
	if r.req.NoRepair || r.params.Sloppy || mutation.AnswerUnbacked {
		return false
	}
	number, literal := r.params.R.Literal()
	all := literal && slices.ContainsFunc(in.list(), func(g quorum.Group) bool { return number >= g.Owners.Len() })
	return r.req.Token != nil || r.params.R == quorum.All || all
}

// backed waits until r owners hold rec in every live layout, sending it to those that have answered without it. It takes until the deadline at most, and fails as
// soon as r is out of reach. Owners that have not answered count as soon as they do.
func (c *Coordinator) backed(ctx context.Context, v *View, f *round, rec version.Record, timer *time.Timer, inTime bool) (verdict, error) {
	b := &writeBack{rec: rec, tally: quorum.NewWriteBack(f.r.params.R, f.back.list()), why: map[int]*answerError{}}
	defer func() {
		f.mu.Lock()
		f.held |= b.asked // what has been sent is not sent again: if it is lost, the next read finds out
		f.mu.Unlock()
	}()
	for ; ; inTime = f.wait(ctx, timer) {
		f.mu.Lock()
		send := c.writeOn(f, b)
		moved, state := b.moved || f.remake || f.frozen, b.tally.State()
		if state != quorum.Met {
			for _, l := range send {
				b.asked = b.asked.With(l.slot)
			}
		}
		f.mu.Unlock()
		if state == quorum.Met {
			return readDone, nil
		}
		for _, l := range send {
			c.sendBack(v, f, b, l)
		}
		switch {
		case state == quorum.Pending && inTime:
		case moved && inTime:
			return readStaleView, nil
		default:
			return readDone, c.notBacked(f, b)
		}
	}
}

// back is one owner that lacks some of an answer.
type back struct {
	slot int
	lack lack
	have version.Record
}

// writeOn notes who holds the answer and who will not, and lists those that are to be sent it now. The caller holds f.mu.
func (c *Coordinator) writeOn(f *round, b *writeBack) (send []back) {
	seen := f.r.req.Token
	var cmp quorum.Comparison
	for i := range f.slots {
		s := &f.slots[i]
		switch {
		case b.held.Has(i):
			b.tally.Ack(i)
		case s.outcome == "" || b.asked.Has(i) && !b.failed.Has(i):
		case s.outcome != OutcomeOK || b.asked.Has(i):
			b.tally.Fail(i)
		case !lacks(&s.rec, &b.rec, seen):
			b.held = b.held.With(i)
			b.tally.Ack(i)
		default:
			if cmp.Replied == 0 {
				cmp = c.compare(&f.fanout, &b.rec, seen)
			}
			send = append(send, back{i, lack{s.id, cmp.Cause(i), cmp.Minority(i)}, s.rec})
		}
	}
	return send
}

// sendBack sends the answer to one owner. It does not block: this node's own store is written by another goroutine.
func (c *Coordinator) sendBack(v *View, f *round, b *writeBack, l back) {
	c.Stats.StaleReplies.Add(1)
	rec := without(b.rec, &l.have)
	if l.lack.id == v.Self {
		go func() { c.wroteBack(f, b, l, c.mendOwn(v, f.r.key, rec)) }()
		return
	}
	c.send.Go(l.lack.id, KindRepair, appendMend(v, f.r.key, rec), f.r.deadline, func(r transport.Response) {
		if r.Err == nil && r.Status == statusLayout {
			c.member.Reconcile(l.lack.id, r.Body)
		}
		err := c.confirmed(l.lack.id, f.r.key, &r)
		if r.Err == nil && (r.Status == statusLayout || r.Status == statusFrozen) {
			err = fmt.Errorf("%w: %w", errLayoutMoved, err)
		}
		c.wroteBack(f, b, l, err)
	})
}

// wroteBack notes what became of it, on a goroutine of the transport or its own. It does not block.
func (c *Coordinator) wroteBack(f *round, b *writeBack, l back, err error) {
	f.mu.Lock()
	if err == nil {
		b.held = b.held.With(l.slot)
		c.Stats.Repairs.note(l.lack, repairOK)
	} else {
		b.failed = b.failed.With(l.slot)
		b.moved = b.moved || errors.Is(err, errLayoutMoved)
		b.why[l.slot] = asAnswer(err)
		c.Stats.Repairs.note(l.lack, repairFailed)
	}
	f.mu.Unlock()
	f.signal()
}

// asAnswer is a failure of this node's own replica as another node would have answered it.
func asAnswer(err error) *answerError {
	var e *answerError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, errLayoutMoved):
		return &answerError{OutcomeRefused, err.Error()}
	}
	status, body := storeStatus(err)
	o, words, _ := classifyStatus(&transport.Response{Status: status, Body: body})
	return &answerError{o, words}
}

// notBacked is the failure of a read that r owners replied to, and whose answer fewer than r of them hold in some live layout.
func (c *Coordinator) notBacked(f *round, b *writeBack) *Error {
	f.mu.Lock()
	need, held, failed := b.tally.Needed(), b.tally.Got(), b.failed.Len()
	f.mu.Unlock()
	e := c.readFailed(f.r, QuorumTimeout, fmt.Sprintf("the answer is on %d of the %d owners that it has to be on%s before it is given: %d could not be repaired", held, need, f.back.inOne(), failed))
	e.Needed, e.Got = need, held
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range e.Replicas { // readFailed lists every slot, in order
		switch {
		case b.failed.Has(i):
			e.Replicas[i].Outcome, e.Replicas[i].Detail = b.why[i].outcome, "read repair: "+b.why[i].detail
		case b.asked.Has(i) && !b.held.Has(i):
			e.Replicas[i].Outcome, e.Replicas[i].Detail = OutcomeTimeout, "read repair: not confirmed in time"
		}
	}
	return e
}
