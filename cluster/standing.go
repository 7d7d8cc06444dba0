package cluster

import (
	"cmp"
	"fmt"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// standing is what a node's row and its namesakes' call for.
type standing uint8

const (
	standsFirm    standing = iota // nothing to do
	standsGone                    // this incarnation is out: stop
	standsNew                     // no row: add one, joining
	standsContend                 // a present namesake is in the way: take its place if it does not answer
	standsDoubt                   // both own, and gossip says that the other, which placement uses, runs: go on, and see whether it does
	standsBeside                  // both own, and gossip says that the other, which placement uses, runs where this node is: go on, a call cannot tell them apart
	standsAside                   // both own, and the other is proved to run: hand over and leave
)

// standingOf decides what this node does about its own row. other is the row that the decision is about. proved is the namesake that has answered a call of this node's,
// zero if none has: gossip goes on about the dead for a while, and longer by a peer that was not there, but who leaves does so for good.
// Of several in doubt other is the one to call after called, the last that was: in the order of their IDs, and round again.
func standingOf(t ring.Table, v *layouts.View, self ring.Member, live func(ring.ID) Liveness, proved, called ring.ID) (s standing, other ring.Member) {
	row, known := t.Get(self.ID)
	if own, ok := v.Row(self.ID); known && row.State.Gone() || ok && own.Standing >= layouts.Removed {
		return standsGone, row
	}
	var doubted, beside ring.Member
	for _, m := range t.Present() {
		if m.Name != self.Name || m.ID == self.ID {
			continue
		}
		mine := known && precedes(v, self.ID, m.ID)
		switch {
		case mine && (claim(v, m.ID) == 0 || live(m.ID) != Dead):
			// The namesake gives way, or never owned anything.
		case claim(v, self.ID) == 0 || live(m.ID) == Dead:
			return standsContend, m
		case row.State >= ring.Leaving || live(m.ID) != Alive:
			// It goes anyway; or the namesake does not answer.
		case m.Addrs.RPC == self.Addrs.RPC:
			beside = m // it cannot answer, since this node is where it was
		case m.ID == proved:
			return standsAside, m
		case doubted.ID.IsZero() || inTurn(m.ID, doubted.ID, called):
			doubted = m
		}
	}
	switch {
	case !doubted.ID.IsZero():
		return standsDoubt, doubted
	case !known:
		return standsNew, ring.Member{}
	case !beside.ID.IsZero():
		return standsBeside, beside
	}
	return standsFirm, ring.Member{}
}

// inTurn reports whether a comes before b in the order of IDs that begins after last.
func inTurn(a, b, last ring.ID) bool {
	if beyond := a.Compare(last) > 0; beyond != (b.Compare(last) > 0) {
		return beyond
	}
	return a.Compare(b) < 0
}

// claim is how good an incarnation's claim to its name is: 2 for who owns, 1 for who did and may still be needed, 0 for who never did.
func claim(v *layouts.View, id ring.ID) int {
	switch row, ok := v.Row(id); {
	case !ok:
		return 0
	case row.Standing == layouts.Owns:
		return 2
	default:
		return 1
	}
}

// precedes reports whether of two namesakes a is the one that keeps the name. Of two that own it is the one that placement uses.
func precedes(v *layouts.View, a, b ring.ID) bool {
	return cmp.Or(cmp.Compare(claim(v, b), claim(v, a)), a.Compare(b)) < 0
}

// stepStanding does what this node's own row calls for, and settles whether the node may serve.
func (c *Cluster) stepStanding() {
	self := c.Self()
	s, other := standingOf(c.Table(), c.held.View(), self, c.Liveness, ring.ID{}, c.called)
	if s == standsDoubt && c.proves(other) {
		s, other = standingOf(c.Table(), c.held.View(), self, c.Liveness, other.ID, c.called)
	}
	if s != standsContend {
		c.silent = ring.ID{}
	}
	var err error
	switch s {
	case standsGone:
		c.stepAside()
		return
	case standsContend:
		c.contend(self, other)
		return
	case standsNew:
		if err = c.updateRow(c.cfg.member()); err == nil {
			c.Push() // whoever proposes has to know of it in time, or it gets a change of its own
		}
	case standsDoubt:
		// Both are members. If the other is dead gossip will say so in its time, and this node can take its place.
	case standsAside:
		if row, _ := c.held.View().Row(self.ID); row.Standing == layouts.Owns {
			c.log.Error("another node has this one's name; this one hands over and leaves", "name", self.Name, "other", other.ID.Short(), "at", other.Addrs.RPC)
		}
		err = c.Leave()
	case standsFirm, standsBeside:
		if s == standsBeside && c.firstOf(s, other) {
			c.log.Warn("gossip says that another node of this one's name runs, and it advertises the address of this one: if it goes on running, give one of the two another name or address",
				"name", other.Name, "other", other.ID.Short(), "at", other.Addrs.RPC)
		}
		// A row that came with the layouts has no addresses yet, and what others say of this node is older than what it says itself.
		if wanted := resumed(self, c.cfg.member()); wanted != self {
			err = c.updateRow(wanted)
		}
	}
	if err != nil {
		c.setWaiting(err.Error())
		return
	}
	if row, ok := c.Table().Get(c.cfg.ID); ok && !row.State.Gone() {
		c.setWaiting(c.awaitPlace())
	}
}

// resumed is the row of a node that starts again: what it says of itself is new.
func resumed(row, wanted ring.Member) ring.Member {
	wanted.State, wanted.ReplacedBy = row.State, row.ReplacedBy
	return wanted
}

// awaitPlace is why a node that has just come to a cluster is not ready yet: in a moment it owns, and a test or a script that waits for readiness should find it owning.
// It is ready when it does, or when the time for that has passed; one that has been ready stays so.
func (c *Cluster) awaitPlace() string {
	if c.placed || owns(c.held.View(), c.cfg.ID) {
		c.placed = true
		return ""
	}
	if c.joiningSince.IsZero() {
		c.joiningSince = time.Now()
	}
	if time.Since(c.joiningSince) >= c.cfg.Timing.Admit {
		c.placed = true
		return ""
	}
	return "waiting for a place in the ring"
}

// owns reports whether id owns in the top layout, or in any while there is no top.
func owns(v *layouts.View, id ring.ID) bool {
	if top, ok := v.Top(); ok {
		return top.Standing(id) == layouts.Owns
	}
	return v.Member(id)
}

// stepAside tells the node, once, that its incarnation is out.
func (c *Cluster) stepAside() {
	c.mu.Lock()
	again, left := c.aside, c.left
	c.aside = true
	c.mu.Unlock()
	if left {
		return // it goes on coordinating until it is stopped
	}
	why, by := departed(c.Table(), c.held.View(), c.Self())
	c.setWaiting(why)
	if again {
		return
	}
	c.log.Error("this incarnation is out of the cluster", "why", why)
	switch {
	case !by.IsZero() && c.cfg.OnReplaced != nil:
		go c.cfg.OnReplaced(by)
	case by.IsZero() && c.cfg.OnRemoved != nil:
		go c.cfg.OnRemoved(why)
	}
}

// departed is why this incarnation takes no part in the cluster any more, and who took its place if somebody did; empty if it does take part.
func departed(t ring.Table, v *layouts.View, self ring.Member) (why string, by ring.ID) {
	row, _ := t.Get(self.ID)
	var standing layouts.Standing
	if v != nil {
		own, _ := v.Row(self.ID)
		standing = own.Standing
	}
	const again = "its data are no part of the cluster any more; to join again, start with an empty data directory"
	switch {
	case standing == layouts.Replaced || row.State == ring.Replaced:
		if by = row.ReplacedBy; by.IsZero() && v != nil {
			by = namesake(v, layouts.Row{ID: self.ID, Name: self.Name})
		}
		return fmt.Sprintf("another incarnation of %s, %s, has taken its place: %s", self.Name, by.Short(), again), by
	case standing >= layouts.Removed || row.State == ring.Removed:
		return fmt.Sprintf("%s was removed from the cluster: %s", self.Name, again), ring.ID{}
	case row.State == ring.Left:
		return fmt.Sprintf("%s has left the cluster: %s", self.Name, again), ring.ID{}
	}
	return "", ring.ID{}
}

// contend takes the place of a namesake that does not answer: not to gossip for Timing.Silence, and not to a call.
func (c *Cluster) contend(self, other ring.Member) {
	if c.silent != other.ID || c.Liveness(other.ID) != Dead {
		c.silent, c.silentSince = other.ID, time.Now()
	}
	owning := claim(c.held.View(), self.ID) > 0
	wait := func(format string, args ...any) {
		if !owning {
			c.setWaiting(fmt.Sprintf(format, args...))
		}
	}
	if c.Liveness(other.ID) == Dead && time.Since(c.silentSince) < c.cfg.Timing.Silence {
		wait("waiting to see whether the former %s still runs at %s", other.Name, other.Addrs.RPC)
		return
	}
	if c.Liveness(other.ID) != Dead || c.answers(other) {
		c.silentSince = time.Now()
		wait("another node named %s is alive at %s", other.Name, other.Addrs.RPC)
		return
	}
	if err := c.takePlace(other); err != nil {
		c.silentSince = time.Now()
		wait("the place of the former %s, which does not answer, is not this node's yet: %v", other.Name, err)
		return
	}
	c.log.Warn("took the place of a namesake that does not answer: its disk is held for lost",
		"name", other.Name, "old", other.ID.Short(), "new", self.ID.Short())
}

// proves reports whether a namesake that gossip holds for alive answers a call. After a call that had no answer it does not try for Timing.Silence.
func (c *Cluster) proves(m ring.Member) bool {
	if time.Now().Before(c.unproved) {
		return false
	}
	c.called = m.ID
	if c.answers(m) {
		return true
	}
	c.unproved = time.Now().Add(c.cfg.Timing.Silence)
	if c.firstOf(standsDoubt, m) {
		c.log.Info("gossip says that another node of this one's name runs, but it does not answer: this one stays", "name", m.Name, "other", m.ID.Short(), "at", m.Addrs.RPC)
	}
	return false
}

// firstOf reports whether this node stands so to a namesake for the first time since it started: what lasts is logged once.
func (c *Cluster) firstOf(s standing, m ring.Member) bool {
	key := toward{s, m.ID}
	again := c.noted[key]
	c.noted[key] = true
	return !again
}

// toward is how a node stands to a namesake.
type toward struct {
	standing
	other ring.ID
}

// answers reports whether an incarnation answers a call.
func (c *Cluster) answers(m ring.Member) bool {
	ctx, cancel := c.callContext(c.ctx)
	defer cancel()
	_, err := c.callNode(ctx, m.ID, m.Addrs.RPC, KindTable, nil)
	return err == nil
}
