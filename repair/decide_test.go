package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/version"
)

var (
	alice = version.Actor{ID: 1, N: 3}
	bob   = version.Actor{ID: 2, N: 3}
)

func bases(a, b uint64) (v version.Vector) {
	v.AddBase(alice, a)
	v.AddBase(bob, b)
	return v
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		name         string
		mine, theirs version.Vector
		held, owed   bool
		want         bool
	}{
		{"equal", bases(3, 3), bases(3, 3), true, false, false},
		{"ahead", bases(3, 4), bases(3, 3), true, false, false},
		{"behind", bases(3, 2), bases(3, 3), true, false, true},
		{"both", bases(9, 2), bases(3, 3), true, false, true},
		{"owed by one that holds it", bases(0, 1), bases(3, 3), true, true, true},
		{"owed by one that does not", bases(3, 2), bases(3, 3), false, true, true},
		{"one that does not hold it is waited for", bases(3, 2), bases(3, 3), false, false, false},
		{"owed, and nothing is missing", bases(3, 3), bases(3, 3), false, true, false},
	} {
		if got := wants(c.mine, c.theirs, c.held, c.owed); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestReports: an owner has still to report a partition from the moment that its sets change until it has reported it.
func TestReports(t *testing.T) {
	settled := viewOf(t, 16, 3)
	state, err := settled.Propose(ring.ID{1}, rowOf(4, layouts.Owns))
	if err != nil {
		t.Fatal(err)
	}
	changing := placed(state)
	top, _ := changing.Top()
	owed := 0
	for p := range ring.Partition(16) {
		for i := range 4 {
			id := ring.ID{byte(i + 1)}
			want := changing.Gaining(id, p) > 0
			if reports(settled, id, p) || reports(changing, id, p) != want || reports(placed(state.Synced(id, top.Hash(), p)), id, p) {
				t.Errorf("node %d, partition %d", i+1, p)
			}
			if want {
				owed++
			}
		}
	}
	if owed == 0 || reports(changing, ring.ID{5}, 0) {
		t.Errorf("%d reports are owed", owed)
	}
}

func TestPick(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		name     string
		contacts map[ring.ID]*contact
		want     []ring.ID
	}{
		{"nobody", nil, nil},
		{"down", map[ring.ID]*contact{{1}: {}}, nil},
		{"not due", map[ring.ID]*contact{{1}: {up: true, due: at(1)}}, nil},
		{"due", map[ring.ID]*contact{{1}: {up: true, due: now}}, []ring.ID{{1}}},
		{"one at a time with a peer", map[ring.ID]*contact{{1}: {up: true, running: true}}, nil},
		{"longest due first, two at once", map[ring.ID]*contact{{1}: {up: true, due: at(-1)}, {2}: {up: true, due: at(-3)}, {3}: {up: true, due: at(-2)}}, []ring.ID{{2}, {3}}},
		{"those that run count", map[ring.ID]*contact{{1}: {up: true, running: true}, {2}: {up: true, due: at(-3)}, {3}: {up: true, due: at(-2)}}, []ring.ID{{2}}},
		{"those that are waited for first", map[ring.ID]*contact{{1}: {up: true, due: at(-1), first: true}, {2}: {up: true, due: at(-3)}, {3}: {up: true, due: at(-2)}}, []ring.ID{{1}, {2}}},
		{"no room", map[ring.ID]*contact{{1}: {running: true}, {2}: {up: true, running: true}, {3}: {up: true}}, nil},
	} {
		if got := pick(c.contacts, now, 2); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestHasten: all are due, what runs begins again when it has ended, and those come first that are waited for.
func TestHasten(t *testing.T) {
	now := time.Unix(1000, 0)
	contacts := map[ring.ID]*contact{{1}: {up: true, due: now.Add(time.Hour)}, {2}: {up: true, running: true}, {3}: {up: true, due: now.Add(time.Minute)}}
	hasten(contacts, map[ring.ID]int{{3}: 2})
	if got := pick(contacts, now, 3); fmt.Sprint(got) != fmt.Sprint([]ring.ID{{3}, {1}}) {
		t.Errorf("%v", got)
	}
	contacts[ring.ID{2}].ended(now.Add(time.Hour))
	contacts[ring.ID{1}].ended(now.Add(time.Hour))
	if got := pick(contacts, now, 3); fmt.Sprint(got) != fmt.Sprint([]ring.ID{{3}, {2}}) {
		t.Errorf("after two have ended: %v", got)
	}
}

// TestTerritory: for every n at once, what two nodes share is what both own in some live layout; both sides see the same.
func TestTerritory(t *testing.T) {
	settled := viewOf(t, 16, 12)
	grown, err := settled.Propose(ring.ID{1}, rowOf(13, layouts.Owns), rowOf(5, layouts.Leaves))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []*layouts.View{settled, placed(grown)} {
		for a := range 14 {
			mine := territoryOf(v, ring.ID{byte(a + 1)})
			for b := range 14 {
				self, peer := ring.ID{byte(a + 1)}, ring.ID{byte(b + 1)}
				theirs := territoryOf(v, peer)
				if fmt.Sprint(mine.shares[peer]) != fmt.Sprint(theirs.shares[self]) {
					t.Fatalf("%v and %v: %v and %v", self.Short(), peer.Short(), mine.shares[peer], theirs.shares[self])
				}
				at := map[ring.Partition]uint8{}
				for _, s := range mine.shares[peer] {
					at[s.Partition] = s.Least
				}
				for p := range ring.Partition(16) {
					for n := 1; n <= 16; n++ {
						both := a != b && v.Keeps(self, p, n) && v.Keeps(peer, p, n)
						if shared := at[p] > 0 && n >= int(at[p]); shared != both {
							t.Errorf("partition %d, n=%d: %v and %v share it: %v", p, n, self.Short(), peer.Short(), shared)
						}
					}
				}
			}
			for p, n := range mine.gaining {
				if want := v.Gaining(ring.ID{byte(a + 1)}, ring.Partition(p)); int(n) != want {
					t.Errorf("node %d, partition %d: gaining up to %d, want %d", a+1, p, n, want)
				}
			}
		}
	}
	if got := territoryOf(nil, ring.ID{1}); len(got.shares) != 0 || got.fetches {
		t.Errorf("before the cluster: %v", got)
	}
}

func TestRotate(t *testing.T) {
	for peer, want := range []string{"[0 1 2 3 4]", "[1 2 3 4 0]", "[3 4 0 1 2]"} {
		if got := fmt.Sprint(rotate([]int{0, 1, 2, 3, 4}, peer, 3)); got != want {
			t.Errorf("peer %d: %s, want %s", peer, got, want)
		}
	}
	if got := rotate([]int{}, 1, 2); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
