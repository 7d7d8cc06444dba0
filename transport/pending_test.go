package transport

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestPendingExpires: every call that stays is completed at its deadline, at most two sweeps late, whatever is added and taken meanwhile.
func TestPendingExpires(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		waits := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) [2]int {
			return [2]int{rapid.IntRange(0, 20).Draw(rt, "pause"), rapid.IntRange(1, 100).Draw(rt, "timeout")}
		}), 1, 30).Draw(rt, "calls")
		synctest.Test(t, func(t *testing.T) {
			var expired atomic.Int32
			p := newPending(100, func(c *call) {
				expired.Add(1)
				if late := time.Since(c.deadline); late < 0 || late > 2*sweepAtMost {
					rt.Errorf("expired %v after its deadline", late)
				}
			})
			for _, w := range waits {
				<-time.After(time.Duration(w[0]) * time.Millisecond)
				now := time.Now()
				if _, err := p.add(&call{deadline: now.Add(time.Duration(w[1]) * time.Millisecond)}, now); err != nil {
					rt.Error(err)
				}
			}
			<-time.After(time.Second)
			synctest.Wait()
			if int(expired.Load()) != len(waits) || len(p.calls) != 0 {
				rt.Errorf("%d of %d calls expired, %d left", expired.Load(), len(waits), len(p.calls))
			}
		})
	})
}

func TestPendingBounds(t *testing.T) {
	now := time.Now()
	p := newPending(2, func(*call) {})
	first, second := &call{deadline: now.Add(time.Hour)}, &call{deadline: now.Add(time.Hour)}
	one, err := p.add(first, now)
	must(t, err)
	_, err = p.add(second, now)
	must(t, err)
	if _, err := p.add(&call{deadline: now.Add(time.Hour)}, now); err != errFull {
		t.Errorf("third call: %v, want errFull", err)
	}
	if p.get(one) != first || p.take(one) != first || p.take(one) != nil || p.get(one) != nil {
		t.Error("a call can be taken twice, or not once")
	}
	three, err := p.add(first, now)
	must(t, err)
	if three == one {
		t.Errorf("number %d given twice", one)
	}
	if calls := p.close(); !slices.Equal(calls, []*call{second, first}) {
		t.Errorf("close returned %d calls, or out of order", len(calls))
	}
	if _, err := p.add(first, now); err != errBroken {
		t.Errorf("after close: %v, want errBroken", err)
	}
}
