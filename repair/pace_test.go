package repair

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name     string
		rate     pace
		pressure uint32
		want     pace
	}{
		{"nobody is there", 8 * mib, 0, noLimit},
		{"clients come", noLimit, 100, paceStart},
		{"slow ones come", noLimit, 200, paceStart * paceCut},
		{"as usual", 8 * mib, 120, 8*mib + paceStep},
		{"too slow", 10 * mib, tooSlow + 1, 10 * mib * paceCut},
		{"never below the floor", paceFloor, 10_000, paceFloor},
		{"never above the top", paceTop, 100, paceTop},
	} {
		if got := c.rate.next(c.pressure); got != c.want {
			t.Errorf("%s: from %.0f with %d %% to %.0f, want %.0f", c.name, c.rate, c.pressure, got, c.want)
		}
	}
	if got := pace(1 * mib).after(mib / 2); got != time.Second/2 {
		t.Errorf("half a MiB at 1 MiB/s: %v", got)
	}
	if got := pace(noLimit).after(mib); got != 0 {
		t.Errorf("without a limit: %v", got)
	}
}

// TestPacerStepsOnceAWindow: many pages in a window are one reason to slow down, and are paid for together.
func TestPacerStepsOnceAWindow(t *testing.T) {
	var p pacer
	now := time.Unix(1000, 0)
	if d := p.pause(now, 100, paceStart/4); d != time.Second/4 {
		t.Errorf("a quarter of a second at the first rate: %v", d)
	}
	for range 5 {
		p.pause(now, 1000, 0)
	}
	if p.rate != paceStart {
		t.Errorf("the rate moved within a window: %.0f", p.rate)
	}
	if d := p.pause(now, 100, paceStart/4); d != time.Second/2 {
		t.Errorf("a second page at the same moment: %v", d)
	}
	if p.pause(now.Add(paceWindow), 1000, 0); p.rate != paceStart*paceCut {
		t.Errorf("after a slow window: %.0f", p.rate)
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
