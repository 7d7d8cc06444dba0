package repair

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// How fast a node catches up is a closed loop: additive increase while client requests are as fast as usual, multiplicative decrease as
// soon as they are not, between a floor and no limit.

const (
	paceWindow   = 250 * time.Millisecond // so long a window has some hundred requests under load, and the loop reacts within a second
	paceFloor    = 1 << 20                // bytes/s: some 7,000 records of 100 bytes, as many as a cluster of three writes under load
	paceStart    = 2 << 20                // bytes/s with which a limit begins
	paceStep     = 256 << 10              // bytes/s added per window
	paceCut      = 0.7                    // of the rate is left after a slow window
	paceTop      = 256 << 20              // bytes/s: beyond this there is no limit to speak of
	tooSlow      = 130                    // percent of the usual p99; the promise is below 200, and the loop reacts late
	usualWeight  = 0.1                    // of a new window in what is usual
	fewRequests  = 20                     // in a window: fewer have no p99
	fastAnyway   = 2 * time.Millisecond   // a p99 below this is no reason to hold back
	noLimit      = 0.0                    // of a rate: as fast as it goes
	percent      = 100
	pressureMost = 10_000
)

// pace is the rate at which a node fetches, in bytes a second; noLimit while no client is there to be slowed down.
type pace float64

// next is the rate after a window. pressure is the p99 of client requests in percent of what is usual, 0 if there were too few to tell.
func (p pace) next(pressure uint32) pace {
	switch {
	case pressure == 0:
		return noLimit
	case pressure > tooSlow && p == noLimit:
		return paceStart * paceCut
	case pressure > tooSlow:
		return max(paceFloor, p*paceCut)
	case p == noLimit:
		return paceStart
	}
	return min(p+paceStep, paceTop)
}

// after is how long to wait after so many bytes.
func (p pace) after(bytes int) time.Duration {
	if p == noLimit || p >= paceTop {
		return 0
	}
	return time.Duration(float64(bytes) / float64(p) * float64(time.Second))
}

// pacer is the loop: it keeps the rate over all exchanges of a node, and takes one step a window.
type pacer struct {
	mu    sync.Mutex
	rate  pace
	step  time.Time
	ready time.Time // when what was fetched so far is paid for
}

// pause is how long to wait before fetching on, after a page of so many bytes.
func (p *pacer) pause(now time.Time, pressure uint32, bytes int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.step) >= paceWindow {
		p.rate, p.step = p.rate.next(pressure), now
	}
	if p.ready.Before(now) {
		p.ready = now
	}
	p.ready = p.ready.Add(p.rate.after(bytes))
	return p.ready.Sub(now)
}

// Latency watches how long client requests take, for the pace. Observe costs one atomic addition. The zero Latency is ready.
type Latency struct {
	buckets [64 * bucketsPerOctave]atomic.Uint32

	mu     sync.Mutex
	begun  time.Time
	usual  time.Duration // p99 while nothing is being fetched or served, smoothed
	latest uint32
}

// bucketsPerOctave: a quarter of an octave is 19 % of error at most, well below tooSlow.
const bucketsPerOctave = 4

// Observe notes one client request.
func (l *Latency) Observe(d time.Duration) { l.buckets[bucketOf(d)].Add(1) }

func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 1))
	octave := bits.Len64(ns) - 1
	part := (ns << 2 >> octave) & (bucketsPerOctave - 1)
	return octave*bucketsPerOctave + int(part)
}

// bucketTop is the longest duration in a bucket.
func bucketTop(b int) time.Duration {
	octave, part := b/bucketsPerOctave, b%bucketsPerOctave
	return time.Duration((uint64(1) << octave >> 2) * uint64(bucketsPerOctave+part+1))
}

// Pressure is the p99 of the latest whole window in percent of what is usual, 0 if there were too few requests. idle says that no
// exchange runs here: then the window also says what is usual.
func (l *Latency) Pressure(now time.Time, idle bool) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) < paceWindow {
		return l.latest
	}
	stale := now.Sub(l.begun) > 4*paceWindow // nobody has asked for a while: what has piled up is not a window
	l.begun = now
	p99, count := l.drain()
	if stale {
		l.latest = 0
		return 0
	}
	l.latest = pressureOf(p99, l.usual, count)
	if idle && count >= fewRequests {
		if l.usual == 0 {
			l.usual = p99
		}
		l.usual += time.Duration(usualWeight * float64(p99-l.usual))
	}
	return l.latest
}

func pressureOf(p99, usual time.Duration, count int) uint32 {
	switch {
	case count < fewRequests:
		return 0
	case p99 <= fastAnyway || usual == 0:
		return percent
	}
	return uint32(min(max(int64(p99)*percent/int64(max(usual, fastAnyway)), 1), pressureMost))
}

// drain takes the counts out and returns their p99.
func (l *Latency) drain() (p99 time.Duration, count int) {
	var counts [len(l.buckets)]int
	for i := range l.buckets {
		counts[i] = int(l.buckets[i].Swap(0))
		count += counts[i]
	}
	above := count / 100
	for i := len(counts) - 1; i >= 0; i-- {
		if above -= counts[i]; above < 0 {
			return bucketTop(i), count
		}
	}
	return 0, 0
}
