package coordinator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"pgregory.net/rapid"
)

func rosterID(i int) ring.ID { return ring.ID{byte(i + 1)} }

func rosterIDs(members ...int) (ids []ring.ID) {
	for _, i := range members {
		ids = append(ids, rosterID(i))
	}
	return ids
}

// rosterView is a view of members 0 to count-1 whose newest layout has all of them.
func rosterView(t interface{ Fatal(...any) }, count int) *View {
	var rows []layouts.Row
	for i := range count {
		rows = append(rows, layouts.Row{ID: rosterID(i), Standing: layouts.Owns, Name: fmt.Sprintf("n%d", i), Weight: 1})
	}
	founding, err := layouts.NewVersion(8, rows...)
	if err != nil {
		t.Fatal(err)
	}
	place := founding.Place()
	rings := layouts.NewView(layouts.Found(founding), func(layouts.Version) layouts.Placement { return place })
	return &View{Rings: rings, Layout: place, Digest: rings.Digest(), Peers: map[ring.ID]Peer{}}
}

// TestRosterNumbers: owners of maximal whole layouts first, each once; then the other layouts'; and of the rest of the newest layout the fallbacks.
func TestRosterNumbers(t *testing.T) {
	v := rosterView(t, 8)
	whole := layouts.Group{Owners: rosterIDs(4, 2, 0), Synced: rosterIDs(4, 2)} // 0 is a namesake that refills
	newest := layouts.Group{Owners: rosterIDs(2, 1, 4), Synced: rosterIDs(2, 1, 4)}
	writes := []layouts.Group{newest, whole}

	r, ok := v.rosterOf(3, 3, writes, []layouts.Group{whole}, true)
	if want := rosterIDs(4, 2, 0, 1); !ok || !slices.Equal(r.owners, want) {
		t.Errorf("owners %v, want %v", r.owners, want)
	}
	if want := []quorum.Group{{Owners: quorum.SetOf(0, 1, 3), Synced: quorum.SetOf(0, 1, 3)}, {Owners: quorum.SetOf(0, 1, 2), Synced: quorum.SetOf(0, 1)}}; !slices.Equal(r.write.list(), want) {
		t.Errorf("write groups %v, want %v", r.write.list(), want)
	}
	if want := []quorum.Group{{Owners: quorum.SetOf(0, 1, 2), Synced: quorum.SetOf(0, 1)}}; !slices.Equal(r.read.list(), want) {
		t.Errorf("read groups %v, want %v", r.read.list(), want)
	}
	if got := r.read.counting(forReads); got != quorum.SetOf(0, 1) {
		t.Errorf("%v count for reads", got)
	}
	rest := slices.DeleteFunc(slices.Clone(v.Layout.Order(3)), func(id ring.ID) bool { return owns(r.owners, id) })
	if len(rest) != 4 || !slices.Equal(r.fallbacks, rest) {
		t.Errorf("fallbacks %v, want %v", r.fallbacks, rest)
	}

	r, ok = v.rosterOf(3, 3, writes, []layouts.Group{whole}, false)
	if !ok || !slices.Equal(r.owners, whole.Owners) || r.write.count != 0 || !slices.Equal(r.fallbacks, rest) {
		t.Errorf("a read asks %v, has %d write groups and %v for fallbacks", r.owners, r.write.count, r.fallbacks)
	}

	var many []layouts.Group
	for i := range quorum.MaxGroups + 1 {
		many = append(many, layouts.Group{Owners: rosterIDs(i), Synced: rosterIDs(i)})
	}
	if _, ok := v.rosterOf(3, 1, many, many[:1], true); ok {
		t.Error("a write counts in more layouts than a tally takes")
	}
	if _, ok := v.rosterOf(3, 1, many, many[:1], false); !ok {
		t.Error("a read of one whole layout is refused for the others' sake")
	}
	if _, ok := v.rosterOf(3, 1, many, many, false); ok {
		t.Error("a read counts in more layouts than a tally takes")
	}
}

