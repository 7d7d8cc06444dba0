package coordinator

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// The kinds of message between coordinators and replicas. Numbers are part of the node-to-node protocol.
const (
	KindWrite   transport.Kind = 1 // a whole record to merge; class write
	KindRead    transport.Kind = 2 // a key to read; class read
	KindForward transport.Kind = 3 // a client's write, to an owner that coordinates it
	KindRepair  transport.Kind = 4 // as KindWrite, sent by read repair; class write
	KindHello   transport.Kind = 5 // nothing: whoever answers is there
)

// The refusals of a replica. A refused request has certainly changed nothing there.
const (
	statusLayout   transport.Status = 16 + iota // the layouts differ; the body is the replica's member table
	statusSiblings                              // raising n would leave siblings of the lower n alive
	statusNoSpace                               // under the free-space floor
	statusDraining                              // shutting down
	statusIO                                    // the store failed; for a write the outcome is unknown
	statusBad                                   // the request cannot be decoded; the body says why
	statusFrozen                                // a membership change is being decided; try again soon
	statusFailed                                // a forwarded request failed; the body is its Error
	statusTooLarge                              // the merged record would be too large
	statusSame                                  // a read's answer: what the request says it knows is all there is here
)

const wireVersion = 1

// errWire is wrapped by every message that cannot be decoded.
var errWire = errors.New("coordinator: malformed message")

// keyMessage is a request about one key under one layout: a read, or a write if it carries a record.
type keyMessage struct {
	Layout uint64 // hash of the sender's layout
	Inline uint32 // read: values are wanted while their sum is at most this many bytes
	Bucket string
	Key    string
	Known  []byte         // read: what the sender holds, as appendState wrote it; empty if it does not say
	Record version.Record // write
}

func appendKeyHeader(b []byte, layout uint64, inline uint32, bucket, key string) []byte {
	b = append(b, wireVersion)
	b = binary.LittleEndian.AppendUint64(b, layout)
	b = binary.AppendUvarint(b, uint64(inline))
	b = appendString(b, bucket)
	return appendString(b, key)
}

func decodeKeyMessage(b []byte, withRecord bool) (keyMessage, error) {
	var m keyMessage
	d := decoder{b: b}
	d.version()
	m.Layout = d.u64()
	m.Inline = uint32(d.uvarint(1 << 31))
	names := d.b
	bucket := len(d.take(d.uvarint(maxBucket)))
	mid := len(names) - len(d.b)
	key := len(d.take(d.uvarint(maxKey)))
	if d.err == nil {
		both := string(names[:len(names)-len(d.b)]) // one allocation for two strings, as every request is decoded
		m.Bucket, m.Key = both[mid-bucket:mid], both[len(both)-key:]
	}
	if d.err == nil && m.Key == "" {
		d.fail("empty key")
	}
	if d.err != nil {
		return m, d.err
	}
	if !withRecord {
		m.Known = d.b
		return m, nil
	}
	rec, err := version.DecodeRecord(d.b)
	if err != nil {
		return m, fmt.Errorf("%w: %w", errWire, err)
	}
	m.Record = rec
	return m, nil
}

// maxStateVersions bounds the versions that a read names: with more siblings the record itself is sent.
const maxStateVersions = 4

// appendState writes what two replicas must agree in to need no repair: n, the highest lww stamp, the live dots. It is
// exact, not a hash, and shorter than most records.
func appendState(b []byte, r *version.Record) []byte {
	b = append(b, wireVersion, r.N)
	b = binary.LittleEndian.AppendUint64(b, r.MaxLWW.Time)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.MaxLWW.Actor))
	for i := range r.Versions {
		d := r.Versions[i].Dot
		b = append(b, d.Actor.N)
		b = binary.LittleEndian.AppendUint64(b, uint64(d.Actor.ID))
		b = binary.LittleEndian.AppendUint64(b, d.Counter)
	}
	return b
}

// ack is what a replica says after it has made a write durable. The zero ack, an empty body, says that nothing of
// what it holds beats the write.
type ack struct {
	MaxLWW version.Stamp // the highest lww stamp held, if above the write's
	N      uint8         // the record's n, if above the write's
}

func (a ack) append(b []byte) []byte {
	if a == (ack{}) {
		return b
	}
	b = append(b, wireVersion)
	b = binary.LittleEndian.AppendUint64(b, a.MaxLWW.Time)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.MaxLWW.Actor))
	return append(b, a.N)
}

func decodeAck(b []byte) (ack, error) {
	if len(b) == 0 {
		return ack{}, nil
	}
	d := decoder{b: b}
	d.version()
	a := ack{MaxLWW: version.Stamp{Time: d.u64(), Actor: version.ActorID(d.u64())}, N: d.u8()}
	if d.err != nil {
		return ack{}, d.err
	}
	return a, d.end()
}

// forward is a client's write on its way to an owner, with the parameters as the first node resolved them.
type forward struct {
	Layout      uint64
	Params      quorum.Params
	Mode        version.Mode
	Bucket, Key string
	Token       *version.Token
	Delete      bool
	Detail      bool
	ContentType string
	Value       []byte
}

