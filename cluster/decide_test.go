package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

func TestMayPropose(t *testing.T) {
	start := time.Unix(1000, 0)
	timing := DefaultConfig().Timing
	a, b, c := sighting{simID(0), "a", true}, sighting{simID(1), "b", true}, sighting{simID(2), "c", true}
	full := sighting{simID(3), "d", false}
	twin := sighting{simID(4), "b", true}
	for _, tc := range []struct {
		name     string
		self     sighting
		size     int
		answered []sighting
		after    time.Duration
		retry    time.Duration
		want     bool
		reason   string
	}{
		{"alone in its list, and somebody may know it", a, 1, []sighting{a}, timing.Recall - 1, 0, false, "waiting for members that know this node"},
		{"alone in its list, and nobody came", a, 1, []sighting{a}, timing.Recall, 0, true, ""},
		{"half is not enough", a, 2, []sighting{a}, time.Hour, 0, false, "1 of the 2"},
		{"half of four is not enough", a, 4, []sighting{a, b}, time.Hour, 0, false, "2 of the 4"},
		{"all answered: the lowest name at once", a, 3, []sighting{c, b, a}, 0, 0, true, ""},
		{"all answered: the next one later", b, 3, []sighting{a, b, c}, timing.Turn - 1, 0, false, "founding"},
		{"all answered: the next one's turn", b, 3, []sighting{a, b, c}, timing.Turn, 0, true, ""},
		{"a majority: grace", a, 3, []sighting{a, b}, timing.Grace - 1, 0, false, "founding"},
		{"a majority: after grace", a, 3, []sighting{a, b}, timing.Grace, 0, true, ""},
		{"a failed ballot waits", a, 3, []sighting{a, b, c}, 0, time.Second, false, "founding"},
		{"somebody has a table", a, 5, []sighting{a, b, full}, time.Hour, 0, false, "waiting for the member table of d"},
		{"a namesake with a lower ID", twin, 3, []sighting{a, b, twin}, time.Hour, 0, false, "another node named b"},
		{"a namesake with a higher ID", b, 3, []sighting{b, twin}, time.Hour, 0, true, ""},
	} {
		got, reason := mayPropose(foundView{
			self: tc.self, size: tc.size, answered: tc.answered,
			since: start, retry: start.Add(tc.retry), now: start.Add(tc.after), timing: timing,
		})
		if got != tc.want || !strings.Contains(reason, tc.reason) {
			t.Errorf("%s: %v, %q", tc.name, got, reason)
		}
	}
}

func TestQuorum(t *testing.T) {
	of := func(size int, ids ...int) electorate {
		e := electorate{Size: size}
		for _, i := range ids {
			e.IDs = append(e.IDs, simID(i))
		}
		return e
	}
	for _, tc := range []struct {
		name   string
		grants map[int]electorate
		want   bool
	}{
		{"nobody", nil, false},
		{"one of one", map[int]electorate{0: of(1, 0)}, true},
		{"one of two", map[int]electorate{0: of(2, 0, 1)}, false},
		{"two of three", map[int]electorate{0: of(3, 0, 1, 2), 1: of(3, 0, 1, 2)}, true},
		{"two of three, the third unknown", map[int]electorate{0: of(3, 0, 1), 1: of(3, 0, 1)}, true},
		{"two of three, one voter does not know the other", map[int]electorate{0: of(3, 0, 1), 1: of(3, 1)}, false},
		{"an outsider and half of the list", map[int]electorate{0: of(2, 0, 1), 2: of(3, 0, 1, 2)}, false},
		{"an outsider and the list", map[int]electorate{0: of(2, 0, 1), 1: of(2, 0, 1), 2: of(3, 0, 1, 2)}, true},
		{"two of four", map[int]electorate{0: of(4, 0, 1, 2, 3), 1: of(4, 0, 1, 2, 3)}, false},
	} {
		p := newProposal(ballot{1, simID(0)})
		for i, e := range tc.grants {
			p.grant(simID(i), e, vote{})
			p.grant(simID(i), e, vote{}) // a repeated grant counts once
		}
		if got := p.quorum(); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// row makes a member for tables of these tests.
func row(i int, name string, state ring.State) ring.Member {
	return ring.Member{ID: simID(i), Name: name, Weight: 1, State: state}
}

func tableOf(t *testing.T, rows ...ring.Member) ring.Table {
	t.Helper()
	table, err := ring.NewTable("test", 16)
	for _, m := range rows {
		if err == nil {
			table, err = table.With(m)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return table.WithFounder(rows[0].ID)
}

func TestRejoinTargets(t *testing.T) {
	at := func(m ring.Member, addr string) ring.Member { m.Addrs.Gossip = addr; return m }
	table := tableOf(t, at(row(0, "a", ring.Active), "a:1"), at(row(1, "b", ring.Active), "b:1"),
		at(row(2, "c", ring.Joining), "c:1"), at(row(3, "d", ring.Left), "d:1"))
	live := func(id ring.ID) Liveness {
		if id == simID(1) {
			return Suspect
		}
		return Dead
	}
	for _, tc := range []struct {
		name   string
		named  map[string]ring.ID
		hungry bool
		want   string
	}{
		{"the absent, not oneself, the suspect or the departed", nil, false, "c:1"},
		{"a named address nobody answered at", map[string]ring.ID{"x:1": {}}, false, "c:1 x:1"},
		{"a named address of one who is there", map[string]ring.ID{"b:2": simID(1)}, false, "c:1"},
		{"a named address of one who is not", map[string]ring.ID{"c:2": simID(2)}, false, "c:1 c:2"},
		{"without a table: all of them, always", map[string]ring.ID{"b:2": simID(1)}, true, "b:2 c:1"},
	} {
		got := strings.Join(rejoinTargets(rejoinView{self: simID(0), table: table, live: live, named: tc.named, hungry: tc.hungry}), " ")
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := rejoinTargets(rejoinView{self: simID(0), live: live, heard: []string{"y:1", "x:1"}, hungry: true}); !slices.Equal(got, []string{"x:1", "y:1"}) {
		t.Errorf("whom a node has heard that knows nobody: %q", got)
	}
}