// TestRosterIsBounded: four layouts of sixteen owners each fit a request, and not one owner more; fallbacks take what numbers are left.
func TestRosterIsBounded(t *testing.T) {
	v := rosterView(t, 80)
	for shared := range 3 {
		var all []layouts.Group
		for layout := range quorum.MaxNodes / quorum.MaxN {
			var g layouts.Group
			for i := range quorum.MaxN {
				g.Owners = append(g.Owners, rosterID(layout*(quorum.MaxN-shared)+i))
			}
			g.Synced = g.Owners
			all = append(all, g)
		}
		r, ok := v.rosterOf(0, quorum.MaxN, all, all[:1], true)
		owners := quorum.MaxNodes - shared*(quorum.MaxNodes/quorum.MaxN-1)
		if !ok || len(r.owners) != owners || len(r.owners)+len(r.fallbacks) > quorum.MaxNodes || len(r.fallbacks) == 0 && shared > 0 {
			t.Errorf("%d owners, want %d, and %d fallbacks", len(r.owners), owners, len(r.fallbacks))
		}
		one := layouts.Group{Owners: []ring.ID{rosterID(79)}, Synced: []ring.ID{rosterID(79)}}
		if _, ok := v.rosterOf(0, quorum.MaxN, append(all, one), all[:1], true); ok != (owners < quorum.MaxNodes) {
			t.Errorf("one more than %d owners: %v", owners, ok)
		}
	}
}