const (
	forwardDelete = 1 << iota
	forwardSloppy
	forwardToken
	forwardDetail
)

func (f *forward) append(b []byte) []byte {
	b = appendKeyHeader(b, f.Layout, 0, f.Bucket, f.Key)
	var flags byte
	if f.Delete {
		flags |= forwardDelete
	}
	if f.Params.Sloppy {
		flags |= forwardSloppy
	}
	if f.Token != nil {
		flags |= forwardToken
	}
	if f.Detail {
		flags |= forwardDetail
	}
	b = append(b, flags, byte(f.Params.N), byte(f.Mode))
	b = appendString(b, f.Params.W.String())
	b = appendString(b, f.Params.R.String())
	if f.Token != nil {
		b = appendString(b, f.Token.Encode(f.Bucket, f.Key))
	}
	b = appendString(b, f.ContentType)
	return append(b, f.Value...)
}

func decodeForward(b []byte) (forward, error) {
	d := decoder{b: b}
	d.version()
	f := forward{Layout: d.u64()}
	d.uvarint(0)
	f.Bucket, f.Key = d.string(maxBucket), d.string(maxKey)
	flags := d.u8()
	f.Params.N, f.Mode = int(d.u8()), version.Mode(d.u8())
	f.Params.W, f.Params.R = d.level(), d.level()
	f.Delete, f.Detail, f.Params.Sloppy = flags&forwardDelete != 0, flags&forwardDetail != 0, flags&forwardSloppy != 0
	if flags&forwardToken != 0 && d.err == nil {
		t, err := version.DecodeToken(d.string(maxToken), f.Bucket, f.Key)
		if err != nil {
			return f, fmt.Errorf("%w: %w", errWire, err)
		}
		f.Token = &t
	}
	f.ContentType = d.string(maxContentType)
	if d.err == nil && (f.Key == "" || f.Bucket == "" || f.Mode != version.LWW && f.Mode != version.Siblings) {
		d.fail("key or mode missing")
	}
	if d.err != nil {
		return f, d.err
	}
	f.Value = d.b
	return f, f.Params.Validate()
}

// encodeReply writes a PutResult on its way back; a forwarded request's failure travels as JSON instead.
func encodeReply(bucket, key string, r *PutResult) []byte {
	b := []byte{wireVersion, byte(r.N), byte(r.W), byte(r.Acks)}
	b = appendString(b, r.Token.Encode(bucket, key))
	b = appendString(b, r.ETag)
	b = appendString(b, r.Coordinator)
	b = binary.AppendUvarint(b, uint64(len(r.Replicas)))
	for i := range r.Replicas {
		p := &r.Replicas[i]
		b = appendString(b, p.Name)
		b = appendString(b, string(p.Outcome))
		b = appendString(b, p.Detail)
		b = binary.AppendUvarint(b, uint64(max(p.Elapsed, 0)))
		b = binary.AppendUvarint(b, uint64(p.Behind))
	}
	return b
}

func decodeReply(bucket, key string, b []byte) (PutResult, error) {
	d := decoder{b: b}
	d.version()
	r := PutResult{N: int(d.u8()), W: int(d.u8()), Acks: int(d.u8())}
	token := d.string(maxToken)
	r.ETag, r.Coordinator = d.string(maxContentType), d.string(maxContentType)
	for range d.uvarint(64) {
		r.Replicas = append(r.Replicas, Replica{Name: d.string(maxContentType), Outcome: Outcome(d.string(maxContentType)),
			Detail: d.string(maxToken), Elapsed: time.Duration(d.uvarint(1 << 62)), Behind: int(d.uvarint(1 << 31))})
	}
	if d.err != nil {
		return r, d.err
	}
	t, err := version.DecodeToken(token, bucket, key)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errWire, err)
	}
	r.Token = t
	return r, d.end()
}

func encodeError(e *Error) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("coordinator: an Error of plain fields does not marshal: %v", err))
	}
	return b
}

func decodeError(b []byte) *Error {
	var e Error
	if err := json.Unmarshal(b, &e); err != nil || e.Code == 0 || int(e.Code) >= len(codeNames) {
		return &Error{Code: Internal, Detail: "the owner's answer cannot be decoded", Indeterminate: true}
	}
	return &e
}

// The bounds of what a message may carry; each is at least what the client API lets in.
const (
	maxBucket      = 64
	maxKey         = 1024
	maxContentType = 256
	maxToken       = 1 << 20
)

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads a message front to back; the first fault sticks and every later read returns zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errWire, why)
	}
	d.b = nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("cut short")
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) version() {
	if v := d.u8(); d.err == nil && v != wireVersion {
		d.fail(fmt.Sprintf("format version %d, this node speaks %d", v, wireVersion))
	}
}

func (d *decoder) u8() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string(limit uint64) string {
	return string(d.take(d.uvarint(limit)))
}

func (d *decoder) level() quorum.Level {
	s := d.string(16)
	if d.err != nil {
		return 0
	}
	l, err := quorum.ParseLevel(s)
	if err != nil {
		d.fail(err.Error())
	}
	return l
}

func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("trailing bytes")
	}
	return d.err
}
