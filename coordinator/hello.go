package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// A write that is handed to an owner which has just been cut off is lost to the client: what the owner makes of it, and when, is
// unknown, so nobody else may be handed it. The transport finds such an owner silent after seconds. So a write is handed
// only to an owner that has answered this node within the last moment, or answers a hello now.
const (
	// freshFor is how long an answer proves that an owner is there. Longer loses more writes when one goes; under load owners
	// answer far more often than this anyhow, and without load a hello costs one round trip.
	freshFor = 20 * time.Millisecond
	// helloPatience is how long one owner is given to say hello before the next is asked as well: many round trips,
	// and still hardly felt.
	helloPatience = 20 * time.Millisecond
)

// heard is when each owner last answered what was handed to it. It holds one entry for each member ever met.
type heard struct {
	mu   sync.Mutex
	last map[ring.ID]time.Time
}

// note takes an answer, whatever it says. A failure of the transport is none.
func (h *heard) note(id ring.ID, resp *transport.Response) {
	if resp.Err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil {
		h.last = make(map[ring.ID]time.Time)
	}
	h.last[id] = time.Now()
}

func (h *heard) lately(id ring.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.last[id]) < freshFor
}

// notDown lists the slots that can be asked, in order, and answers the others.
func (c *Coordinator) notDown(v *View, f *fanout) []int {
	var ask []int
	for i := range f.slots {
		if v.Peers[f.slots[i].id].Down {
			f.answer(i, OutcomeUnreachable, "known to be down", time.Now())
			continue
		}
		ask = append(ask, i)
	}
	return ask
}

// there picks, of some slots, one whose owner is certainly there, and returns its place among them: the first if it answered
// lately, else the first that says hello. -1: none did before the deadline, and nothing was sent.
func (c *Coordinator) there(ctx context.Context, f *fanout, ask []int, deadline time.Time) int {
	if c.heard.lately(f.slots[ask[0]].id) {
		return 0
	}
	type answer struct {
		at int
		ok bool
	}
	answers := make(chan answer, len(ask)) // each owner answers once
	end := time.NewTimer(time.Until(deadline))
	defer end.Stop()
	patience := time.NewTicker(helloPatience)
	defer patience.Stop()
	for asked, failed := 0, 0; failed < len(ask); {
		if asked < len(ask) {
			at, id := asked, f.slots[ask[asked]].id
			c.send.Go(id, KindHello, nil, deadline, func(r transport.Response) {
				c.heard.note(id, &r)
				answers <- answer{at, r.Err == nil}
			})
			asked++
		}
		select {
		case a := <-answers:
			if a.ok {
				return a.at
			}
			failed++
		case <-patience.C:
		case <-end.C:
			return -1
		case <-ctx.Done():
			return -1
		}
	}
	return -1
}

// ServeHello answers KindHello. A node of an earlier build answers that it does not know the kind, which says as much.
func (c *Coordinator) ServeHello(req transport.Request) { req.Reply(transport.StatusOK, nil) }
