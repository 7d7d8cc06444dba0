package cluster

import (
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
		{"alone in its list", a, 1, []sighting{a}, 0, 0, true, ""},
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

func TestFounderOf(t *testing.T) {
	replaced := row(0, "a", ring.Replaced)
	replaced.ReplacedBy = simID(7)
	for _, tc := range []struct {
		name string
		rows []ring.Member
		want int
	}{
		{"the founder", []ring.Member{row(0, "a", ring.Active), row(1, "b", ring.Active)}, 0},
		{"who took its place", []ring.Member{replaced, row(1, "b", ring.Active), row(7, "a", ring.Active)}, 7},
		{"gone: the lowest owner", []ring.Member{row(0, "a", ring.Left), row(1, "b", ring.Joining), row(2, "c", ring.Active)}, 2},
	} {
		if got, ok := founderOf(tableOf(t, tc.rows...)); !ok || got != simID(tc.want) {
			t.Errorf("%s: %s", tc.name, got.Short())
		}
	}
	if id, ok := founderOf(tableOf(t, row(0, "a", ring.Joining))); ok {
		t.Errorf("nobody owns, and %s admits", id.Short())
	}
}

func TestAdmissible(t *testing.T) {
	rows := []ring.Member{row(0, "a", ring.Active), row(1, "b", ring.Active), row(2, "c", ring.Joining), row(3, "d", ring.Joining)}
	now := time.Unix(1000, 0)
	for _, tc := range []struct {
		name  string
		self  int
		data  bool
		retry time.Time
		live  map[int]Liveness
		want  string
	}{
		{"all who wait, in one round", 0, false, now, map[int]Liveness{0: Alive, 1: Alive, 2: Alive, 3: Alive}, "cd"},
		{"not the founder", 1, false, now, map[int]Liveness{0: Alive, 1: Alive, 2: Alive, 3: Alive}, ""},
		{"data", 0, true, now, map[int]Liveness{0: Alive, 1: Alive, 2: Alive, 3: Alive}, ""},
		{"too soon", 0, false, now.Add(1), map[int]Liveness{0: Alive, 1: Alive, 2: Alive, 3: Alive}, ""},
		{"a suspect owner", 0, false, now, map[int]Liveness{0: Alive, 1: Suspect, 2: Alive, 3: Alive}, ""},
		{"a dead joiner", 0, false, now, map[int]Liveness{0: Alive, 1: Alive, 3: Alive}, "d"},
	} {
		got := ""
		for _, m := range admissible(admitView{
			self: simID(tc.self), table: tableOf(t, rows...), hasData: tc.data, retry: tc.retry, now: now,
			live: func(id ring.ID) Liveness { return tc.live[int(id[0])-1] },
		}) {
			got += m.Name
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestConsiderPrepare(t *testing.T) {
	open := promise{Attempt: simID(1), Coordinator: simID(9)}
	for _, tc := range []struct {
		name      string
		held      promise
		attempt   int
		base, own uint64
		data      bool
		want      verdict
	}{
		{"free and empty", promise{}, 1, 5, 5, false, agreed},
		{"asked again", open, 1, 5, 6, true, agreed},
		{"promised to another", open, 2, 5, 5, false, refused},
		{"another layout", promise{}, 1, 5, 6, false, refused},
		{"data", promise{}, 1, 5, 5, true, holdsData},
	} {
		if got := considerPrepare(tc.held, simID(tc.attempt), tc.base, tc.own, tc.data); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestStandingOf(t *testing.T) {
	fresh := row(2, "a", ring.Active)
	fresh.Fresh = true
	for _, tc := range []struct {
		name  string
		self  ring.Member
		other Liveness
		rows  []ring.Member
		want  standing
	}{
		{"unknown", row(2, "b", ring.Joining), Alive, []ring.Member{row(1, "a", ring.Active)}, standsNew},
		{"a member", row(2, "b", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active), row(2, "b", ring.Active)}, standsFirm},
		{"replaced", row(2, "b", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active), row(2, "b", ring.Replaced)}, standsGone},
		{"empty, its namesake alive", row(2, "a", ring.Joining), Alive, []ring.Member{row(1, "a", ring.Active)}, standsContend},
		{"empty, its namesake dead", row(2, "a", ring.Joining), Dead, []ring.Member{row(1, "a", ring.Active)}, standsContend},
		{"joined before it knew of its namesake", row(2, "a", ring.Joining), Dead, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Joining)}, standsContend},
		{"both own, the other has the data", fresh, Alive, []ring.Member{row(1, "a", ring.Active), fresh}, standsAside},
		{"both own, the other is dead", fresh, Dead, []ring.Member{row(1, "a", ring.Active), fresh}, standsContend},
		{"a namesake wants to join", row(2, "a", ring.Active), Dead, []ring.Member{row(1, "a", ring.Joining), row(2, "a", ring.Active)}, standsFirm},
	} {
		got, _ := standingOf(tableOf(t, tc.rows...), tc.self, func(ring.ID) Liveness { return tc.other })
		if got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestTakeOver(t *testing.T) {
	for _, tc := range []struct {
		name  string
		other ring.State
		state ring.State
		fresh bool
	}{
		{"of an owner: owns, without having", ring.Active, ring.Active, true},
		{"of one that was joining: joins", ring.Joining, ring.Joining, false},
	} {
		old := row(1, "a", tc.other)
		table, err := takeOver(tableOf(t, old), row(2, "a", ring.Joining), old)
		if err != nil {
			t.Fatal(err)
		}
		was, _ := table.Get(simID(1))
		now, _ := table.Get(simID(2))
		if was.State != ring.Replaced || was.ReplacedBy != simID(2) || now.State != tc.state || now.Fresh != tc.fresh {
			t.Errorf("%s: %v, %v", tc.name, was, now)
		}
	}
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
}
