package ring

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// testID is an incarnation made of a number, so that failures can be read.
func testID(number uint64) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:], number)
	id[15] = 1
	return id
}

// owners makes members that own, with names drawn from the seed, spread evenly over zones (0: none) and with weights from 1 to maxWeight.
func owners(seed uint64, count, zones, maxWeight int) []Member {
	random := rand.New(rand.NewPCG(seed, 1))
	members := make([]Member, count)
	for i := range members {
		m := Member{ID: testID(random.Uint64()), Name: fmt.Sprintf("node-%d-%d", i, random.IntN(1e6)), State: Active, Weight: uint32(1 + random.IntN(maxWeight))}
		if zones > 0 {
			m.Zone = fmt.Sprintf("zone-%d", i%zones)
		}
		members[i] = m
	}
	return members
}

func tableOf(t rapid.TB, partitions int, members []Member) Table {
	table, err := NewTable("test", partitions)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if table, err = table.With(m); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

func layoutOf(t rapid.TB, partitions int, members []Member) *Layout {
	return NewLayout(tableOf(t, partitions, members))
}

// checkLayout holds a layout against the limits that limitOf gives for each member and n, and against what every layout must fulfil.
func checkLayout(t rapid.TB, l *Layout, limitOf func(m Member, n int) int) {
	t.Helper()
	zones := make(map[ID]string)
	distinct := make(map[string]bool)
	for _, m := range l.Members() {
		zones[m.ID] = m.Zone
		distinct[m.Zone] = true
	}
	for p := range Partition(l.Partitions()) {
		order := l.Order(p)
		if len(order) != min(len(l.Members()), maxOrder) {
			t.Fatalf("partition %d: %d members in its order, of %d", p, len(order), len(l.Members()))
		}
		seen := make(map[ID]bool)
		seenZones := make(map[string]bool)
		for i, id := range order {
			seen[id] = true
			seenZones[zones[id]] = true
			if len(seen) != i+1 {
				t.Fatalf("partition %d: %v twice", p, id)
			}
			if len(seenZones) != min(i+1, len(distinct)) && i < MaxReplicas {
				t.Fatalf("partition %d: %d zones among the first %d members, of %d", p, len(seenZones), i+1, len(distinct))
			}
		}
	}
	for n := 1; n <= maxBalanced; n++ {
		for _, c := range l.Counts(n) {
			if limit := limitOf(c.Member, n); c.Partitions > limit {
				t.Errorf("%d members, %d zones, n=%d: %v holds %d partitions, limit %d", len(l.Members()), len(distinct), n, c.Member, c.Partitions, limit)
			}
		}
	}
}

// equalLimit is the bound of the design for members of equal weight.
func equalLimit(partitions, members int) func(Member, int) int {
	return func(_ Member, n int) int {
		return min(partitions, (partitions*min(n, members)+members-1)/members+1)
	}
}

func TestBoundForEqualWeights(t *testing.T) {
	for count := 1; count <= 100; count++ {
		checkLayout(t, layoutOf(t, DefaultPartitions, owners(uint64(count), count, 0, 1)), equalLimit(DefaultPartitions, count))
	}
}

func TestBoundForEqualZones(t *testing.T) {
	for count := 1; count <= 100; count++ {
		for _, zones := range []int{2, 3, 4, 5, 7, 10} {
			if count%zones == 0 {
				checkLayout(t, layoutOf(t, DefaultPartitions, owners(uint64(count), count, zones, 1)), equalLimit(DefaultPartitions, count))
			}
		}
	}
}

// Where zones differ in size or members in weight, "replicas in distinct zones" and "a partition once" force unequal shares; the bound is then one above the
// share that the oracle finds by bisection.
func TestBoundForUnequalZonesAndWeights(t *testing.T) {
	for count := 1; count <= 100; count++ {
		for _, shape := range []struct{ zones, weight int }{{2, 1}, {3, 1}, {7, 1}, {0, 4}, {0, 100}, {3, 4}, {5, 20}} {
			members := owners(uint64(count), count, shape.zones, shape.weight)
			checkLayout(t, layoutOf(t, DefaultPartitions, members), oracleLimit(DefaultPartitions, members))
		}
	}
}

// Any mixture, also of zones of any size.
func TestBoundHoldsForAnyMembers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		members := owners(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 40).Draw(rt, "members"), 0, rapid.SampledFrom([]int{1, 2, 10, MaxWeight}).Draw(rt, "weights"))
		zones := rapid.IntRange(0, 6).Draw(rt, "zones")
		for i := range members {
			if zones > 0 {
				members[i].Zone = fmt.Sprintf("zone-%d", rapid.IntRange(1, zones).Draw(rt, "zone"))
			}
		}
		partitions := rapid.SampledFrom([]int{8, 64, 256}).Draw(rt, "partitions")
		checkLayout(rt, layoutOf(rt, partitions, members), oracleLimit(partitions, members))
	})
}

func TestBoundForOtherPartitionCounts(t *testing.T) {
	for _, partitions := range []int{1, 2, 8, 64, 1024, MaxPartitions} {
		for _, count := range []int{1, 2, 3, 4, 5, 6, 9, 33, 100} {
			checkLayout(t, layoutOf(t, partitions, owners(uint64(count), count, 0, 1)), equalLimit(partitions, count))
		}
	}
}

