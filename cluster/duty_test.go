package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// goneRow is a row of one that does not own.
func goneRow(i int, s layouts.Standing) layouts.Row {
	r := ownRow(i)
	r.Standing = s
	return r
}

// named is r under another name.
func named(r layouts.Row, name string) layouts.Row {
	r.Name = name
	return r
}

// ringsOf is the view of a founding by these rows, and of what each change makes of it.
func ringsOf(t testing.TB, rows []layouts.Row, changes ...func(*layouts.View) (layouts.State, error)) *layouts.View {
	t.Helper()
	v, err := layouts.NewVersion(16, rows...)
	if err != nil {
		t.Fatal(err)
	}
	r := openRings(t, newTestDisk(), 0)
	mustChange(t, true)(r.Merge(layouts.Found(v)))
	for _, change := range changes {
		mustChange(t, true)(r.Change(change))
	}
	return r.View()
}

// divided is the view of owners 0 and 1, where one that 0 let in met one that 1 did.
func divided(t testing.TB) *layouts.View {
	t.Helper()
	rows := []layouts.Row{ownRow(0), ownRow(1)}
	a, b := ringsOf(t, rows, propose(0, ownRow(2))), ringsOf(t, rows, propose(1, ownRow(3)))
	r := openRings(t, newTestDisk(), 0)
	mustChange(t, true)(r.Merge(a.State()))
	mustChange(t, true)(r.Merge(b.State()))
	return r.View()
}

// liveOf holds those named for alive, the others for dead.
func liveOf(ids ...int) func(ring.ID) Liveness {
	return func(id ring.ID) Liveness {
		if slices.Contains(ids, int(id[0])-1) {
			return Alive
		}
		return Dead
	}
}

