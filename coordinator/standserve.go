package coordinator

import (
	"errors"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// ServeStand is the fallback's side of KindStand: it keeps a whole record for an owner and answers when that is durable.
func (c *Coordinator) ServeStand(req transport.Request) {
	m, owner, err := decodeStand(req.Body)
	if err != nil {
		req.Reply(statusBad, []byte(err.Error()))
		return
	}
	if !c.enterStanding(&req, m.Layout) {
		return
	}
	k := c.place(&m)
	own, res, err := c.standApply(k, &m.Record, owner)
	c.member.Leave()
	if own.N > res.Record.N { // it owns the key, under an n that the writer does not know of
		res.Record.N = own.N
	}
	res.Record.MaxLWW = version.Later(res.Record.MaxLWW, own.MaxLWW)
	c.answerWrite(&req, &res, &m.Record, err)
}

// enterStanding is enter for a node that stands in for others; one that does not says that it does not know the request.
func (c *Coordinator) enterStanding(req *transport.Request, hash uint64) bool {
	if c.hands == nil {
		req.Reply(transport.StatusUnknownKind, nil)
		return false
	}
	return c.enter(req, hash)
}

var errNoStandIn = errors.New("coordinator: it cannot stand in there")

// standApply keeps the record. own is this node's replica of the key: it has one if the key's n is larger than the writer knew. Only one who owns
// nothing of the key in any live layout may stand in, and only for one who does: a disk must not count twice.
func (c *Coordinator) standApply(k store.Key, rec *version.Record, owner ring.ID) (own version.Record, _ store.Result, _ error) {
	v := c.member.View()
	if v.owns(v.Self, k.Partition, int(rec.N)) || !v.owns(owner, k.Partition, int(rec.N)) {
		return own, store.Result{}, errNoStandIn
	}
	own, err := c.store.Get(k)
	if err != nil {
		return own, store.Result{}, err
	}
	c.hlc.Observe(c.cfg.Now(), rec.MaxStamp())
	res, err := c.hands.StandApply(k, *rec, owner)
	return own, res, err
}

// ServeStandRead is the fallback's side of KindStandRead: what it holds of the key, whole, and nothing if it holds nothing.
func (c *Coordinator) ServeStandRead(req transport.Request) {
	m, err := decodeKeyMessage(req.Body, false)
	if err != nil {
		req.Reply(statusBad, []byte(err.Error()))
		return
	}
	if !c.enterStanding(&req, m.Layout) {
		return
	}
	k := c.place(&m)
	rec, _, err := c.hands.StandGet(k)
	if err == nil {
		var own version.Record
		if own, err = c.store.Get(k); err == nil && !own.IsAbsent() {
			rec = version.Merge(rec, own)
		}
	}
	c.member.Leave()
	switch {
	case err != nil:
		req.Reply(storeStatus(err))
	case rec.IsAbsent():
		req.Reply(transport.StatusOK, nil)
	default:
		req.Reply(transport.StatusOK, version.AppendRecord(nil, rec))
	}
}

// appendStand writes a KindStand: for whom, and what.
func appendStand(b []byte, layout uint64, bucket, key string, owner ring.ID, rec version.Record) []byte {
	b = appendKeyHeader(b, layout, 0, bucket, key)
	b = append(b, owner[:]...)
	return version.AppendRecord(b, rec)
}

func decodeStand(b []byte) (m keyMessage, owner ring.ID, err error) {
	if m, err = decodeKeyMessage(b, false); err != nil {
		return m, owner, err
	}
	d := decoder{wire.Read(m.Known)}
	m.Known = nil
	copy(owner[:], d.Take(uint64(len(owner))))
	if d.Failed() {
		return m, owner, d.Err(errWire)
	}
	if m.Record, err = version.DecodeRecord(d.Rest()); err != nil {
		return m, owner, errors.Join(errWire, err)
	}
	return m, owner, nil
}
