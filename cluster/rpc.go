package cluster

import (
	"fmt"

	"github.com/quorate/quorate/ring"
)

// Kinds of the requests that nodes of one cluster send each other for membership: 1 to MaxKind. The node maps them
// onto kinds of its transport and hands them to HandleRPC.
const (
	KindPropose uint8 = 1 // founding: promise me a ballot
	KindAccept  uint8 = 2 // founding: accept this table
	KindTable   uint8 = 3 // a table to merge, or nothing, as Table.Encode writes it; the answer is the receiver's
	KindPrepare uint8 = 4 // admission: freeze and promise
	KindOutcome uint8 = 5 // admission: an attempt has ended, and this is the table now
	KindAsk     uint8 = 6 // admission: has this attempt ended, and what is the table now
	MaxKind           = KindAsk
)

// HandleRPC answers a request that another node's Caller sent. It may block for Timing.Freeze and some syncs of the disk.
// An error means that body was not understood, or that the disk failed. It does not keep body; the answer is the caller's.
func (c *Cluster) HandleRPC(kind uint8, from ring.ID, body []byte) ([]byte, error) {
	switch kind {
	case KindPropose, KindAccept:
		req, err := decodeAcceptRequest(body)
		if err != nil {
			return nil, err
		}
		r, err := c.handleVote(kind, req)
		return r.encode(), err
	case KindTable:
		t, err := decodeTable(body)
		if err != nil {
			return nil, err
		}
		if err := c.merge(t, true); err != nil {
			return nil, err
		}
		return encodeTable(c.view.Load().table), nil
	case KindPrepare, KindOutcome, KindAsk:
		req, err := decodeAttemptRequest(body)
		if err != nil {
			return nil, err
		}
		return c.handleAttempt(kind, from, req)
	}
	return nil, fmt.Errorf("%w: unknown kind %d", ErrCorrupt, kind)
}

func (c *Cluster) handleAttempt(kind uint8, from ring.ID, req attemptRequest) ([]byte, error) {
	switch kind {
	case KindPrepare:
		r, err := c.handlePrepare(from, req)
		return r.encode(), err
	case KindOutcome:
		return nil, c.handleOutcome(req)
	default:
		return c.handleAsk(req).encode(), nil
	}
}
