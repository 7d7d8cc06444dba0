package coordinator

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// TestTail holds the estimate against the samples themselves: it is never below the p99 of equally old ones, and at most one bucket above it.
func TestTail(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_700_000_000, 0)
	draws := map[string]func() time.Duration{
		"constant":    func() time.Duration { return 3 * time.Millisecond },
		"exponential": func() time.Duration { return time.Duration(r.ExpFloat64() * float64(2*time.Millisecond)) },
		"two modes": func() time.Duration {
			if r.IntN(20) == 0 {
				return 200 * time.Millisecond
			}
			return time.Millisecond
		},
		"wide": func() time.Duration { return time.Duration(math.Exp(r.Float64()*13) * 1e5) },
	}
	for name, draw := range draws {
		for _, count := range []int{tailFew, 60, 101, 5000} {
			var h tail
			var all []time.Duration
			for range count {
				d := draw()
				all = append(all, d)
				h.add(d, now)
			}
			slices.Sort(all)
			exact := all[min(int(math.Ceil(0.99*float64(count))), count)-1]
			got, known := h.p99(now)
			limit := max(exact+exact/tailParts, 1<<tailShift)
			if !known || got < exact || got > limit {
				t.Errorf("%s, %d samples: %v %v, want %v to %v", name, count, got, known, exact, limit)
			}
		}
	}
}

// What is old counts less and less, however long it is ago and however much of it there was.
func TestTailForgets(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var h tail
	if _, known := h.p99(now); known {
		t.Error("an empty tail knows something")
	}
	fill := func(n int, d time.Duration) {
		for range n {
			h.add(d, now)
		}
	}
	fill(tailFew-1, time.Second)
	if _, known := h.p99(now); known {
		t.Error("too few are enough")
	}
	fill(1000, time.Second)
	before, _ := h.p99(now)
	for _, age := range []time.Duration{0, 3 * tailHalfLife, rescaleAfter, 2 * rescaleAfter} {
		if _, known := h.p99(now.Add(age)); known != (1000*math.Exp2(-float64(age)/float64(tailHalfLife)) >= tailFew) {
			t.Errorf("after %v: known is %v", age, known)
		}
	}
	// As many again, fast: after one half-life the slow ones are a third, after eight below a hundredth.
	now = now.Add(tailHalfLife)
	fill(1000, time.Millisecond)
	if got, _ := h.p99(now); got != before {
		t.Errorf("%v after one half-life, want still %v", got, before)
	}
	now = now.Add(7 * tailHalfLife)
	fill(1000, time.Millisecond)
	if got, known := h.p99(now); !known || got > 2*time.Millisecond {
		t.Errorf("%v %v after eight half-lives of fast answers", got, known)
	}
	now = now.Add(1000 * rescaleAfter)
	fill(tailFew, 5*time.Millisecond)
	if got, known := h.p99(now); !known || got < 5*time.Millisecond || got > 7*time.Millisecond {
		t.Errorf("%v %v after a very long time", got, known)
	}
}

