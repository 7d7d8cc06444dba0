package repair

import (
	"bytes"
	"encoding/binary"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// The kinds of message of hand-offs. Numbers are part of the node-to-node protocol.
const (
	KindHandOff transport.Kind = 12 // records that were kept for the receiver; answered when they are on its disk
	KindSettle  transport.Kind = 13 // dots of fallback actors that it is to adopt; answered when they are on its disk
	KindHolding transport.Kind = 14 // how much the sender holds for others
)

// handOffVersion 3 names openings of stores; 2 did not.
const handOffVersion = 3

// handOffs are records of one partition that the receiver owns.
type handOffs struct {
	Digest    uint64
	Partition ring.Partition
	Records   []handed
}

// handed is one record that was kept for the receiver.
type handed struct {
	Bucket, Key string
	Record      version.Record
}

func (m *handOffs) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, handOffVersion), m.Digest)
	b = binary.AppendUvarint(b, uint64(m.Partition))
	b = binary.AppendUvarint(b, uint64(len(m.Records)))
	for i := range m.Records {
		r := &m.Records[i]
		b = wire.AppendText(wire.AppendText(b, r.Bucket), r.Key)
		enc := version.AppendRecord(nil, r.Record)
		b = append(binary.AppendUvarint(b, uint64(len(enc))), enc...)
	}
	return b
}

func decodeHandOffs(b []byte) (handOffs, error) {
	d := decoder{wire.Read(b)}
	d.speaks(handOffVersion)
	m := handOffs{Digest: d.U64(), Partition: d.partition()}
	for range d.Uvarint(uint64(d.Left())) {
		r := handed{Bucket: d.Text(maxBucket), Key: d.Text(maxKey)}
		enc := bytes.Clone(d.Take(d.Uvarint(uint64(d.Left())))) // the store's cache keeps values: not the whole message with each
		if !d.Failed() {
			var err error
			if r.Record, err = version.DecodeRecord(enc); err != nil {
				d.Fail(err.Error())
			}
		}
		if !d.Failed() && (r.Bucket == "" || r.Key == "" || r.Record.N < 1) {
			d.Fail("no bucket, key or n")
		}
		if d.Failed() {
			break
		}
		m.Records = append(m.Records, r)
	}
	return m, d.End(errWire)
}

// refusal is a record that the receiver could not take, and why.
type refusal struct {
	Index  int
	Reason string
}

// taken is the answer: all records are on the receiver's disk but those that it refused, which are in order.
type taken struct {
	Pressure uint32          // as in page
	Opening  version.ActorID // of the receiver's store: what it has confirmed under it is there as long as that is its opening
	Refused  []refusal
}

func (m *taken) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, handOffVersion), uint64(m.Pressure))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Opening))
	b = binary.AppendUvarint(b, uint64(len(m.Refused)))
	for _, r := range m.Refused {
		b = wire.AppendText(binary.AppendUvarint(b, uint64(r.Index)), r.Reason)
	}
	return b
}

// decodeTaken reads the answer to a message of so many records.
func decodeTaken(b []byte, records int) (taken, error) {
	d := decoder{wire.Read(b)}
	d.speaks(handOffVersion)
	m := taken{Pressure: uint32(d.Uvarint(1 << 31)), Opening: version.ActorID(d.U64())}
	for range d.Uvarint(uint64(records)) {
		r := refusal{Index: int(d.Uvarint(uint64(records))), Reason: d.Text(maxReason)}
		if n := len(m.Refused); r.Index >= records || n > 0 && m.Refused[n-1].Index >= r.Index {
			d.Fail("refusals out of order")
		}
		if d.Failed() {
			break
		}
		m.Refused = append(m.Refused, r)
	}
	return m, d.End(errWire)
}

// maxReason bounds what is said of one record.
const maxReason = 512

// settle carries dots that the receiver is to adopt.
type settle struct {
	Digest    uint64
	Partition ring.Partition
	Opening   version.ActorID // under which it confirmed all that the dots rest on
	Dots      version.Vector
}

func (m *settle) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, handOffVersion), m.Digest)
	b = binary.AppendUvarint(b, uint64(m.Partition))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Opening))
	return version.AppendVector(b, m.Dots)
}

func decodeSettle(b []byte) (settle, error) {
	d := decoder{wire.Read(b)}
	d.speaks(handOffVersion)
	m := settle{Digest: d.U64(), Partition: d.partition(), Opening: version.ActorID(d.U64()), Dots: d.vector()}
	return m, d.End(errWire)
}

// settled is the answer.
type settled struct {
	Adopted bool // and on the receiver's disk; otherwise its store was opened anew since it confirmed, and never will adopt them
}

func (m *settled) append(b []byte) []byte { return append(b, handOffVersion, flag(m.Adopted)) }

func decodeSettled(b []byte) (settled, error) {
	d := decoder{wire.Read(b)}
	d.speaks(handOffVersion)
	m := settled{Adopted: d.Bool()}
	return m, d.End(errWire)
}

func (m *sums) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, handOffVersion), uint64(m.Count))
	return binary.AppendUvarint(b, uint64(m.Bytes))
}

func decodeSums(b []byte) (sums, error) {
	d := decoder{wire.Read(b)}
	d.speaks(handOffVersion)
	m := sums{Count: int64(d.Uvarint(1 << 62)), Bytes: int64(d.Uvarint(1 << 62))}
	return m, d.End(errWire)
}
