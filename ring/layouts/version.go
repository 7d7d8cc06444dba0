package layouts

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
)

// ErrForeign is returned when layouts of clusters with different numbers of partitions meet.
var ErrForeign = errors.New("layouts: another number of partitions")

// ErrFull is returned when a bound of this package would be exceeded. What was held before stays valid.
var ErrFull = errors.New("layouts: full")

// Standing is what an incarnation is to a layout. It only grows, so every order of hearing of changes ends in the same layout.
type Standing uint8

// The standings, in their order.
const (
	Owns     Standing = iota + 1 // has a place
	Leaves                       // gave up its place; in older layouts it still owns, acknowledges and hands over
	Removed                      // declared lost by an operator; counts once a majority has recorded it (View.Lost)
	Forced                       // declared lost by an operator, on one node's word
	Replaced                     // its disk was lost, and a namesake has its place
)

var standingNames = [...]string{Owns: "owns", Leaves: "leaves", Removed: "removed", Forced: "forced out", Replaced: "replaced"}

// String is the word for s in drawings.
func (s Standing) String() string {
	if s < Owns || s > Replaced {
		return fmt.Sprintf("standing(%d)", uint8(s))
	}
	return standingNames[s]
}

// Row is one incarnation in a layout, and comparable with ==.
type Row struct {
	ID         ring.ID
	Standing   Standing
	Name, Zone string
	Weight     uint32 // 1 to ring.MaxWeight
	// Placed counts the member's changes of zone and weight: of two rows of one incarnation the higher one's are right. Without it, a weight that is changed
	// and changed back would make a layout that had been dead before.
	Placed uint64
	// Losses counts how often the member lost a part of what it held and went on: bytes that do not match their checksums, say, or a range of keys.
	// It owns what it did, in another layout.
	Losses uint64
}

func (r Row) validate() error {
	if r.Standing < Owns || r.Standing > Replaced {
		return fmt.Errorf("layouts: member %.40q: %v: %w", r.Name, r.Standing, ring.ErrInvalid)
	}
	return r.member().Validate()
}

// member is what placement needs of the row.
func (r Row) member() ring.Member {
	return ring.Member{ID: r.ID, Name: r.Name, Zone: r.Zone, Weight: r.Weight, State: ring.Active}
}

// join is the least row that knows all that a and b know; both are of one incarnation.
func (r Row) join(other Row) Row {
	out := r
	if cmp.Or(cmp.Compare(r.Placed, other.Placed), strings.Compare(r.Name, other.Name), strings.Compare(r.Zone, other.Zone),
		cmp.Compare(r.Weight, other.Weight)) < 0 {
		out = other
	}
	out.Standing = max(r.Standing, other.Standing)
	out.Losses = max(r.Losses, other.Losses)
	return out
}

// Hash names a layout: XXH64 of the encoded version.
type Hash uint64

// String is 16 hexadecimal digits.
func (h Hash) String() string { return fmt.Sprintf("%016x", uint64(h)) }

// Version is what a layout is made of and named by: every incarnation that ever owned, those that no longer do included. That makes layouts a lattice,
// and no layout the same as one before it: a member that came and went leaves the owners as they were, and another version.
//
// It is an immutable value, cheap to copy. The zero Version stands for "before the cluster" and is below every other.
type Version struct {
	partitions int
	rows       []Row // sorted by ID, never written after the version was made
	hash       Hash
}

// NewVersion is the version of these rows. It fails for rows that are not valid or name an incarnation twice, and with ErrFull for more than ring.MaxMembers.
func NewVersion(partitions int, rows ...Row) (Version, error) {
	if err := ring.CheckPartitions(partitions); err != nil {
		return Version{}, err
	}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Row) int { return a.ID.Compare(b.ID) })
	return makeVersion(partitions, rows)
}

// makeVersion keeps rows, which must be sorted.
func makeVersion(partitions int, rows []Row) (Version, error) {
	if len(rows) > ring.MaxMembers {
		return Version{}, fmt.Errorf("%w: %d incarnations", ErrFull, len(rows))
	}
	for i, r := range rows {
		if err := r.validate(); err != nil {
			return Version{}, err
		}
		if i > 0 && rows[i-1].ID.Compare(r.ID) >= 0 {
			return Version{}, fmt.Errorf("layouts: rows of %s: %w", r.Name, ring.ErrInvalid)
		}
	}
	v := Version{partitions: partitions, rows: rows}
	v.hash = Hash(xxhash.Sum64(v.append(nil)))
	return v, nil
}