// oracleLimit works out fair shares by bisection in floating point, independently of divide.
func oracleLimit(partitions int, members []Member) func(Member, int) int {
	q := float64(partitions)
	shares := make(map[int]map[ID]float64)
	for n := 1; n <= maxBalanced; n++ {
		shares[n] = make(map[ID]float64)
		byZone := make(map[string][]Member)
		for _, m := range members {
			byZone[m.Zone] = append(byZone[m.Zone], m)
		}
		copies := min(n, len(members))
		zoneShare := func(zone string, level float64) float64 {
			low, high, weight := 0.0, q, 0.0
			if copies > len(byZone) {
				low, high = q, q*float64(len(byZone[zone]))
			}
			for _, m := range byZone[zone] {
				weight += float64(m.Weight)
			}
			return min(max(level*weight, low), high)
		}
		level := bisect(float64(copies)*q, func(level float64) (sum float64) {
			for zone := range byZone {
				sum += zoneShare(zone, level)
			}
			return sum
		})
		for zone, inside := range byZone {
			inner := bisect(zoneShare(zone, level), func(level float64) (sum float64) {
				for _, m := range inside {
					sum += min(level*float64(m.Weight), q)
				}
				return sum
			})
			for _, m := range inside {
				shares[n][m.ID] = min(inner*float64(m.Weight), q)
			}
		}
	}
	return func(m Member, n int) int { return min(partitions, int(math.Ceil(shares[n][m.ID]-1e-6))+1) }
}

func bisect(want float64, sum func(float64) float64) float64 {
	low, high := 0.0, 1e9
	for range 200 {
		if middle := (low + high) / 2; sum(middle) < want {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

func TestLayoutIsAFunctionOfTheSet(t *testing.T) {
	members := owners(5, 17, 3, 4)
	want := layoutOf(t, DefaultPartitions, members)
	for seed := range uint64(5) {
		shuffled := slices.Clone(members)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := layoutOf(t, DefaultPartitions, shuffled)
		if got.Hash() != want.Hash() || got.Draw(maxOrder) != want.Draw(maxOrder) {
			t.Fatalf("order %d of arrival makes another layout", seed)
		}
	}
}

func TestNamesakesTakeTheSamePlaces(t *testing.T) {
	members := owners(6, 9, 0, 1)
	before := layoutOf(t, DefaultPartitions, members)
	old := members[4]
	fresh := old
	fresh.ID = testID(99)
	members[4].State, members[4].ReplacedBy = Replaced, fresh.ID
	after := layoutOf(t, DefaultPartitions, append(members, fresh))
	if before.Hash() == after.Hash() {
		t.Error("another incarnation makes the same layout")
	}
	for _, move := range Diff(before, after, 3) {
		if want := (map[bool]ID{false: old.ID, true: fresh.ID})[move.Gained]; move.ID != want {
			t.Fatalf("%+v, although only %v was replaced", move, old)
		}
	}
	for p := range Partition(DefaultPartitions) {
		if before.Rank(p, old.ID) != after.Rank(p, fresh.ID) || after.Rank(p, old.ID) != -1 {
			t.Fatalf("partition %d: place %d became %d", p, before.Rank(p, old.ID), after.Rank(p, fresh.ID))
		}
	}
}

// movement is the number of replicas that move when the last of the members joins, as a multiple of its fair share.
func movement(t testing.TB, partitions, n int, members []Member) float64 {
	before, after := layoutOf(t, partitions, members[:len(members)-1]), layoutOf(t, partitions, members)
	gained := 0
	for _, move := range Diff(before, after, n) {
		if move.Gained {
			gained++
		}
	}
	p := &placement{partitions: partitions, members: after.Members()}
	p.numberZones()
	newcomer := slices.IndexFunc(p.members, func(m Member) bool { return m.ID == members[len(members)-1].ID })
	share := p.fairShares(min(n, len(members)))[newcomer]
	return float64(gained) * float64(share.den) / float64(share.num)
}

// The figures of docs/performance.md: go test -run '^$' -bench Movement -benchtime 1x ./ring/
func BenchmarkMovement(b *testing.B) {
	for _, shape := range []struct{ partitions, n, zones, weight int }{
		{256, 1, 0, 1}, {256, 2, 0, 1}, {256, 3, 0, 1}, {256, 5, 0, 1}, {1024, 3, 0, 1}, {4096, 3, 0, 1}, {256, 3, 3, 1}, {256, 3, 5, 1}, {256, 3, 0, 4},
	} {
		for _, sizes := range [][2]int{{3, 10}, {11, 30}, {31, 100}} {
			b.Run(fmt.Sprintf("q=%d/n=%d/zones=%d/weights=%d/members=%d-%d", shape.partitions, shape.n, shape.zones, shape.weight, sizes[0], sizes[1]), func(b *testing.B) {
				var all []float64
				for range b.N {
					all = all[:0]
					for count := sizes[0]; count <= sizes[1]; count++ {
						for seed := range uint64(max(1, 10*256/shape.partitions)) {
							all = append(all, movement(b, shape.partitions, shape.n, owners(seed*1000+uint64(count), count, shape.zones, shape.weight)))
						}
					}
				}
				slices.SortFunc(all, cmp.Compare[float64])
				sum := 0.0
				for _, ratio := range all {
					sum += ratio
				}
				b.ReportMetric(sum/float64(len(all)), "mean-moved/share")
				b.ReportMetric(all[len(all)*9/10], "p90-moved/share")
			})
		}
	}
}

func BenchmarkNewLayout(b *testing.B) {
	for _, shape := range []struct{ partitions, members, zones int }{{256, 3, 0}, {256, 100, 0}, {256, 100, 5}, {4096, 100, 0}} {
		b.Run(fmt.Sprintf("q=%d/members=%d/zones=%d", shape.partitions, shape.members, shape.zones), func(b *testing.B) {
			table := tableOf(b, shape.partitions, owners(1, shape.members, shape.zones, 1))
			b.ReportAllocs()
			for b.Loop() {
				NewLayout(table)
			}
		})
	}
}
