package quorum

import (
	"fmt"
	"math/bits"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const tableHeader = `# Where a write stands, for every number of owners n, level w and outcome so far. A read at r = w over n synced owners stands likewise.
# A block has a row for each number of failures and a column for each number of acknowledgements, both from 0; "." is a pair that adds up to more than n.
# P = pending, M = met, U = unmet.
`

// table draws the states of every n up to 7 and w up to n+1 that the tallies reach, over every set of nodes that acknowledge and fail. It fails the test if the state depends on
// which nodes those are, or differs between writes and reads.
func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString(tableHeader)
	for n := 1; n <= 7; n++ {
		for w := 1; w <= n+1; w++ {
			grid := make([][]byte, n+1)
			for failed := range grid {
				grid[failed] = []byte(strings.Repeat(".", n+1))
			}
			all := Set(1)<<n - 1
			for good := Set(0); good <= all; good++ {
				for bad := Set(0); bad <= all; bad++ {
					if good&bad != 0 {
						continue
					}
					state := stateAfter(t, all, Level(w), good, bad)
					cell := &grid[bad.Len()][good.Len()]
					if *cell != '.' && *cell != state {
						t.Fatalf("n=%d w=%d good=%v bad=%v: %c, and %c for others of that size", n, w, good, bad, state, *cell)
					}
					*cell = state
				}
			}
			fmt.Fprintf(&b, "\nn=%d w=%d\n", n, w)
			for _, row := range grid {
				fmt.Fprintf(&b, "  %s\n", row)
			}
		}
	}
	return b.String()
}

func stateAfter(t *testing.T, owners Set, level Level, good, bad Set) byte {
	groups := []Group{{Owners: owners, Synced: owners}}
	write, read := NewWrite(level, groups), NewRead(level, groups)
	for node := range bad.All() {
		write.Fail(node)
		read.Fail(node)
	}
	for node := range good.All() {
		write.Ack(node)
		read.Reply(node)
	}
	if write.State() != read.State() || write.Got() != good.Len() || write.Needed() != int(level) {
		t.Fatalf("write %v, read %v, got %d of %d after %v", write.State(), read.State(), write.Got(), write.Needed(), good)
	}
	return strings.ToUpper(write.State().String())[0]
}

func TestTallyTable(t *testing.T) {
	want, err := os.ReadFile("testdata/tally.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := table(t); got != string(want) {
		t.Errorf("testdata/tally.txt should be:\n%s", got)
	}
}

// For every n, w and r up to 7, every set of owners that count for w only, every set of nodes that acknowledged and every set that replied.
func TestMetReadsSeeMetWrites(t *testing.T) {
	for n := 1; n <= 7; n++ {
		all := Set(1)<<n - 1
		// met[synced][level] are the sets of answers that meet a read; those that meet a write do not depend on synced.
		for synced := Set(0); synced <= all; synced++ {
			groups := []Group{{Owners: all, Synced: synced}}
			for w := 1; w <= n; w++ {
				for r := 1; r <= n; r++ {
					checkOverlap(t, groups, all, Level(w), Level(r))
				}
			}
		}
	}
}

// checkOverlap looks at the smallest met writes only: more acknowledgements cannot lose an overlap. The largest reads that miss such a write are its complements.
func checkOverlap(t *testing.T, groups []Group, all Set, w, r Level) {
	for acked := Set(0); acked <= all; acked++ {
		if acked.Len() != int(w) {
			continue
		}
		write := NewWrite(w, groups)
		for node := range acked.All() {
			write.Ack(node)
		}
		read := NewRead(r, groups)
		for node := range (all &^ acked).All() {
			read.Reply(node)
		}
		if write.State() != Met {
			t.Fatalf("%v acknowledged, w=%v: %v", acked, w, write.State())
		}
		if int(r)+int(w) > all.Len() && read.State() == Met {
			t.Fatalf("owners %v, synced %v: a read of r=%v meets none of %v, which acknowledged w=%v", all, groups[0].Synced, r, acked, w)
		}
		if groups[0].Synced == all && int(r)+int(w) <= all.Len() && read.State() != Met {
			t.Fatalf("owners %v: r=%v w=%v need not overlap, and the read is %v", all, r, w, read.State())
		}
	}
}

