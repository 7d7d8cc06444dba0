package coordinator

import (
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// standby are the fallbacks of one request in sloppy mode. Which of them is asked, and for whom, quorum.StandIns decides; in its numbers
// the first fallback follows the last owner. The fanout's mu guards it.
type standby struct {
	plan     quorum.StandIns
	slots    []slot // every fallback, in order of preference, asked or not
	down     quorum.Set
	empty    quorum.Set      // stand-ins that hold nothing of the key (reads)
	patience []time.Duration // for how long each node is waited for

	stand   func(node, owner int) // the tally's
	counted func() int            // how many stand-ins count, by the tally; called with mu
	ask     func(j int)           // sends the request to slot j; called without mu, and does not block
	look    func()                // looks for silent nodes
	timer   *time.Timer           // calls look
	due     time.Time             // when it will, zero: it will not
	over    bool                  // nobody is asked any more
}

// The bounds of the time for which a silent node is waited for before a fallback is asked in its place.
const (
	// minPatience is many round trips within a data centre, and more than most syncs: a node that is only busy is not doubled.
	minPatience = 50 * time.Millisecond
	// firstPatience is for a node of which nothing is known yet.
	firstPatience = 250 * time.Millisecond
	// maxPatience is what a request loses at most to a node that has just stopped.
	maxPatience = time.Second
	// patienceShare of the time that is left goes to one node at most, so that the one asked in its place has time, too.
	patienceShare = 4
)

// patience is how long a node is waited for whose answers are unusual when later than slow (0: not known), by a request that has left to go.
func patience(slow, left time.Duration) time.Duration {
	p := firstPatience
	if slow > 0 {
		p = min(max(slow, minPatience), maxPatience)
	}
	return min(p, left/patienceShare)
}

// standBy prepares the fallbacks of a request, nil if none may stand in. The fan-out has begun, and nobody has been asked yet.
func (c *Coordinator) standBy(v *View, p quorum.Params, f *fanout, fallbacks []ring.ID, deadline time.Time) *standby {
	if !p.FallbacksCount() || len(fallbacks) == 0 {
		return nil
	}
	left := time.Until(deadline)
	s := &standby{slots: make([]slot, len(fallbacks)), patience: make([]time.Duration, len(f.slots)+len(fallbacks))}
	var up quorum.Set
	for j, id := range fallbacks {
		node := len(f.slots) + j
		s.slots[j] = slot{id: id, name: v.Peers[id].Name}
		if v.mayAnswer(id) {
			up = up.With(node)
		} else {
			s.down = s.down.With(node)
		}
		s.patience[node] = c.patienceFor(id, left)
	}
	for i := range f.slots {
		s.patience[i] = c.patienceFor(f.slots[i].id, left)
	}
	s.plan = quorum.NewStandIns(p, len(f.slots), up)
	s.look = func() { f.lookForSilent(time.Now()) }
	f.standby = s
	return s
}

// watch begins to look for silent owners, once they are asked. The caller holds f.mu.
func (f *fanout) watch(v *View) {
	if f.standby == nil || f.closed {
		return
	}
	for i := range f.slots {
		if v.mayAnswer(f.slots[i].id) {
			f.standby.arm(f.slots[i].sent.Add(f.standby.patience[i]))
		}
	}
}

func (c *Coordinator) patienceFor(id ring.ID, left time.Duration) time.Duration {
	slow := time.Duration(0)
	if c.cfg.Slow != nil {
		slow = c.cfg.Slow(id)
	}
	return patience(slow, left)
}

// arm makes the timer look at a time, unless it will do so earlier. The caller holds the fanout's mu.
func (s *standby) arm(at time.Time) {
	if !s.due.IsZero() && !at.Before(s.due) {
		return
	}
	s.due = at
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(at), func() { s.look() })
		return
	}
	s.timer.Reset(time.Until(at))
}

// standDown ends the looking, and the asking: the round is decided, or left behind for another one.
func (f *fanout) standDown() {
	if f.standby == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.standby.over = true
	if f.standby.timer != nil {
		f.standby.timer.Stop()
	}
}

