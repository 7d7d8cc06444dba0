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
	merge := c.store.Apply
	if req.Kind == KindRepair {
		merge = c.store.Mend
	}
	res, err := merge(c.place(&m), m.Record)
	c.member.Leave()
	wait := res.Commit.Wait
	if mutation.AckBeforeSync {
		wait = func() error { go res.Commit.Wait(); return nil }
	}
	if failure := wait(); err == nil {
		err = failure
	} else if failure == nil && errors.Is(err, store.ErrSiblings) && onlyStampsBar(&res.Record, &m.Record) {
		// A write made above that stamp replaces what stands in its way.
		req.Reply(statusSiblings, ack{MaxLWW: res.Record.MaxLWW}.append(nil))
		return
	}
	if err != nil {
		status, detail := storeStatus(err)
		req.Reply(status, []byte(detail))
		return
	}
	var a ack
	if res.Record.MaxLWW.Compare(m.Record.MaxLWW) > 0 {
		a.MaxLWW = res.Record.MaxLWW
	}
	if res.Record.N > m.Record.N {
		a.N = res.Record.N
	}
	req.Reply(transport.StatusOK, a.append(nil))
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
		status, detail := storeStatus(err)
		req.Reply(status, []byte(detail))
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

// enter checks that sender and receiver see the same owners; if not it answers, and the sender learns why.
func (c *Coordinator) enter(req *transport.Request, hash uint64) bool {
	switch c.member.Enter(hash) {
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

func storeStatus(err error) (transport.Status, string) {
	switch {
	case errors.Is(err, store.ErrSiblings):
		return statusSiblings, ""
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrReadOnly):
		return statusNoSpace, ""
	case errors.Is(err, store.ErrTooLarge):
		return statusTooLarge, ""
	case errors.Is(err, store.ErrClosed):
		return statusDraining, ""
	case errors.Is(err, store.ErrFuture), errors.Is(err, store.ErrElided), errors.Is(err, store.ErrKey):
		return statusBad, err.Error()
	}
	return statusIO, err.Error()
}
