package coordinator

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/wire"
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

	KindStand     transport.Kind = 10 // a whole record to keep for an owner; class write
	KindStandRead transport.Kind = 11 // a key to read from the hand-offs; class read
)

// The refusals of a replica. A refused request has certainly changed nothing there.
const (
	statusLayout       transport.Status = 16 + iota // the views differ; the body is what the replica knows of members and layouts
	statusSiblings                                  // raising n would leave siblings of the lower n alive
	statusNoSpace                                   // under the free-space floor
	statusDraining                                  // shutting down
	statusIO                                        // the store failed; for a write the outcome is unknown
	statusBad                                       // the request cannot be decoded; the body says why
	statusFrozen                                    // starting, or between two views; try again soon
	statusFailed                                    // a forwarded request failed; the body is its Error
	statusTooLarge                                  // the merged record would be too large
	statusSame                                      // a read's answer: what the request says it knows is all there is here
	statusHandOffSpace                              // what it may keep for others is at its bound
)

const wireVersion = 1

// errWire is wrapped by every message that cannot be decoded.
var errWire = errors.New("coordinator: malformed message")

// keyMessage is a request about one key under one view: a read, or a write if it carries a record.
type keyMessage struct {
	Layout uint64 // digest of the sender's view
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
	b = wire.AppendText(b, bucket)
	return wire.AppendText(b, key)
}

func decodeKeyMessage(b []byte, withRecord bool) (keyMessage, error) {
	var m keyMessage
	d := decoder{wire.Read(b)}
	d.version()
	m.Layout = d.U64()
	m.Inline = uint32(d.Uvarint(1 << 31))
	names := b[len(b)-d.Left():]
	bucket := len(d.Take(d.Uvarint(maxBucket)))
	mid := len(names) - d.Left()
	key := len(d.Take(d.Uvarint(maxKey)))
	if !d.Failed() {
		both := string(names[:len(names)-d.Left()]) // one allocation for two strings, as every request is decoded
		m.Bucket, m.Key = both[mid-bucket:mid], both[len(both)-key:]
	}
	d.Check(m.Key != "", "empty key")
	if d.Failed() {
		return m, d.Err(errWire)
	}
	if !withRecord {
		m.Known = d.Rest()
		return m, nil
	}
	rec, err := version.DecodeRecord(d.Rest())
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
	d := decoder{wire.Read(b)}
	d.version()
	a := ack{MaxLWW: version.Stamp{Time: d.U64(), Actor: version.ActorID(d.U64())}, N: d.Byte()}
	if d.Failed() {
		return ack{}, d.Err(errWire)
	}
	return a, d.End(errWire)
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
	b = wire.AppendText(b, f.Params.W.String())
	b = wire.AppendText(b, f.Params.R.String())
	if f.Token != nil {
		b = wire.AppendText(b, f.Token.Encode(f.Bucket, f.Key))
	}
	b = wire.AppendText(b, f.ContentType)
	return append(b, f.Value...)
}

func decodeForward(b []byte) (forward, error) {
	d := decoder{wire.Read(b)}
	d.version()
	f := forward{Layout: d.U64()}
	d.Uvarint(0)
	f.Bucket, f.Key = d.Text(maxBucket), d.Text(maxKey)
	flags := d.Byte()
	f.Params.N, f.Mode = int(d.Byte()), version.Mode(d.Byte())
	f.Params.W, f.Params.R = d.level(), d.level()
	f.Delete, f.Detail, f.Params.Sloppy = flags&forwardDelete != 0, flags&forwardDetail != 0, flags&forwardSloppy != 0
	if flags&forwardToken != 0 && !d.Failed() {
		t, err := version.DecodeToken(d.Text(maxToken), f.Bucket, f.Key)
		if err != nil {
			return f, fmt.Errorf("%w: %w", errWire, err)
		}
		f.Token = &t
	}
	f.ContentType = d.Text(maxContentType)
	d.Check(f.Key != "" && f.Bucket != "" && (f.Mode == version.LWW || f.Mode == version.Siblings), "key or mode missing")
	if d.Failed() {
		return f, d.Err(errWire)
	}
	f.Value = d.Rest()
	return f, f.Params.Validate()
}

// encodeReply writes a PutResult on its way back; a forwarded request's failure travels as JSON instead.
func encodeReply(bucket, key string, r *PutResult) []byte {
	b := []byte{wireVersion, byte(r.N), byte(r.W), byte(r.Acks)}
	b = wire.AppendText(b, r.Token.Encode(bucket, key))
	b = wire.AppendText(b, r.ETag)
	b = wire.AppendText(b, r.Coordinator)
	b = binary.AppendUvarint(b, uint64(len(r.Replicas)))
	for i := range r.Replicas {
		p := &r.Replicas[i]
		b = wire.AppendText(b, p.Name)
		b = wire.AppendText(b, string(p.Outcome))
		b = wire.AppendText(b, p.Detail)
		b = binary.AppendUvarint(b, uint64(max(p.Elapsed, 0)))
		b = binary.AppendUvarint(b, uint64(p.Behind))
	}
	if r.Fallbacks == 0 && !slices.ContainsFunc(r.Replicas, func(p Replica) bool { return p.StandsFor != "" }) {
		return b // as nodes that know of no stand-ins read it
	}
	b = append(b, byte(r.Fallbacks))
	for i := range r.Replicas {
		b = wire.AppendText(b, r.Replicas[i].StandsFor)
	}
	return b
}

func decodeReply(bucket, key string, b []byte) (PutResult, error) {
	d := decoder{wire.Read(b)}
	d.version()
	r := PutResult{N: int(d.Byte()), W: int(d.Byte()), Acks: int(d.Byte())}
	token := d.Text(maxToken)
	r.ETag, r.Coordinator = d.Text(maxContentType), d.Text(maxContentType)
	for range d.Uvarint(64) {
		r.Replicas = append(r.Replicas, Replica{Name: d.Text(maxContentType), Outcome: Outcome(d.Text(maxContentType)),
			Detail: d.Text(maxToken), Elapsed: time.Duration(d.Uvarint(1 << 62)), Behind: int(d.Uvarint(1 << 31))})
	}
	if d.Left() > 0 {
		r.Fallbacks = int(d.Byte())
		for i := range r.Replicas {
			r.Replicas[i].StandsFor = d.Text(maxContentType)
		}
	}
	if d.Failed() {
		return r, d.Err(errWire)
	}
	t, err := version.DecodeToken(token, bucket, key)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errWire, err)
	}
	r.Token = t
	return r, d.End(errWire)
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

// decoder reads the messages of this package.
type decoder struct{ wire.Reader }

func (d *decoder) version() {
	if v := d.Byte(); !d.Failed() && v != wireVersion {
		d.Fail(fmt.Sprintf("format version %d, this node speaks %d", v, wireVersion))
	}
}

func (d *decoder) level() quorum.Level {
	s := d.Text(16)
	if d.Failed() {
		return 0
	}
	l, err := quorum.ParseLevel(s)
	if err != nil {
		d.Fail(err.Error())
	}
	return l
}
