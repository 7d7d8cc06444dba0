package coordinator

import (
	"sync"
	"time"
)

// What every request needs for a moment and gives back.

// bodies holds the buffers that writes are encoded in; Sender.Go copies them.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// mostKept bounds the buffers that are kept, so that a burst of large values does not stay in memory.
const mostKept = 64 << 10

func keepBody(b *[]byte) {
	if cap(*b) <= mostKept {
		bodies.Put(b)
	}
}

// timers is a pool of stopped timers. Each Coordinator has its own, as timers of a test's virtual time stay in its test.
type timers struct{ pool sync.Pool }

// start returns a timer that fires at the deadline. It must be given back with stop.
func (p *timers) start(deadline time.Time) *time.Timer {
	left := time.Until(deadline)
	t, ok := p.pool.Get().(*time.Timer)
	if !ok {
		return time.NewTimer(left)
	}
	t.Reset(left)
	return t
}

// stop takes a timer back. Nothing stale is left in its channel after Stop (since Go 1.23).
func (p *timers) stop(t *time.Timer) {
	t.Stop()
	p.pool.Put(t)
}
