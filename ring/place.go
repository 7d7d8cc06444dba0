package ring

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// anchor is the prefix length that is balanced first. The set of a partition's first three members is disturbed as little as the bound allows, because
	// three is the usual n; the prefixes of one and two only reorder that set, and four and five only extend it.
	anchor = 3
	// maxBalanced is the longest prefix that is balanced. Longer ones follow the ranking as it is.
	maxBalanced = 5
	// leastAgainst is the lowest factor of a member's costs. It only matters in clusters so small or so uneven that some member owns every partition for n = 3.
	leastAgainst = 1.0 / 4096.0
)

// placement is the computation of a layout. Members are numbered by their names' order; doc.go explains the method.
type placement struct {
	partitions int
	members    []Member
	zone       []int // of each member, numbered in order of first appearance
	zoneCount  int
	cost       []float64 // partition × member: the lower, the rather
	ranking    [][]int   // per partition: all members by cost
	seats      [][]int   // per partition: the order under construction
	tiers      [maxBalanced + 1]*tier
	marks      marks
}

// place orders depth members for each partition.
func place(partitions, depth int, members []Member) [][]int {
	p := &placement{partitions: partitions, members: members}
	if depth == 0 || partitions == 0 {
		return nil
	}
	p.numberZones()
	p.marks = marks{seated: make([]int, len(members)), zoned: make([]int, p.zoneCount)}
	base := min(anchor, depth)
	p.rank(p.fairShares(base))
	p.seats = make([][]int, partitions)
	backing := make([]int, partitions*depth)
	for i := range p.seats {
		p.seats[i] = backing[i*depth : i*depth : (i+1)*depth]
	}
	p.extend(base)
	p.balance(base)
	for i := range p.seats {
		p.sortSeats(i)
	}
	for k := base - 1; k >= 1; k-- {
		p.balance(k)
	}
	for k := base + 1; k <= min(maxBalanced, depth); k++ {
		p.extend(k)
		p.balance(k)
	}
	p.extend(depth)
	return p.seats
}

func (p *placement) numberZones() {
	numbers := make(map[string]int)
	p.zone = make([]int, len(p.members))
	for i, m := range p.members {
		number, known := numbers[m.Zone]
		if !known {
			number = len(numbers)
			numbers[m.Zone] = number
		}
		p.zone[i] = number
	}
	p.zoneCount = len(numbers)
}

// rank computes cost and ranking. A member's costs are stratified: its hashes only order the partitions, and the i-th of them gets a value from the i-th of
// Q equal slices of [0, 1). So every member is as eager as every other, and the number of partitions that it wins scatters half as much as with plain
// rendezvous hashing, which is what keeps the corrections of balance few.
func (p *placement) rank(shares []ratio) {
	n := len(p.members)
	p.cost = make([]float64, p.partitions*n)
	keys := make([]uint64, p.partitions)
	for m, member := range p.members {
		// Odds of the value times inverse odds of the share: drawing the lowest few of these takes each member about as often as its share says
		// (Rosén's Pareto sampling). With equal weights it is the order of the values themselves.
		against := float64(float64(int64(p.partitions)*shares[m].den-shares[m].num) / float64(shares[m].num))
		// One that owns everything for n = 3 must still not be the first of everything.
		against = max(against, leastAgainst)
		seed := xxhash.Sum64String(member.Name)
		for i := range keys {
			keys[i] = mix(seed, i)&^(MaxPartitions-1) | uint64(i)
		}
		slices.Sort(keys)
		for slice, key := range keys {
			const fine = 1 << 16
			value := slice*fine + int(key>>12)%fine
			// Only products and quotients, each rounded by itself: every processor computes the same bits.
			odds := float64(float64(value) / float64(p.partitions*fine-value))
			p.cost[int(key%MaxPartitions)*n+m] = float64(odds * against)
		}
	}
	p.ranking = make([][]int, p.partitions)
	backing := make([]int, p.partitions*n)
	order := make([]uint64, n)
	for i := range p.ranking {
		for m, cost := range p.cost[i*n : (i+1)*n] {
			// The bits of floats that are not negative have the order of the floats.
			order[m] = math.Float64bits(cost)&^(MaxMembers-1) | uint64(m)
		}
		slices.Sort(order)
		p.ranking[i] = backing[i*n : (i+1)*n]
		for rank, key := range order {
			p.ranking[i][rank] = int(key % MaxMembers)
		}
	}
}

// mix hashes a partition for a member.
func mix(seed uint64, partition int) uint64 {
	var b [10]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	binary.LittleEndian.PutUint16(b[8:], uint16(partition))
	return xxhash.Sum64(b[:])
}

// marks notes members and zones of one partition at a time: those with the current stamp. A new stamp clears all of them.
type marks struct {
	seated, zoned []int
	stamp         int
}

// extend gives every partition further seats until it has k: to the cheapest member of a zone that has none yet while there is such a zone, then to the cheapest of all.
func (p *placement) extend(k int) {
	for partition, seats := range p.seats {
		p.marks.stamp++
		take := func(m int) {
			p.marks.seated[m], p.marks.zoned[p.zone[m]] = p.marks.stamp, p.marks.stamp
		}
		for _, m := range seats {
			take(m)
		}
		free := func(m int) bool { return p.marks.seated[m] != p.marks.stamp }
		for _, distinct := range [...]bool{true, false} {
			for _, m := range p.ranking[partition] {
				if len(seats) == k || distinct && len(seats) >= p.zoneCount {
					break
				}
				if free(m) && !(distinct && p.marks.zoned[p.zone[m]] == p.marks.stamp) {
					take(m)
					seats = append(seats, m)
				}
			}
		}
		p.seats[partition] = seats
	}
}

func (p *placement) hasZone(seats []int, zone int) bool {
	return slices.ContainsFunc(seats, func(m int) bool { return p.zone[m] == zone })
}

// sortSeats orders a partition's seats as extend would have chosen them from among themselves.
func (p *placement) sortSeats(partition int) {
	seats := p.seats[partition]
	chosen := slices.Clone(seats)
	seats = seats[:0]
	for len(chosen) > 0 {
		best := -1
		for i, m := range chosen {
			fits := len(seats) >= p.zoneCount || !p.hasZone(seats, p.zone[m])
			if fits && (best < 0 || p.cheaper(partition, m, chosen[best])) {
				best = i
			}
		}
		seats = append(seats, chosen[best])
		chosen = slices.Delete(chosen, best, best+1)
	}
}

func (p *placement) cheaper(partition, a, b int) bool {
	ca, cb := p.costOf(partition, a), p.costOf(partition, b)
	return ca < cb || ca == cb && a < b
}

func (p *placement) costOf(partition, m int) float64 { return p.cost[partition*len(p.members)+m] }
