package version

import (
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.UnixMicro(1_700_000_000_000_000)

// Whatever jumps the node's time of day makes, and whatever it hears.
func TestHLCNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h HLC
		var issued []Stamp
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now := epoch.Add(time.Duration(rapid.Int64Range(-2_000_000, 2_000_000).Draw(t, "µs")) * time.Microsecond)
			other := Stamp{micros(epoch.Add(time.Duration(rapid.Int64Range(-2_000, 4_000).Draw(t, "ms")) * time.Millisecond)), 2}
			last, within := h.Last(), other.Time <= micros(now.Add(MaxSkew))
			if rapid.Bool().Draw(t, "observe") {
				if got := h.Observe(now, other); got != (within || other.Time <= last) {
					t.Fatalf("observe %v at %v with clock %d: %v", other, now, last, got)
				}
				if want := max(last, other.Time); h.Last() != last && (!within || h.Last() != want) {
					t.Fatalf("clock %d after observing %v at %v", h.Last(), other, now)
				}
				continue
			}
			s := h.Next(now, other, 1)
			if s.Compare(other) <= 0 || s.Time <= last || s.Actor != 1 {
				t.Fatalf("%v after %v with clock %d", s, other, last)
			}
			if within || other.Time <= last {
				for _, before := range issued {
					if s.Compare(before) <= 0 {
						t.Fatalf("%v issued after %v", s, before)
					}
				}
				issued = append(issued, s)
			} else if h.Last() != last {
				t.Fatalf("the clock followed %v to %d", other, h.Last())
			}
		}
	})
}

// A token that somebody made up, or a node whose clock is years ahead, moves its own key only.
func TestHLCIsNotDragged(t *testing.T) {
	var h HLC
	far := Stamp{math.MaxUint64 - 1, 9}
	if s := h.Next(epoch, far, 1); s.Time != math.MaxUint64 {
		t.Fatal(s)
	}
	if s := h.Next(epoch, Stamp{math.MaxUint64, 9}, 1); s.Time != math.MaxUint64 {
		t.Fatalf("%v: the range of time wraps round", s)
	}
	if h.Observe(epoch, far) {
		t.Fatal("adopted")
	}
	if s := h.Next(epoch, Stamp{}, 1); s.Wall() != epoch.UTC() {
		t.Fatalf("%v is not now", s)
	}
}

func TestHLCIsUniqueAmongGoroutines(t *testing.T) {
	var h HLC
	var wg sync.WaitGroup
	results := make([][]Stamp, 4)
	for i := range results {
		wg.Go(func() {
			for range 1000 {
				results[i] = append(results[i], h.Next(epoch, Stamp{}, 1))
			}
		})
	}
	wg.Wait()
	seen := map[Stamp]bool{}
	for _, stamps := range results {
		for _, s := range stamps {
			if seen[s] {
				t.Fatalf("%v twice", s)
			}
			seen[s] = true
		}
	}
	if h.Last() != micros(epoch)+3999 {
		t.Fatal(h.Last())
	}
}

func TestStampOutsideOfTime(t *testing.T) {
	for _, now := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<40, 0)} {
		var h HLC
		a, b := h.Next(now, Stamp{}, 1), h.Next(now, Stamp{}, 1)
		if a.Compare(Stamp{}) <= 0 || b.Compare(a) <= 0 {
			t.Fatalf("at %v: %v, %v", now, a, b)
		}
	}
}