func TestProposes(t *testing.T) {
	timing := DefaultConfig().Timing
	start := time.Unix(1000, 0)
	two := []layouts.Row{ownRow(0), ownRow(1)}
	settled := ringsOf(t, two)
	busy := ringsOf(t, two, propose(0, ownRow(4)))
	full := ringsOf(t, two, propose(0, ownRow(4)), propose(0, ownRow(5)), propose(0, ownRow(6)))
	leavers := ringsOf(t, []layouts.Row{ownRow(0), ownRow(1), goneRow(7, layouts.Leaves)})
	table := func(rows ...ring.Member) ring.Table {
		all := []ring.Member{row(0, nameOf(0), ring.Active), row(1, nameOf(1), ring.Active)}
		return tableOf(t, append(all, rows...)...)
	}
	joins := func(i int) ring.Member { return row(i, nameOf(i), ring.Joining) }
	wants := func(i int) ring.Member { return row(i, nameOf(i), ring.Leaving) }
	for _, tc := range []struct {
		name  string
		self  int
		rings *layouts.View
		table ring.Table
		live  []int
		since time.Duration // before now
		due   time.Duration
		zone  string
		want  string
		later bool // it is not proposed now, and yet it is wanted
	}{
		{"nobody waits", 0, settled, table(), []int{0, 1}, time.Hour, 0, "", "", false},
		{"too soon for others to come too", 0, settled, table(joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch - 1, "", "", true},
		{"all who wait, at once", 0, settled, table(joins(3), joins(2)), []int{0, 1, 2, 3}, time.Hour, timing.Batch, "", "n2 n3", false},
		{"the next one's turn is later", 1, settled, table(joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch, "", "", true},
		{"and comes", 1, settled, table(joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch + timing.Turn, "", "n2", false},
		{"the first is dead", 1, settled, table(joins(2)), []int{1, 2}, time.Hour, timing.Batch, "", "n2", false},
		{"a dead one waits", 0, settled, table(joins(2), joins(3)), []int{0, 1, 3}, time.Hour, timing.Batch, "", "n3", false},
		{"no member", 2, settled, table(joins(2), joins(3)), []int{0, 1, 2, 3}, time.Hour, time.Hour, "", "", true},
		{"a change is under way", 0, busy, table(joins(2)), []int{0, 1, 2}, timing.Stuck - 1, time.Hour, "", "", true},
		{"it is stuck", 0, busy, table(joins(2)), []int{0, 1, 2}, timing.Stuck, time.Hour, "", "n2", false},
		{"too many are", 0, full, table(joins(2)), []int{0, 1, 2}, time.Hour, time.Hour, "", "", true},
		{"they have met, and are not one", 0, divided(t), table(joins(4)), []int{0, 1, 4}, time.Hour, time.Hour, "", "", true},
		{"one that is known to the layouts", 0, busy, table(joins(4)), []int{0, 1, 4}, time.Hour, time.Hour, "", "", false},
		{"a row that is ahead of its layout", 0, settled, table(row(2, "n2", ring.Active)), []int{0, 1, 2}, time.Hour, timing.Batch, "", "n2", false},
		{"its name is taken", 0, settled, table(row(2, "n1", ring.Joining)), []int{0, 1, 2}, time.Hour, time.Hour, "", "", false},
		{"its name is that of one that leaves", 0, leavers, table(row(7, "n7", ring.Leaving), row(2, "n7", ring.Joining)), []int{0, 1, 2, 7}, time.Hour, time.Hour, "", "", false},
		{"that has left", 0, leavers, table(row(7, "n7", ring.Left), row(2, "n7", ring.Joining)), []int{0, 1, 2}, time.Hour, time.Hour, "", "n7", false},
		{"one that was removed", 0, settled, table(row(2, "n2", ring.Removed)), []int{0, 1, 2}, time.Hour, time.Hour, "", "", false},
		{"two of one name: the lower", 0, settled, table(row(2, "x", ring.Joining), row(3, "x", ring.Joining)), []int{0, 1, 2, 3}, time.Hour, timing.Batch, "", "x", false},
		{"its own zone, as the second", 1, settled, table(), []int{0, 1}, time.Hour, timing.Batch + timing.Turn/ownTurns, "z", "n1", false},
		{"its own zone, as the second, too soon", 1, settled, table(), []int{0, 1}, time.Hour, timing.Batch, "z", "", true},
		{"one wants to leave", 0, settled, table(wants(1)), []int{0, 1}, time.Hour, timing.Batch, "", "n1 leaves", false},
		{"one wants to leave, and another comes", 0, settled, table(wants(1), joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch, "", "n2 n1 leaves", false},
		{"it proposes for itself", 0, settled, table(wants(0)), []int{0, 1}, time.Hour, timing.Batch, "", "n0 leaves", false},
		{"it has stopped", 0, settled, table(wants(1)), []int{0}, time.Hour, timing.Batch, "", "", false},
		{"all want to leave", 0, settled, table(wants(0), wants(1)), []int{0, 1}, time.Hour, timing.Batch, "", "n0 leaves", false},
		{"all want to leave, and one comes", 0, settled, table(wants(0), wants(1), joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch, "", "n2 n0 leaves n1 leaves", false},
		{"one that is leaving", 0, leavers, table(row(7, "n7", ring.Leaving)), []int{0, 1, 7}, time.Hour, time.Hour, "", "", false},
		{"its own zone, too soon", 1, settled, table(), []int{0, 1}, time.Hour, timing.Batch - 1, "z", "", true},
		{"its own zone beside a newcomer", 0, settled, table(joins(2)), []int{0, 1, 2}, time.Hour, timing.Batch, "z", "n2 n0", false},
	} {
		rows, wanted := stewardView{
			self: simID(tc.self), zone: tc.zone, heavy: 1, table: tc.table, rings: tc.rings, live: liveOf(tc.live...),
			now: start, since: start.Add(-tc.since), due: start.Add(-tc.due), Timing: timing,
		}.proposes()
		got := ""
		for i, r := range rows {
			if i > 0 {
				got += " "
			}
			got += r.Name
			if r.Standing == layouts.Leaves {
				got += " leaves"
				continue
			}
			if r.Standing != layouts.Owns || r.ID == simID(tc.self) && (r.Placed != 1 || r.Zone != "z") {
				t.Errorf("%s: proposes %+v", tc.name, r)
			}
		}
		if got != tc.want || wanted != (tc.want != "" || tc.later) {
			t.Errorf("%s: proposes %q, wanted %v; want %q, later %v", tc.name, got, wanted, tc.want, tc.later)
		}
	}
}

func TestUnifies(t *testing.T) {
	timing := DefaultConfig().Timing
	start := time.Unix(1000, 0)
	one, met := ringsOf(t, []layouts.Row{ownRow(0), ownRow(1)}), divided(t)
	for _, tc := range []struct {
		name  string
		self  int
		rings *layouts.View
		live  []int
		since time.Duration
		want  bool
	}{
		{"there is a top", 0, one, []int{0, 1}, time.Hour, false},
		{"the first, at once", 0, met, []int{0, 1}, 0, true},
		{"the next, later", 1, met, []int{0, 1}, timing.Turn - 1, false},
		{"the next one's turn", 1, met, []int{0, 1}, timing.Turn, true},
		{"no member", 9, met, []int{0, 1, 9}, time.Hour, false},
	} {
		got := stewardView{
			self: simID(tc.self), rings: tc.rings, live: liveOf(tc.live...), now: start, since: start.Add(-tc.since), Timing: timing,
		}.unifies()
		if got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestStandingOf(t *testing.T) {
	a, b := named(ownRow(1), "a"), named(ownRow(2), "a")
	leaves := func(r layouts.Row) layouts.Row { r.Standing = layouts.Leaves; return r }
	one := []layouts.Row{a, ownRow(9)}
	both := []layouts.Row{a, b}
	at := func(m ring.Member, rpc string) ring.Member { m.Addrs.RPC = rpc; return m }
	here, there := at(row(2, "a", ring.Active), "h:1"), at(row(1, "a", ring.Active), "h:2")
	for _, tc := range []struct {
		name  string
		self  ring.Member
		other Liveness
		rows  []ring.Member
		rings []layouts.Row
		want  standing
	}{
		{"unknown", row(2, "b", ring.Joining), Alive, []ring.Member{row(1, "a", ring.Active)}, one, standsNew},
		{"a member", row(1, "a", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active)}, one, standsFirm},
		{"joining", row(2, "b", ring.Joining), Alive, []ring.Member{row(1, "a", ring.Active), row(2, "b", ring.Joining)}, one, standsFirm},
		{"replaced, as the table says", row(2, "b", ring.Joining), Alive, []ring.Member{row(2, "b", ring.Replaced)}, one, standsGone},
		{"replaced, as the layouts say", row(1, "a", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active)}, []layouts.Row{goneRow(1, layouts.Replaced), ownRow(9)}, standsGone},
		{"removed, though that does not count yet", row(1, "a", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active)}, []layouts.Row{named(goneRow(1, layouts.Removed), "a"), ownRow(9)}, standsGone},
		{"leaving", row(1, "a", ring.Leaving), Alive, []ring.Member{row(1, "a", ring.Leaving)}, []layouts.Row{leaves(a), ownRow(9)}, standsFirm},
		{"has left", row(1, "a", ring.Left), Alive, []ring.Member{row(1, "a", ring.Left)}, []layouts.Row{leaves(a), ownRow(9)}, standsGone},
		{"empty, its namesake alive", row(2, "a", ring.Joining), Alive, []ring.Member{row(1, "a", ring.Active)}, one, standsContend},
		{"empty, its namesake dead", row(2, "a", ring.Joining), Dead, []ring.Member{row(1, "a", ring.Active)}, one, standsContend},
		{"joined before it knew of its namesake", row(2, "a", ring.Joining), Dead, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Joining)}, one, standsContend},
		{"both own, the other is placed", here, Alive, []ring.Member{there, here}, both, standsDoubt},
		{"both own, the other is placed, and silent", here, Suspect, []ring.Member{there, here}, both, standsFirm},
		{"both own, the other is placed, where this node is now", here, Alive, []ring.Member{at(there, "h:1"), here}, both, standsBeside},
		{"both own, the other is placed, where this node is now, and dead", here, Dead, []ring.Member{at(there, "h:1"), here}, both, standsContend},
		{"both own, the other is placed, this one leaves", at(row(2, "a", ring.Leaving), "h:1"), Alive, []ring.Member{there, at(row(2, "a", ring.Leaving), "h:1")}, []layouts.Row{a, leaves(b)}, standsFirm},
		{"both own, this one is placed", row(1, "a", ring.Active), Alive, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Active)}, both, standsFirm},
		{"both own, this one is placed, the other is dead", row(1, "a", ring.Active), Dead, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Active)}, both, standsContend},
		{"both own, the other is dead", row(2, "a", ring.Active), Dead, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Active)}, both, standsContend},
		{"the placed one leaves: the other stays", row(2, "a", ring.Active), Alive, []ring.Member{row(1, "a", ring.Leaving), row(2, "a", ring.Active)}, []layouts.Row{leaves(a), b}, standsFirm},
		{"a namesake wants to join", row(1, "a", ring.Active), Dead, []ring.Member{row(1, "a", ring.Active), row(2, "a", ring.Joining)}, one, standsFirm},
	} {
		decide := func(proved int) standing {
			got, _ := standingOf(tableOf(t, tc.rows...), ringsOf(t, tc.rings), tc.self, func(ring.ID) Liveness { return tc.other }, simID(proved), ring.ID{})
			return got
		}
		if got := decide(7); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		// Proof turns a doubt into the decision to leave, and changes nothing else.
		want := tc.want
		if want == standsDoubt {
			want = standsAside
		}
		if got := decide(1); got != want {
			t.Errorf("%s, and the other is proved to run: %v, want %v", tc.name, got, want)
		}
	}
}

