package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/ring"
)

// stepStanding does what this node's own row calls for, and settles whether the node may serve.
func (c *Cluster) stepStanding() {
	self := c.Self()
	s, other := standingOf(c.view.Load().table, self, c.Liveness)
	if s != standsContend {
		c.silent = ring.ID{}
	}
	var err error
	switch s {
	case standsGone:
		c.stepAside(other)
		return
	case standsContend:
		c.contend(self, other)
		return
	case standsNew:
		err = c.update(func(own ring.Table) (ring.Table, error) { return own.With(c.cfg.member()) })
	case standsAside:
		c.log.Error("another node took this one's name", "name", self.Name, "other", other.ID.Short(), "at", other.Addrs.RPC)
		err = c.update(func(own ring.Table) (ring.Table, error) {
			row, _ := own.Get(c.cfg.ID)
			row.State, row.ReplacedBy = ring.Replaced, other.ID
			return own.With(row)
		})
	case standsFirm:
	}
	if err != nil {
		c.setWaiting(err.Error())
		return
	}
	if row, ok := c.view.Load().table.Get(c.cfg.ID); ok && !row.State.Gone() {
		c.setWaiting(c.awaitAdmission(row))
	}
}

// awaitAdmission is why a node that has just come to a cluster is not ready yet: while nobody holds data it is a member in
// a moment, and whoever waits for readiness must not write into that moment. It is ready when it is admitted, or when
// the time for that has passed; one that has been ready stays so.
func (c *Cluster) awaitAdmission(row ring.Member) string {
	if row.State != ring.Joining || c.joined {
		return ""
	}
	if c.joiningSince.IsZero() {
		c.joiningSince = time.Now()
	}
	if time.Since(c.joiningSince) >= c.cfg.Timing.Admit {
		c.joined = true
		return ""
	}
	return "waiting to be admitted as a member"
}

// stepAside tells the node, once, that its incarnation is out.
func (c *Cluster) stepAside(row ring.Member) {
	c.setWaiting(fmt.Sprintf("this incarnation of %s is %s", row.Name, row.State))
	if row.State != ring.Replaced || c.replaced {
		return
	}
	c.replaced = true
	c.log.Error("this node's place was taken by another with its name", "name", row.Name, "by", row.ReplacedBy.Short())
	if c.cfg.OnReplaced != nil {
		go c.cfg.OnReplaced(row.ReplacedBy)
	}
}

// contend takes the place of a namesake that does not answer: not to gossip for Timing.Silence, and not to a call.
func (c *Cluster) contend(self, other ring.Member) {
	if c.silent != other.ID || c.Liveness(other.ID) != Dead {
		c.silent, c.silentSince = other.ID, time.Now()
	}
	owns := self.State.Owns()
	if c.Liveness(other.ID) == Dead && time.Since(c.silentSince) < c.cfg.Timing.Silence {
		if !owns {
			c.setWaiting(fmt.Sprintf("waiting to see whether the former %s still runs at %s", other.Name, other.Addrs.RPC))
		}
		return
	}
	if c.Liveness(other.ID) != Dead || c.answers(other) {
		c.silentSince = time.Now()
		if !owns {
			c.setWaiting(fmt.Sprintf("another node named %s is alive at %s", other.Name, other.Addrs.RPC))
		}
		return
	}
	c.log.Warn("taking the place of a namesake that does not answer: its disk is held for lost",
		"name", other.Name, "old", other.ID.Short(), "new", self.ID.Short())
	err := c.update(func(own ring.Table) (ring.Table, error) {
		now, ok := own.Get(other.ID)
		if !ok {
			now = other
		}
		return takeOver(own, c.cfg.member(), now)
	})
	if err != nil {
		c.log.Error("namesake not replaced", "err", err)
	}
}

// answers reports whether an incarnation answers a call.
func (c *Cluster) answers(m ring.Member) bool {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timing.Call)
	defer cancel()
	_, err := c.callNode(ctx, m.ID, m.Addrs.RPC, KindTable, encodeTable(ring.Table{}))
	return err == nil
}
