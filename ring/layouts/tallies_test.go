package layouts

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/ring"
)

// byRow places every set on all owners of a version, in the order of their rows.
type byRow []ring.ID

func (b byRow) Owners(_ ring.Partition, n int) []ring.ID { return b[:min(n, len(b))] }

func byRows(v Version) Placement { return byRow(v.Owners()) }

// replacement is a namesake's row, and that of whom it replaces.
func replacement(old, new rune) []Row {
	namesake := row(new, Owns)
	namesake.Name = string(old)
	return []Row{row(old, Replaced), namesake}
}

// A namesake counts for w at once, wherever the one counted that it has replaced, and for r when the layout is whole in which it has a place of its own.
func TestNamesakeCountsForWrites(t *testing.T) {
	c := newCluster(t, "abc")
	c.place = byRows
	want := func(when, write, read string) {
		t.Helper()
		names := func(ids []ring.ID) (s string) {
			for _, id := range ids {
				s += string(rune('a' + id[0] - 1))
			}
			return s
		}
		var writes, reads string
		v := c.view('a')
		for _, g := range v.WriteGroups(0, 3) {
			writes += names(g.Owners) + " "
		}
		for _, g := range v.ReadGroups(0, 3) {
			reads += names(g.Synced) + fmt.Sprintf("/%d ", len(g.Owners))
		}
		if writes != write+" " || reads != read+" " {
			t.Errorf("%s: written to %sread from %s; want %s and %s", when, writes, reads, write, read)
		}
		for _, n := range "abcde" {
			if keeps := v.Keeps(id(n), 0, 3); keeps != slices.ContainsFunc(v.WriteGroups(0, 3), func(g Group) bool { return slices.Contains(g.Owners, id(n)) }) {
				t.Errorf("%s: %c keeps the set: %v", when, n, keeps)
			}
			if (v.Least(id(n), 0) > 0) != v.Keeps(id(n), 0, 3) {
				t.Errorf("%s: least %d of %c", when, v.Least(id(n), 0), n)
			}
		}
	}
	want("founded", "abc", "abc/3")
	if err := c.propose('a', replacement('b', 'd')...); err != nil {
		t.Fatal(err)
	}
	if v := c.view('a'); len(v.WriteGroups(0, 3)) != 2 || slices.Contains(v.Receivers(0, 3), id('d')) || slices.Contains(v.Peers(id('a'), 0), id('d')) {
		t.Errorf("a namesake is shown to, or fetched from:\n%v", v)
	}
	delete(c.known, 'b')
	if got := c.view('a').WriteGroups(0, 1); len(got) != 1 || !slices.Equal(got[0].Owners, []ring.ID{id('a')}) {
		t.Errorf("a set that is not its: %v", got)
	}
	orders := func() (out []string) {
		for _, g := range c.view('a').WriteGroups(0, 3) {
			s := ""
			for _, id := range g.Owners {
				s += string(rune('a' + id[0] - 1))
			}
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	if got := orders(); !slices.Equal(got, []string{"acd", "adc"}) { // in b's place in the older one
		t.Errorf("written to %v", got)
	}
	if reads := c.view('a').ReadGroups(0, 3); len(reads) != 1 || len(reads[0].Owners) != 3 || !slices.Equal(reads[0].Synced, []ring.ID{id('a'), id('c')}) {
		t.Errorf("read from %v", reads)
	}
	// The namesake is replaced in its turn: now e is in b's place, and in d's.
	again := row('e', Owns)
	again.Name = "b"
	gone := row('d', Replaced)
	gone.Name = "b"
	if err := c.propose('a', gone, again); err != nil {
		t.Fatal(err)
	}
	if got := orders(); !slices.Equal(got, []string{"ace", "aec"}) { // the same in the layouts of b and of d
		t.Errorf("written to %v", got)
	}
	c.talk("ace")
	for _, n := range "ace" {
		c.sync(n)
	}
	c.talk("ace")
	c.bury('a')
	want("settled", "ace", "ace/3")
}

// Whatever peers say: a group has as many places as its layout has owners, nobody twice, and only who has lost nothing counts for r.
func TestNamesakesTakeOnePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		names := [4]string{}
		for i := range names {
			names[i] = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
		}
		for range rapid.IntRange(1, 4).Draw(t, "layouts") {
			rows := drawVersion(t).Rows()
			for i := range rows {
				rows[i].Name = names[rows[i].ID[0]-1]
			}
			v, err := NewVersion(testPartitions, rows...)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = Merge(s, Found(v)); err != nil {
				t.Fatal(err)
			}
		}
		v := NewView(s, byRows)
		for _, l := range v.live {
			own, owners := l.place.Owners(0, 4), l.owners(0, 4)
			for i, id := range owners {
				row, _ := v.Row(id)
				was, _ := v.Row(own[i])
				switch {
				case slices.Contains(owners[:i], id):
					t.Fatalf("%v twice in %v", id, owners)
				case id != own[i] && (row.Standing > Leaves || was.Standing != Replaced || row.Name != was.Name):
					t.Fatalf("%v in the place of %v", row, was)
				}
			}
		}
		for _, g := range append(v.ReadGroups(0, 4), v.WriteGroups(0, 4)...) {
			for _, id := range g.Synced {
				if row, _ := v.Row(id); row.Standing == Replaced || !slices.Contains(g.Owners, id) {
					t.Fatalf("%v counts for r in %v", row, g)
				}
			}
		}
	})
}

