package cluster

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/ring"
)

func sampleTable(t testing.TB) ring.Table {
	t.Helper()
	table, err := ring.NewTable("test", 64)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m := ring.Member{ID: simID(i), Name: nameOf(i), Zone: "z", Weight: 1, State: ring.Active, Addrs: ring.Addrs{Gossip: gossipOf(i), RPC: gossipOf(i), Epoch: 3}}
		if table, err = table.With(m); err != nil {
			t.Fatal(err)
		}
	}
	return table.WithFounder(simID(0))
}

// codecs lists every message with a decoder that gives back its encoding.
func codecs(t testing.TB) map[string]struct {
	sample []byte
	again  func([]byte) ([]byte, error)
} {
	table := sampleTable(t)
	k, err := founded(table)
	if err != nil {
		t.Fatal(err)
	}
	who := hello{ID: simID(1), Name: "n1", RPC: "10.0.0.1:7947", Empty: true}
	v := vote{Promised: ballot{3, simID(1)}, Accepted: ballot{2, simID(2)}, Value: table.Encode()}
	row, err := encodeRow(table, table.Members()[1])
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeUserMessage(row)
	if err != nil {
		t.Fatal(err)
	}
	type codec = struct {
		sample []byte
		again  func([]byte) ([]byte, error)
	}
	user := func(b []byte) ([]byte, error) {
		m, err := decodeUserMessage(b)
		switch m.Kind {
		case msgProbe, msgAnswer:
			return m.Probe.encode(), err
		case msgState:
			return encodeState(m.Knows, m.Extra), err
		}
		w := newWriter(m.Kind)
		w.table(m.Knows.table)
		return w.b, err
	}
	return map[string]codec{
		"probe":  {probe{Nonce: 9, ReplyTo: "10.0.0.2:7946", From: who}.encode(), user},
		"answer": {probe{Nonce: 9, From: who}.encode(), user},
		"row":    {row, user},
		"state":  {encodeState(k, []byte("extra")), user},
		"empty":  {encodeState(knowledge{}, nil), user},
		"meta": {meta{simID(1), 7, "h:1"}.encode(), func(b []byte) ([]byte, error) {
			m, err := decodeMeta(b)
			return m.encode(), err
		}},
		"vote": {v.encode(), func(b []byte) ([]byte, error) { v, err := decodeVote(b); return v.encode(), err }},
		"accept": {acceptRequest{v.Promised, v.Value}.encode(), func(b []byte) ([]byte, error) {
			r, err := decodeAcceptRequest(b)
			return r.encode(), err
		}},
		"vote reply": {voteReply{true, v, table, electorate{3, []ring.ID{simID(1)}}, k}.encode(), func(b []byte) ([]byte, error) {
			r, err := decodeVoteReply(b)
			return r.encode(), err
		}},
		"change": {changeRequest{simID(1), m.Knows.table}.encode(), func(b []byte) ([]byte, error) {
			r, err := decodeChangeRequest(b)
			return r.encode(), err
		}},
		"change reply": {changeReply{"no", k}.encode(), func(b []byte) ([]byte, error) {
			r, err := decodeChangeReply(b)
			return r.encode(), err
		}},
		"knowledge": {k.encode(), func(b []byte) ([]byte, error) { k, err := decodeKnowledge(b); return k.encode(), err }},
		"table":     {knowledge{table: table}.encode(), func(b []byte) ([]byte, error) { k, err := decodeKnowledge(b); return k.encode(), err }},
	}
}

// Law: every message survives its codec, and nothing but the whole message does.
func TestCodecs(t *testing.T) {
	for name, c := range codecs(t) {
		got, err := c.again(c.sample)
		if err != nil || !bytes.Equal(got, c.sample) {
			t.Errorf("%s: %v\n%x\n%x", name, err, c.sample, got)
		}
		for n := range c.sample {
			if n == 0 && (name == "table" || name == "knowledge") {
				continue // no bytes are the knowledge of one that belongs to no cluster
			}
			if _, err := c.again(c.sample[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes accepted", name, n, len(c.sample))
			}
		}
		if _, err := c.again(append(bytes.Clone(c.sample), 0)); err == nil {
			t.Errorf("%s: a byte too many accepted", name)
		}
	}
}

// No input panics a decoder, and what it accepts is canonical.
func FuzzDecoders(f *testing.F) {
	all := codecs(f)
	for _, c := range all {
		f.Add(c.sample)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, c := range all {
			if got, err := c.again(b); err == nil && !bytes.Equal(got, b) {
				t.Errorf("%s: %x decodes, and encodes as %x", name, b, got)
			}
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(fromHeader{"test", "n1"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := sliceReader{b}
		h, err := readHeader(&r)
		if err != nil {
			return
		}
		if got := append(h.encode(), r.rest...); !bytes.Equal(got, b) {
			t.Errorf("%x reads as %v", b, h)
		}
	})
}

// The meta of a node with the longest names fits memberlist's limit, beyond which it panics.
func TestMetaFits(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), ring.MaxAddr))
	if n := len(meta{simID(1), 1, long}.encode()); n > memberlist.MetaMaxSize {
		t.Errorf("meta of %d bytes", n)
	}
}

// The longest row fits a gossip packet, or waits for the push/pull; it is never cut.
func TestRowFits(t *testing.T) {
	table := sampleTable(t)
	msg, err := encodeRow(table, table.Members()[0])
	if err != nil || len(msg) > maxRowMessage {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	m, err := decodeUserMessage(msg)
	if err != nil || m.Knows.table.Founder() != table.Founder() || !reflect.DeepEqual(m.Knows.table.Members(), table.Members()[:1]) {
		t.Errorf("%v %v", m.Knows.table, err)
	}
}
