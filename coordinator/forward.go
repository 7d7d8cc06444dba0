package coordinator

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// forward sends a write to the owners that show that they are there, until one takes it on: those first who hold what they own, of them this
// node's zone, and then in order of preference. An owner that certainly did nothing is followed by the next; after one that may have begun the outcome is unknown. In sloppy mode a fallback
// coordinates what no owner takes on.
func (c *Coordinator) forward(ctx context.Context, v *View, w *writing) (_ PutResult, retry bool, _ error) {
	r, ok := v.writers(w.key.Partition, w.n)
	if !ok {
		return PutResult{}, false, c.divided(v, w)
	}
	w.needed = r.write.most(w.params.W)
	if err := c.available(v, &r, w); err != nil {
		return PutResult{}, false, err
	}
	c.Stats.Forwarded.Add(1)
	until := w.deadline
	if w.params.FallbacksCount() { // owners of which none says hello are not waited for to the end
		until = time.Now().Add(patience(maxPatience, time.Until(w.deadline)))
	}
	res, retry, err := c.handOver(ctx, v, w, c.takers(v, &r), until)
	if err == nil || w.made || !w.params.FallbacksCount() || !untaken(err) {
		return res, retry, err
	}
	return c.stand(ctx, v, w)
}

// takers are the owners in the order in which a write is handed to them.
func (c *Coordinator) takers(v *View, r *roster) []ring.ID {
	synced := r.read.counting(forReads)
	now, least := time.Now(), math.Inf(1)
	for i := range synced.All() {
		least = min(least, c.pace.distance(r.owners[i], now))
	}
	rank := func(i int) int {
		id := r.owners[i]
		switch {
		case !synced.Has(i):
			return 2
		case v.Peers[id].Zone != v.Peers[v.Self].Zone, c.pace.distance(id, now) > nearEnough*least:
			return 1
		}
		return 0
	}
	order := make([]ring.ID, 0, len(r.owners))
	for place := range 3 {
		for i, id := range r.owners {
			if rank(i) == place {
				order = append(order, id)
			}
		}
	}
	return order
}

// untaken reports whether an owner's refusal, or its absence, is one that a fallback may make up for.
func untaken(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Indeterminate && elsewhere(e.Code)
}

// handOver sends a write to those of some nodes that show that they are there before a time, in order, until one takes it on.
func (c *Coordinator) handOver(ctx context.Context, v *View, w *writing, nodes []ring.ID, until time.Time) (_ PutResult, retry bool, _ error) {
	fw := forward{Layout: v.Digest, Params: w.params, Mode: w.mode, Bucket: w.req.Bucket, Key: w.req.Key, Token: w.req.Token,
		Delete: w.req.Delete, Detail: w.req.Detail, ContentType: w.req.ContentType, Value: w.req.Value}
	body := fw.append(make([]byte, 0, len(w.req.Value)+len(w.key.Key)+recordSlack))
	f := new(fanout)
	f.begin(v, nodes, time.Now())
	w.sent = f
	var refusal error
	moved := false
	for ask := c.notDown(v, f); len(ask) > 0; {
		at := c.there(ctx, f, ask, until)
		if at < 0 {
			break
		}
		i := ask[at]
		ask = slices.Delete(ask, at, at+1)
		s := &f.slots[i]
		resp, ok := c.call(ctx, s.id, KindForward, body, w.deadline)
		if !ok {
			f.answer(i, OutcomeTimeout, "no answer in time", time.Now())
			w.made = true
			return PutResult{}, false, c.fail(w, QuorumTimeout, "the node that was to coordinate the write did not answer in time; it may be seen later")
		}
		c.heard.note(s.id, &resp, time.Now())
		outcome, detail, _ := classify(&resp)
		f.answer(i, outcome, detail, time.Now())
		res, err, next := c.forwarded(w, s.id, &resp)
		if !next {
			return res, false, err
		}
		if err != nil {
			refusal = err
		}
		moved = moved || resp.Err == nil && (resp.Status == statusLayout || resp.Status == statusFrozen)
	}
	switch {
	case moved:
		c.Stats.LayoutRetries.Add(1)
		return PutResult{}, true, nil
	case refusal != nil:
		return PutResult{}, false, refusal
	}
	e := c.fail(w, QuorumUnavailable, "nobody who could coordinate the write was reached; nothing was written")
	e.Needed = w.needed
	e.Replicas = append(w.passed, e.Replicas...)
	w.passed = e.Replicas
	return PutResult{}, false, e
}