// What a view has computed serves the views that follow it with the same digest, and no others.
func TestAfter(t *testing.T) {
	c := newCluster(t, "abc")
	if err := c.propose('a', row('d', Owns)); err != nil {
		t.Fatal(err)
	}
	first := c.view('a')
	groups := first.WriteGroups(0, 3)
	c.talk("abcd")
	recorded := c.view('a').After(first)
	if recorded.Digest() != first.Digest() || &recorded.WriteGroups(0, 3)[0] != &groups[0] || recorded.State().Equal(first.State()) {
		t.Error("computed again, or the view is not the new one")
	}
	for _, n := range "abcd" {
		c.sync(n)
	}
	c.talk("abcd")
	whole := c.view('a')
	if got := whole.After(recorded); fmt.Sprint(got.ReadGroups(0, 3)) != fmt.Sprint(whole.ReadGroups(0, 3)) || got.After(nil) != got {
		t.Errorf("read from %v, want %v", got.ReadGroups(0, 3), whole.ReadGroups(0, 3))
	}
}

// TestNamesakesAcknowledge: the search comes to writes that are acknowledged only because a namesake counts in the older layout.
func TestNamesakesAcknowledge(t *testing.T) {
	for _, sc := range []scenario{replaceJoin.at(every, one), replaceTwice.at(every, one), replaceAmong.at(every, one), replaceLeave.at(every, one)} {
		x, trace, _ := explore(sc, "", 1_000_000)
		if trace != "" {
			t.Fatal(trace)
		}
		acknowledged := 0
		for _, s := range x.states {
			if s.world.phase != acked || s.step.kind != stores {
				continue
			}
			before := x.states[s.from].world
			for _, v := range x.views[before.writer].live {
				if before.phase == writing && slices.ContainsFunc(v.Owners(), func(id ring.ID) bool { return before.lost.has(x.node(id)) }) {
					acknowledged++
					break
				}
			}
		}
		if acknowledged == 0 {
			t.Errorf("%s: no write was acknowledged in the layout of a lost disk", sc.title())
		}
	}
}

func benchmarkView(b *testing.B) *View {
	rows := make([]Row, 5)
	for i := range rows {
		rows[i] = nodeRow(i, Owns)
	}
	v, err := NewVersion(256, rows...)
	if err != nil {
		b.Fatal(err)
	}
	placed := func(v Version) Placement { return v.Place() }
	s, err := NewView(Found(v), placed).Propose(nodeID(0), nodeRow(5, Owns))
	if err != nil {
		b.Fatal(err)
	}
	return NewView(s, placed)
}

// BenchmarkGroups is what a write and a read ask during a change.
func BenchmarkGroups(b *testing.B) {
	v := benchmarkView(b)
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			p := ring.Partition(i % 256)
			if len(v.WriteGroups(p, 3)) == 0 || len(v.ReadGroups(p, 3)) == 0 {
				b.Fatal("no groups")
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			p := ring.Partition(i % 256)
			if len(v.groups(p, 3, func(live) bool { return true })) == 0 || len(v.groups(p, 3, func(l live) bool { return l.maximal })) == 0 {
				b.Fatal("no groups")
			}
		}
	})
}

// Many ask one view at once, the first time too.
func TestGroupsAtOnce(t *testing.T) {
	c := newCluster(t, "abc")
	if err := c.propose('a', row('d', Owns)); err != nil {
		t.Fatal(err)
	}
	v, other := c.view('a'), c.view('a')
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := 1; n <= ring.MaxReplicas; n++ {
				for p := range ring.Partition(testPartitions) {
					if got := v.WriteGroups(p, n); fmt.Sprint(got) != fmt.Sprint(other.groups(p, n, func(live) bool { return true })) {
						t.Errorf("partition %d, n=%d: %v", p, n, got)
					}
				}
			}
		})
	}
	wg.Wait()
}
