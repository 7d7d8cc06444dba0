package version

import (
	"testing"

	"pgregory.net/rapid"
)

// TestComparisonsFollowSets: AtLeast, Lacks and Hash against sets of dots.
func TestComparisonsFollowSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b Vector
		inA, inB := map[Dot]bool{}, map[Dot]bool{}
		for _, d := range drawDots(t) {
			a.Add(d)
			inA[d] = true
		}
		for _, d := range drawDots(t) {
			b.Add(d)
			inB[d] = true
		}
		missing := uint64(0)
		for d := range inB {
			if !inA[d] {
				missing++
			}
		}
		if got := a.Lacks(b); got != missing {
			t.Fatalf("%v lacks %d of %v, want %d", a, got, b, missing)
		}
		if (a.Hash() == b.Hash()) != a.Equal(b) {
			t.Fatalf("hashes of %v and %v: %x and %x", a, b, a.Hash(), b.Hash())
		}
		n := uint8(rapid.IntRange(1, MaxN).Draw(t, "n"))
		var want Vector
		for d := range inA {
			if d.Actor.N >= n {
				want.Add(d)
			}
		}
		if got := a.AtLeast(n); !got.Equal(want) {
			t.Fatalf("of %v at least n=%d: %v, want %v", a, n, got, want)
		}
		if a.Clone().Lacks(a) != 0 {
			t.Fatalf("%v lacks something of itself", a)
		}
	})
}
