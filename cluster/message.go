package cluster

import (
	"net/netip"

	"github.com/quorate/quorate/ring"
)

// The second byte of a user message of gossip.
const (
	msgProbe  = 'p' // who is at this address: nonce, where to answer, who asks
	msgAnswer = 'a' // nonce, who answers
	msgRow    = 'r' // a table of one row: what has changed
	msgState  = 's' // all that the node knows, as in a push/pull
)

// hello is what a node tells of itself before there is any table.
type hello struct {
	ID    ring.ID
	Name  string
	RPC   string
	Empty bool
}

func (w *writer) hello(h hello) {
	w.id(h.ID)
	w.bytes([]byte(h.Name))
	w.bytes([]byte(h.RPC))
	w.bool(h.Empty)
}

func (s *scanner) hello() hello {
	h := hello{ID: s.id(), Name: s.Text(ring.MaxName), RPC: s.Text(ring.MaxAddr), Empty: s.Bool()}
	s.Check(!h.ID.IsZero() && ring.CheckName(h.Name) == nil, "bad name")
	return h
}

// probe asks whoever listens at an address who it is. The nonce comes back, and so ties the answer to the address.
type probe struct {
	Nonce   uint64
	ReplyTo string // gossip address; empty in an answer
	From    hello
}

func (p probe) encode() []byte {
	w := newWriter(msgAnswer)
	if p.ReplyTo != "" {
		w = newWriter(msgProbe)
		w.bytes([]byte(p.ReplyTo))
	}
	w.u64(p.Nonce)
	w.hello(p.From)
	return w.b
}

// userMessage is a decoded message of gossip; the fields that its kind does not use are zero.
type userMessage struct {
	Kind  byte
	Probe probe     // msgProbe, msgAnswer
	Knows knowledge // msgState; msgRow: of a table alone
	Extra []byte    // msgState; aliases the input
}

func decodeUserMessage(b []byte) (userMessage, error) {
	s := scan(b)
	m := userMessage{Kind: s.Byte()}
	switch m.Kind {
	case msgProbe:
		m.Probe.ReplyTo = s.Text(ring.MaxAddr)
		_, err := netip.ParseAddrPort(m.Probe.ReplyTo) // a name would make the answer wait for a look-up
		s.Check(err == nil, "bad address")
		fallthrough
	case msgAnswer:
		m.Probe.Nonce, m.Probe.From = s.U64(), s.hello()
	case msgRow:
		m.Knows.table = s.table()
		s.Check(m.Knows.table.Len() > 0, "no row")
	case msgState:
		m.Knows, m.Extra = s.knowledge(), s.Bytes(MaxExtra)
	default:
		s.Fail("unknown kind")
	}
	return m, s.done("gossip message")
}

// encodeRow is the message that spreads one changed row.
func encodeRow(t ring.Table, m ring.Member) ([]byte, error) {
	row, err := ring.NewTable(t.Cluster(), t.Partitions())
	if err != nil {
		return nil, err
	}
	if row, err = row.WithFounder(t.Founder()).With(m); err != nil {
		return nil, err
	}
	w := newWriter(msgRow)
	w.bytes(row.Encode())
	return w.b, nil
}

// encodeState is what a push/pull carries.
func encodeState(k knowledge, extra []byte) []byte {
	w := newWriter(msgState)
	w.knowledge(k)
	w.bytes(extra)
	return w.b
}

func (w *writer) table(t ring.Table) {
	w.bytes(encodeTable(t))
}

// meta is what memberlist spreads with a node's address: who it is. The node's name is in memberlist's own name for it.
type meta struct {
	ID     ring.ID
	Starts uint64
	RPC    string
}

func (m meta) encode() []byte {
	w := newWriter()
	w.id(m.ID)
	w.u64(m.Starts)
	w.bytes([]byte(m.RPC))
	return w.b
}

func decodeMeta(b []byte) (meta, error) {
	s := scan(b)
	m := meta{ID: s.id(), Starts: s.U64(), RPC: s.Text(ring.MaxAddr)}
	s.Check(!m.ID.IsZero(), "no incarnation")
	return m, s.done("node meta")
}

func (w *writer) ballot(b ballot) { w.u64(b.Round); w.id(b.By) }
func (s *scanner) ballot() ballot { return ballot{Round: s.U64(), By: s.id()} }

func (v vote) encode() []byte {
	w := newWriter()
	w.ballot(v.Promised)
	w.ballot(v.Accepted)
	w.bytes(v.Value)
	return w.b
}

func decodeVote(b []byte) (vote, error) {
	s := scan(b)
	v := vote{Promised: s.ballot(), Accepted: s.ballot(), Value: s.Bytes(maxTableBytes)}
	return v, s.done("vote")
}
