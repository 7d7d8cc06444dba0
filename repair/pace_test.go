package repair

import (
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

func TestPace(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name     string
		rate     pace
		pressure uint32
		want     pace
	}{
		{"nobody is there", 8 * mib, 0, 16 * mib},
		{"nobody has been there for long", paceTop, 0, paceTop},
		{"clients come", paceTop, 100, paceStart + paceStep},
		{"slow ones come", paceTop, 150, paceStart * paceCut},
		{"as usual", 8 * mib, 120, 8*mib + paceStep},
		{"too slow", 10 * mib, tooSlow + 1, 10 * mib * paceCut},
		{"twice too slow", 10 * mib, 2 * tooSlow, 5 * mib},
		{"much too slow", 10 * mib, 10_000, 10 * mib * paceDeepCut},
		{"never below the floor", paceFloor, 10_000, paceFloor},
		{"never above the top", paceTop - 1, 100, paceTop},
	} {
		if got := c.rate.next(c.pressure); got != c.want {
			t.Errorf("%s: from %.0f with %d %% to %.0f, want %.0f", c.name, c.rate, c.pressure, got, c.want)
		}
	}
	if got := pace(1 * mib).after(mib / 2); got != time.Second/2 {
		t.Errorf("half a MiB at 1 MiB/s: %v", got)
	}
	if got := pace(paceTop).after(mib); got != 0 {
		t.Errorf("without a limit: %v", got)
	}
}

// TestPacerStepsOnceAWindow: many pages in a window are one reason to slow down, and are paid for together.
func TestPacerStepsOnceAWindow(t *testing.T) {
	var p pacer
	now := time.Unix(1000, 0)
	p.begin(now)
	hear := func(pressure uint32) { p.hear(now, ring.ID{1}, pressure) }
	hear(100)
	if d := p.pause(now, 0, paceFloor/4); d != time.Second/4 {
		t.Errorf("a quarter of a second at the first rate: %v", d)
	}
	now = now.Add(paceWindow)
	hear(100)
	p.pause(now, 0, 0)
	now = now.Add(paceWindow - 1)
	for range 5 {
		hear(1000)
		p.pause(now, 0, 0)
	}
	const second = paceFloor + paceStep
	if p.rate != second {
		t.Errorf("the rate moved within a window: %.0f", p.rate)
	}
	p.pause(now, 0, second/4)
	if d := p.pause(now, 0, second/4); d != time.Second/2 {
		t.Errorf("a second page at the same moment: %v", d)
	}
	now = now.Add(1)
	if p.pause(now, 0, 0); p.rate != paceFloor {
		t.Errorf("after a slow window: %.0f", p.rate)
	}
}

// TestPacerBeginsSlowly: before anything is known of the clients the rate is the least, also after a rest; where none are there is soon no limit, however slowly the pages come.
func TestPacerBeginsSlowly(t *testing.T) {
	for _, trip := range []time.Duration{time.Millisecond, paceWindow, 3 * paceMemory} {
		var p pacer
		now := time.Unix(1000, 0)
		for range 2 {
			if p.begin(now); p.rate != paceFloor {
				t.Errorf("at the beginning: %.0f", p.rate)
			}
			steps := 9 * max(1, int(paceWindow/trip))
			for range steps {
				p.begin(now)
				now = now.Add(trip)
				p.hear(now, ring.ID{1}, 0)
				p.pause(now, 0, 0)
			}
			if d := p.pause(now, 0, 1<<30); p.rate != paceTop || d != 0 {
				t.Errorf("pages of %v: after nine windows without clients: %.0f, a pause of %v", trip, p.rate, d)
			}
			now = now.Add(paceMemory)
		}
	}
}