// model is a tally that says what it means, slowly: it keeps the events, and matches nodes to owners' places by trying.
type model struct {
	level     Level
	groups    []Group
	reads     bool
	good, bad map[int]bool
	stands    map[int]int
}

func (m model) state() State {
	met := true
	for _, g := range m.groups {
		needed := m.level.Resolve(bits.OnesCount64(uint64(g.Owners)))
		if m.places(g, func(node int) bool { return m.good[node] || !m.bad[node] }) < needed {
			return Unmet
		}
		met = met && m.places(g, func(node int) bool { return m.good[node] }) >= needed
	}
	if met {
		return Met
	}
	return Pending
}

func (m model) places(g Group, has func(int) bool) int {
	held := 0
	for owner := range MaxNodes {
		if !g.Owners.Has(owner) || m.reads && !g.Synced.Has(owner) {
			continue
		}
		holds := has(owner)
		for node, stoodFor := range m.stands {
			holds = holds || stoodFor == owner && has(node) && !g.Owners.Has(node)
		}
		if holds {
			held++
		}
	}
	return held
}

func TestTallyAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const nodes = 8
		drawGroups := func() []Group {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Group {
				return Group{
					Owners: Set(rapid.Uint64Range(1, 1<<nodes-1).Draw(t, "owners")),
					Synced: Set(rapid.Uint64Range(0, 1<<nodes-1).Draw(t, "synced")),
				}
			}), 1, MaxGroups).Draw(t, "groups")
		}
		level := rapid.SampledFrom([]Level{One, Quorum, All, 1, 2, 3, 5})
		m := model{level: level.Draw(t, "level"), groups: drawGroups(), reads: rapid.Bool().Draw(t, "reads"),
			good: map[int]bool{}, bad: map[int]bool{}, stands: map[int]int{}}
		write, read := NewWrite(m.level, m.groups), NewRead(m.level, m.groups)
		node := rapid.IntRange(0, nodes-1)
		t.Repeat(map[string]func(*rapid.T){
			"good": func(t *rapid.T) {
				n := node.Draw(t, "node")
				m.good[n] = true
				write.Ack(n)
				read.Reply(n)
			},
			"bad": func(t *rapid.T) {
				n := node.Draw(t, "node")
				m.bad[n] = true
				write.Fail(n)
				read.Fail(n)
			},
			"stand": func(t *rapid.T) {
				n, owner := node.Draw(t, "node"), node.Draw(t, "owner")
				if _, already := m.stands[n]; already || n == owner {
					t.Skip()
				}
				m.stands[n] = owner
				write.Stand(n, owner)
				read.Stand(n, owner)
			},
			"regroup": func(t *rapid.T) {
				m.level, m.groups = level.Draw(t, "level"), drawGroups()
				write.Regroup(m.level, m.groups)
				read.Regroup(m.level, m.groups)
			},
			"": func(t *rapid.T) {
				state, needed, got, fallbacks := write.State(), write.Needed(), write.Got(), write.Fallbacks()
				if m.reads {
					state, needed, got, fallbacks = read.State(), read.Needed(), read.Got(), read.Fallbacks()
				}
				if state != m.state() {
					t.Fatalf("%v, the model says %v", state, m.state())
				}
				if (state == Met) != (got >= needed) {
					t.Fatalf("%v with %d of %d", state, got, needed)
				}
				if len(m.groups) == 1 && fallbacks > got || len(m.stands) < fallbacks {
					t.Fatalf("%d fallbacks among %d that count, %d stand in", fallbacks, got, len(m.stands))
				}
			},
		})
	})
}

