package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

var peer = version.Actor{ID: 99, N: 3}

// from makes a peer's record of one write: its counter, and what its context covers.
func from(counter uint64, mode version.Mode, value string, context version.Vector) version.Record {
	return version.NewRecord(version.Write{Dot: version.Dot{Actor: peer, Counter: counter}, Mode: mode, Value: []byte(value), Stamp: clockOf.next(peer.ID), Context: context})
}

func mustApply(t *testing.T, s *Store, k Key, r version.Record) Result {
	t.Helper()
	res, err := s.Apply(k, r)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	mustWait(t, res.Commit)
	return res
}

func TestApplyTwice(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k, r := keyOf("k", 4), from(1, version.Siblings, "one", version.Vector{})
	first, err := s.Apply(k, r)
	if err != nil || !first.Changed {
		t.Fatalf("changed=%t, %v", first.Changed, err)
	}
	second, err := s.Apply(k, r)
	if err != nil || second.Changed || second.Commit != first.Commit {
		t.Fatalf("again: changed=%t commit=%p first=%p, %v", second.Changed, second.Commit, first.Commit, err)
	}
	mustWait(t, second.Commit)
	if third := mustApply(t, s, k, r); third.Changed || third.Commit != nil {
		t.Fatalf("a third time: changed=%t commit=%p", third.Changed, third.Commit)
	}
	if n := s.Stats().Commits; n != 1 {
		t.Fatalf("%d batches, want 1", n)
	}
}

func TestApplyOld(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k := keyOf("k", 4)
	one := from(1, version.Siblings, "one", version.Vector{})
	mustApply(t, s, k, one)
	mustApply(t, s, k, from(2, version.Siblings, "two", one.Vector))
	res := mustApply(t, s, k, one)
	if want := []version.Dot{one.Versions[0].Dot}; res.Changed || !slices.Equal(res.Old, want) {
		t.Fatalf("changed=%t old=%v, want %v", res.Changed, res.Old, want)
	}
	wantValues(t, s, k, "two")
	// The same dot under another key: whatever it was, the clock has it, and nothing is left of it there.
	gone := keyOf("gone", 4)
	gone.Partition = k.Partition
	for _, counter := range []uint64{1, 2} {
		res = mustApply(t, s, gone, from(counter, version.Siblings, "back", version.Vector{}))
		if res.Changed || len(res.Old) != 1 || !res.Record.IsAbsent() {
			t.Fatalf("changed=%t old=%v record=%v", res.Changed, res.Old, res.Record)
		}
	}
	// And a detached dot.
	mustApply(t, s, k, from(7, version.Siblings, "seven", version.Vector{}))
	if res = mustApply(t, s, gone, from(7, version.Siblings, "back", version.Vector{})); res.Changed || len(res.Old) != 1 || !res.Record.IsAbsent() {
		t.Fatalf("detached: changed=%t old=%v record=%v", res.Changed, res.Old, res.Record)
	}
	checkStore(t, s, nil)
}

func TestApplyOwnFuture(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k, own := keyOf("k", 4), version.Actor{ID: s.Actor(), N: 3}
	var dot version.Dot
	mustWait(t, mustUpdate(t, s, k, 3, put(version.Siblings, "one", nil, &dot)).Commit)

	r := version.NewRecord(version.Write{Dot: version.Dot{Actor: own, Counter: dot.Counter + 1}, Mode: version.Siblings, Stamp: clockOf.next(1)})
	if _, err := s.Apply(k, r); !errors.Is(err, ErrFuture) {
		t.Fatalf("a dot never issued: %v, want %v", err, ErrFuture)
	}
	// A vector that claims to have seen what is still to be written must not hide it.
	r = from(1, version.Siblings, "two", version.Vector{})
	r.Vector.AddBase(own, 1000)
	r.Vector.Add(version.Dot{Actor: own, Counter: 2000})
	mustApply(t, s, k, r)
	wantValues(t, s, k, "two")
	mustWait(t, mustUpdate(t, s, k, 3, put(version.Siblings, "three", new(version.Vector), &dot)).Commit)
	got := wantValuesAnyOrder(t, s, k, "three", "two")
	if got.Covers(version.Dot{Actor: own, Counter: dot.Counter + 1}) {
		t.Fatalf("%v covers a dot that was never issued", got)
	}
	// A detached claim: the live dot that it covers goes, what was not issued stays out.
	r = from(2, version.Siblings, "four", version.Vector{})
	r.Vector.Add(dot)
	r.Vector.Add(version.Dot{Actor: own, Counter: 5000})
	mustApply(t, s, k, r)
	wantValuesAnyOrder(t, s, k, "four", "two")
	checkStore(t, s, nil)
}

