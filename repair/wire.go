package repair

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// The kinds of message of log exchange. Numbers are part of the node-to-node protocol.
const (
	KindCompare transport.Kind = 6 // clock hashes; answered by the clocks that differ
	KindOpen    transport.Kind = 7 // begin an exchange of one partition; answered by a page
	KindPage    transport.Kind = 8 // the next page
	KindEnd     transport.Kind = 9 // the caller gives up
)

// The refusals of the answering side.
const (
	statusLayout  transport.Status = transport.StatusApp + iota // the layouts differ; body: the member table
	statusFrozen                                                // starting, or a membership change is being decided
	statusBusy                                                  // as many exchanges as it serves are open
	statusUnknown                                               // it does not know the exchange (any more): start again
	statusStore                                                 // its store failed; body: text
	statusBad                                                   // not understood; body: text
)

const wireVersion = 1

// errWire is wrapped by every message that cannot be decoded.
var errWire = errors.New("repair: malformed message")

// hashed is a partition with the hash of the clock that the sender has of it, for the n that both nodes own.
type hashed struct {
	Partition ring.Partition
	Hash      uint64
}

// clocked is a partition with a whole clock.
type clocked struct {
	Partition ring.Partition
	Clock     version.Vector
}

// compare asks for the clocks that differ. Partitions are in order.
type compare struct {
	Layout uint64
	Hashes []hashed
}

func (m *compare) append(b []byte) []byte {
	b = appendHeader(b, m.Layout)
	b = binary.AppendUvarint(b, uint64(len(m.Hashes)))
	for _, h := range m.Hashes {
		b = binary.AppendUvarint(b, uint64(h.Partition))
		b = binary.LittleEndian.AppendUint64(b, h.Hash)
	}
	return b
}

func decodeCompare(b []byte) (compare, error) {
	d := decoder{b: b}
	m := compare{Layout: d.header()}
	for range d.uvarint(ring.MaxPartitions) {
		h := hashed{Partition: d.partition(), Hash: d.u64()}
		if n := len(m.Hashes); n > 0 && m.Hashes[n-1].Partition >= h.Partition {
			d.fail("partitions out of order")
		}
		if d.err != nil {
			break
		}
		m.Hashes = append(m.Hashes, h)
	}
	return m, d.end()
}

// compared is the answer: the clocks that differ, in the order of partitions.
type compared struct {
	Gaining bool
	Clocks  []clocked
}

func (m *compared) append(b []byte) []byte {
	b = append(b, wireVersion, flag(m.Gaining))
	b = binary.AppendUvarint(b, uint64(len(m.Clocks)))
	for i := range m.Clocks {
		b = binary.AppendUvarint(b, uint64(m.Clocks[i].Partition))
		b = version.AppendVector(b, m.Clocks[i].Clock)
	}
	return b
}

func decodeCompared(b []byte) (compared, error) {
	d := decoder{b: b}
	d.version()
	m := compared{Gaining: d.flag()}
	for range d.uvarint(ring.MaxPartitions) {
		c := clocked{Partition: d.partition(), Clock: d.vector()}
		if n := len(m.Clocks); n > 0 && m.Clocks[n-1].Partition >= c.Partition {
			d.fail("partitions out of order")
		}
		if d.err != nil {
			break
		}
		m.Clocks = append(m.Clocks, c)
	}
	return m, d.end()
}

// open begins an exchange. Clock is the caller's synced clock, for the n that both own.
type open struct {
	Layout    uint64
	Partition ring.Partition
	Clock     version.Vector
}

func (m *open) append(b []byte) []byte {
	b = binary.AppendUvarint(appendHeader(b, m.Layout), uint64(m.Partition))
	return version.AppendVector(b, m.Clock)
}

func decodeOpen(b []byte) (open, error) {
	d := decoder{b: b}
	m := open{Layout: d.header(), Partition: d.partition(), Clock: d.vector()}
	return m, d.end()
}

// next asks for the page after a cursor, or ends the exchange.
type next struct {
	Layout  uint64
	Session uint64
	After   version.Dot // the zero dot: from the beginning
}

