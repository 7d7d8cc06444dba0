package ring

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/quorate/quorate/internal/wire"
)

// MaxReplicas is the largest n of a key.
const MaxReplicas = 16

// maxOrder bounds a partition's order: the owners of the largest n and as many fallbacks again. In a cluster of at most that many members every member is in every order.
const maxOrder = 2 * MaxReplicas

// Layout says who owns which partition: a pure function of the members that own (their incarnations, names, zones and weights) and of the number of partitions.
// It is immutable and safe for concurrent use; slices that it returns are views into it and must not be written to.
type Layout struct {
	partitions int
	members    []Member // those that own, one per name, sorted by name
	hash       uint64
	depth      int  // length of every order
	order      []ID // depth IDs for each partition in turn
}

// NewLayout computes the layout of a table. Of two present namesakes only the one that Table.ByName chooses has a place. A table that knows no number of
// partitions, or holds no member that owns, makes a layout without owners.
func NewLayout(t Table) *Layout {
	l := &Layout{partitions: t.partitions}
	for _, m := range t.Present() {
		last := len(l.members) - 1
		switch {
		case !m.State.Owns():
		case last < 0 || l.members[last].Name != m.Name:
			l.members = append(l.members, m)
		case m.supersedes(l.members[last]):
			l.members[last] = m
		}
	}
	l.hash = l.computeHash()
	l.depth = min(len(l.members), maxOrder)
	l.order = make([]ID, 0, l.partitions*l.depth)
	for _, seats := range place(l.partitions, l.depth, l.members) {
		for _, seat := range seats {
			l.order = append(l.order, l.members[seat].ID)
		}
	}
	return l
}

// computeHash covers all that the layout is a function of, and the incarnations, so that a replaced disk makes another layout although nothing moves.
func (l *Layout) computeHash() uint64 {
	b := binary.AppendUvarint(nil, uint64(l.partitions))
	for _, m := range l.members {
		b = append(b, m.ID[:]...)
		b = wire.AppendText(b, m.Name)
		b = wire.AppendText(b, m.Zone)
		b = binary.AppendUvarint(b, uint64(m.Weight))
	}
	return xxhash.Sum64(b)
}

// Hash identifies the layout: equal for equal members, whatever order they came in.
func (l *Layout) Hash() uint64 { return l.hash }

// Partitions is Q.
func (l *Layout) Partitions() int { return l.partitions }

// Members are the members that own, sorted by name.
func (l *Layout) Members() []Member { return l.members }

// Order is the partition's order of members: the owners for n are its first n, and the rest are the fallbacks. It has all members, or 32 of them if there are more.
func (l *Layout) Order(p Partition) []ID {
	start := int(p) * l.depth
	return l.order[start : start+l.depth : start+l.depth]
}

// Owners are the owners of the partition for n replicas, in order of preference: n of them, or all members if there are fewer.
func (l *Layout) Owners(p Partition, n int) []ID {
	n = min(n, l.depth)
	start := int(p) * l.depth
	return l.order[start : start+n : start+n]
}

// Fallbacks are the members that may stand in for the owners for n replicas, in order of preference.
func (l *Layout) Fallbacks(p Partition, n int) []ID { return l.Order(p)[min(n, l.depth):] }

// Rank is the position of id in the partition's order, from 0, or -1 if it is not in it. A member owns the partition for n replicas if its rank is from 0 to n-1.
func (l *Layout) Rank(p Partition, id ID) int { return slices.Index(l.Order(p), id) }

// Count is how many partitions a member owns.
type Count struct {
	Member     Member
	Partitions int
}

// Counts are the members, sorted by name, with the number of partitions that each owns for n replicas.
func (l *Layout) Counts(n int) []Count {
	owned := make(map[ID]int, len(l.members))
	for p := range l.partitions {
		for _, id := range l.Owners(Partition(p), n) {
			owned[id]++
		}
	}
	counts := make([]Count, len(l.members))
	for i, m := range l.members {
		counts[i] = Count{Member: m, Partitions: owned[m.ID]}
	}
	return counts
}

// Move is one change of ownership: the member gained the partition, or lost it.
type Move struct {
	Partition Partition
	ID        ID
	Gained    bool
}

// Diff lists what changes from a to b for keys of n replicas, by partition; within one, the losses in a's order come before the gains in b's. Both layouts must
// have the same number of partitions; one without members may stand for "before the cluster".
func Diff(a, b *Layout, n int) []Move {
	if a.partitions != b.partitions {
		panic(fmt.Sprintf("ring: difference of layouts with %d and %d partitions", a.partitions, b.partitions))
	}
	var moves []Move
	for p := range Partition(a.partitions) {
		before, after := a.Owners(p, n), b.Owners(p, n)
		for _, id := range before {
			if !slices.Contains(after, id) {
				moves = append(moves, Move{Partition: p, ID: id})
			}
		}
		for _, id := range after {
			if !slices.Contains(before, id) {
				moves = append(moves, Move{Partition: p, ID: id, Gained: true})
			}
		}
	}
	return moves
}

// String is the drawing for three replicas.
func (l *Layout) String() string { return l.Draw(3) }

// Draw draws the layout for n replicas: each member with its share, then the owners of every partition, runs of partitions with the same owners in one line.
func (l *Layout) Draw(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "layout %016x: %d partitions, %d members, n=%d\n", l.hash, l.partitions, len(l.members), n)
	for _, c := range l.Counts(n) {
		fmt.Fprintf(&b, "  %v: %d partitions\n", c.Member, c.Partitions)
	}
	names := make(map[ID]string, len(l.members))
	for _, m := range l.members {
		names[m.ID] = m.Name
	}
	for p := 0; p < l.partitions; {
		owners := l.Owners(Partition(p), n)
		last := p
		for last+1 < l.partitions && slices.Equal(owners, l.Owners(Partition(last+1), n)) {
			last++
		}
		fmt.Fprintf(&b, "  %4d-%-4d", p, last)
		for _, id := range owners {
			b.WriteByte(' ')
			b.WriteString(names[id])
		}
		b.WriteByte('\n')
		p = last + 1
	}
	return b.String()
}