// forwarded reads an owner's answer; next says that it did nothing and another owner may be tried.
func (c *Coordinator) forwarded(w *writing, from ring.ID, resp *transport.Response) (_ PutResult, err error, next bool) {
	switch {
	case resp.Err != nil && !resp.Sent:
		return PutResult{}, nil, true
	case resp.Err != nil:
		w.made = true
		return PutResult{}, c.fail(w, QuorumTimeout, "the node that was to coordinate the write was lost meanwhile; it may be seen later"), false
	case resp.Status == transport.StatusOK:
		res, err := decodeReply(w.req.Bucket, w.req.Key, resp.Body)
		if err != nil {
			w.made = true
			return res, c.fail(w, Internal, err.Error()), false
		}
		return res, nil, false
	case resp.Status == statusFailed:
		e := decodeError(resp.Body)
		return PutResult{}, e, !e.Indeterminate && elsewhere(e.Code)
	case resp.Status == statusLayout:
		c.member.Reconcile(from, resp.Body)
		return PutResult{}, nil, true
	}
	if outcome, detail, _ := classify(resp); outcome != OutcomeRefused {
		w.made = true
		return PutResult{}, c.fail(w, QuorumTimeout, "the node that was to coordinate the write answered: "+detail+"; it may be seen later"), false
	}
	return PutResult{}, nil, true
}

// elsewhere reports whether another owner may do what one refused for this reason: what one sees of the others, from a side that was
// cut off until a moment ago, need not be what they see of each other.
func elsewhere(code Code) bool {
	switch code {
	case NoSpace, Draining, ClockSkew, Overloaded, NotReady, QuorumUnavailable:
		return true
	}
	return false
}

// call is Go with a wait; ok is false when ctx or the deadline ended first.
func (c *Coordinator) call(ctx context.Context, to ring.ID, kind transport.Kind, body []byte, deadline time.Time) (transport.Response, bool) {
	reply := make(chan transport.Response, 1)
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	c.send.Go(to, kind, body, deadline, func(r transport.Response) { reply <- r })
	select {
	case r := <-reply:
		return r, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return transport.Response{}, false
}

// forwardMargin is the part of the time that the owner leaves for its answer to arrive before the first node gives up.
const forwardMargin = 20

// ServeForward is the owner's side of KindForward: it coordinates a client's write that came in elsewhere.
func (c *Coordinator) ServeForward(req transport.Request) {
	fw, err := decodeForward(req.Body)
	if err != nil {
		req.Reply(statusBad, []byte(err.Error()))
		return
	}
	v := c.member.View()
	switch {
	case c.drain.Load():
		req.Reply(statusFailed, encodeError(&Error{Code: Draining, Detail: "this node is shutting down", Coordinator: c.cfg.Name}))
		return
	case v.Rings == nil:
		req.Reply(statusFrozen, nil)
		return
	case v.Digest != fw.Layout:
		req.Reply(statusLayout, c.member.Table())
		return
	}
	left := time.Until(req.Deadline)
	put := PutRequest{Options: Options{Timeout: left - left/forwardMargin}, Bucket: fw.Bucket, Key: fw.Key, Token: fw.Token,
		Delete: fw.Delete, ContentType: fw.ContentType, Value: fw.Value, Detail: fw.Detail}
	w := newWriting(&put, fw.Params, fw.Mode)
	w.handed = true
	res, err := c.put(context.Background(), w)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Code: Internal, Detail: err.Error(), Indeterminate: true}
		}
		req.Reply(statusFailed, encodeError(e))
		return
	}
	req.Reply(transport.StatusOK, encodeReply(fw.Bucket, fw.Key, &res))
}
