package layouts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
)

// ErrCorrupt is returned for bytes that Encode did not write.
var ErrCorrupt = errors.New("layouts: corrupt state")

// format is the version of the encoding. docs/formats.md describes it.
const format = 1

// minRow is the length of the shortest row: incarnation, standing, a name of one byte, no zone, weight, placed, losses.
const minRow = 16 + 1 + 2 + 1 + 1 + 1 + 1

const (
	flagWhole  = 1 << 0
	flagBuried = 1 << 1
)

// How the reports of one row are written.
const (
	syncedNone = iota
	syncedAll
	syncedSome // a bitmap follows
)

// Encode is the one encoding of s: equal states have equal bytes.
func (s State) Encode() []byte {
	b := []byte{format}
	b = binary.AppendUvarint(b, uint64(len(s.layouts)))
	for _, l := range s.layouts {
		b = l.append(b)
	}
	return b
}

func (l layout) append(b []byte) []byte {
	b = l.version.append(b)
	var flags byte
	if l.whole {
		flags |= flagWhole
	}
	if l.buried {
		flags |= flagBuried
	}
	b = append(b, flags)
	if l.buried {
		return b
	}
	if l.whole {
		return l.appendRows(b, l.moved)
	}
	b = l.appendRows(b, l.recorded)
	for i, r := range l.version.rows {
		if r.Standing != Owns {
			continue
		}
		var s set
		if len(l.synced) > 0 {
			s = l.synced[i]
		}
		switch s.len() {
		case 0:
			b = append(b, syncedNone)
		case l.version.partitions:
			b = append(b, syncedAll)
		default:
			b = append(append(b, syncedSome), s...)
		}
	}
	return b
}

func (l layout) appendRows(b []byte, s set) []byte {
	size := (len(l.version.rows) + 7) / 8
	b = append(b, s...)
	return append(b, make([]byte, size-len(s))...)
}

// Decode reads what Encode wrote, from a peer or from disk. Anything else, be it another spelling of the same state, is ErrCorrupt. It does not keep b.
func Decode(b []byte) (State, error) {
	r := reader{Reader: wire.Read(b)}
	if f := r.Byte(); !r.Failed() && f != format {
		return State{}, fmt.Errorf("%w: format %d, this node knows %d", ErrCorrupt, f, format)
	}
	count := int(r.Uvarint(MaxLayouts))
	var s State
	for i := range count {
		l, err := r.layout()
		if err != nil {
			return State{}, fmt.Errorf("%w: layout %d: %w", ErrCorrupt, i, err)
		}
		if i > 0 && l.version.partitions != s.layouts[0].version.partitions {
			return State{}, fmt.Errorf("%w: layouts with different numbers of partitions", ErrCorrupt)
		}
		s.layouts = append(s.layouts, l)
	}
	if r.Failed() || r.Left() > 0 {
		return State{}, fmt.Errorf("%w: %d bytes too many, or too few", ErrCorrupt, r.Left())
	}
	// The order of layouts, whether one is dead, bits beyond a set and every other second spelling show in what is written back.
	if again, err := Merge(s, State{}); err != nil || !bytes.Equal(again.Encode(), b) {
		return State{}, fmt.Errorf("%w: not in its one form", ErrCorrupt)
	}
	return s, nil
}

// reader reads a state.
type reader struct{ wire.Reader }

var errShort = errors.New("short, or out of bounds")

func (r *reader) layout() (layout, error) {
	v, err := r.version()
	if err != nil {
		return layout{}, err
	}
	flags := r.Byte()
	l := layout{version: v, whole: flags&flagWhole != 0, buried: flags&flagBuried != 0}
	if r.Failed() || flags&^(flagWhole|flagBuried) != 0 || l.buried && !l.whole {
		return layout{}, errShort
	}
	if l.whole {
		if !l.buried {
			l.moved = r.set(len(v.rows))
		}
		return l, nil
	}
	l.recorded = r.set(len(v.rows))
	l.synced = make([]set, len(v.rows))
	for i, row := range v.rows {
		if row.Standing != Owns {
			continue
		}
		switch kind := r.Byte(); kind {
		case syncedNone:
		case syncedAll:
			l.synced[i] = fullSet(v.partitions)
		case syncedSome:
			l.synced[i] = r.set(v.partitions)
		default:
			return layout{}, errShort
		}
	}
	if !slices.ContainsFunc(l.synced, func(s set) bool { return s != nil }) {
		l.synced = nil
	}
	if r.Failed() || l.settle().whole {
		return layout{}, errShort
	}
	return l, nil
}

func (r *reader) version() (Version, error) {
	partitions := int(r.Uvarint(ring.MaxPartitions))
	count := int(r.Uvarint(ring.MaxMembers))
	// A count that the bytes cannot hold must not make us allocate for it.
	if r.Failed() || count < 1 || count > r.Left()/minRow {
		return Version{}, errShort
	}
	if err := ring.CheckPartitions(partitions); err != nil {
		return Version{}, err
	}
	rows := make([]Row, 0, count)
	for range count {
		row := Row{ID: r.id(), Standing: Standing(r.Byte()), Name: r.Text(ring.MaxName), Zone: r.Text(ring.MaxName)}
		row.Weight = uint32(r.Uvarint(ring.MaxWeight))
		row.Placed = r.Uvarint(math.MaxUint64)
		row.Losses = r.Uvarint(math.MaxUint64)
		rows = append(rows, row)
	}
	if r.Failed() {
		return Version{}, errShort
	}
	return makeVersion(partitions, rows)
}

// set reads a set for numbers below size. Nothing in it is nil, so that equal sets are equal slices.
func (r *reader) set(size int) set {
	s := set(r.Take(uint64(size+7) / 8))
	if s.len() == 0 {
		return nil
	}
	if extra := size % 8; extra != 0 && s[len(s)-1]>>extra != 0 {
		r.Fail("bits beyond the set")
	}
	return append(set(nil), s...)
}

func (r *reader) id() ring.ID {
	var id ring.ID
	copy(id[:], r.Take(uint64(len(id))))
	return id
}