// at is the slot of a node: an owner, or a fallback. Its id never changes, so that may be read without mu.
func (f *fanout) at(node int) *slot {
	if node < len(f.slots) {
		return &f.slots[node]
	}
	return &f.standby.slots[node-len(f.slots)]
}

// stoodIn is the number of fallbacks that count. The caller holds f.mu.
func (f *fanout) stoodIn() int {
	if f.standby == nil {
		return 0
	}
	return f.standby.counted()
}

// instead gives the place of a node on that is not waited for any longer, to a fallback that is to be asked as soon as mu is free: give it to
// askStandIn. The caller holds f.mu.
func (f *fanout) instead(node int, now time.Time) (j int) {
	s := f.standby
	if s == nil || f.closed || s.over {
		return -1
	}
	fallback, owner, ok := s.plan.Replace(node)
	if !ok {
		return -1
	}
	s.stand(fallback, owner)
	j = fallback - len(f.slots)
	s.slots[j].sent = now
	f.left++
	s.arm(now.Add(s.patience[fallback]))
	return j
}

func (f *fanout) askStandIn(j int) {
	if j >= 0 {
		f.standby.ask(j)
	}
}

func (f *fanout) askStandIns(js []int) {
	for _, j := range js {
		f.standby.ask(j)
	}
}

func appendStandIn(js []int, j int) []int {
	if j < 0 {
		return js
	}
	return append(js, j)
}

// waiting reports whether somebody was asked, has not answered, and is still waited for. The caller holds f.mu.
func (f *fanout) waiting() bool {
	for node := range len(f.slots) + len(f.standby.slots) {
		if f.pending(node) {
			return true
		}
	}
	return false
}

func (f *fanout) pending(node int) bool {
	s := f.standby
	return f.at(node).outcome == "" && s.plan.Waited(node) && (node < len(f.slots) || s.plan.Asked().Has(node))
}

// lookForSilent gives on the places of those who have been silent for longer than they may.
func (f *fanout) lookForSilent(now time.Time) {
	f.mu.Lock()
	s := f.standby
	if f.closed || s.over {
		f.mu.Unlock()
		return
	}
	s.due = time.Time{}
	var ask []int
	for node := range len(f.slots) + len(s.slots) {
		if !f.pending(node) {
			continue
		}
		if due := f.at(node).sent.Add(s.patience[node]); due.After(now) {
			s.arm(due)
		} else {
			ask = appendStandIn(ask, f.instead(node, now))
		}
	}
	f.mu.Unlock()
	f.askStandIns(ask)
}

// standInReplicas lists the fallbacks for the client: those that answered, or all of them when the request failed. The caller holds f.mu.
func (f *fanout) standInReplicas(all bool, now time.Time) (out []Replica) {
	if f.standby == nil {
		return nil
	}
	for j := range f.standby.slots {
		s, node := &f.standby.slots[j], len(f.slots)+j
		r := s.replica()
		switch asked := f.standby.plan.Asked().Has(node); {
		case asked:
			r.StandsFor = f.slots[f.standby.plan.Owner(node)].name
			if r.Outcome == "" && all {
				r.Outcome, r.Detail, r.Elapsed = OutcomeTimeout, undecidedDetail, now.Sub(s.sent)
			}
		case all && f.standby.down.Has(node):
			r.Outcome, r.Detail = OutcomeUnreachable, downDetail
		case all:
			r.Outcome = OutcomeNotSent
		}
		if r.Outcome != "" {
			out = append(out, r)
		}
	}
	return out
}

// replaceable reports whether a fallback may do what a node did not do for this reason. What hangs on the layout or on the record would fail there likewise.
func replaceable(r *transport.Response, standIn bool) bool {
	if r.Err != nil {
		return true
	}
	switch r.Status {
	case statusLayout, statusSiblings, statusTooLarge:
		return false
	case statusFrozen, statusBad:
		return standIn
	}
	return true
}
