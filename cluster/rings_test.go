package cluster

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// versionOf is a version of owners n0, n1, ... by number.
func versionOf(t testing.TB, partitions int, owners ...int) layouts.Version {
	t.Helper()
	var rows []layouts.Row
	for _, i := range owners {
		rows = append(rows, layouts.Row{ID: simID(i), Standing: layouts.Owns, Name: nameOf(i), Weight: 1})
	}
	v, err := layouts.NewVersion(partitions, rows...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func openRings(t testing.TB, d *disk, self int) *Rings {
	t.Helper()
	r, err := OpenRings(d, simID(self))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newTestDisk() *disk { return &disk{meta: make(map[string][]byte)} }

// ownRow is a row for a change.
func ownRow(i int) layouts.Row {
	return layouts.Row{ID: simID(i), Standing: layouts.Owns, Name: nameOf(i), Weight: 1}
}

func propose(self int, rows ...layouts.Row) func(*layouts.View) (layouts.State, error) {
	return func(v *layouts.View) (layouts.State, error) { return v.Propose(simID(self), rows...) }
}

func mustChange(t testing.TB, want bool) func(changed bool, err error) {
	return func(changed bool, err error) {
		t.Helper()
		if err != nil || changed != want {
			t.Fatalf("changed %v, error %v; want changed %v", changed, err, want)
		}
	}
}

func TestRingsLiveThroughARestart(t *testing.T) {
	d := newTestDisk()
	r := openRings(t, d, 0)
	if r.View() != nil || r.Layout() != nil {
		t.Fatal("a node that has met no cluster has a view")
	}
	mustChange(t, true)(r.Merge(layouts.Found(versionOf(t, 16, 0, 1))))
	founding := r.Layout()
	mustChange(t, true)(r.Change(propose(0, ownRow(2))))
	mustChange(t, false)(r.Change(propose(0, ownRow(2))))
	if top, ok := r.View().Top(); !ok || len(top.Owners()) != 3 || len(r.Layout().Members()) != 3 {
		t.Fatalf("the change is not the top:\n%v", r.View())
	}
	mustChange(t, true)(r.Record(r.View().Digest()))
	mustChange(t, false)(r.Record(r.View().Digest()))

	again := openRings(t, d, 0)
	if !again.View().State().Equal(r.View().State()) || again.View().Digest() != r.View().Digest() || again.Layout().Hash() != r.Layout().Hash() {
		t.Errorf("after a restart\n%v, before\n%v", again.View(), r.View())
	}
	if founding.Hash() == again.Layout().Hash() {
		t.Error("the layout is the founding one still")
	}
}

// What the disk refuses nobody sees, and it can be tried again.
func TestRingsShowNothingUnsaved(t *testing.T) {
	d := newTestDisk()
	r := openRings(t, d, 0)
	full := errors.New("no space")
	refused := func(what string, change func() (bool, error)) {
		t.Helper()
		view, layout := r.View(), r.Layout()
		d.setFail(full)
		if changed, err := change(); !errors.Is(err, full) || changed {
			t.Errorf("%s: changed %v, error %v", what, changed, err)
		}
		if r.View() != view || r.Layout() != layout {
			t.Errorf("%s is shown and not saved", what)
		}
		d.setFail(nil)
		mustChange(t, true)(change())
		if !openRings(t, d, 0).View().State().Equal(r.View().State()) {
			t.Errorf("%s is shown and not saved after a retry", what)
		}
	}
	refused("the founding", func() (bool, error) { return r.Merge(layouts.Found(versionOf(t, 1, 0))) })
	refused("a change", func() (bool, error) { return r.Change(propose(0, ownRow(1))) })
	refused("recorded", func() (bool, error) { return r.Record(r.View().Digest()) })
	top, _ := r.View().Top()
	refused("synced", func() (bool, error) { return r.Synced(top.Hash(), []ring.Partition{0}) })
}

func TestRingsRefuse(t *testing.T) {
	d := newTestDisk()
	r := openRings(t, d, 0)
	mustChange(t, true)(r.Merge(layouts.Found(versionOf(t, 16, 0, 1))))
	state := r.View().State()
	if _, err := r.Merge(layouts.Found(versionOf(t, 32, 2))); !errors.Is(err, layouts.ErrForeign) {
		t.Errorf("another cluster's: %v", err)
	}
	own := errors.New("no")
	if _, err := r.Change(func(*layouts.View) (layouts.State, error) { return layouts.State{}, own }); !errors.Is(err, own) {
		t.Errorf("a change that is none: %v", err)
	}
	top, _ := r.View().Top()
	if _, err := r.Synced(top.Hash(), []ring.Partition{16}); err == nil {
		t.Error("a partition beyond the last")
	}
	if _, err := openRings(t, d, 7).Synced(top.Hash(), []ring.Partition{0}); err == nil {
		t.Error("synced by one that owns nothing")
	}
	many := layouts.Found(versionOf(t, 16, 0, 1))
	for i := 2; ; i++ {
		next, err := layouts.Merge(many, layouts.Found(versionOf(t, 16, i)))
		if err != nil {
			break
		}
		many = next
	}
	one := layouts.Found(versionOf(t, 16, 200))
	full := openRings(t, newTestDisk(), 0)
	mustChange(t, true)(full.Merge(many))
	if _, err := full.Merge(one); !errors.Is(err, layouts.ErrFull) {
		t.Errorf("too many: %v", err)
	}
	if !full.View().State().Equal(many) || !r.View().State().Equal(state) {
		t.Error("a refusal changed what is held")
	}
	for name, bad := range map[string][]byte{"nothing": {}, "noise": []byte("noise"), "cut": d.meta[metaLayouts][:20]} {
		if _, err := OpenRings(&disk{meta: map[string][]byte{metaLayouts: bad}}, simID(0)); !errors.Is(err, layouts.ErrCorrupt) {
			t.Errorf("%s on disk: %v", name, err)
		}
	}
}

// A state only grows, whatever a change makes of it.
func TestRingsForgetNothing(t *testing.T) {
	r := openRings(t, newTestDisk(), 0)
	founding := layouts.Found(versionOf(t, 16, 0, 1))
	mustChange(t, true)(r.Merge(founding))
	mustChange(t, true)(r.Change(propose(0, ownRow(2))))
	mustChange(t, false)(r.Change(func(*layouts.View) (layouts.State, error) { return founding, nil }))
	if len(r.View().Live()) != 2 {
		t.Errorf("a change took knowledge back:\n%v", r.View())
	}
}

// Only the view that its user acts under is recorded, and only the present top is synced for.
func TestRingsRecordWhatIsInForce(t *testing.T) {
	r := openRings(t, newTestDisk(), 0)
	mustChange(t, true)(r.Merge(layouts.Found(versionOf(t, 1, 0, 1))))
	mustChange(t, true)(r.Change(propose(0, ownRow(2))))
	before, old := r.View().Digest(), r.View()
	mustChange(t, true)(r.Change(propose(0, ownRow(3))))
	mustChange(t, false)(r.Record(before))
	top, _ := old.Top()
	mustChange(t, false)(r.Synced(top.Hash(), []ring.Partition{0}))
	mustChange(t, true)(r.Record(r.View().Digest()))
	if fence := r.View().Fence(); !slices.Equal(fence, []ring.ID{simID(1), simID(2)}) {
		t.Errorf("the fence waits for %v", fence)
	}
}

func TestRingsLayout(t *testing.T) {
	r := openRings(t, newTestDisk(), 0)
	a, b := versionOf(t, 16, 0, 1), versionOf(t, 16, 2)
	mustChange(t, true)(r.Merge(layouts.Found(a)))
	alone := r.Layout()
	mustChange(t, true)(r.Merge(layouts.Found(b)))
	least := a
	if b.Hash() < a.Hash() {
		least = b
	}
	if got := r.Layout(); got.Hash() != least.Place().Hash() {
		t.Errorf("of two that met: %v", got)
	}
	mustChange(t, true)(r.Change(func(v *layouts.View) (layouts.State, error) {
		s, ok, err := v.Unify(simID(0))
		if !ok {
			t.Error("nothing to unify")
		}
		return s, err
	}))
	one := r.Layout()
	if len(one.Members()) != 3 {
		t.Errorf("the top of three: %v", one)
	}
	mustChange(t, true)(r.Record(r.View().Digest()))
	if r.Layout() != one || one == alone {
		t.Error("a placement was computed again")
	}
	if len(r.placed) != 3 {
		t.Errorf("%d placements for three live layouts", len(r.placed))
	}
}

// Changes by many are serialised: none is lost.
func TestRingsConcurrently(t *testing.T) {
	d := newTestDisk()
	r := openRings(t, d, 0)
	mustChange(t, true)(r.Merge(layouts.Found(versionOf(t, 64, 0, 1))))
	mustChange(t, true)(r.Change(propose(0, ownRow(2))))
	top, _ := r.View().Top()
	var wg sync.WaitGroup
	for p := range ring.Partition(64) {
		wg.Go(func() {
			if _, err := r.Synced(top.Hash(), []ring.Partition{p}); err != nil {
				t.Error(err)
			}
			if r.View() == nil || r.Layout() == nil {
				t.Error("no view")
			}
		})
	}
	wg.Wait()
	if done, _ := openRings(t, d, 0).View().Progress(); done != 64 {
		t.Errorf("%d reports of 64 are on disk", done)
	}
}
