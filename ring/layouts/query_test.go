package layouts

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/ring"
)

// TestQueries asks a view before, during and after a change, with every partition and n, for what the groups say.
func TestQueries(t *testing.T) {
	before, err := NewVersion(8, nodeRow(0, Owns), nodeRow(1, Owns), nodeRow(2, Owns))
	if err != nil {
		t.Fatal(err)
	}
	placed := func(s State) *View { return NewView(s, func(v Version) Placement { return v.Place() }) }
	settled := placed(Found(before))
	grown, err := settled.Propose(nodeID(0), nodeRow(3, Owns))
	if err != nil {
		t.Fatal(err)
	}
	moving := placed(grown)
	if settled.Sole() == nil || moving.Sole() != nil || settled.Partitions() != 8 || (&View{}).Partitions() != 0 {
		t.Error("which layouts there are")
	}
	if got := moving.Members(); !slices.Equal(got, []ring.ID{nodeID(0), nodeID(1), nodeID(2), nodeID(3)}) {
		t.Errorf("members %v", got)
	}
	if row, ok := moving.Row(nodeID(3)); !ok || row.Standing != Owns {
		t.Errorf("row %v %v", row, ok)
	}
	if _, ok := settled.Row(nodeID(3)); ok {
		t.Error("a row of a node that is not there")
	}
	for _, v := range []*View{settled, moving} {
		for p := range ring.Partition(8) {
			for i := range 4 {
				least := v.Least(nodeID(i), p)
				for n := 1; n <= ring.MaxReplicas; n++ {
					if owns := least > 0 && n >= least; owns != v.Keeps(nodeID(i), p, n) {
						t.Errorf("node %d, partition %d, n=%d: least %d, keeps %v", i, p, n, least, !owns)
					}
					reads := slices.Contains(settled.ReadGroups(p, n)[0].Owners, nodeID(i))
					if v.Holds(nodeID(i), p, n) != reads {
						t.Errorf("node %d, partition %d, n=%d: holds %v", i, p, n, !reads)
					}
				}
			}
		}
	}
}

// TestIntact: an owner is intact under a whole layout that knows of all its losses. A newcomer is when its layout is whole, and who lost something when that is fetched.
func TestIntact(t *testing.T) {
	c := newCluster(t, "abc")
	expect := func(want string) {
		t.Helper()
		got := ""
		for _, n := range "abcd" {
			if c.view('a').Intact(id(n)) {
				got += string(n)
			}
		}
		if got != want {
			t.Errorf("intact are %q, want %q", got, want)
		}
	}
	expect("abc")
	if err := c.propose('a', row('d', Owns)); err != nil {
		t.Fatal(err)
	}
	expect("abc")
	lossy := row('b', Owns)
	lossy.Losses = 1
	if err := c.propose('a', lossy); err != nil {
		t.Fatal(err)
	}
	expect("ac")
	c.talk("abcd")
	for _, n := range "abcd" {
		c.sync(n)
	}
	c.talk("abcd")
	expect("abcd")
	if err := c.propose('a', row('c', Forced)); err != nil {
		t.Fatal(err)
	}
	expect("abd")
}