// Buckets follow one another without gaps, and each holds what is below its end.
func TestTailBuckets(t *testing.T) {
	for i := range tailBuckets - 1 {
		top := tailTop(i)
		if tailBucket(top-1) != i || tailBucket(top) != i+1 {
			t.Errorf("bucket %d ends at %v, but holds %v: %d, and %v: %d", i, top, top-1, tailBucket(top-1), top, tailBucket(top))
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, time.Minute, time.Hour, math.MaxInt64} {
		if i := tailBucket(d); i < 0 || i >= tailBuckets {
			t.Errorf("%v is in bucket %d", d, i)
		}
	}
	if last := tailTop(tailBuckets - 2); last < time.Minute {
		t.Errorf("the last bucket begins at %v, before the longest time-out", last)
	}
}

// A replica that turns slow is passed by after a few answers, whatever the size of the values, and is near again soon after it has recovered.
func TestDistance(t *testing.T) {
	a, b := ring.ID{1}, ring.ID{2}
	for _, bytes := range []int{1 << 20, 5000, 100} {
		p := newPace(4096)
		now := time.Unix(1_700_000_000, 0)
		round := func(slow time.Duration) {
			now = now.Add(10 * time.Millisecond)
			p.answered(a, bytes, time.Millisecond+slow, now)
			p.answered(b, bytes, time.Millisecond, now)
			p.answered(a, 0, time.Millisecond, now)
			p.answered(b, 0, time.Millisecond, now)
		}
		far := func() bool { return p.distance(a, now) > nearEnough*p.distance(b, now) }
		if p.distance(a, now) != 1 {
			t.Error("nobody is known, and somebody is not at 1")
		}
		for range 100 {
			if round(0); far() {
				t.Fatal("far for nothing")
			}
		}
		answers := 0
		for ; !far(); answers++ {
			round(100 * time.Millisecond)
		}
		if answers > 2 {
			t.Errorf("%d bytes: passed by after %d slow answers", bytes, answers)
		}
		for range 20 {
			round(time.Hour)
		}
		answers = 0
		for ; far(); answers++ {
			round(0)
		}
		if answers > 40 {
			t.Errorf("%d bytes: near again after %d answers", bytes, answers)
		}
	}
}

// That a value has not come yet counts too, and never makes anybody nearer. In the end it is forgotten, as nobody asks who is far.
func TestLateIsFar(t *testing.T) {
	p := newPace(4096)
	id, now := ring.ID{1}, time.Unix(1_700_000_000, 0)
	for range 100 {
		p.answered(id, 5000, time.Millisecond, now)
		p.answered(ring.ID{2}, 5000, time.Millisecond, now)
	}
	p.late(id, now)
	if p.distance(id, now) > nearEnough {
		t.Error("far for being late once")
	}
	for range 3 {
		p.late(id, now)
	}
	if p.distance(id, now) < nearEnough {
		t.Errorf("late four times, and at a distance of %.2f", p.distance(id, now))
	}
	// Small answers, which it goes on giving, say nothing of that.
	for range 100 {
		p.answered(id, 0, time.Millisecond, now)
	}
	if p.distance(id, now) < nearEnough {
		t.Error("forgotten for its small answers")
	}
	if p.distance(id, now.Add(10*retryHalfLife)) > nearEnough {
		t.Error("never tried again")
	}
}

// Patience is the replica's own p99 for values of that size.
func TestPatience(t *testing.T) {
	p := newPace(4096)
	id, now := ring.ID{1}, time.Unix(1_700_000_000, 0)
	for range 100 {
		p.answered(id, 10_000, 5*time.Millisecond, now)
		p.answered(id, 1<<20, 40*time.Millisecond, now)
		p.answered(id, 5<<20, 20*time.Microsecond, now)
	}
	for _, c := range []struct {
		bytes    int
		from, to time.Duration
	}{
		{5000, 5 * time.Millisecond, 6500 * time.Microsecond},
		{16384, 5 * time.Millisecond, 6500 * time.Microsecond},
		{16385, unknownTail, unknownTail},
		{1 << 20, 40 * time.Millisecond, 50 * time.Millisecond},
		{5 << 20, leastTail, leastTail},
		{100 << 20, unknownTail, unknownTail},
	} {
		if got := p.patience(id, c.bytes, now); got < c.from || got > c.to {
			t.Errorf("%d bytes: %v, want %v to %v", c.bytes, got, c.from, c.to)
		}
	}
	if got := p.patience(ring.ID{2}, 5000, now); got != unknownTail {
		t.Errorf("%v for a replica that never answered", got)
	}
}

// However many ask, no more is given than was there and was paid in.
func TestAllowance(t *testing.T) {
	var a allowance
	if a.spend() {
		t.Error("something for nothing")
	}
	for range 10_000 {
		a.earn()
	}
	given := 0
	for a.spend() {
		given++
	}
	if given != hedgeBurst {
		t.Errorf("a burst of %d, want %d", given, hedgeBurst)
	}
	const paid = 100 * hedgeShare
	var mu sync.Mutex
	var all sync.WaitGroup
	given = 0
	for range 8 {
		all.Go(func() {
			for range paid / 8 {
				a.earn()
				if a.spend() {
					mu.Lock()
					given++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if given > paid/hedgeShare || given < paid/hedgeShare-1 {
		t.Errorf("%d given for %d paid in, want one for %d", given, paid, hedgeShare)
	}
}