func TestStandIns(t *testing.T) {
	tally := NewWrite(2, []Group{{Owners: SetOf(0, 1, 2), Synced: SetOf(0, 1, 2)}})
	tally.Ack(0)
	tally.Stand(5, 1)
	tally.Stand(6, 2)
	for _, node := range []int{1, 2} {
		tally.Fail(node)
	}
	expect := func(state State, got, fallbacks int) {
		t.Helper()
		if tally.State() != state || tally.Got() != got || tally.Fallbacks() != fallbacks {
			t.Fatalf("%v, %d, %d fallbacks; want %v, %d, %d", tally.State(), tally.Got(), tally.Fallbacks(), state, got, fallbacks)
		}
	}
	expect(Pending, 1, 0)
	tally.Fail(5)
	expect(Pending, 1, 0)
	tally.Ack(6)
	expect(Met, 2, 1)
	tally.Ack(2) // the owner after all: its place counts once, and for itself
	expect(Met, 2, 0)
}

func TestStandInThatIsAnOwnerDoesNotCountTwice(t *testing.T) {
	tally := NewWrite(2, []Group{{Owners: SetOf(0, 1)}})
	tally.Stand(0, 1)
	tally.Ack(0)
	if tally.State() != Pending || tally.Got() != 1 {
		t.Errorf("%v with %d", tally.State(), tally.Got())
	}
}

func TestTallyReportsTheGroupThatLacksMost(t *testing.T) {
	tally := NewWrite(Quorum, []Group{{Owners: SetOf(0, 1, 2)}, {Owners: SetOf(0, 1, 2, 3, 4)}})
	tally.Ack(0)
	tally.Ack(1)
	if tally.State() != Pending || tally.Needed() != 3 || tally.Got() != 2 {
		t.Errorf("%v with %d of %d", tally.State(), tally.Got(), tally.Needed())
	}
}

func TestMisuseOfTalliesPanics(t *testing.T) {
	one := []Group{{Owners: SetOf(0, 1)}}
	for name, misuse := range map[string]func(){
		"no group":   func() { NewWrite(One, nil) },
		"groups":     func() { NewRead(One, make([]Group, MaxGroups+1)) },
		"no level":   func() { NewWrite(0, one) },
		"node":       func() { w := NewWrite(One, one); w.Ack(MaxNodes) },
		"itself":     func() { w := NewWrite(One, one); w.Stand(1, 1) },
		"two places": func() { w := NewWrite(One, one); w.Stand(2, 0); w.Stand(2, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse()
		})
	}
}

func TestStale(t *testing.T) {
	const nodes = 4
	for code := range 1 << (3 * nodes) {
		c := Comparison{Owners: Set(code & 0xf), Replied: Set(code >> 4 & 0xf), Equal: Set(code >> 8)}
		stale := c.Stale()
		for node := range nodes {
			want := c.Owners.Has(node) && c.Replied.Has(node) && !c.Equal.Has(node)
			if stale.Has(node) != want {
				t.Fatalf("%+v: stale %v", c, stale)
			}
		}
	}
}

