package cluster

import (
	"fmt"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Names under which Storage keeps what this package must not forget, beside metaLayouts.
const (
	metaTable = "cluster/table"
	metaVote  = "cluster/vote"
)

// change says what is to become of the table and of the layouts; either may be nil, to leave it. Both are called before anything is saved, with what is held then.
type change struct {
	table func(ring.Table) (ring.Table, error)
	rings func(*layouts.View) (layouts.State, error)
}

// empty reports whether the node belongs to no cluster yet, as far as it knows.
func (c *Cluster) empty() bool { return c.table.Load().Len() == 0 }

// update makes a change durable, and only then shows it to anyone: the layouts first, then the table, which mirrors them. It is the only writer of both. On an error nobody has
// seen anything new, though the disk may hold it; only if the layouts are saved and the table is not, those are shown, and the table follows with the next update.
func (c *Cluster) update(ch change) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	old := *c.table.Load()
	next := old
	if ch.table != nil {
		var err error
		if next, err = ch.table(old); err != nil {
			return err
		}
	}
	if ch.rings != nil {
		was := c.held.View()
		changed, err := c.held.Change(ch.rings)
		if err != nil {
			return err
		}
		if changed {
			c.logRings(was, c.held.View())
			c.changed()
		}
	}
	if v := c.held.View(); v != nil && next.Len() > 0 {
		var err error
		if next, err = mirrored(next, v); err != nil {
			return err
		}
	}
	return c.saveTable(old, next)
}

func (c *Cluster) saveTable(old, next ring.Table) error {
	if next.Equal(old) {
		return nil
	}
	if err := c.cfg.Storage.SaveMeta(metaTable, next.Encode()); err != nil {
		return fmt.Errorf("cluster: saving the member table: %w", err)
	}
	c.table.Store(&next)
	c.logChanges(old, next)
	c.spread(old, next)
	c.changed()
	return nil
}

// updateTable is update of the table alone.
func (c *Cluster) updateTable(fn func(ring.Table) (ring.Table, error)) error {
	return c.update(change{table: fn})
}

// updateRow is update with one row more or another one.
func (c *Cluster) updateRow(m ring.Member) error {
	return c.updateTable(func(own ring.Table) (ring.Table, error) { return own.With(m) })
}

// say is update with a fact about the layouts that this node is the author of: all peers that run hear of it at once.
func (c *Cluster) say(fn func(*layouts.View) (layouts.State, error)) error {
	before := c.held.View()
	err := c.update(change{rings: fn})
	if c.held.View() != before {
		c.Push() // even if only the table could not be saved
	}
	return err
}

func (c *Cluster) logRings(old, next *layouts.View) {
	if old != nil && old.Digest() == next.Digest() {
		return
	}
	top, _ := next.Top()
	c.log.Info("layouts changed", "live", len(next.Live()), "settled", next.Settled(), "top", top.Hash().String(), "owners", len(top.Owners()))
}

func (c *Cluster) logChanges(old, next ring.Table) {
	for _, m := range next.Members() {
		was, known := old.Get(m.ID)
		if known && was.State == m.State && was.Addrs == m.Addrs {
			continue
		}
		c.log.Info("member table changed", "name", m.Name, "id", m.ID.Short(), "state", m.State.String(), "rpc", m.Addrs.RPC)
	}
}

// spread queues the rows that changed for gossip.
func (c *Cluster) spread(old, next ring.Table) {
	for _, m := range next.Members() {
		if was, known := old.Get(m.ID); known && was == m && old.Founder() == next.Founder() {
			continue
		}
		msg, err := encodeRow(next, m)
		if err != nil {
			c.log.Error("member not told to others", "name", m.Name, "err", err)
			continue
		}
		if len(msg) <= maxRowMessage {
			c.rows.QueueBroadcast(rowBroadcast{id: m.ID, msg: msg})
		}
	}
}
