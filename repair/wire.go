package repair

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// The kinds of message of log exchange. Numbers are part of the node-to-node protocol.
const (
	KindCompare transport.Kind = 6 // clock hashes; answered by the partitions that differ
	KindOpen    transport.Kind = 7 // the clocks of some partitions, and an exchange of them
	KindPage    transport.Kind = 8 // the next page
	KindEnd     transport.Kind = 9 // the caller gives up

	KindShow transport.Kind = 15 // clocks of sets that the caller holds and owns no more; answered by which of them the receiver has all of
)

// The refusals of the answering side.
const (
	statusLayout  transport.Status = transport.StatusApp + iota // the views differ; body: what this node knows of table and layouts
	statusFrozen                                                // starting, or the view is just being swapped
	statusBusy                                                  // as many exchanges as it serves are open
	statusUnknown                                               // it does not know the exchange (any more): start again
	statusStore                                                 // its store failed; body: text
	statusBad                                                   // not understood; body: text
)

// wireVersion 3 names views by their digests and says of each partition whether its owner holds it; 2 named a layout.
const wireVersion = 3

// errWire is wrapped by every message that cannot be decoded.
var errWire = errors.New("repair: malformed message")

// compare asks whether the clocks of all partitions that both nodes own are equal, for the n that both own: first by one hash of all, then
// by a hash for each.
type compare struct {
	Digest uint64
	Root   uint64
	Salt   uint64 // what each hash is hashed with once more, so that what looks equal by chance does not do so the next time
	Width  uint8  // bytes of each hash, 0 if there are none
	Hashes []byte // in the order of the partitions
}

func (m *compare) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(appendHeader(b, m.Digest), m.Root)
	if b = append(b, m.Width); m.Width == 0 {
		return b
	}
	return append(binary.LittleEndian.AppendUint64(b, m.Salt), m.Hashes...)
}

func decodeCompare(b []byte) (compare, error) {
	d := decoder{wire.Read(b)}
	m := compare{Digest: d.header(), Root: d.U64(), Width: d.Byte()}
	if m.Width > 8 {
		d.Fail("hashes of more than 8 bytes")
	} else if m.Width > 0 {
		m.Salt, m.Hashes = d.U64(), d.Take(uint64(d.Left()))
		if len(m.Hashes) == 0 || len(m.Hashes)%int(m.Width) != 0 {
			d.Fail("cut short")
		}
	}
	return m, d.End(errWire)
}

// compared is the answer: whether all is equal, and if hashes of partitions came, which partitions differ.
type compared struct {
	Equal      bool
	Partitions []ring.Partition // ascending
}

func (m *compared) append(b []byte) []byte {
	return appendPartitions(append(b, wireVersion, flag(m.Equal)), m.Partitions)
}

func decodeCompared(b []byte) (compared, error) {
	d := decoder{wire.Read(b)}
	d.version()
	m := compared{Equal: d.Bool(), Partitions: d.partitions()}
	return m, d.End(errWire)
}

// open asks for the clocks of some partitions, for the n that both nodes own, as far as they differ from what the caller believes them to be
// (its own, at first), holes left aside; and, if Hold is set, begins an exchange of them. Of a former owner, which has shown what it holds, it asks for
// the n from Least on.
type open struct {
	Digest     uint64
	Hold       bool
	Former     bool
	Partitions []ring.Partition // ascending
	Least      []uint8          // with Former: by partition
	Columns    []uint64         // hashes of the columns of what it believes; a power of two of them
}

func (m *open) append(b []byte) []byte {
	b = appendPartitions(append(appendHeader(b, m.Digest), flag(m.Hold), flag(m.Former)), m.Partitions)
	b = append(b, m.Least...)
	b = append(b, byte(bits.Len(uint(len(m.Columns)))-1))
	for _, h := range m.Columns {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

func decodeOpen(b []byte) (open, error) {
	d := decoder{wire.Read(b)}
	m := open{Digest: d.header(), Hold: d.Bool(), Former: d.Bool(), Partitions: d.partitions()}
	if m.Former {
		m.Least = d.leasts(len(m.Partitions))
	}
	if n := d.Byte(); n > maxColumnBits || int(1)<<n > d.Left()/8 {
		d.Fail("bad number of columns")
	} else {
		m.Columns = d.hashes(1 << n)
	}
	return m, d.End(errWire)
}

// opened is the answer: the columns that differ, and their entries in the answerer's clocks, a row for each partition asked for.
type opened struct {
	Session uint64 // of the exchange, 0 if none was asked for
	Holds   []bool // a partition each: whether the answerer holds all that it owns there
	Differ  []bool // as many as columns were compared
	Rows    []version.Vector
	Holed   [][]version.Entry // of the other columns, the entries with holes
}

func (m *opened) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, wireVersion), m.Session)
	b = appendBits(b, m.Holds)
	return appendSparse(appendTable(appendBits(b, m.Differ), m.Rows), m.Holed)
}

// decodeOpened decodes the answer to an open of so many partitions and columns.
func decodeOpened(b []byte, partitions, columns int) (opened, error) {
	d := decoder{wire.Read(b)}
	d.version()
	m := opened{Session: d.U64(), Holds: d.bits(partitions), Differ: d.bits(columns)}
	if m.Rows = d.table(partitions); !d.Failed() && slices.ContainsFunc(m.Rows, func(row version.Vector) bool { return !within(row, m.Differ) }) {
		d.Fail("entries of a column that is equal")
	}
	m.Holed = d.sparse(partitions)
	return m, d.End(errWire)
}

