package coordinator

import (
	"maps"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// How fast each replica answers reads, by this node's own calls. Two questions are asked of it: who is nearest, and when is a value so late that
// another replica should be asked for it. It never says that anybody is down.

const (
	// sizeClasses by the bytes of values that came: up to Config.Inline, then four times as many each. The last takes whatever is larger than 16 MiB.
	sizeClasses = 8
	// tailHalfLife is how soon the tail forgets: what was a minute ago counts 2 % of what is now, and a second at 10 reads/s is enough to know.
	tailHalfLife = 10 * time.Second
	// tailFew is the weight below which a tail knows nothing: fewer have no p99, and what is late must not be judged by one or two.
	tailFew = 8
	// unknownTail stands for the p99 until there is one: many round trips, and still hardly felt.
	unknownTail = 50 * time.Millisecond
	// leastTail is the earliest hedge: below it a timer and a second request cost more than is gained.
	leastTail = time.Millisecond

	// distanceWeight of a new answer in a replica's distance: one that turns slow is passed by after a few answers.
	distanceWeight = 1.0 / 8
	// typicalWeight of a new answer in what is typical of its size; slower, or what is slow now would soon be typical.
	typicalWeight = 1.0 / 64
	// mostTypical times what is typical is the most that one answer shifts it by: what is rare must not become typical.
	mostTypical = 2
	// mostDistance bounds what one answer counts, so that after a long outage a replica is near again after some ten answers.
	mostDistance = 32
	// lateDistance is what a value counts that has not come by its p99: as one in a hundred it changes little, four in a row make a replica far.
	lateDistance = 4
	// retryHalfLife is how soon it is forgotten that a replica was slow with large values. Who is far is not asked for them, so nothing else would tell that
	// it has recovered; asking too early costs one hedge.
	retryHalfLife = 10 * time.Second
	// nearEnough times the least distance is as good as the least: who is first in the order then stays, and with it what its caches hold.
	nearEnough = 2
	// ownFar is the distance from which this node's own disk is passed by for a value that must be read from it.
	ownFar = 4
)

// tail is a histogram of latencies in which each counts half as much after every half-life (forward decay: Cormode et al., ICDE 2009). It takes
// 512 bytes. The zero tail is empty. It has no lock.
type tail struct {
	weights [tailBuckets]float32
	total   float64
	epoch   time.Time // when a new sample weighs 1; later ones weigh more, and now and then all are scaled back
}

const (
	tailParts   = 4                // buckets of an octave: 19 % of error at most
	tailShift   = 15               // the first bucket ends at 2^15 ns = 33 µs
	tailBuckets = 21*tailParts + 1 // the last begins at 69 s, more than any request may take
	// rescaleAfter keeps weights within what a float32 tells apart.
	rescaleAfter = 16 * tailHalfLife
)

// add notes one latency.
func (t *tail) add(d time.Duration, now time.Time) {
	if t.total == 0 {
		t.epoch = now
	}
	age := now.Sub(t.epoch)
	if age > rescaleAfter {
		scale := math.Exp2(-float64(age) / float64(tailHalfLife))
		for i := range t.weights {
			t.weights[i] *= float32(scale)
		}
		t.total *= scale
		t.epoch, age = now, 0
	}
	w := math.Exp2(float64(age) / float64(tailHalfLife))
	t.weights[tailBucket(d)] += float32(w)
	t.total += w
}

// p99 is the latency that 99 in 100 answers did not exceed of late, rounded up to the end of its bucket; false if too few answers are recent.
func (t *tail) p99(now time.Time) (time.Duration, bool) {
	if t.total == 0 || t.total*math.Exp2(-float64(now.Sub(t.epoch))/float64(tailHalfLife)) < tailFew {
		return 0, false
	}
	above := t.total / 100
	for i := len(t.weights) - 1; i > 0; i-- {
		if above -= float64(t.weights[i]); above < 0 {
			return tailTop(i), true
		}
	}
	return tailTop(0), true
}

func tailBucket(d time.Duration) int {
	ns := uint64(max(d, 1))
	if ns < 1<<tailShift {
		return 0
	}
	octave := bits.Len64(ns) - 1
	part := int(ns>>(octave-2)) & (tailParts - 1)
	return min((octave-tailShift)*tailParts+part+1, tailBuckets-1)
}

// tailTop is where a bucket ends.
func tailTop(i int) time.Duration {
	octave, part := tailShift+i/tailParts, i%tailParts
	return time.Duration(uint64(tailParts+part) << (octave - 2))
}

// pace is what is known of all replicas. It is safe for concurrent use, and holds 4 KiB for each member ever asked.
type pace struct {
	inline  int
	typical [sizeClasses]atomic.Uint64 // nanoseconds as a float, over all replicas; 0 while unknown

	mu    sync.Mutex // of whoever adds a replica
	peers atomic.Pointer[map[ring.ID]*peerPace]
}

type peerPace struct {
	small smoothed // latency beside what is typical, of answers with small values, or none

	mu      sync.Mutex
	large   smoothed // of answers with large ones
	largeAt time.Time
	tails   [sizeClasses - 1]tail // of them
}

// smoothed is a moving average, 1 at first, as the bits of a float less those of 1. A concurrent shift may be lost; the next one tells the same.
type smoothed struct{ bits atomic.Uint64 }

var one = math.Float64bits(1)

func (s *smoothed) value() float64 { return math.Float64frombits(s.bits.Load() + one) }

func (s *smoothed) shift(x float64) {
	old := s.value()
	s.bits.Store(math.Float64bits(old+(min(x, mostDistance)-old)*distanceWeight) - one)
}

func newPace(inline int) *pace {
	p := &pace{inline: inline}
	p.peers.Store(&map[ring.ID]*peerPace{})
	return p
}

func (p *pace) peer(id ring.ID) *peerPace {
	if known := (*p.peers.Load())[id]; known != nil {
		return known
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := (*p.peers.Load())[id]; known != nil {
		return known
	}
	next := maps.Clone(*p.peers.Load())
	next[id] = new(peerPace)
	p.peers.Store(&next)
	return next[id]
}

func (p *pace) class(bytes int) int {
	k := 0
	for limit := max(p.inline, 1); bytes > limit && k < sizeClasses-1; limit *= 4 {
		k++
	}
	return k
}

// answered notes that a replica sent so many bytes of values within so long.
func (p *pace) answered(id ring.ID, bytes int, took time.Duration, now time.Time) {
	k := p.class(bytes)
	x := p.of(k, took)
	peer := p.peer(id)
	if k == 0 {
		peer.small.shift(x)
		return
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	peer.large.shift(x)
	peer.largeAt = now
	peer.tails[k-1].add(took, now)
}

// late notes that a large value has not come from a replica in time. When it has come, that counts as well.
func (p *pace) late(id ring.ID, now time.Time) {
	peer := p.peer(id)
	peer.mu.Lock()
	defer peer.mu.Unlock()
	peer.large.shift(max(lateDistance, peer.large.value()))
	peer.largeAt = now
}

// of is a latency in terms of what is typical of its size, which it shifts. A concurrent shift may be lost; the next one tells the same.
func (p *pace) of(k int, took time.Duration) float64 {
	x := max(float64(took), 1)
	typical := math.Float64frombits(p.typical[k].Load())
	if typical == 0 {
		p.typical[k].Store(math.Float64bits(x))
		return 1
	}
	p.typical[k].Store(math.Float64bits(typical + (min(x, mostTypical*typical)-typical)*typicalWeight))
	return x / typical
}

// distance is 1 for a replica that answers as fast as is typical, or that nothing is known of.
func (p *pace) distance(id ring.ID, now time.Time) float64 {
	peer := (*p.peers.Load())[id]
	if peer == nil {
		return 1
	}
	d := peer.small.value()
	if large := peer.large.value(); large > 1 { // rare enough for a lock
		peer.mu.Lock()
		age := now.Sub(peer.largeAt)
		peer.mu.Unlock()
		d = max(d, 1+(large-1)*math.Exp2(-float64(age)/float64(retryHalfLife)))
	}
	return d
}

// patience is how long a value of so many bytes may take from a replica before another is asked: its recent p99.
func (p *pace) patience(id ring.ID, bytes int, now time.Time) time.Duration {
	peer := p.peer(id)
	peer.mu.Lock()
	defer peer.mu.Unlock()
	if d, known := peer.tails[max(p.class(bytes), 1)-1].p99(now); known {
		return max(d, leastTail)
	}
	return unknownTail
}

// wholeBytes is how many bytes of values a record has when none is left out.
func wholeBytes(r *version.Record) (all int) {
	for i := range r.Versions {
		all += int(r.Versions[i].Size)
	}
	return all
}

// Bounds of the extra load by hedges.
const (
	// hedgeShare: of ten reads whose value did not ride along, one may ask a second replica for it. Of values that are later than a p99 there is one in a
	// hundred; the rest is room for a replica that has just turned slow.
	hedgeShare = 10
	// hedgeBurst is how many may come at once after a quiet time.
	hedgeBurst = 10
)

// allowance is the token bucket of hedges. Each read of a large value pays in one part, a hedge takes hedgeShare of them. It is safe for concurrent use.
type allowance struct{ parts atomic.Int64 }

func (a *allowance) earn() {
	if a.parts.Load() < hedgeShare*hedgeBurst {
		a.parts.Add(1) // some too many, if many find room at once: as many as requests are at work
	}
}

func (a *allowance) spend() bool {
	for {
		parts := a.parts.Load()
		if parts < hedgeShare {
			return false
		}
		if a.parts.CompareAndSwap(parts, parts-hedgeShare) {
			return true
		}
	}
}
