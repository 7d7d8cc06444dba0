package coordinator

import (
	"bytes"
	"errors"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// ServeWrite is the replica's side of KindWrite and KindRepair: it merges a whole record and answers when that is
// durable.
func (c *Coordinator) ServeWrite(req transport.Request) {
	m, err := decodeKeyMessage(req.Body, true)
	if err != nil {
		req.Reply(statusBad, []byte(err.Error()))
		return
	}
	if !c.enter(&req, m.Layout) {
		return
	}
	c.hlc.Observe(c.cfg.Now(), m.Record.MaxStamp())
	var res store.Result
	if req.Kind == KindRepair {
		res, err = c.store.Mend(c.place(&m), m.Record)
	} else {
		res, err = c.store.Apply(c.place(&m), m.Record)
	}
	c.member.Leave()
	c.answerWrite(&req, &res, &m.Record, err)
}

// answerWrite answers a write once its result is durable, or has failed.
func (c *Coordinator) answerWrite(req *transport.Request, res *store.Result, incoming *version.Record, err error) {
	status, body := writeStatus(res, incoming, err)
	answer := func(unsynced error) {
		switch {
		case unsynced == nil:
			req.Reply(status, body)
		case err == nil:
			req.Reply(storeStatus(unsynced))
		default: // what stood in the way may not be durable, so it is not told
			req.Reply(storeStatus(err))
		}
	}
	if mutation.AckBeforeSync {
		go res.Commit.Wait()
		answer(nil)
		return
	}
	res.Commit.Then(answer)
}

// writeStatus is the answer to a write whose result is durable, or that failed.
func writeStatus(res *store.Result, incoming *version.Record, err error) (transport.Status, []byte) {
	if errors.Is(err, store.ErrSiblings) && onlyStampsBar(&res.Record, incoming) {
		// A write made above that stamp replaces what stands in its way.
		return statusSiblings, ack{MaxLWW: res.Record.MaxLWW}.append(nil)
	}
	if err != nil {
		return storeStatus(err)
	}
	var a ack
	if res.Record.MaxLWW.Compare(incoming.MaxLWW) > 0 {
		a.MaxLWW = res.Record.MaxLWW
	}
	if res.Record.N > incoming.N {
		a.N = res.Record.N
	}
	return transport.StatusOK, a.append(nil)
}

// ServeRead is the replica's side of KindRead.
func (c *Coordinator) ServeRead(req transport.Request) {
	m, err := decodeKeyMessage(req.Body, false)
	if err != nil {
		req.Reply(statusBad, []byte(err.Error()))
		return
	}
	if !c.enter(&req, m.Layout) {
		return
	}
	rec, err := c.store.Get(c.place(&m))
	c.member.Leave()
	if err != nil {
		req.Reply(storeStatus(err))
		return
	}
	var buf [stateRoom]byte
	if len(m.Known) > 0 && bytes.Equal(m.Known, appendState(buf[:0], &rec)) {
		req.Reply(statusSame, nil)
		return
	}
	rec = rec.Elide(int(m.Inline))
	size := recordSlack
	for i := range rec.Versions {
		size += len(rec.Versions[i].Value)
	}
	req.Reply(transport.StatusOK, version.AppendRecord(make([]byte, 0, size), rec))
}

// onlyStampsBar reports whether what keeps local from taking a record of a larger n are lww versions with a higher
// stamp, and nothing that only a context could replace.
func onlyStampsBar(local, incoming *version.Record) bool {
	for i := range local.Versions {
		if v := &local.Versions[i]; v.Dot.Actor.N < incoming.N && v.Mode != version.LWW {
			return false
		}
	}
	return local.MaxLWW.Compare(incoming.MaxLWW) > 0
}

// stateRoom holds the state of a record of maxStateVersions versions.
const stateRoom = 18 + maxStateVersions*17

// enter checks that sender and receiver act under the same view; if not it answers, and the sender learns why.
func (c *Coordinator) enter(req *transport.Request, digest uint64) bool {
	switch c.member.Enter(digest) {
	case Entered:
		return true
	case Frozen:
		req.Reply(statusFrozen, nil)
	default:
		req.Reply(statusLayout, c.member.Table())
	}
	return false
}

// place computes the partition anew: what a peer says of it is not believed.
func (c *Coordinator) place(m *keyMessage) store.Key {
	return keyOf(c.member.View(), m.Bucket, m.Key)
}

func storeStatus(err error) (transport.Status, []byte) {
	switch {
	case errors.Is(err, store.ErrSiblings):
		return statusSiblings, nil
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrReadOnly):
		return statusNoSpace, nil
	case errors.Is(err, store.ErrTooLarge):
		return statusTooLarge, nil
	case errors.Is(err, store.ErrHandOffSpace):
		return statusHandOffSpace, nil
	case errors.Is(err, store.ErrClosed):
		return statusDraining, nil
	case errors.Is(err, store.ErrFuture), errors.Is(err, store.ErrElided), errors.Is(err, store.ErrKey), errors.Is(err, errNoStandIn):
		return statusBad, []byte(err.Error())
	}
	return statusIO, []byte(err.Error())
}