// next asks for a page. The first one says what is wanted: of which of the exchange's partitions, and what the caller has there of the actors of
// whom it lacks something; of the others it has all that the snapshot's clock has. Later ones say after which record.
type next struct {
	Digest  uint64
	Session uint64
	Bytes   uint32 // about how many a page is to have, one record at least; 0: as many as the answerer likes. It never sends more than that
	First   bool
	Wanted  []bool            // with First: one for each of the partitions
	Known   [][]version.Entry // with First: one for each that is wanted
	At      ring.Partition
	After   version.Dot
}

func (m *next) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(appendHeader(b, m.Digest), m.Session)
	b = append(binary.AppendUvarint(b, uint64(m.Bytes)), flag(m.First))
	if m.First {
		b = binary.AppendUvarint(b, uint64(len(m.Wanted)))
		return appendSparse(appendBits(b, m.Wanted), m.Known)
	}
	return appendDot(binary.AppendUvarint(b, uint64(m.At)), m.After)
}

func decodeNext(b []byte) (next, error) {
	d := decoder{wire.Read(b)}
	m := next{Digest: d.header(), Session: d.U64(), Bytes: uint32(d.Uvarint(1 << 31)), First: d.Bool()}
	if !m.First {
		m.At, m.After = d.partition(), d.dot()
		return m, d.End(errWire)
	}
	m.Wanted = d.bits(int(d.Uvarint(ring.MaxPartitions)))
	rows := 0
	for _, wanted := range m.Wanted {
		if wanted {
			rows++
		}
	}
	m.Known = d.sparse(rows)
	return m, d.End(errWire)
}

// page is the answer to next. Partitions come one after the other; those that were wanted and lie before At, or all if it is the last page, are
// finished with it.
type page struct {
	Last     bool           // nothing follows, and the session is gone
	Pressure uint32         // how slow client requests are at the sender, in percent of what is usual; 0: there are too few to tell
	At       ring.Partition // with After: the cursor for the next page
	After    version.Dot
	Sections []section
}

// section is a run of records of one partition, in stored form under the snapshot's clock. Beneath is what that says of the n that the caller
// does not own: the caller needs it to make the records full.
type section struct {
	Partition ring.Partition
	Beneath   version.Vector
	Records   []logged
}

// logged is one record of a page.
type logged struct {
	Bucket, Key string
	Record      version.Record
}

func (m *page) append(b []byte) []byte {
	b = append(b, wireVersion, flag(m.Last))
	b = binary.AppendUvarint(b, uint64(m.Pressure))
	b = appendDot(binary.AppendUvarint(b, uint64(m.At)), m.After)
	b = binary.AppendUvarint(b, uint64(len(m.Sections)))
	var enc []byte
	for i := range m.Sections {
		s := &m.Sections[i]
		b = version.AppendVector(binary.AppendUvarint(b, uint64(s.Partition)), s.Beneath)
		b = binary.AppendUvarint(b, uint64(len(s.Records)))
		for k := range s.Records {
			r := &s.Records[k]
			b = wire.AppendText(wire.AppendText(b, r.Bucket), r.Key)
			enc = version.AppendRecord(enc[:0], r.Record)
			b = append(binary.AppendUvarint(b, uint64(len(enc))), enc...)
		}
	}
	return b
}

func decodePage(b []byte) (page, error) {
	d := decoder{wire.Read(b)}
	d.version()
	m := page{Last: d.Bool(), Pressure: uint32(d.Uvarint(1 << 31)), At: d.partition(), After: d.dot()}
	for range d.Uvarint(ring.MaxPartitions) {
		s := section{Partition: d.partition(), Beneath: d.vector()}
		for range d.Uvarint(uint64(d.Left())) {
			s.Records = append(s.Records, d.logged())
			if d.Failed() {
				break
			}
		}
		if d.Failed() {
			break
		}
		m.Sections = append(m.Sections, s)
	}
	return m, d.End(errWire)
}

func (d *decoder) logged() logged {
	r := logged{Bucket: d.Text(maxBucket), Key: d.Text(maxKey)}
	enc := bytes.Clone(d.Take(d.Uvarint(uint64(d.Left())))) // the store's cache keeps values: not the whole page with each
	if !d.Failed() && (r.Bucket == "" || r.Key == "") {
		d.Fail("empty bucket or key")
	}
	if !d.Failed() {
		var err error
		if r.Record, err = version.DecodeRecord(enc); err != nil {
			d.Fail(err.Error())
		}
	}
	return r
}

// show tells an owner what the caller holds of sets that it owns no more: their clocks, for the n that the receiver owns.
type show struct {
	Digest     uint64
	Partitions []ring.Partition // ascending
	Least      []uint8          // by partition: the least n that is shown
	Clocks     []version.Vector // by partition
}

func (m *show) append(b []byte) []byte {
	b = append(appendPartitions(appendHeader(b, m.Digest), m.Partitions), m.Least...)
	return appendTable(b, m.Clocks)
}

func decodeShow(b []byte) (show, error) {
	d := decoder{wire.Read(b)}
	m := show{Digest: d.header(), Partitions: d.partitions()}
	m.Least = d.leasts(len(m.Partitions))
	m.Clocks = d.table(len(m.Partitions))
	return m, d.End(errWire)
}

// shown is the answer: what is not there yet, the receiver fetches from the caller, and is to be shown again.
type shown struct {
	Held []bool // by partition: all that was shown is on the receiver's disk, or superseded there
}

func (m *shown) append(b []byte) []byte { return appendBits(append(b, wireVersion), m.Held) }

// decodeShown decodes the answer to a show of so many partitions.
func decodeShown(b []byte, partitions int) (shown, error) {
	d := decoder{wire.Read(b)}
	d.version()
	m := shown{Held: d.bits(partitions)}
	return m, d.End(errWire)
}