func (m *next) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(appendHeader(b, m.Layout), m.Session)
	return appendDot(b, m.After)
}

func decodeNext(b []byte) (next, error) {
	d := decoder{b: b}
	m := next{Layout: d.header(), Session: d.u64(), After: d.dot()}
	return m, d.end()
}

// page is the answer to open and next.
type page struct {
	Session  uint64
	Gaining  bool
	Last     bool           // nothing follows, and the session is gone
	Pressure uint32         // how slow client requests are at the sender, in percent of what is usual; 0: there are too few to tell
	Clock    version.Vector // of the snapshot, for the n that both own; in the first page only
	After    version.Dot    // the cursor for the next page
	Records  []logged
}

// logged is one record of a page.
type logged struct {
	Bucket, Key string
	Record      version.Record
}

func (m *page) append(b []byte) []byte {
	b = append(b, wireVersion, flag(m.Gaining), flag(m.Last))
	b = binary.LittleEndian.AppendUint64(b, m.Session)
	b = binary.AppendUvarint(b, uint64(m.Pressure))
	b = appendDot(b, m.After)
	b = version.AppendVector(b, m.Clock)
	b = binary.AppendUvarint(b, uint64(len(m.Records)))
	for i := range m.Records {
		r := &m.Records[i]
		b = appendString(b, r.Bucket)
		b = appendString(b, r.Key)
		enc := version.AppendRecord(nil, r.Record)
		b = binary.AppendUvarint(b, uint64(len(enc)))
		b = append(b, enc...)
	}
	return b
}

func decodePage(b []byte) (page, error) {
	d := decoder{b: b}
	d.version()
	m := page{Gaining: d.flag(), Last: d.flag(), Session: d.u64(), Pressure: uint32(d.uvarint(1 << 31)), After: d.dot(), Clock: d.vector()}
	for range d.uvarint(uint64(len(d.b))) {
		r := logged{Bucket: d.string(maxBucket), Key: d.string(maxKey)}
		enc := bytes.Clone(d.take(d.uvarint(uint64(len(d.b))))) // the store's cache keeps values: not the whole page with each
		if d.err == nil {
			var err error
			if r.Record, err = version.DecodeRecord(enc); err != nil {
				d.err = fmt.Errorf("%w: %w", errWire, err)
			}
		}
		if d.err == nil && (r.Bucket == "" || r.Key == "") {
			d.fail("empty bucket or key")
		}
		if d.err != nil {
			break
		}
		m.Records = append(m.Records, r)
	}
	return m, d.end()
}

// The bounds of what a message may carry; those of the client API.
const (
	maxBucket = 64
	maxKey    = 1024
)

func appendHeader(b []byte, layout uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, wireVersion), layout)
}

func appendDot(b []byte, d version.Dot) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, d.Actor.N), uint64(d.Actor.ID))
	return binary.LittleEndian.AppendUint64(b, d.Counter)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
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

func (d *decoder) header() uint64 {
	d.version()
	return d.u64()
}

func (d *decoder) u8() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) flag() bool {
	v := d.u8()
	if v > 1 {
		d.fail("bad flag")
	}
	return v == 1
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

func (d *decoder) partition() ring.Partition {
	return ring.Partition(d.uvarint(ring.MaxPartitions - 1))
}

func (d *decoder) string(limit uint64) string { return string(d.take(d.uvarint(limit))) }

func (d *decoder) dot() version.Dot {
	dot := version.Dot{Actor: version.Actor{N: d.u8(), ID: version.ActorID(d.u64())}, Counter: d.u64()}
	if dot.Actor.N > version.MaxN || dot.Counter > version.MaxCounter {
		d.fail("bad dot")
	}
	return dot
}

func (d *decoder) vector() version.Vector {
	if d.err != nil {
		return version.Vector{}
	}
	v, rest, err := version.DecodeVector(d.b)
	if err != nil {
		d.err, d.b = fmt.Errorf("%w: %w", errWire, err), nil
		return version.Vector{}
	}
	d.b = rest
	return v
}

func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("trailing bytes")
	}
	return d.err
}