func wantValuesAnyOrder(t *testing.T, s *Store, k Key, want ...string) version.Record {
	t.Helper()
	r, err := s.Get(k)
	if err != nil {
		t.Fatal(err)
	}
	got := values(r)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	return r
}

func TestApplyRefused(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k := keyOf("k", 4)
	if _, err := s.Apply(k, from(1, version.LWW, "value", version.Vector{}).Elide(0)); !errors.Is(err, ErrElided) {
		t.Fatalf("without its value: %v, want %v", err, ErrElided)
	}
	low := from(1, version.Siblings, "low", version.Vector{})
	mustApply(t, s, k, low)
	raised := version.NewRecord(version.Write{Dot: version.Dot{Actor: version.Actor{ID: 98, N: 5}, Counter: 1}, Mode: version.Siblings, Stamp: clockOf.next(98)})
	if _, err := s.Apply(k, raised); !errors.Is(err, ErrSiblings) {
		t.Fatalf("a raised n beside a sibling: %v, want %v", err, ErrSiblings)
	}
	raised.Vector.Merge(low.Vector)
	if res := mustApply(t, s, k, raised); res.Record.N != 5 || len(res.Record.Versions) != 1 {
		t.Fatalf("a raised n that covers all: %v", res.Record)
	}
	checkStore(t, s, nil)
}

// TestDetachedBound: the clock forgets detached dots beyond the bound, and says less, never more. What it forgot is in its bound, until the holes are filled or the store is
// opened anew.
func TestDetachedBound(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions, o.MaxDetached = 1, 4
	s := mustOpen(t, o)
	for i := range uint64(20) {
		mustApply(t, s, keyOf(string(rune('a'+i)), 1), from(2*i+2, version.LWW, "v", version.Vector{}))
	}
	clock := s.Clock(0)
	entry, _ := clock.Entry(peer)
	if len(entry.Detached) != 4 || entry.Base != 0 {
		t.Fatalf("clock %v, want 4 intervals", clock)
	}
	checkBounds(t, s)
	vouched := func() bool { return mustBound(t, s).Equal(s.Clock(0)) }
	if bound := mustBound(t, s); bound.Lacks(clock) > 0 || vouched() {
		t.Fatalf("clock %v, and bound %v", clock, bound)
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	if !vouched() {
		t.Fatalf("opened anew: clock %v, and bound %v", s.Clock(0), mustBound(t, s))
	}
	mustApply(t, s, keyOf("more", 1), from(42, version.LWW, "v", version.Vector{}))
	checkBounds(t, s)
	for _, base := range []uint64{41, 42} {
		var other version.Vector
		other.AddBase(peer, base)
		if err := s.Adopt(0, other); err != nil {
			t.Fatal(err)
		}
		if vouched() != (base == 42) {
			t.Fatalf("all up to %d came: clock %v, and bound %v", base, s.Clock(0), mustBound(t, s))
		}
	}
	checkStore(t, s, nil)
	if err := s.Drop(0, 1, version.MaxN); err != nil {
		t.Fatal(err)
	}
	if bound := mustBound(t, s); !bound.IsEmpty() {
		t.Fatalf("bound %v of nothing", bound)
	}
	mustClose(t, s)
}

func mustBound(t *testing.T, s *Store) version.Vector {
	t.Helper()
	bound, err := s.SyncedBound(0)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

// TestDetachedBoundKeepsRecords: what the clock forgets is still here.
func TestDetachedBoundKeepsRecords(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions, o.MaxDetached = 1, 4
	s := mustOpen(t, o)
	for i := range uint64(20) {
		mustApply(t, s, keyOf(string(rune('a'+i)), 1), from(2*i+2, version.LWW, "v", version.Vector{}))
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	defer mustClose(t, s)
	for i := range uint64(20) {
		wantValues(t, s, keyOf(string(rune('a'+i)), 1), "v")
	}
}
