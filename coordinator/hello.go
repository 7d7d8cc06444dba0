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
	// helloPatience is how long one owner is given to say hello before the next is asked as well: many round trips, and still hardly felt. An
	// owner that is merely slower loses a turn by it, and nothing else.
	helloPatience = 5 * time.Millisecond
)

// heard is how each owner took what was handed to it. It holds one entry for each member ever met.
type heard struct {
	mu     sync.Mutex
	owners map[ring.ID]hearing
}

// hearing is what one owner's answers and silence say. One that is quiet is asked after the others, and again in the background, at most one
// hello at a time: as long as it is stopped nobody waits for it, and when it answers it has its place again.
type hearing struct {
	last   time.Time // it answered
	asked  time.Time // the first hello since that it has not answered; zero: none
	failed bool      // the latest call came to nothing
}

// note takes what became of a call. Any answer shows that the owner is there, whatever it says.
func (h *heard) note(id ring.ID, resp *transport.Response, now time.Time) {
	if resp.Err != nil {
		h.change(id, func(o *hearing) { o.asked, o.failed = time.Time{}, true })
		return
	}
	h.change(id, func(o *hearing) { *o = hearing{last: now} })
}

// ask notes that a hello is on its way.
func (h *heard) ask(id ring.ID, now time.Time) {
	h.change(id, func(o *hearing) {
		if o.asked.IsZero() {
			o.asked = now
		}
	})
}

func (h *heard) change(id ring.ID, fn func(o *hearing)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owners == nil {
		h.owners = make(map[ring.ID]hearing)
	}
	o := h.owners[id]
	fn(&o)
	h.owners[id] = o
}

func (h *heard) of(id ring.ID) hearing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owners[id]
}

func (h *heard) lately(id ring.ID, now time.Time) bool { return now.Sub(h.of(id).last) < freshFor }

// quiet reports that the owner did not answer when it was asked last, or has not for longer than is worth waiting.
func (h *heard) quiet(id ring.ID, now time.Time) bool {
	o := h.of(id)
	return o.failed || !o.asked.IsZero() && now.Sub(o.asked) >= helloPatience
}

// idle reports that no hello to the owner is on its way.
func (h *heard) idle(id ring.ID) bool { return h.of(id).asked.IsZero() }

// notDown lists the slots that can be asked, in order, and answers the others.
func (c *Coordinator) notDown(v *View, f *fanout) []int {
	var ask []int
	for i := range f.slots {
		if v.Peers[f.slots[i].id].Down {
			f.answer(i, OutcomeUnreachable, downDetail, time.Now())
			continue
		}
		ask = append(ask, i)
	}
	return ask
}

// there picks, of some slots, one whose owner is certainly there, and returns its place among them: the first that is not quiet if it answered
// lately, else whichever says hello first. -1: none did before the deadline, and nothing was sent.
func (c *Coordinator) there(ctx context.Context, f *fanout, ask []int, deadline time.Time) int {
	now := time.Now()
	order, quiet := make([]int, 0, len(ask)), make([]int, 0, len(ask))
	for at, i := range ask {
		if c.heard.quiet(f.slots[i].id, now) {
			quiet = append(quiet, at)
		} else {
			order = append(order, at)
		}
	}
	if len(order) > 0 && c.heard.lately(f.slots[ask[order[0]]].id, now) {
		return order[0]
	}
	type greeting struct {
		at   int
		resp transport.Response
	}
	answers := make(chan greeting, len(ask)) // each owner answers once
	said, waiting := make([]bool, len(ask)), 0
	hello := func(at int) {
		if said[at] {
			return
		}
		said[at] = true
		waiting++
		id := f.slots[ask[at]].id
		c.heard.ask(id, time.Now())
		c.send.Go(id, KindHello, nil, deadline, func(r transport.Response) {
			c.heard.note(id, &r, time.Now())
			answers <- greeting{at, r}
		})
	}
	for _, at := range quiet {
		if c.heard.idle(f.slots[ask[at]].id) {
			hello(at)
		}
	}
	order = append(order, quiet...)
	end := time.NewTimer(time.Until(deadline))
	defer end.Stop()
	patience := time.NewTicker(helloPatience)
	defer patience.Stop()
	for asked := 0; asked < len(order) || waiting > 0; {
		if asked < len(order) {
			hello(order[asked])
			asked++
		}
		select {
		case g := <-answers:
			if g.resp.Err == nil {
				return g.at
			}
			outcome, detail, _ := classify(&g.resp)
			f.answer(ask[g.at], outcome, detail, time.Now())
			waiting--
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
