package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrCorrupt is returned for bytes that Encode did not write.
var ErrCorrupt = errors.New("ring: corrupt member table")

// tableFormat is the version of the encoding. docs/formats.md describes it.
const tableFormat = 1

// minRow is the length of the shortest row: incarnation, four empty strings and a name of one byte, weight, state, flags, epoch and a zero ReplacedBy.
const minRow = 16 + 2 + 1 + 1 + 1 + 3 + 1 + 1 + 16

// Encode is the one encoding of t: equal tables have equal bytes.
func (t Table) Encode() []byte {
	b := []byte{tableFormat}
	b = appendString(b, t.cluster)
	b = binary.AppendUvarint(b, uint64(t.partitions))
	b = append(b, t.founder[:]...)
	b = binary.AppendUvarint(b, uint64(len(t.rows)))
	for _, m := range t.rows {
		b = appendMember(b, m)
	}
	return b
}

func appendMember(b []byte, m Member) []byte {
	b = append(b, m.ID[:]...)
	b = appendString(b, m.Name)
	b = appendString(b, m.Zone)
	b = binary.AppendUvarint(b, uint64(m.Weight))
	b = append(b, byte(m.State), flagsOf(m))
	b = appendString(b, m.Addrs.Gossip)
	b = appendString(b, m.Addrs.RPC)
	b = appendString(b, m.Addrs.HTTP)
	b = binary.AppendUvarint(b, m.Addrs.Epoch)
	return append(b, m.ReplacedBy[:]...)
}

const (
	flagFresh  = 1 << 0
	flagSynced = 1 << 1
)

func flagsOf(m Member) byte {
	var flags byte
	if m.Fresh {
		flags |= flagFresh
	}
	if m.Synced {
		flags |= flagSynced
	}
	return flags
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// DecodeTable reads what Encode wrote, from a peer or from disk. Anything else, be it another spelling of the same table, is ErrCorrupt. It does not keep b.
func DecodeTable(b []byte) (Table, error) {
	r := reader{rest: b}
	if format := r.byte(); !r.failed && format != tableFormat {
		return Table{}, fmt.Errorf("%w: format %d, this node knows %d", ErrCorrupt, format, tableFormat)
	}
	t := Table{cluster: r.string(MaxName), partitions: int(r.uvarint(MaxPartitions)), founder: r.id()}
	count := int(r.uvarint(MaxMembers))
	// A count that the bytes cannot hold must not make us allocate for it.
	if r.failed || count > len(r.rest)/minRow {
		return Table{}, fmt.Errorf("%w: header, or %d rows in %d bytes", ErrCorrupt, count, len(r.rest))
	}
	if t.cluster != "" && CheckName(t.cluster) != nil || t.partitions != 0 && CheckPartitions(t.partitions) != nil {
		return Table{}, fmt.Errorf("%w: cluster %q with %d partitions", ErrCorrupt, t.cluster, t.partitions)
	}
	if count > 0 {
		t.rows = make([]Member, 0, count)
	}
	var last ID
	for i := range count {
		m := r.member()
		if r.failed {
			return Table{}, fmt.Errorf("%w: row %d", ErrCorrupt, i)
		}
		if err := m.Validate(); err != nil {
			return Table{}, fmt.Errorf("%w: row %d: %w", ErrCorrupt, i, err)
		}
		if m.ID.Compare(last) <= 0 {
			return Table{}, fmt.Errorf("%w: row %d is out of order", ErrCorrupt, i)
		}
		last = m.ID
		t.rows = append(t.rows, m)
	}
	if len(r.rest) > 0 {
		return Table{}, fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(r.rest))
	}
	return t, nil
}

// reader takes a table's bytes apart. After a failure it stays failed and reads zeros, so that a caller checks once a row.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) member() Member {
	m := Member{ID: r.id(), Name: r.string(MaxName), Zone: r.string(MaxName), Weight: uint32(r.uvarint(MaxWeight)), State: State(r.byte())}
	flags := r.byte()
	r.failed = r.failed || flags&^(flagFresh|flagSynced) != 0
	m.Fresh, m.Synced = flags&flagFresh != 0, flags&flagSynced != 0
	m.Addrs = Addrs{Gossip: r.string(MaxAddr), RPC: r.string(MaxAddr), HTTP: r.string(MaxAddr), Epoch: r.uvarint(math.MaxUint64)}
	m.ReplacedBy = r.id()
	return m
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) id() ID {
	var id ID
	copy(id[:], r.take(len(id)))
	return id
}

// uvarint reads a number of at most limit in its shortest form.
func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	// A last byte of zero beyond the first says that fewer bytes would have done.
	if r.failed || n <= 0 || n > 1 && r.rest[n-1] == 0 || v > limit {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) string(limit int) string { return string(r.take(int(r.uvarint(uint64(limit))))) }