func (v Version) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(v.partitions))
	b = binary.AppendUvarint(b, uint64(len(v.rows)))
	for _, r := range v.rows {
		b = append(b, r.ID[:]...)
		b = append(b, byte(r.Standing))
		b = wire.AppendText(b, r.Name)
		b = wire.AppendText(b, r.Zone)
		b = binary.AppendUvarint(b, uint64(r.Weight))
		b = binary.AppendUvarint(b, r.Placed)
		b = binary.AppendUvarint(b, r.Losses)
	}
	return b
}

// Hash is the layout's name.
func (v Version) Hash() Hash { return v.hash }

// Partitions is Q.
func (v Version) Partitions() int { return v.partitions }

// Rows are all incarnations, sorted. The slice is the caller's.
func (v Version) Rows() []Row { return slices.Clone(v.rows) }

// Owners are the incarnations that have a place, sorted.
func (v Version) Owners() []ring.ID {
	var owners []ring.ID
	for _, r := range v.rows {
		if r.Standing == Owns {
			owners = append(owners, r.ID)
		}
	}
	return owners
}

// Standing is what id is to the layout, 0 for an incarnation that it does not know.
func (v Version) Standing(id ring.ID) Standing {
	if i := v.index(id); i >= 0 {
		return v.rows[i].Standing
	}
	return 0
}

// losses is how many losses of id the layout knows.
func (v Version) losses(id ring.ID) uint64 {
	if i := v.index(id); i >= 0 {
		return v.rows[i].Losses
	}
	return 0
}

func (v Version) index(id ring.ID) int {
	i, found := slices.BinarySearchFunc(v.rows, id, func(r Row, id ring.ID) int { return r.ID.Compare(id) })
	if !found {
		return -1
	}
	return i
}

// Join is the least version that is not below v or other in anything.
func (v Version) Join(other Version) (Version, error) {
	switch {
	case len(v.rows) == 0:
		return other, nil
	case len(other.rows) == 0:
		return v, nil
	case v.partitions != other.partitions:
		return Version{}, fmt.Errorf("%w: %d and %d", ErrForeign, v.partitions, other.partitions)
	}
	a, b := v.rows, other.rows
	rows := make([]Row, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := a[0].ID.Compare(b[0].ID); {
		case c < 0:
			rows, a = append(rows, a[0]), a[1:]
		case c > 0:
			rows, b = append(rows, b[0]), b[1:]
		default:
			rows, a, b = append(rows, a[0].join(b[0])), a[1:], b[1:]
		}
	}
	return makeVersion(v.partitions, append(append(rows, a...), b...))
}

// Covers reports whether other is v or below it: v knows all that other knows.
func (v Version) Covers(other Version) bool {
	if len(other.rows) == 0 || v.hash == other.hash {
		return true
	}
	if v.partitions != other.partitions {
		return false
	}
	for _, r := range other.rows {
		i := v.index(r.ID)
		if i < 0 || v.rows[i].join(r) != v.rows[i] {
			return false
		}
	}
	return true
}

// below reports whether v is older than other.
func (v Version) below(other Version) bool { return v.hash != other.hash && other.Covers(v) }

// Place computes who owns what. It costs what ring.NewLayout costs: keep the result.
func (v Version) Place() *ring.Layout {
	t, err := ring.NewTable("layout", v.partitions)
	if err != nil {
		panic(fmt.Sprintf("layouts: placing %v with %d partitions: %v", v.hash, v.partitions, err))
	}
	for _, r := range v.rows {
		if r.Standing != Owns {
			continue
		}
		if t, err = t.With(r.member()); err != nil {
			panic(fmt.Sprintf("layouts: placing %v: %v", v.hash, err)) // rows were validated when the version was made
		}
	}
	return ring.NewLayout(t)
}

// String is the hash and every incarnation with its standing, in one line.
func (v Version) String() string {
	var b strings.Builder
	b.WriteString(v.hash.String())
	for _, r := range v.rows {
		fmt.Fprintf(&b, " %s/%s", r.Name, r.ID.Short())
		if r.Standing != Owns {
			fmt.Fprintf(&b, "(%v)", r.Standing)
		}
	}
	return b.String()
}