// Of several namesakes that are in doubt each is called in turn.
func TestDoubtsTakeTurns(t *testing.T) {
	at := func(i int) ring.Member {
		m := row(i, "a", ring.Active)
		m.Addrs.RPC = fmt.Sprintf("h:%d", i)
		return m
	}
	var rows []ring.Member
	var owners []layouts.Row
	for i := range 4 {
		rows, owners = append(rows, at(i)), append(owners, named(ownRow(i), "a"))
	}
	table, rings := tableOf(t, rows...), ringsOf(t, owners)
	called := ring.ID{}
	for _, want := range []int{0, 1, 2, 0, 1} {
		s, other := standingOf(table, rings, at(3), liveOf(0, 1, 2, 3), ring.ID{}, called)
		if s != standsDoubt || other.ID != simID(want) {
			t.Fatalf("after %s: %v, %v; want a doubt of %d", called.Short(), s, other, want)
		}
		called = other.ID
	}
	if s, other := standingOf(table, rings, at(3), liveOf(0, 1, 2, 3), simID(1), simID(1)); s != standsAside || other.ID != simID(1) {
		t.Errorf("one of them answers: %v, %v", s, other)
	}
}

func TestReplacement(t *testing.T) {
	a := named(ownRow(1), "a")
	rows := []layouts.Row{ownRow(0), a, named(goneRow(3, layouts.Replaced), "a"), named(goneRow(4, layouts.Leaves), "a")}
	rings := ringsOf(t, rows)
	for _, tc := range []struct {
		name string
		self int
		to   ring.Member
		old  int
		ok   bool
	}{
		{"of one that owns", 0, row(2, "a", ring.Joining), 1, true},
		{"of one that was leaving", 0, row(2, "a", ring.Joining), 4, true},
		{"of another name", 0, row(2, "b", ring.Joining), 1, false},
		{"of nobody", 0, row(2, "a", ring.Joining), 8, false},
		{"of itself", 0, row(1, "a", ring.Active), 1, false},
		{"of one whose place another has", 0, row(2, "a", ring.Joining), 3, false},
		{"to one that is gone", 0, row(3, "a", ring.Replaced), 1, false},
		{"to one that owns already", 0, row(1, "a", ring.Active), 4, true},
		{"by one that is no member", 7, row(2, "a", ring.Joining), 1, false},
	} {
		s, err := replacement(rings, simID(tc.self), tc.to, simID(tc.old))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		v := layouts.NewView(s, func(v layouts.Version) layouts.Placement { return v.Place() })
		if top, _ := v.Top(); tc.ok && (top.Standing(simID(tc.old)) != layouts.Replaced || top.Standing(tc.to.ID) != layouts.Owns) {
			t.Errorf("%s:\n%v", tc.name, v)
		}
	}
}

