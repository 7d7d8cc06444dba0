package transport

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// sweepAtMost bounds how often a table is searched for expired calls, and so how late a call may learn of its deadline.
const sweepAtMost = 5 * time.Millisecond

// call is one request on its way.
type call struct {
	peer     *peer // nil for a call by address
	kind     Kind
	begun    time.Time
	deadline time.Time
	done     func(Response)

	body   []byte // copied, while the call waits for a connection
	waited bool   // for one, at some time
	mark   mark   // what became of its frame in the outbox of its connection
}

// pending is a table of calls by number. It has one timer, armed for the earliest deadline that it has seen, instead of one for each call:
// calls that are answered in time leave it untouched.
type pending struct {
	limit  int
	expire func(*call) // called without the lock, for each call whose deadline has passed

	mu     sync.Mutex
	calls  map[uint64]*call
	last   uint64 // number of the youngest
	timer  *time.Timer
	armed  time.Time // when the timer fires; zero: it does not
	closed bool
}

func newPending(limit int, expire func(*call)) *pending {
	return &pending{limit: limit, expire: expire, calls: make(map[uint64]*call)}
}

// add gives a call its number. It fails with errFull at the limit and with errBroken after close.
func (p *pending) add(c *call, now time.Time) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errBroken
	}
	if len(p.calls) >= p.limit {
		return 0, errFull
	}
	p.last++
	p.calls[p.last] = c
	p.arm(now, c.deadline)
	return p.last, nil
}

// take removes a call; nil if it is gone already, and then somebody else completes it.
func (p *pending) take(number uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[number]
	delete(p.calls, number)
	return c
}

// get leaves the call where it is; nil if it is gone.
func (p *pending) get(number uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[number]
}

// takeAll empties the table and returns the calls, oldest first.
func (p *pending) takeAll() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeWhere(func(*call) bool { return true })
}

// close is takeAll, and no call enters again.
func (p *pending) close() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	return p.takeWhere(func(*call) bool { return true })
}

func (p *pending) takeWhere(match func(*call) bool) []*call {
	var numbers []uint64
	for n, c := range p.calls {
		if match(c) {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, cmp.Compare[uint64])
	taken := make([]*call, len(numbers))
	for i, n := range numbers {
		taken[i] = p.calls[n]
		delete(p.calls, n)
	}
	return taken
}

// arm makes the timer fire at the deadline, or a little later. If it fires before that, it stays as it is: the sweep arms it again.
func (p *pending) arm(now, deadline time.Time) {
	wait := max(deadline.Sub(now), sweepAtMost)
	at := now.Add(wait)
	if !p.armed.IsZero() && !at.Before(p.armed) {
		return
	}
	p.armed = at
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.sweep)
	} else {
		p.timer.Reset(wait)
	}
}

func (p *pending) sweep() {
	now := time.Now()
	p.mu.Lock()
	expired := p.takeWhere(func(c *call) bool { return !c.deadline.After(now) })
	p.armed = time.Time{}
	var next time.Time
	for _, c := range p.calls {
		if next.IsZero() || c.deadline.Before(next) {
			next = c.deadline
		}
	}
	if !next.IsZero() && !p.closed {
		p.arm(now, next)
	}
	p.mu.Unlock()
	for _, c := range expired {
		p.expire(c)
	}
}
