package layouts

import (
	"errors"
	"testing"

	"github.com/quorate/quorate/ring"
)

// All owners leave at once, each before it has heard of the other: neither was the last one, by what it knew.
func TestAllLeaveAtOnce(t *testing.T) {
	a, b, c := ring.ID{1}, ring.ID{2}, ring.ID{3}
	v0, err := NewVersion(1, Row{ID: a, Standing: Owns, Name: "a", Weight: 1}, Row{ID: b, Standing: Owns, Name: "b", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	look := func(s State) *View { return NewView(s, func(v Version) Placement { return v.Place() }) }
	founded := look(Found(v0))
	leave := func(v *View, id ring.ID) (State, error) {
		row, _ := v.Row(id)
		row.Standing = Leaves
		return v.Propose(id, row)
	}
	without, err := leave(founded, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leave(look(without), b); !errors.Is(err, ErrNobody) {
		t.Errorf("the last owner leaves: %v", err)
	}
	other, err := leave(founded, b)
	if err != nil {
		t.Fatal(err)
	}
	both, err := Merge(without, other)
	if err != nil {
		t.Fatal(err)
	}
	v := look(both)
	if s, ok, err := v.Unify(a); ok || err != nil || !s.Equal(both) {
		t.Fatalf("made one in which nobody owns: %v, %v\n%v", ok, err, s)
	}
	for _, g := range append(v.WriteGroups(0, 3), v.ReadGroups(0, 3)...) {
		if len(g.Owners) == 0 {
			t.Errorf("a group without owners: nothing can be written any more\n%v", v)
		}
	}
	if !v.Deserted() || !v.MayChange() || len(v.Waits()) != 1 {
		t.Errorf("%v", v)
	}
	s, err := v.Propose(a, Row{ID: c, Standing: Owns, Name: "c", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	s = s.Record(a).Record(b).Record(c)
	v = look(s)
	top, _ := v.Top()
	s = s.Synced(c, top.Hash(), 0).Record(a).Record(b).Record(c)
	if v = look(s.Bury(top.Hash())); !v.Settled() || !v.MayExit(a) || !v.MayExit(b) {
		t.Errorf("a newcomer has not taken over:\n%v", v)
	}
}