func TestLeaving(t *testing.T) {
	two := []layouts.Row{ownRow(0), ownRow(1)}
	here, wants := row(0, nameOf(0), ring.Active), row(0, nameOf(0), ring.Leaving)
	other := row(1, nameOf(1), ring.Active)
	for _, tc := range []struct {
		name  string
		rings *layouts.View
		table ring.Table
		self  int
		want  error
	}{
		{"one of two", ringsOf(t, two), tableOf(t, here, other), 0, nil},
		{"again", ringsOf(t, two), tableOf(t, wants, other), 0, nil},
		{"again, when it is proposed", ringsOf(t, two, propose(0, goneRow(0, layouts.Leaves))), tableOf(t, wants, other), 0, nil},
		{"the other one leaves", ringsOf(t, two, propose(0, goneRow(0, layouts.Leaves))), tableOf(t, wants, other), 1, ErrLastMember},
		{"the other one wants to", ringsOf(t, two), tableOf(t, wants, other), 1, ErrLastMember},
		{"the only one", ringsOf(t, two[:1]), tableOf(t, here), 0, ErrLastMember},
		{"one that never owned", ringsOf(t, two), tableOf(t, here, other, row(5, "n5", ring.Joining)), 5, ErrJoining},
		{"changes that met", divided(t), tableOf(t, here, other), 0, nil},
		{"before the cluster", nil, tableOf(t, here), 0, ErrJoining},
	} {
		m, err := Leaving(tc.table, tc.rings, simID(tc.self))
		if !errors.Is(err, tc.want) || tc.want == nil && (err != nil || m.ID != simID(tc.self) || m.State != ring.Leaving) {
			t.Errorf("%s: %v, %v", tc.name, m, err)
		}
	}
	if _, err := removal(ringsOf(t, two[:1]), simID(0), simID(0), true); !errors.Is(err, ErrLastMember) {
		t.Errorf("the only one is removed: %v", err)
	}
}