// TestPacerHearsAll: what counts is the node whose clients are slowest, also between the pages of others, until it was not heard of for a while. Then nothing is known: the rate
// stays, unless this node's own clients wait.
func TestPacerHearsAll(t *testing.T) {
	var p pacer
	now := time.Unix(1000, 0)
	p.begin(now)
	p.hear(now, ring.ID{1}, 300)
	p.hear(now, ring.ID{2}, 0)
	p.hear(now, ring.ID{3}, 100)
	for _, c := range []struct {
		after time.Duration
		own   uint32
		want  uint32
		known bool
	}{{0, 0, 300, true}, {paceMemory, 400, 400, true}, {paceMemory + 1, 200, 200, false}} {
		if got, known := p.pressure(now.Add(c.after), c.own); got != c.want || known != c.known {
			t.Errorf("after %v: %d, %v; want %d, %v", c.after, got, known, c.want, c.known)
		}
	}
	if len(p.heard) != 0 {
		t.Errorf("%d nodes are remembered for ever", len(p.heard))
	}
	p.rate = 8 << 20
	for _, c := range []struct {
		own  uint32
		want pace
	}{{0, 8 << 20}, {100, 8 << 20}, {2 * tooSlow, 4 << 20}} {
		now = now.Add(paceWindow)
		if p.pause(now, c.own, 0); p.rate != c.want {
			t.Errorf("nobody is heard of, %d %% here: %.0f, want %.0f", c.own, p.rate, c.want)
		}
	}
}

// TestPages: what is fetched slowly comes in small pieces.
func TestPages(t *testing.T) {
	for rate, want := range map[pace]int{paceFloor: 4 << 10, 4 << 20: 32 << 10, 1: leastPage, paceTop: paceTop / 125, 2 * paceTop: paceTop / 125} {
		if got := rate.page(); got < want-want/20 || got > want+want/20 {
			t.Errorf("at %.0f bytes/s pages of %d bytes, want about %d", rate, got, want)
		}
	}
	var p pacer
	if got := p.page(time.Unix(1000, 0)); got != pace(paceFloor).page() {
		t.Errorf("the first page is to have %d bytes", got)
	}
}

func TestPressure(t *testing.T) {
	for _, c := range []struct {
		p99, usual time.Duration
		count      int
		want       uint32
	}{
		{time.Second, time.Millisecond, fewRequests - 1, 0},
		{time.Millisecond, time.Microsecond, 100, percent},
		{50 * time.Millisecond, 0, 100, percent},
		{30 * time.Millisecond, 10 * time.Millisecond, 100, 300},
		{30 * time.Millisecond, time.Microsecond, 100, 1500},
		{time.Hour, time.Millisecond, 100, pressureMost},
	} {
		if got := pressureOf(c.p99, c.usual, c.count); got != c.want {
			t.Errorf("p99 %v, usually %v, %d requests: %d, want %d", c.p99, c.usual, c.count, got, c.want)
		}
	}
}

// TestLatency: the p99 is within a bucket of the true one, and what is usual is learned only while nothing is exchanged.
func TestLatency(t *testing.T) {
	var l Latency
	now := time.Unix(1000, 0)
	window := func(d time.Duration, idle bool) uint32 {
		for range 100 {
			l.Observe(d)
		}
		now = now.Add(paceWindow)
		return l.Pressure(now, idle)
	}
	l.Pressure(now, true)
	for range 50 {
		window(10*time.Millisecond, true)
	}
	if l.usual < 10*time.Millisecond || l.usual > 12*time.Millisecond {
		t.Errorf("usually %v, want about 10ms", l.usual)
	}
	for range 50 {
		if got := window(40*time.Millisecond, false); got < 300 || got > 500 {
			t.Errorf("four times as slow as usual: %d %%", got)
		}
	}
	for d := time.Duration(1); d < time.Hour; d = d*5/4 + 1 {
		if top := bucketTop(bucketOf(d)); d >= 8 && (top < d || top > d+d/4+1) {
			t.Errorf("%v is in the bucket up to %v", d, top)
		}
	}
}
