package coordinator

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

func sampleRecord() version.Record {
	return version.NewRecord(version.Write{
		Dot:   version.Dot{Actor: version.Actor{ID: 7, N: 3}, Counter: 9},
		Stamp: version.Stamp{Time: 1 << 40, Actor: 7}, Mode: version.LWW, ContentType: "text/plain", Value: []byte("value"),
	})
}

func sampleForward() forward {
	token := version.ReadToken(sampleRecord())
	return forward{Layout: 1 << 60, Params: quorum.Params{N: 5, W: quorum.All, R: 2}, Mode: version.Siblings, Bucket: "b", Key: "k/../\x00",
		Token: &token, Delete: true, Detail: true, ContentType: "a/b", Value: []byte{0, 1}}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	rec := sampleRecord()
	b := version.AppendRecord(appendKeyHeader(nil, 42, 0, "bucket", "key"), rec)
	m, err := decodeKeyMessage(b, true)
	if err != nil || m.Layout != 42 || m.Bucket != "bucket" || m.Key != "key" || !m.Record.Equal(rec) {
		t.Errorf("write: %+v, %v", m, err)
	}
	b = appendState(appendKeyHeader(nil, 42, 99, "bucket", "key"), &rec)
	m, err = decodeKeyMessage(b, false)
	if err != nil || m.Inline != 99 || !bytes.Equal(m.Known, appendState(nil, &rec)) {
		t.Errorf("read: %+v, %v", m, err)
	}
	fw := sampleForward()
	if got, err := decodeForward(fw.append(nil)); err != nil || !reflect.DeepEqual(got, fw) {
		t.Errorf("forward: %+v, %v; want %+v", got, err, fw)
	}
	for _, a := range []ack{{}, {N: 3}, {MaxLWW: version.Stamp{Time: 5, Actor: 6}}} {
		if got, err := decodeAck(a.append(nil)); err != nil || got != a {
			t.Errorf("ack: %+v, %v; want %+v", got, err, a)
		}
	}
	res := PutResult{Token: *fw.Token, ETag: `"e"`, N: 3, W: 2, Acks: 3, Coordinator: "n1",
		Replicas: []Replica{{Name: "n2", Outcome: OutcomeRefused, Detail: "d", Elapsed: time.Millisecond, Behind: 2}}}
	if got, err := decodeReply("b", "k", encodeReply("b", "k", &res)); err != nil || !reflect.DeepEqual(got, res) {
		t.Errorf("reply: %+v, %v; want %+v", got, err, res)
	}
	res.Fallbacks, res.Replicas = 1, append(res.Replicas, Replica{Name: "n4", Outcome: OutcomeOK, StandsFor: "n2"})
	if got, err := decodeReply("b", "k", encodeReply("b", "k", &res)); err != nil || !reflect.DeepEqual(got, res) {
		t.Errorf("reply with a stand-in: %+v, %v; want %+v", got, err, res)
	}
	owner := ring.ID{1, 2, 15: 3}
	m, id, err := decodeStand(appendStand(nil, 42, "bucket", "key", owner, rec))
	if err != nil || m.Layout != 42 || m.Bucket != "bucket" || m.Key != "key" || id != owner || !m.Record.Equal(rec) {
		t.Errorf("stand: %+v for %v, %v", m, id, err)
	}
	e := &Error{Code: QuorumTimeout, Detail: "d", Indeterminate: true, Needed: 3, Got: 1, Fallbacks: 1, RetryAfter: time.Second, Replicas: res.Replicas}
	if got := decodeError(encodeError(e)); !reflect.DeepEqual(got, e) {
		t.Errorf("error: %+v; want %+v", got, e)
	}
}

// What differs in n, stamp or any live dot is never taken for the same state.
func TestStatesOfDifferentRecordsDiffer(t *testing.T) {
	rec := sampleRecord()
	states := map[string]bool{string(appendState(nil, &rec)): true}
	for name, change := range map[string]func(*version.Record){
		"n":       func(r *version.Record) { r.N++ },
		"stamp":   func(r *version.Record) { r.MaxLWW.Time++ },
		"actor":   func(r *version.Record) { r.Versions[0].Dot.Actor.ID++ },
		"dot's n": func(r *version.Record) { r.Versions[0].Dot.Actor.N++ },
		"counter": func(r *version.Record) { r.Versions[0].Dot.Counter++ },
		"absent":  func(r *version.Record) { r.Versions = nil },
		"sibling": func(r *version.Record) { r.Versions = append(r.Versions, r.Versions[0]) },
	} {
		other := sampleRecord()
		change(&other)
		state := string(appendState(nil, &other))
		if states[state] {
			t.Errorf("a record with another %s has the state of one before", name)
		}
		states[state] = true
	}
}

// FuzzMessages: whatever a peer sends is decoded or refused, and what decodes is what its encoding says.
func FuzzMessages(f *testing.F) {
	rec, fw := sampleRecord(), sampleForward()
	f.Add(version.AppendRecord(appendKeyHeader(nil, 1, 2, "b", "k"), rec))
	f.Add(fw.append(nil))
	f.Add(appendStand(nil, 1, "b", "k", ring.ID{1}, rec))
	f.Add(ack{N: 3}.append(nil))
	f.Add(encodeReply("b", "k", &PutResult{N: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeKeyMessage(b, true); err == nil {
			again := version.AppendRecord(appendKeyHeader(nil, m.Layout, m.Inline, m.Bucket, m.Key), m.Record)
			if m2, err := decodeKeyMessage(again, true); err != nil || !m2.Record.Equal(m.Record) {
				t.Fatalf("%x decodes to %+v, which does not survive: %v", b, m, err)
			}
		}
		_, _ = decodeKeyMessage(b, false)
		if m, owner, err := decodeStand(b); err == nil {
			again := appendStand(nil, m.Layout, m.Bucket, m.Key, owner, m.Record)
			if m2, owner2, err := decodeStand(again); err != nil || owner2 != owner || !m2.Record.Equal(m.Record) {
				t.Fatalf("%x decodes to %+v for %v, which does not survive: %v", b, m, owner, err)
			}
		}
		if fw, err := decodeForward(b); err == nil {
			if again, err := decodeForward(fw.append(nil)); err != nil || !reflect.DeepEqual(again, fw) {
				t.Fatalf("%x decodes to %+v, which does not survive: %v", b, fw, err)
			}
		}
		if a, err := decodeAck(b); err == nil {
			if again, err := decodeAck(a.append(nil)); err != nil || again != a {
				t.Fatalf("%x decodes to %+v, which does not survive: %v", b, a, err)
			}
		}
		_, _ = decodeReply("b", "k", b)
		_ = decodeError(b)
	})
}