// TestSoleRosterIsTheSame: the short cut for one live layout says what the long way does, and allocates nothing.
func TestSoleRosterIsTheSame(t *testing.T) {
	v := rosterView(t, 5)
	for p := range ring.Partition(8) {
		for n := 1; n <= 6; n++ {
			short, _ := v.writers(p, n)
			long, _ := v.rosterOf(p, n, v.Rings.WriteGroups(p, n), v.Rings.ReadGroups(p, n), true)
			if !slices.Equal(short.owners, long.owners) || !slices.Equal(short.fallbacks, long.fallbacks) || short.read != long.read || short.write != long.write {
				t.Fatalf("p=%d n=%d:\n%+v\n%+v", p, n, short, long)
			}
		}
	}
	if allocs := testing.AllocsPerRun(100, func() {
		if r, ok := v.readers(3, 3); !ok || len(r.owners) != 3 {
			t.Error(r)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestVerdictsAgainstOracle: whatever the layouts are, and whoever answers, by node, in whatever order: the verdicts are those of an oracle that knows no numbers and counts names.
func TestVerdictsAgainstOracle(t *testing.T) {
	const members = 9
	v := rosterView(t, members)
	level := rapid.SampledFrom([]quorum.Level{quorum.One, quorum.Quorum, quorum.All, 1, 2, 3, 5})
	group := rapid.Custom(func(t *rapid.T) layouts.Group {
		order := rapid.Permutation(rosterIDs(0, 1, 2, 3, 4, 5, 6, 7, 8)).Draw(t, "order")
		g := layouts.Group{Owners: order[:rapid.IntRange(1, 5).Draw(t, "owners")]}
		for _, id := range g.Owners {
			if rapid.IntRange(0, 4).Draw(t, "synced") > 0 {
				g.Synced = append(g.Synced, id)
			}
		}
		return g
	})
	rapid.Check(t, func(t *rapid.T) {
		writes := rapid.SliceOfN(group, 1, quorum.MaxGroups).Draw(t, "groups")
		reads := writes[:rapid.IntRange(1, len(writes)).Draw(t, "whole")]
		r, ok := v.rosterOf(0, 5, writes, reads, true)
		if !ok {
			t.Fatal("refused")
		}
		w, rl := level.Draw(t, "w"), level.Draw(t, "r")
		put, get, back := quorum.NewWrite(w, r.write.list()), quorum.NewRead(rl, r.read.list()), quorum.NewWriteBack(rl, r.write.list())
		good, bad, up := map[ring.ID]bool{}, map[ring.ID]bool{}, quorum.Set(0)
		for i, id := range r.owners {
			switch rapid.IntRange(0, 2).Draw(t, "answer") {
			case 1:
				good[id] = true
				put.Ack(i)
				get.Reply(i)
				back.Ack(i)
			case 2:
				bad[id] = true
				put.Fail(i)
				get.Fail(i)
				back.Fail(i)
			}
			if !bad[id] {
				up = up.With(i)
			}
		}
		verdict := func(all []layouts.Group, l quorum.Level, synced, capped bool) quorum.State {
			state := quorum.Met
			for _, g := range all {
				need := l.Resolve(len(g.Owners))
				if capped {
					need = min(need, len(g.Owners))
				}
				said, may := 0, 0
				for _, id := range g.Owners {
					if synced && !slices.Contains(g.Synced, id) {
						continue
					}
					if good[id] {
						said++
					}
					if !bad[id] {
						may++
					}
				}
				switch {
				case may < need:
					return quorum.Unmet
				case said < need:
					state = quorum.Pending
				}
			}
			return state
		}
		if got, want := put.State(), verdict(writes, w, false, false); got != want {
			t.Errorf("w=%v: %v, want %v", w, got, want)
		}
		if got, want := get.State(), verdict(reads, rl, true, false); got != want {
			t.Errorf("r=%v: %v, want %v", rl, got, want)
		}
		if got, want := back.State(), verdict(writes, rl, false, true); got != want {
			t.Errorf("written back to r=%v: %v, want %v", rl, got, want)
		}
		// What is refused before it is begun is what can no longer be met, no more and no less.
		for _, c := range []struct {
			all   groups
			level quorum.Level
			of    func(quorum.Group) quorum.Set
			state quorum.State
		}{{r.write, w, forWrites, put.State()}, {r.read, rl, forReads, get.State()}} {
			if s := c.all.short(c.level, quorum.Params{}, c.of, up, 0); s.short() != (c.state == quorum.Unmet) {
				t.Errorf("%v of %v is %v, and %+v is short", c.level, c.all.list(), c.state, s)
			}
		}
	})
}

// TestOwnZoneFirst: the zone of this node before others, for values and for writes that are handed on, unless its nodes are far slower; those who may lack something last.
func TestOwnZoneFirst(t *testing.T) {
	a, b, c, self := rosterID(0), rosterID(1), rosterID(2), rosterID(3)
	slow := func(co *Coordinator, id ring.ID) {
		for range 100 {
			co.pace.answered(id, 0, 10*time.Millisecond, time.Now())
		}
	}
	even := func(co *Coordinator) {
		for range 100 {
			for _, id := range []ring.ID{a, b, c} {
				co.pace.answered(id, 0, time.Millisecond, time.Now())
			}
		}
	}
	for name, test := range map[string]struct {
		zones     map[ring.ID]string
		unsynced  []ring.ID
		happened  func(co *Coordinator)
		near      ring.ID
		takers    []ring.ID
		fetchFrom ring.ID // of b and c
	}{
		"no zones":                    {happened: even, near: a, takers: []ring.ID{a, b, c}},
		"one of the own zone":         {zones: map[ring.ID]string{self: "x", a: "y", b: "x", c: "y"}, happened: even, near: b, takers: []ring.ID{b, a, c}, fetchFrom: b},
		"the last is of the own zone": {zones: map[ring.ID]string{self: "x", a: "y", b: "z", c: "x"}, happened: even, near: c, takers: []ring.ID{c, a, b}, fetchFrom: c},
		"it is far slower": {zones: map[ring.ID]string{self: "x", a: "y", b: "z", c: "x"}, happened: func(co *Coordinator) {
			even(co)
			slow(co, c)
		}, near: a, takers: []ring.ID{a, b, c}, fetchFrom: b},
		"it lacks something": {zones: map[ring.ID]string{self: "x", a: "x", b: "y", c: "x"}, unsynced: []ring.ID{a}, happened: even, near: c, takers: []ring.ID{c, b, a}, fetchFrom: c},
		"nobody is of it":    {zones: map[ring.ID]string{self: "x", a: "y", b: "z", c: "z"}, happened: even, near: a, takers: []ring.ID{a, b, c}},
		"no zones, one lacks something, one is far slower": {unsynced: []ring.ID{b}, happened: func(co *Coordinator) {
			even(co)
			slow(co, a)
		}, near: c, takers: []ring.ID{c, a, b}},
	} {
		t.Run(name, func(t *testing.T) {
			v := &View{Self: self, Peers: map[ring.ID]Peer{}}
			for _, id := range []ring.ID{a, b, c, self} {
				v.Peers[id] = Peer{Zone: test.zones[id]}
			}
			co := &Coordinator{pace: newPace(64)}
			test.happened(co)
			g := layouts.Group{Owners: []ring.ID{a, b, c}}
			for _, id := range g.Owners {
				if !slices.Contains(test.unsynced, id) {
					g.Synced = append(g.Synced, id)
				}
			}
			r := roster{owners: g.Owners}
			r.read, r.write = r.groups([]layouts.Group{g}), r.groups([]layouts.Group{g})
			f := &round{counting: r.read.counting(forReads)}
			f.begin(v, r.owners, time.Now())
			if got := co.nearest(v, f); r.owners[got] != test.near {
				t.Errorf("the value is asked from %d, want %v", got, test.near)
			}
			if got := co.takers(v, &r); !slices.Equal(got, test.takers) {
				t.Errorf("a write is handed to %v, want %v", got, test.takers)
			}
			if now := time.Now(); !test.fetchFrom.IsZero() && (co.distance(v, b, now) < co.distance(v, c, now)) != (test.fetchFrom == b) {
				t.Errorf("b is at %v and c at %v", co.distance(v, b, now), co.distance(v, c, now))
			}
		})
	}
}
