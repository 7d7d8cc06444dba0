package repair

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/ring"
)

// How fast a node catches up is a closed loop: additive increase while client requests are as fast as usual, multiplicative decrease as
// soon as they are not, from a floor on. Where no client is heard of the rate doubles until there is no limit to speak of.

const (
	paceWindow   = 250 * time.Millisecond // so long a window has some hundred requests under load, and the loop reacts within a second
	paceMemory   = 4 * paceWindow         // that a node's word counts: the peers whose pages come in turn within it
	paceFloor    = 512 << 10              // bytes/s: some 2,200 records of 100 bytes
	paceStart    = 2 << 20                // bytes/s when clients come while there is no limit
	paceStep     = 256 << 10              // bytes/s added per window
	paceCut      = 0.7                    // of the rate is left after a slow window, and less the slower it was,
	paceDeepCut  = 0.25                   // but as much as this
	paceTop      = 256 << 20              // bytes/s: beyond this there is no limit to speak of
	tooSlow      = 130                    // percent of the usual p99; the promise is below 200, and the loop reacts late
	usualWeight  = 0.1                    // of a new window in what is usual
	fewRequests  = 20                     // in a window: fewer have no p99
	fastAnyway   = 2 * time.Millisecond   // a p99 below this is no reason to hold back
	paceGrowth   = 2                      // per window without clients: the top is reached after little more than two seconds
	leastPage    = 4 << 10                // bytes: some 25 small records
	pagePeriod   = pace(8 * time.Millisecond)
	percent      = 100
	pressureMost = 10_000
)

// pace is the rate at which a node fetches, in bytes a second; paceTop is no limit.
type pace float64

// next is the rate after a window. pressure is the p99 of client requests in percent of what is usual, 0 if there were too few to tell.
func (p pace) next(pressure uint32) pace {
	switch {
	case pressure == 0:
		return min(p*paceGrowth, paceTop)
	case p == paceTop:
		p = paceStart
	}
	if pressure > tooSlow {
		return max(paceFloor, p*min(paceCut, max(paceDeepCut, tooSlow/pace(pressure))))
	}
	return min(p+paceStep, paceTop)
}

// after is how long to wait after so many bytes.
func (p pace) after(bytes float64) time.Duration {
	if p >= paceTop {
		return 0
	}
	return time.Duration(bytes / float64(p) * float64(time.Second))
}

// page is how many bytes to fetch at once: less while it goes slowly, as what comes at once is merged at once, and clients wait for it at both nodes.
func (p pace) page() int { return max(leastPage, int(min(p, paceTop)*pagePeriod/pace(time.Second))) }

// pacer is the loop: it keeps the rate over all exchanges of a node, and takes one step a window.
type pacer struct {
	mu    sync.Mutex
	rate  pace
	step  time.Time        // the latest of its steps
	owed  float64          // bytes that were fetched and, at
	paid  time.Time        // this moment, were not paid for yet
	heard map[ring.ID]said // of the peers fetched from since the last rest
}

// said is the pressure at a peer, and when it was heard of.
type said struct {
	pressure uint32
	at       time.Time
}

// begin is to be called before each page or batch: after a rest nobody knows any more what clients will feel.
func (p *pacer) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.startAnew(now)
}

// startAnew forgets all if nothing was fetched, or waited for, of late. The caller holds mu.
func (p *pacer) startAnew(now time.Time) {
	if now.Sub(p.paid) >= paceMemory {
		p.rate, p.step, p.owed, p.paid, p.heard = paceFloor, now, 0, now, map[ring.ID]said{}
	}
}

// hear notes how slow client requests are at a peer, when a page has come from it.
func (p *pacer) hear(now time.Time, from ring.ID, pressure uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard[from] = said{pressure, now}
}

// pressure is the most of this node's own and what was heard of late: a page from a node without clients does not make up for one from a node whose clients wait. known says
// that any peer was heard of late; the others are forgotten. The caller holds mu.
func (p *pacer) pressure(now time.Time, own uint32) (most uint32, known bool) {
	most = own
	for id, s := range p.heard {
		if now.Sub(s.at) > paceMemory {
			delete(p.heard, id)
			continue
		}
		most, known = max(most, s.pressure), true
	}
	return most, known
}

// page is how many bytes to fetch at once now. It begins.
func (p *pacer) page(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.startAnew(now)
	return p.rate.page()
}

// pause is how long to wait, at the present rate, before fetching on after a page of so many bytes. own is the pressure here. As long as no peer is heard of, the rate does not grow.
func (p *pacer) pause(now time.Time, own uint32, bytes int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owed = max(0, p.owed-float64(p.rate)*now.Sub(p.paid).Seconds())
	p.paid = now
	if now.Sub(p.step) >= paceWindow {
		p.step = now
		if most, known := p.pressure(now, own); known || most > tooSlow {
			p.rate = p.rate.next(most)
		}
	}
	p.owed += float64(bytes)
	return p.rate.after(p.owed)
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
