package coordinator

import (
	"context"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// standByWrite lets fallbacks stand in for the owners that a write does not reach. A fallback that coordinates it stands in for one of
// them, and has done so already.
func (c *Coordinator) standByWrite(v *View, r *roster, w *writing, f *delivery) {
	s := c.standBy(v, w.params, &f.fanout, r.fallbacks, w.deadline)
	if s == nil {
		return
	}
	s.stand, s.counted = f.tally.Stand, f.tally.Fallbacks
	f.standing = w.standing && !owns(r.owners, v.Self)
	s.ask = func(j int) {
		c.Stats.StandIns.Add(1)
		to := &s.slots[j]
		f.mu.Lock()
		owner := f.slots[s.plan.Owner(len(f.slots)+j)].id
		f.mu.Unlock()
		body := appendStand(nil, v.Digest, f.bar.key.Bucket, f.bar.key.Key, owner, f.rec)
		c.send.Go(to.id, KindStand, body, f.deadline, func(r transport.Response) { c.acked(f, len(f.slots)+j, &r) })
	}
}

// ackStandIn counts the coordinating fallback's own copy, which is on its disk. The caller holds f.mu.
func (f *delivery) ackStandIn(v *View, now time.Time) {
	s := f.standby
	var down quorum.Set
	for i := range f.slots {
		if v.Peers[f.slots[i].id].Down {
			down = down.With(i)
		}
	}
	for j := range s.slots {
		if s.slots[j].id != v.Self {
			continue
		}
		node := len(f.slots) + j
		f.tally.Stand(node, s.plan.Take(node, down))
		s.slots[j].sent = f.begun
		f.left++
		f.answer(node, OutcomeOK, "", now)
		f.tally.Ack(node)
		return
	}
}

// mayStand reports whether this node may coordinate a write as a fallback: it is one of the key's, and what it holds for others is no less than what it
// has ever promised to hold.
func (c *Coordinator) mayStand(v *View, r *roster, w *writing) bool {
	return w.params.FallbacksCount() && c.hands != nil && v.Rings.Intact(v.Self) && owns(r.fallbacks, v.Self)
}

// stand coordinates a write that no owner has taken on and none will: on this node if it is a fallback of the key, else on the first one that is there.
func (c *Coordinator) stand(ctx context.Context, v *View, w *writing) (_ PutResult, retry bool, _ error) {
	r, ok := v.writers(w.key.Partition, w.n)
	if !ok {
		return PutResult{}, false, c.divided(v, w)
	}
	if c.mayStand(v, &r, w) {
		c.Stats.StoodIn.Add(1)
		w.standing = true
		return c.coordinate(ctx, v, w)
	}
	if w.handed { // because no owner is there, or to an owner that is none any longer
		return PutResult{}, false, c.fail(w, NotReady, "the key's owners changed while the write was on its way")
	}
	var able []ring.ID
	for _, id := range r.fallbacks {
		if v.Rings.Intact(id) && id != v.Self {
			able = append(able, id)
		}
	}
	return c.handOver(ctx, v, w, able, w.deadline)
}

// update makes the new version: in this node's replica if it is an owner, else among its hand-offs, for every owner. A fallback may have a replica of the
// key, if that has a larger n than it knew of: then it is an owner.
func (c *Coordinator) update(v *View, r *roster, w *writing, fn store.UpdateFunc) (store.Result, error) {
	if !w.standing || owns(r.owners, v.Self) {
		return c.store.Update(w.key, uint8(w.n), fn)
	}
	own, err := c.store.Get(w.key)
	if err != nil {
		return store.Result{}, err
	}
	if int(own.N) > w.n {
		w.n = int(own.N)
		return store.Result{}, errLargerN
	}
	w.stamp = version.Later(w.stamp, own.MaxStamp())
	return c.hands.StandUpdate(w.key, uint8(w.n), r.owners, fn)
}
