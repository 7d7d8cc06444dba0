package repair

import (
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
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

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name                     string
		mine, theirs             version.Vector
		selfGaining, peerGaining bool
		want                     action
	}{
		{"equal", bases(3, 3), bases(3, 3), false, false, nothing},
		{"ahead", bases(3, 4), bases(3, 3), false, false, nothing},
		{"behind", bases(3, 2), bases(3, 3), false, false, catchUp},
		{"both", bases(9, 2), bases(3, 3), false, false, catchUp},
		{"a gaining node catches up", bases(0, 1), bases(3, 3), true, false, catchUp},
		{"a gaining peer's clock is not adopted", bases(3, 2), bases(3, 3), true, true, take},
		{"a gaining peer is waited for", bases(3, 2), bases(3, 3), false, true, nothing},
		{"nothing of a gaining peer", bases(3, 3), bases(3, 3), true, true, nothing},
	} {
		if got := judge(c.mine, c.theirs, c.selfGaining, c.peerGaining); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
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
		{"no room", map[ring.ID]*contact{{1}: {running: true}, {2}: {up: true, running: true}, {3}: {up: true}}, nil},
	} {
		if got := pick(c.contacts, now, 2); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// layoutOf makes a layout of members named by letters, with incarnations 1, 2, …
func layoutOf(t testing.TB, partitions int, names ...string) *ring.Layout {
	t.Helper()
	table, err := ring.NewTable("c", partitions)
	for i, name := range names {
		if err == nil {
			table, err = table.With(ring.Member{ID: ring.ID{byte(i + 1)}, Name: name, Weight: 1, State: ring.Active})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return ring.NewLayout(table)
}

// TestSharesAreWhatBothOwn: for every n at once, both sides see the same, and nobody else's.
func TestSharesAreWhatBothOwn(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("m", i))
	}
	l := layoutOf(t, 16, names...)
	for _, pair := range [][2]ring.ID{{{1}, {2}}, {{3}, {20}}, {{5}, {6}}} {
		mine, theirs := shares(l, pair[0], pair[1]), shares(l, pair[1], pair[0])
		if fmt.Sprint(mine) != fmt.Sprint(theirs) {
			t.Errorf("%v: %v and %v", pair, mine, theirs)
		}
		at := map[ring.Partition]uint8{}
		for _, s := range mine {
			at[s.Partition] = s.Least
		}
		for p := range ring.Partition(16) {
			for n := 1; n <= 16; n++ {
				owners := fmt.Sprint(l.Owners(p, n))
				both := containsID(l.Owners(p, n), pair[0]) && containsID(l.Owners(p, n), pair[1])
				if shared := at[p] > 0 && n >= int(at[p]); shared != both {
					t.Errorf("partition %d, n=%d, owners %s: %v shared: %v", p, n, owners, pair, shared)
				}
			}
		}
	}
	if got := shares(l, ring.ID{1}, ring.ID{99}); got != nil {
		t.Errorf("with a stranger: %v", got)
	}
	if got := shares(nil, ring.ID{1}, ring.ID{2}); got != nil {
		t.Errorf("without a layout: %v", got)
	}
}

func containsID(ids []ring.ID, id ring.ID) bool {
	for _, other := range ids {
		if other == id {
			return true
		}
	}
	return false
}

// TestWaitsFor: a namesake waits for everybody else, under the layout that contains it.
func TestWaitsFor(t *testing.T) {
	o := &Ownership{Layout: layoutOf(t, 16, "a", "b", "c"), Hash: 7, Self: ring.ID{2}}
	for _, c := range []struct {
		done map[ring.ID]uint64
		want []ring.ID
	}{
		{nil, []ring.ID{{1}, {3}}},
		{map[ring.ID]uint64{{1}: 7}, []ring.ID{{3}}},
		{map[ring.ID]uint64{{1}: 7, {3}: 6}, []ring.ID{{3}}}, // an exchange under an older layout
		{map[ring.ID]uint64{{1}: 7, {3}: 7}, nil},
	} {
		if got := waitsFor(o, c.done); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.done, got, c.want)
		}
	}
	if got := waitsFor(&Ownership{Self: ring.ID{2}}, nil); got != nil {
		t.Errorf("without a layout: %v", got)
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