// Nodes 0 to 3; holders of each version of the merged record.
func TestCauses(t *testing.T) {
	all := SetOf(0, 1, 2, 3)
	for _, c := range []struct {
		name     string
		cmp      Comparison
		causes   [4]Cause // of each node; Causes for one that is not stale
		minority Set
	}{
		{"one is behind", Comparison{Replied: SetOf(0, 1, 2), Equal: SetOf(0, 1), Same: SetOf(0, 1), Holders: []Set{SetOf(0, 1)}},
			[4]Cause{Causes, Causes, Older, Causes}, 0},
		{"one has it, and one of the others nothing", Comparison{Replied: SetOf(0, 1, 2), Equal: SetOf(0), Same: SetOf(0), Empty: SetOf(2), Holders: []Set{SetOf(0)}},
			[4]Cause{Causes, Older, Absent, Causes}, SetOf(1, 2)},
		{"half has it", Comparison{Replied: SetOf(0, 1), Equal: SetOf(0), Same: SetOf(0), Empty: SetOf(1), Holders: []Set{SetOf(0)}},
			[4]Cause{Causes, Absent, Causes, Causes}, 0},
		{"two have drifted apart, one holds both, one nothing",
			Comparison{Replied: all, Equal: SetOf(2), Same: SetOf(2), Empty: SetOf(3), Holders: []Set{SetOf(0, 2), SetOf(1, 2)}},
			[4]Cause{Siblings, Siblings, Causes, Absent}, 0},
		{"one holds one of two, which the others hold both", Comparison{Replied: SetOf(0, 1, 2), Equal: SetOf(0, 1), Same: SetOf(0, 1), Holders: []Set{SetOf(0, 1, 2), SetOf(0, 1)}},
			[4]Cause{Causes, Causes, Older, Causes}, 0},
		{"the same versions", Comparison{Replied: SetOf(0, 1, 2), Equal: SetOf(0, 1), Same: SetOf(0, 1, 2), Holders: []Set{SetOf(0, 1, 2)}},
			[4]Cause{Causes, Causes, Vector, Causes}, 0},
		{"one holds what has been replaced beside the rest", Comparison{Replied: SetOf(0, 1), Equal: SetOf(0), Same: SetOf(0), Holders: []Set{SetOf(0, 1)}},
			[4]Cause{Causes, Older, Causes, Causes}, 0},
	} {
		c.cmp.Owners = all
		stale := c.cmp.Stale()
		for node, want := range c.causes {
			switch {
			case stale.Has(node) != (want < Causes):
				t.Errorf("%s: stale are %v", c.name, stale)
			case want < Causes && (c.cmp.Cause(node) != want || c.cmp.Minority(node) != c.minority.Has(node)):
				t.Errorf("%s: node %d: %v, minority %v", c.name, node, c.cmp.Cause(node), c.cmp.Minority(node))
			}
		}
	}
}

func TestSetString(t *testing.T) {
	if got := SetOf(5, 0, 63, 5).String(); got != "{0 5 63}" || Set(0).String() != "{}" {
		t.Error(got)
	}
}

func BenchmarkWriteTally(b *testing.B) {
	groups := []Group{{Owners: SetOf(0, 1, 2), Synced: SetOf(0, 1, 2)}}
	b.ReportAllocs()
	for b.Loop() {
		tally := NewWrite(Quorum, groups)
		tally.Ack(0)
		tally.Fail(2)
		tally.Ack(1)
		if tally.State() != Met {
			b.Fatal("not met")
		}
	}
}

// TestWriteBackIsCapped: r owners in each group are to hold an answer, or all where there are fewer; for a write w means itself.
func TestWriteBackIsCapped(t *testing.T) {
	three, one := Group{Owners: SetOf(0, 1, 2)}, Group{Owners: SetOf(3)}
	for _, c := range []struct {
		r     Level
		held  []int
		state State
	}{
		{3, []int{0, 1, 2}, Pending}, {3, []int{0, 1, 3}, Pending}, {3, []int{0, 1, 2, 3}, Met},
		{2, []int{0, 1}, Pending}, {2, []int{0, 1, 3}, Met}, {All, []int{0, 1, 3}, Pending}, {One, []int{3, 2}, Met}, {Quorum, []int{3, 2}, Pending},
	} {
		back, write := NewWriteBack(c.r, []Group{three, one}), NewWrite(c.r, []Group{three, one})
		for _, node := range c.held {
			back.Ack(node)
			write.Ack(node)
		}
		if got := back.State(); got != c.state {
			t.Errorf("r=%v on %v: %v, want %v", c.r, c.held, got, c.state)
		}
		if number, literal := c.r.Literal(); literal && number > 1 && write.State() != Unmet {
			t.Errorf("w=%v on %v is %v", c.r, c.held, write.State())
		}
	}
	empty := NewWriteBack(2, []Group{{}})
	if empty.State() != Unmet {
		t.Errorf("with no owners: %v", empty.State())
	}
}
