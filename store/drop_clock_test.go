package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

// TestDropKeepsTheBound: live versions of records that stay are in the clock or in the bound of what it forgot, also if their sets' clocks go and they had been forgotten before.
func TestDropKeepsTheBound(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions, o.MaxDetached = 1, 2
	s := mustOpen(t, o)
	defer mustClose(t, s)
	for i := range uint64(12) {
		k, low := keyOf(fmt.Sprint("k", i), 1), from(2*i+2, version.Siblings, "low", version.Vector{})
		mustApply(t, s, k, low)
		if i%3 == 0 { // a record of n=5 with a version of n=3
			d := version.Dot{Actor: version.Actor{ID: 98, N: 5}, Counter: i + 2}
			res, err := s.Mend(k, version.NewRecord(version.Write{Dot: d, Mode: version.Siblings, Value: []byte("high"), Stamp: clockOf.next(98)}))
			if err != nil || res.Record.N != 5 || len(res.Record.Versions) != 2 {
				t.Fatalf("%v, %v", res.Record, err)
			}
			mustWait(t, res.Commit)
		}
	}
	checkBounds(t, s)
	if err := s.Drop(0, 1, 4); err != nil {
		t.Fatal(err)
	}
	checkBounds(t, s)
	if clock := s.Clock(0); clock.Covers(version.Dot{Actor: peer, Counter: 20}) || !mustBound(t, s).Covers(version.Dot{Actor: peer, Counter: 20}) {
		t.Errorf("clock %v, and bound %v", clock, mustBound(t, s))
	}
}

// TestAdoptBesideDrop: while sets are being dropped nothing of them is adopted: what stays has been told what the clock said before.
func TestAdoptBesideDrop(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	mustWait(t, mustUpdate(t, s, keyOf("k", 1), 3, put(version.LWW, "v", nil, nil)).Commit)
	part := &s.cur.Load().parts[0]
	if _, done := part.begin(newDrop(span{1, 3}), false); done {
		t.Fatal("nothing to drop")
	}
	var clock version.Vector
	clock.AddBase(version.Actor{ID: 77, N: 3}, 2)
	clock.AddBase(version.Actor{ID: 77, N: 5}, 2)
	if err := s.Adopt(0, clock); err != nil {
		t.Fatal(err)
	}
	part.end()
	if got := s.Clock(0); got.CoversAll(clock) || !got.CoversAll(clock.AtLeast(4)) {
		t.Fatalf("adopted: %v", got)
	}
}

// TestDropForgetsClocks: what a drop took from the clock, on the disk and in memory, does not come back with a reopening; and what came afterwards does.
func TestDropForgetsClocks(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	reopen := func() {
		t.Helper()
		clock := s.Clock(0)
		mustClose(t, s)
		if s = mustOpen(t, o); !s.Clock(0).Equal(clock) {
			t.Fatalf("the clock was %v and is now %v", clock, s.Clock(0))
		}
		checkStore(t, s, nil)
		checkHeld(t, s)
	}
	raised, other := keyOf("raised", 1), keyOf("other", 1)
	var dot, last version.Dot
	for _, n := range []uint8{2, 2, 3} {
		dot = last
		mustUpdate(t, s, raised, n, put(version.Siblings, "v", nil, &last))
		mustUpdate(t, s, other, 2, put(version.Siblings, "v", nil, nil))
	}
	if err := s.Drop(0, 3, 3); err != nil { // the record of n=3 goes, and with it what has replaced the versions of n=2
		t.Fatal(err)
	}
	if s.Clock(0).Covers(dot) {
		t.Fatalf("the clock %v claims %v, of which nothing is left", s.Clock(0), dot)
	}
	if r := wantValues(t, s, other, "v"); !r.Covers(dot) {
		t.Fatalf("a record that stays has forgotten its past: %v", r)
	}
	reopen()

	foreign := version.Actor{ID: 77, N: 3}
	var theirs version.Vector
	theirs.AddBase(foreign, 10)
	if err := s.Adopt(0, theirs); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(0, 1, version.MaxN); err != nil {
		t.Fatal(err)
	}
	var context version.Vector
	for counter := uint64(3); counter < 6; counter++ {
		d := version.Dot{Actor: foreign, Counter: counter}
		mustApply(t, s, raised, version.NewRecord(version.Write{Dot: d, Mode: version.Siblings, Context: context, Value: []byte("back"), Stamp: clockOf.next(77)}))
		context.Add(d)
	}
	wantValues(t, s, raised, "back")
	reopen()
	if want := "{" + foreign.String() + ":0+3-5}"; s.Clock(0).String() != want {
		t.Fatalf("the clock is %v, want %s", s.Clock(0), want)
	}
}
