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
	KindTable   uint8 = 3 // Knowledge to Learn, or nothing; the answer is the receiver's
	KindChange  uint8 = 4 // give me the place of a namesake that does not answer any more
	MaxKind           = KindChange
)

// HandleRPC answers a request that another node's Caller sent. It may block for Timing.Call and some syncs of the disk.
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
		if err := c.Learn(body); err != nil {
			return nil, err
		}
		return c.Knowledge(), nil
	case KindChange:
		req, err := decodeChangeRequest(body)
		if err != nil {
			return nil, err
		}
		r, err := c.handleChange(from, req)
		return r.encode(), err
	}
	return nil, fmt.Errorf("%w: unknown kind %d", ErrCorrupt, kind)
}
