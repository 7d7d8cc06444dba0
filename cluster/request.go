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
	r := acceptRequest{Ballot: s.ballot(), Value: s.bytes(maxTableBytes)}
	return r, s.done("founding request")
}

// voteReply answers both founding requests. A node that has a table says so with it, and nothing else counts.
type voteReply struct {
	Granted bool
	Vote    vote
	Row     ring.Table // of the voter alone
	Of      electorate
	Table   ring.Table
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
	w.table(r.Table)
	return w.b
}

func decodeVoteReply(b []byte) (voteReply, error) {
	s := scan(b)
	r := voteReply{Granted: s.bool()}
	var err error
	if r.Vote, err = decodeVote(s.bytes(2 * maxTableBytes)); err != nil {
		return voteReply{}, err
	}
	r.Row = s.table()
	size, count := s.u64(), s.u64()
	s.bad = s.bad || size > 2*MaxJoin || count > size
	if s.bad {
		return voteReply{}, s.done("vote reply")
	}
	r.Of.Size = int(size)
	for range count {
		r.Of.IDs = append(r.Of.IDs, s.id())
	}
	r.Table = s.table()
	return r, s.done("vote reply")
}

// attemptRequest is the body of all three admission requests. Base is for a prepare: the hash of the layout to leave. Table is for an outcome.
type attemptRequest struct {
	Attempt attemptID
	Base    uint64
	Table   ring.Table
}

func (r attemptRequest) encode() []byte {
	w := newWriter()
	w.id(r.Attempt)
	w.u64(r.Base)
	w.table(r.Table)
	return w.b
}

func decodeAttemptRequest(b []byte) (attemptRequest, error) {
	s := scan(b)
	r := attemptRequest{Attempt: s.id(), Base: s.u64(), Table: s.table()}
	s.bad = s.bad || r.Attempt.IsZero()
	return r, s.done("admission request")
}

// attemptReply answers all three: the verdict on a prepare, whether an asked attempt is still open, and the table.
type attemptReply struct {
	Verdict verdict
	Open    bool
	Table   ring.Table
}

func (r attemptReply) encode() []byte {
	w := newWriter(byte(r.Verdict))
	w.bool(r.Open)
	w.table(r.Table)
	return w.b
}

func decodeAttemptReply(b []byte) (attemptReply, error) {
	s := scan(b)
	r := attemptReply{Verdict: verdict(s.byte()), Open: s.bool(), Table: s.table()}
	s.bad = s.bad || r.Verdict > agreed
	return r, s.done("admission reply")
}

// decodeTable reads the body of a KindTable: an encoded table, or nothing.
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
