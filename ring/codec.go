package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/wire"
)

// ErrCorrupt is returned for bytes that Encode did not write.
var ErrCorrupt = errors.New("ring: corrupt member table")

// tableFormat is the version of the encoding. docs/formats.md describes it. In format 1 rows had flags besides, for who had still to fetch what it owned.
const (
	tableFormat      = 2
	tableFormatFlags = 1
)

// minRow is the length of the shortest row: incarnation, four empty strings and a name of one byte, weight, state, epoch and a zero ReplacedBy.
const minRow = 16 + 2 + 1 + 1 + 1 + 3 + 1 + 16

// Encode is the one encoding of t: equal tables have equal bytes.
func (t Table) Encode() []byte {
	b := []byte{tableFormat}
	b = wire.AppendText(b, t.cluster)
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
	b = wire.AppendText(b, m.Name)
	b = wire.AppendText(b, m.Zone)
	b = binary.AppendUvarint(b, uint64(m.Weight))
	b = append(b, byte(m.State))
	b = wire.AppendText(b, m.Addrs.Gossip)
	b = wire.AppendText(b, m.Addrs.RPC)
	b = wire.AppendText(b, m.Addrs.HTTP)
	b = binary.AppendUvarint(b, m.Addrs.Epoch)
	return append(b, m.ReplacedBy[:]...)
}

// The flags of a row in format 1: it took the place of a namesake with an empty disk, and has fetched what that place holds.
const (
	flagFresh  = 1 << 0
	flagSynced = 1 << 1
)

// ErrUnsynced is returned for a table of format 1 with a member that owns without having fetched what it owns. Format 2 cannot say that.
var ErrUnsynced = errors.New("ring: a member had not fetched what it owns when this table was saved by an older version; let that version finish first")

// DecodeTable reads what Encode wrote, from a peer or from disk, in this version or an older one. Anything else, be it another spelling of the same table, is ErrCorrupt,
// and ErrUnsynced what cannot be said any more. It does not keep b.
func DecodeTable(b []byte) (Table, error) {
	r := reader{Reader: wire.Read(b)}
	format := r.Byte()
	if !r.Failed() && format != tableFormat && format != tableFormatFlags {
		return Table{}, fmt.Errorf("%w: format %d, this node knows %d", ErrCorrupt, format, tableFormat)
	}
	r.flags = format == tableFormatFlags
	t := Table{cluster: r.Text(MaxName), partitions: int(r.Uvarint(MaxPartitions)), founder: r.id()}
	count := int(r.Uvarint(MaxMembers))
	// A count that the bytes cannot hold must not make us allocate for it.
	if r.Failed() || count > r.Left()/minRow {
		return Table{}, fmt.Errorf("%w: header, or %d rows in %d bytes", ErrCorrupt, count, r.Left())
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
		if r.Failed() {
			return Table{}, fmt.Errorf("%w: row %d", ErrCorrupt, i)
		}
		if r.unsynced && !m.State.Gone() {
			return Table{}, fmt.Errorf("%w: %s", ErrUnsynced, m.Name)
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
	if r.Left() > 0 {
		return Table{}, fmt.Errorf("%w: %d bytes too many", ErrCorrupt, r.Left())
	}
	return t, nil
}

// reader reads a table.
type reader struct {
	wire.Reader
	flags    bool // rows have flags
	unsynced bool // as those of the last row say
}

func (r *reader) member() Member {
	m := Member{ID: r.id(), Name: r.Text(MaxName), Zone: r.Text(MaxName), Weight: uint32(r.Uvarint(MaxWeight)), State: State(r.Byte())}
	if r.flags {
		flags := r.Byte()
		r.Check(flags&^(flagFresh|flagSynced) == 0, "bad flags")
		r.unsynced = flags == flagFresh
	}
	m.Addrs = Addrs{Gossip: r.Text(MaxAddr), RPC: r.Text(MaxAddr), HTTP: r.Text(MaxAddr), Epoch: r.Uvarint(math.MaxUint64)}
	m.ReplacedBy = r.id()
	return m
}

func (r *reader) id() ID {
	var id ID
	copy(id[:], r.Take(uint64(len(id))))
	return id
}
