package coordinator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// forward sends a write to the owners that show that they are there, in order of preference, until one takes it on. An owner that
// certainly did nothing is followed by the next; after one that may have begun the outcome is unknown.
func (c *Coordinator) forward(ctx context.Context, v *View, w *writing) (_ PutResult, retry bool, _ error) {
	owners := v.Layout.Owners(w.key.Partition, w.n)
	w.needed = w.params.W.Resolve(len(owners))
	if err := c.available(v, owners, w); err != nil {
		return PutResult{}, false, err
	}
	c.Stats.Forwarded.Add(1)
	fw := forward{Layout: v.Hash, Params: w.params, Mode: w.mode, Bucket: w.req.Bucket, Key: w.req.Key, Token: w.req.Token,
		Delete: w.req.Delete, Detail: w.req.Detail, ContentType: w.req.ContentType, Value: w.req.Value}
	body := fw.append(make([]byte, 0, len(w.req.Value)+len(w.key.Key)+recordSlack))
	f := new(fanout)
	f.begin(v, owners, time.Now())
	w.sent = f
	var refusal error
	moved := false
	for ask := c.notDown(v, f); len(ask) > 0; {
		at := c.there(ctx, f, ask, w.deadline)
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
			return PutResult{}, false, c.fail(w, QuorumTimeout, "the owner that was to coordinate the write did not answer in time; it may be seen later")
		}
		c.heard.note(s.id, &resp)
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
	e := c.fail(w, QuorumUnavailable, "no owner of the key could be reached; nothing was written")
	e.Needed = w.needed
	return PutResult{}, false, e
}

// forwarded reads an owner's answer; next says that it did nothing and another owner may be tried.
func (c *Coordinator) forwarded(w *writing, from ring.ID, resp *transport.Response) (_ PutResult, err error, next bool) {
	switch {
	case resp.Err != nil && !resp.Sent:
		return PutResult{}, nil, true
	case resp.Err != nil:
		w.made = true
		return PutResult{}, c.fail(w, QuorumTimeout, "the owner that was to coordinate the write was lost meanwhile; it may be seen later"), false
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
		return PutResult{}, c.fail(w, QuorumTimeout, "the owner that was to coordinate the write answered: "+detail+"; it may be seen later"), false
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
	case v.Layout == nil:
		req.Reply(statusFrozen, nil)
		return
	case v.Hash != fw.Layout:
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
