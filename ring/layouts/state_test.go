package layouts

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/ring"
)

// testPartitions is small, so that drawn reports add up to whole layouts, and large enough for a bitmap that is neither empty nor full.
const testPartitions = 2

func drawVersion(t *rapid.T) Version {
	rows := map[ring.ID]Row{}
	for range rapid.IntRange(1, 3).Draw(t, "rows") {
		i := rapid.IntRange(0, 3).Draw(t, "node")
		r := nodeRow(i, Standing(rapid.Uint8Range(uint8(Owns), uint8(Replaced)).Draw(t, "standing")))
		r.Weight = rapid.Uint32Range(1, 2).Draw(t, "weight")
		r.Losses = rapid.Uint64Range(0, 1).Draw(t, "losses")
		r.Placed = rapid.Uint64Range(0, 1).Draw(t, "placed")
		rows[r.ID] = r
	}
	list := make([]Row, 0, len(rows))
	for _, r := range rows {
		list = append(list, r)
	}
	v, err := NewVersion(testPartitions, list...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// drawState draws facts that need not have come about by the rules: the lattice must hold for whatever a peer says.
func drawState(t *rapid.T) State {
	var s State
	for range rapid.IntRange(0, 4).Draw(t, "layouts") {
		v := drawVersion(t)
		var err error
		if rapid.IntRange(0, 5).Draw(t, "founds") == 0 {
			s, err = Merge(s, Found(v))
		} else {
			s, err = s.with(v)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 6).Draw(t, "facts") {
			s = drawFact(t, s, v)
		}
	}
	return s
}

func drawFact(t *rapid.T, s State, v Version) State {
	id := nodeID(rapid.IntRange(0, 3).Draw(t, "who"))
	switch rapid.IntRange(0, 4).Draw(t, "fact") {
	case 0:
		return s.Record(id)
	case 1:
		for _, l := range s.layouts {
			if l.version.hash == v.hash && l.whole {
				return s.Bury(v.hash)
			}
		}
	default:
		if v.Standing(id) == Owns {
			return s.Synced(id, v.hash, ring.Partition(rapid.IntRange(0, testPartitions-1).Draw(t, "partition")))
		}
	}
	return s
}

func mustMerge(t rapid.TB, states ...State) State {
	var merged State
	for _, s := range states {
		var err error
		if merged, err = Merge(merged, s); err != nil {
			t.Fatal(err)
		}
	}
	return merged
}

func TestMergeIsALattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawState(t), drawState(t), drawState(t)
		before := fmt.Sprintf("%x %x %x", a.Encode(), b.Encode(), c.Encode())
		same := func(law string, x, y State) {
			if !x.Equal(y) || string(x.Encode()) != string(y.Encode()) {
				t.Fatalf("%s:\n%v\n%v", law, x, y)
			}
		}
		ab := mustMerge(t, a, b)
		same("commutative", ab, mustMerge(t, b, a))
		same("associative", mustMerge(t, ab, c), mustMerge(t, a, mustMerge(t, b, c)))
		same("idempotent", mustMerge(t, a, a), a)
		same("neutral", mustMerge(t, a, State{}), a)
		same("absorbing", mustMerge(t, ab, a, b), ab)
		if !ab.Knows(a) || !ab.Knows(b) || a.Knows(b) && !a.Equal(ab) {
			t.Fatalf("what is known of\n%v\n%v", a, b)
		}
		if before != fmt.Sprintf("%x %x %x", a.Encode(), b.Encode(), c.Encode()) {
			t.Fatal("merging changed an argument")
		}
	})
}

// Every fact only adds: a state with it knows the state before.
func TestFactsOnlyAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		for _, v := range NewView(s, func(Version) Placement { return fixed("") }).Live() {
			if next := drawFact(t, s, v); !next.Knows(s) {
				t.Fatalf("from\n%v\nto\n%v", s, next)
			}
		}
	})
}

func TestVersionsAreALattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawVersion(t), drawVersion(t), drawVersion(t)
		join := func(x, y Version) Version {
			v, err := x.Join(y)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		ab := join(a, b)
		if ab.hash != join(b, a).hash || join(ab, c).hash != join(a, join(b, c)).hash || join(a, a).hash != a.hash || join(a, Version{}).hash != a.hash {
			t.Fatalf("no lattice:\n%v\n%v\n%v", a, b, c)
		}
		if !ab.Covers(a) || !ab.Covers(b) || a.Covers(b) != (ab.hash == a.hash) {
			t.Fatalf("order and join differ:\n%v\n%v", a, b)
		}
	})
}

func mustVersion(t rapid.TB, partitions int, rows ...Row) Version {
	v, err := NewVersion(partitions, rows...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A member that came and went leaves the owners as they were, and a weight changed back leaves the weights: neither makes a layout that has been before.
func TestNoLayoutComesBack(t *testing.T) {
	first := mustVersion(t, 8, nodeRow(0, Owns), nodeRow(1, Owns))
	again := mustVersion(t, 8, nodeRow(0, Owns), nodeRow(1, Owns), nodeRow(2, Leaves))
	if first.Place().Hash() != again.Place().Hash() {
		t.Fatal("the owners differ")
	}
	if first.Hash() == again.Hash() || !again.Covers(first) || first.Covers(again) {
		t.Errorf("%v and %v", first, again)
	}
	heavy, back := nodeRow(0, Owns), nodeRow(0, Owns)
	heavy.Weight, heavy.Placed, back.Placed = 2, 1, 2
	v := first
	for _, r := range []Row{heavy, back} {
		next, err := v.Join(mustVersion(t, 8, r))
		if err != nil {
			t.Fatal(err)
		}
		if next.Hash() == first.Hash() || !next.Covers(v) {
			t.Errorf("%v after %v", next, v)
		}
		v = next
	}
}

func TestVersionRefuses(t *testing.T) {
	spoilt := func(spoil func(*Row)) []Row {
		r := nodeRow(0, Owns)
		spoil(&r)
		return []Row{r}
	}
	for name, test := range map[string]struct {
		partitions int
		rows       []Row
	}{
		"partitions":  {3, []Row{nodeRow(0, Owns)}},
		"twice":       {8, []Row{nodeRow(0, Owns), nodeRow(0, Leaves)}},
		"no standing": {8, spoilt(func(r *Row) { r.Standing = 0 })},
		"standing":    {8, spoilt(func(r *Row) { r.Standing = Replaced + 1 })},
		"name":        {8, spoilt(func(r *Row) { r.Name = "a b" })},
		"nobody":      {8, spoilt(func(r *Row) { r.ID = ring.ID{} })},
		"weight":      {8, spoilt(func(r *Row) { r.Weight = 0 })},
	} {
		if _, err := NewVersion(test.partitions, test.rows...); !errors.Is(err, ring.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForeignAndFull(t *testing.T) {
	small, large := mustVersion(t, 8, nodeRow(0, Owns)), mustVersion(t, 16, nodeRow(1, Owns))
	if _, err := Merge(Found(small), Found(large)); !errors.Is(err, ErrForeign) {
		t.Errorf("merged layouts of 8 and 16 partitions: %v", err)
	}
	if _, err := small.Join(large); !errors.Is(err, ErrForeign) {
		t.Errorf("joined layouts of 8 and 16 partitions: %v", err)
	}
	var s State
	var err error
	for i := 0; err == nil && i <= MaxLayouts; i++ {
		r := nodeRow(0, Owns)
		r.ID = ring.ID{1, byte(i), byte(i >> 8)}
		var next State
		if next, err = s.with(mustVersion(t, 8, r)); err == nil {
			s = next
		}
	}
	if !errors.Is(err, ErrFull) || len(s.layouts) != MaxLayouts {
		t.Errorf("%d layouts: %v", len(s.layouts), err)
	}
}
