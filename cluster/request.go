package cluster

import (
	"errors"

	"github.com/quorate/quorate/ring"
)

// acceptRequest asks to accept a founding table; with a nil Value it only asks for a promise (KindPropose).
type acceptRequest struct {
	Ballot ballot
	Value  []byte
}

func (r acceptRequest) encode() []byte {
	w := newWriter()
	w.ballot(r.Ballot)
	w.bytes(r.Value)
	return w.b
}

func decodeAcceptRequest(b []byte) (acceptRequest, error) {
	s := scan(b)
	r := acceptRequest{Ballot: s.ballot(), Value: s.Bytes(maxTableBytes)}
	return r, s.done("founding request")
}

// voteReply answers both founding requests. A node that belongs to a cluster tells what it knows of it, and nothing else counts.
type voteReply struct {
	Granted bool
	Vote    vote
	Row     ring.Table // of the voter alone
	Of      electorate
	Knows   knowledge
}

func (r voteReply) encode() []byte {
	w := newWriter()
	w.bool(r.Granted)
	w.bytes(r.Vote.encode())
	w.table(r.Row)
	w.u64(uint64(r.Of.Size))
	w.u64(uint64(len(r.Of.IDs)))
	for _, id := range r.Of.IDs {
		w.id(id)
	}
	w.knowledge(r.Knows)
	return w.b
}

func decodeVoteReply(b []byte) (voteReply, error) {
	s := scan(b)
	r := voteReply{Granted: s.Bool()}
	var err error
	if r.Vote, err = decodeVote(s.Bytes(2 * maxTableBytes)); err != nil {
		return voteReply{}, err
	}
	r.Row = s.table()
	size, count := s.U64(), s.U64()
	s.Check(size <= 2*MaxJoin && count <= size, "too many voters")
	if s.Failed() {
		return voteReply{}, s.done("vote reply")
	}
	r.Of.Size = int(size)
	for range count {
		r.Of.IDs = append(r.Of.IDs, s.id())
	}
	r.Knows = s.knowledge()
	return r, s.done("vote reply")
}

// changeRequest asks a member to give the place of an incarnation, which does not answer any more, to the one that asks.
type changeRequest struct {
	Old ring.ID
	Row ring.Table // of the one that asks alone
}

func (r changeRequest) encode() []byte {
	w := newWriter()
	w.id(r.Old)
	w.table(r.Row)
	return w.b
}

func decodeChangeRequest(b []byte) (changeRequest, error) {
	s := scan(b)
	r := changeRequest{Old: s.id(), Row: s.table()}
	s.Check(!r.Old.IsZero() && r.Row.Len() == 1, "not one row")
	return r, s.done("request of a change")
}

// changeReply is why not, or empty, and what the member that was asked knows.
type changeReply struct {
	Why   string
	Knows knowledge
}

// maxWhy bounds a reason on the wire.
const maxWhy = 1 << 10

func (r changeReply) encode() []byte {
	w := newWriter()
	w.bytes([]byte(r.Why[:min(len(r.Why), maxWhy)]))
	w.knowledge(r.Knows)
	return w.b
}

func decodeChangeReply(b []byte) (changeReply, error) {
	s := scan(b)
	r := changeReply{Why: s.Text(maxWhy), Knows: s.knowledge()}
	return r, s.done("reply to a change")
}

// decodeTable reads an encoded table, or nothing.
func decodeTable(b []byte) (ring.Table, error) {
	if len(b) == 0 {
		return ring.Table{}, nil
	}
	t, err := ring.DecodeTable(b)
	if err == nil && t.Len() == 0 {
		err = errors.New("cluster: a table without a member, which is sent as nothing")
	}
	return t, err
}

// encodeTable is empty for the empty table.
func encodeTable(t ring.Table) []byte {
	if t.Len() == 0 {
		return nil
	}
	return t.Encode()
}
