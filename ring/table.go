package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxMembers bounds the rows of a table, those of the departed included. A cluster that has replaced so many disks cannot take another member.
const MaxMembers = 4096

// ErrForeign is returned by Merge for tables of two clusters: another name, or another number of partitions.
var ErrForeign = errors.New("ring: table of another cluster")

// ErrFull is returned when a table would exceed MaxMembers rows.
var ErrFull = fmt.Errorf("ring: more than %d incarnations", MaxMembers)

// Table is the member table: who belongs to the cluster and how far each has come. It is an immutable value, cheap to copy; what looks like a change returns a new one.
// Tables form a lattice: Merge is commutative, associative and idempotent, so nodes that have heard the same rows, in any order and any number of times, hold equal tables.
//
// The zero Table knows nothing and is the neutral element of Merge.
type Table struct {
	cluster    string
	partitions int
	founder    ID
	rows       []Member // sorted by ID, never written after the table was made
}

// NewTable is an empty table of the named cluster. partitions is its number of partitions, or 0 on a node that has yet to learn it by merging the table of a cluster that exists.
func NewTable(cluster string, partitions int) (Table, error) {
	if err := checkName("cluster name", cluster); err != nil {
		return Table{}, err
	}
	if partitions != 0 {
		if err := CheckPartitions(partitions); err != nil {
			return Table{}, err
		}
	}
	return Table{cluster: cluster, partitions: partitions}, nil
}

// Cluster is the cluster's name, "" while unknown.
func (t Table) Cluster() string { return t.cluster }

// Partitions is Q, 0 while unknown.
func (t Table) Partitions() int { return t.partitions }

// Founder is the incarnation that founded the cluster, zero while unknown. Where two clusters of one name have met, it is the smaller of the two.
func (t Table) Founder() ID { return t.founder }

// WithFounder is t with id among its founders.
func (t Table) WithFounder(id ID) Table {
	t.founder = joinFounders(t.founder, id)
	return t
}

func joinFounders(a, b ID) ID {
	if a.IsZero() || !b.IsZero() && b.Compare(a) < 0 {
		return b
	}
	return a
}

// Len is the number of rows, those of the departed included.
func (t Table) Len() int { return len(t.rows) }

// Members are all rows, those of the departed included, sorted by ID. The slice is the caller's.
func (t Table) Members() []Member { return slices.Clone(t.rows) }

// Present are the rows of those who are not Gone, sorted by name and then ID. The slice is the caller's.
func (t Table) Present() []Member {
	present := make([]Member, 0, len(t.rows))
	for _, m := range t.rows {
		if !m.State.Gone() {
			present = append(present, m)
		}
	}
	slices.SortFunc(present, func(a, b Member) int { return cmp.Or(strings.Compare(a.Name, b.Name), a.ID.Compare(b.ID)) })
	return present
}

// Get is the row of id.
func (t Table) Get(id ID) (Member, bool) {
	i, found := t.find(id)
	if !found {
		return Member{}, false
	}
	return t.rows[i], true
}

func (t Table) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(t.rows, id, func(m Member, id ID) int { return m.ID.Compare(id) })
}

// ByName is the present member of that name. Should two incarnations be present under one name, which lasts only until one gives way, it is
// the one that placement uses: an owner rather than one that is joining, then the smaller ID.
func (t Table) ByName(name string) (Member, bool) {
	var best Member
	found := false
	for _, m := range t.rows {
		if m.Name != name || m.State.Gone() {
			continue
		}
		if !found || m.supersedes(best) {
			best, found = m, true
		}
	}
	return best, found
}

// supersedes reports whether m takes the place of its namesake. Rows are compared in order of ID, so on a tie the one that came first stays.
func (m Member) supersedes(namesake Member) bool { return m.State.Owns() && !namesake.State.Owns() }

// With is t with m merged into the row of its incarnation. It can therefore add knowledge and never take any back. It fails for a row that is not valid and with ErrFull.
func (t Table) With(m Member) (Table, error) {
	if err := m.Validate(); err != nil {
		return Table{}, err
	}
	i, found := t.find(m.ID)
	if found {
		joined := t.rows[i].join(m)
		if joined == t.rows[i] {
			return t, nil
		}
		t.rows = slices.Clone(t.rows)
		t.rows[i] = joined
		return t, nil
	}
	if len(t.rows) == MaxMembers {
		return Table{}, ErrFull
	}
	rows := make([]Member, 0, len(t.rows)+1)
	rows = append(rows, t.rows[:i]...)
	rows = append(rows, m)
	t.rows = append(rows, t.rows[i:]...)
	return t, nil
}

// Merge is the least table that knows all that a and b know. It fails with ErrForeign for tables of different clusters and with ErrFull.
func Merge(a, b Table) (Table, error) {
	if a.cluster != "" && b.cluster != "" && a.cluster != b.cluster {
		return Table{}, fmt.Errorf("%w: %q and %q", ErrForeign, a.cluster, b.cluster)
	}
	if a.partitions != 0 && b.partitions != 0 && a.partitions != b.partitions {
		return Table{}, fmt.Errorf("%w: %d and %d partitions", ErrForeign, a.partitions, b.partitions)
	}
	out := Table{
		cluster:    cmp.Or(a.cluster, b.cluster),
		partitions: cmp.Or(a.partitions, b.partitions),
		founder:    joinFounders(a.founder, b.founder),
		rows:       mergeRows(a.rows, b.rows),
	}
	if len(out.rows) > MaxMembers {
		return Table{}, ErrFull
	}
	return out, nil
}

func mergeRows(a, b []Member) []Member {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	rows := make([]Member, 0, max(len(a), len(b)))
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
	rows = append(rows, a...)
	return append(rows, b...)
}

// Equal reports whether both tables know the same.
func (t Table) Equal(other Table) bool {
	return t.cluster == other.cluster && t.partitions == other.partitions && t.founder == other.founder && slices.Equal(t.rows, other.rows)
}

// String is one line for the cluster and one for each row, in order of ID.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s, %d partitions, founder %s, %d incarnations\n", t.cluster, t.partitions, t.founder.Short(), len(t.rows))
	for _, m := range t.rows {
		fmt.Fprintf(&b, "  %v\n", m)
	}
	return b.String()
}