func TestMirrored(t *testing.T) {
	old, fresh := named(ownRow(1), "a"), named(ownRow(2), "a")
	old.Standing = layouts.Replaced
	rings := ringsOf(t, []layouts.Row{ownRow(0), old, fresh, goneRow(3, layouts.Leaves), goneRow(4, layouts.Forced), ownRow(5), ownRow(6)},
		propose(0, goneRow(5, layouts.Removed)))
	before := tableOf(t, row(0, "n0", ring.Joining), row(3, "n3", ring.Left), row(8, "n8", ring.Joining))
	got, err := mirrored(before, rings)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]ring.State{0: ring.Active, 1: ring.Replaced, 2: ring.Active, 3: ring.Left, 4: ring.Removed, 5: ring.Active, 6: ring.Active, 8: ring.Joining}
	for i, state := range want {
		if m, ok := got.Get(simID(i)); !ok || m.State != state {
			t.Errorf("%v, want %v", m, state)
		}
	}
	if m, _ := got.Get(simID(1)); m.ReplacedBy != simID(2) {
		t.Errorf("%v", m)
	}
	if again, err := mirrored(got, rings); err != nil || !again.Equal(got) || got.Len() != len(want) {
		t.Errorf("again: %v\n%v", err, again)
	}
	if older, err := mirrored(got, ringsOf(t, []layouts.Row{ownRow(0), ownRow(3), ownRow(4)})); err != nil || !older.Equal(got) {
		t.Errorf("an older view takes back: %v\n%v", err, older)
	}
}

func TestFoundedFromATable(t *testing.T) {
	table := tableOf(t, row(0, "a", ring.Active), row(1, "b", ring.Leaving), row(2, "c", ring.Joining), row(3, "d", ring.Left), row(4, "e", ring.Removed), row(5, "f", ring.Replaced))
	v, err := foundingVersion(table)
	if err != nil {
		t.Fatal(err)
	}
	want := []layouts.Standing{layouts.Owns, layouts.Owns, 0, layouts.Leaves, layouts.Forced, layouts.Replaced}
	for i, s := range want {
		if got := v.Standing(simID(i)); got != s {
			t.Errorf("%d %v, want %v", i, got, s)
		}
	}
	k, err := founded(table)
	if err != nil || !k.whole() || !k.state.Equal(layouts.Found(v)) {
		t.Errorf("%v\n%v", err, k.state)
	}
	if _, err := founded(tableOf(t, row(2, "c", ring.Joining), row(3, "d", ring.Left))); err == nil {
		t.Error("a cluster in which nobody owns")
	}
}

func TestDeparted(t *testing.T) {
	replaced := row(1, "a", ring.Replaced)
	replaced.ReplacedBy = simID(2)
	for _, tc := range []struct {
		name string
		row  ring.Member
		own  layouts.Standing
		out  bool
		by   ring.ID
	}{
		{"a member", row(1, "a", ring.Active), layouts.Owns, false, ring.ID{}},
		{"leaving", row(1, "a", ring.Leaving), layouts.Leaves, false, ring.ID{}},
		{"has left", row(1, "a", ring.Left), layouts.Leaves, true, ring.ID{}},
		{"removed", row(1, "a", ring.Active), layouts.Removed, true, ring.ID{}},
		{"forced", row(1, "a", ring.Active), layouts.Forced, true, ring.ID{}},
		{"replaced", replaced, layouts.Replaced, true, simID(2)},
	} {
		own := named(ownRow(1), "a")
		own.Standing = tc.own
		why, by := departed(tableOf(t, tc.row), ringsOf(t, []layouts.Row{ownRow(0), own}), tc.row)
		if (why != "") != tc.out || by != tc.by {
			t.Errorf("%s: %q by %s", tc.name, why, by.Short())
		}
	}
}

// However fast states come, a peer gets one at a time, and the newest last.
func TestOutbox(t *testing.T) {
	o := newOutbox()
	if !o.put("a", []byte{1}) || !o.put("b", []byte{9}) {
		t.Fatal("nobody is sending, and nobody shall")
	}
	if got := o.take("a"); !slices.Equal(got, []byte{1}) {
		t.Fatalf("took %v", got)
	}
	for i := range byte(5) {
		if o.put("a", []byte{i}) {
			t.Error("two send to one peer")
		}
	}
	got := fmt.Sprint(o.take("a"), o.take("a"), o.take("b"))
	if got != "[4] [] [9]" {
		t.Errorf("took %s", got)
	}
	if !o.put("a", []byte{7}) {
		t.Error("it is taken for busy after the last")
	}
}
