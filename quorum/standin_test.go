package quorum

import (
	"testing"

	"pgregory.net/rapid"
)

func TestStandInsTable(t *testing.T) {
	type step struct {
		replace         int
		fallback, owner int // -1: none
	}
	sloppy := Params{N: 3, W: Quorum, R: Quorum, Sloppy: true}
	strict := sloppy
	strict.Sloppy = false
	for _, c := range []struct {
		name   string
		params Params
		up     Set
		steps  []step
	}{
		{"strict", strict, SetOf(3, 4), []step{{0, -1, -1}, {1, -1, -1}}},
		{"in order of preference", sloppy, SetOf(3, 4, 5), []step{{2, 3, 2}, {0, 4, 0}}},
		{"a fallback that is down is passed by", sloppy, SetOf(4, 6), []step{{1, 4, 1}, {0, 6, 0}, {2, -1, -1}}},
		{"once for each owner", sloppy, SetOf(3, 4), []step{{1, 3, 1}, {1, -1, -1}, {2, 4, 2}}},
		{"a stand-in that fails is followed by the next, for the same owner", sloppy, SetOf(3, 4, 5), []step{{1, 3, 1}, {3, 4, 1}, {3, -1, -1}, {4, 5, 1}, {5, -1, -1}}},
		{"owners are no fallbacks", sloppy, SetOf(0, 1, 2), []step{{0, -1, -1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewStandIns(c.params, 3, c.up)
			for i, st := range c.steps {
				fallback, owner, ok := s.Replace(st.replace)
				if !ok {
					fallback, owner = -1, -1
				}
				if fallback != st.fallback || owner != st.owner {
					t.Fatalf("step %d: replacing %d: %d for %d, want %d for %d", i, st.replace, fallback, owner, st.fallback, st.owner)
				}
			}
		})
	}
}

// A fallback that coordinates stands in for an owner that will not answer, if there is one, and that owner gets no second stand-in.
func TestTheCoordinatingFallbackTakesAPlace(t *testing.T) {
	for _, c := range []struct {
		down Set
		want int
	}{{0, 0}, {SetOf(2), 2}, {SetOf(1, 2), 1}, {SetOf(0, 1, 2), 0}, {SetOf(4), 0}} {
		s := NewStandIns(Params{N: 3, W: 2, R: 2, Sloppy: true}, 3, SetOf(3, 4, 5))
		if got := s.Take(4, c.down); got != c.want || s.Owner(4) != c.want || s.Waited(c.want) {
			t.Errorf("down %v: takes the place of %d, want %d", c.down, got, c.want)
		}
		if _, _, ok := s.Replace(c.want); ok {
			t.Errorf("down %v: a second stand-in", c.down)
		}
		if next, owner, ok := s.Replace(4); !ok || next != 3 || owner != c.want {
			t.Errorf("down %v: %d for %d follows, %v", c.down, next, owner, ok)
		}
	}
}

// Whatever is replaced in whatever order: each fallback is asked once, for an owner, in order of preference; nobody's place is given on twice; and a tally takes what comes out.
func TestStandInsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners := rapid.IntRange(1, 5).Draw(t, "owners")
		up := Set(rapid.Uint64Range(0, 1<<10-1).Draw(t, "up"))
		p := Params{N: owners, W: Quorum, R: Quorum, Sloppy: rapid.Bool().Draw(t, "sloppy")}
		s := NewStandIns(p, owners, up)
		var all Set
		for o := range owners {
			all = all.With(o)
		}
		tally := NewWrite(p.W, []Group{{Owners: all, Synced: all}})
		standsFor := map[int]int{}
		gone := map[int]bool{}
		last := owners - 1
		t.Repeat(map[string]func(*rapid.T){
			"replace": func(t *rapid.T) {
				node := rapid.IntRange(0, 9).Draw(t, "node")
				if _, stands := standsFor[node]; node >= owners && !stands {
					t.Skip()
				}
				fallback, owner, ok := s.Replace(node)
				if !ok {
					if !gone[node] && p.Sloppy {
						for f := last + 1; f < MaxNodes; f++ {
							if up.Has(f) {
								t.Fatalf("fallback %d was not asked in place of %d", f, node)
							}
						}
					}
					return
				}
				want := node
				if node >= owners {
					want = standsFor[node]
				}
				if _, twice := standsFor[fallback]; twice || !p.Sloppy || gone[node] || !up.Has(fallback) || fallback <= last || owner != want {
					t.Fatalf("replacing %d: %d for %d", node, fallback, owner)
				}
				for f := last + 1; f < fallback; f++ {
					if up.Has(f) {
						t.Fatalf("%d was passed by", f)
					}
				}
				gone[node], standsFor[fallback], last = true, owner, fallback
				tally.Stand(fallback, owner) // panics if it may not
			},
			"": func(t *rapid.T) {
				for f, o := range standsFor {
					if s.Owner(f) != o || !s.Asked().Has(f) {
						t.Fatalf("%d stands in for %d, want %d", f, s.Owner(f), o)
					}
				}
				if s.Asked().Len() != len(standsFor) {
					t.Fatalf("asked %v, want %v", s.Asked(), standsFor)
				}
			},
		})
	})
}

// For every outcome of two owners and two stand-ins: absence needs r owners, or stand-ins that have something to say.
func TestAbsenceNeedsOwners(t *testing.T) {
	owners := SetOf(0, 1)
	for r := 1; r <= 2; r++ {
		for replied := Set(0); replied < 1<<4; replied++ {
			for empty := Set(0); empty < 1<<4; empty++ {
				tally := NewRead(Level(r), []Group{{Owners: owners, Synced: owners}})
				tally.Stand(2, 0)
				tally.Stand(3, 1)
				for node := range 4 {
					if replied.Has(node) {
						tally.Reply(node)
					} else {
						tally.Fail(node)
					}
				}
				places := 0
				for owner := range 2 {
					stand := owner + 2
					if replied.Has(owner) || replied.Has(stand) && !empty.Has(stand) {
						places++
					}
				}
				want := Unmet
				if places >= r {
					want = Met
				}
				before := tally.State()
				absence := tally.OfAbsence(empty)
				if absence.State() != want || absence.Got() != places || tally.State() != before {
					t.Fatalf("r=%d, replied %v, empty %v: %v with %d, want %v with %d", r, replied, empty, absence.State(), absence.Got(), want, places)
				}
			}
		}
	}
	tally := NewRead(1, []Group{{Owners: owners, Synced: owners}})
	tally.Stand(2, 0)
	tally.Reply(2)
	if absence := tally.OfAbsence(SetOf(2)); tally.State() != Met || absence.State() != Pending {
		t.Error("while an owner may still answer, absence is undecided")
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct {
		sloppy                      bool
		owners, up, fallbacks, want int
	}{{false, 3, 1, 5, 1}, {true, 3, 1, 5, 3}, {true, 3, 1, 1, 2}, {true, 3, 0, 0, 0}, {true, 3, 3, 2, 3}} {
		if got := (Params{Sloppy: c.sloppy}).Reachable(c.owners, c.up, c.fallbacks); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
