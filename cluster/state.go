package cluster

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/ring"
)

// Names under which Storage keeps what this package must not forget.
const (
	metaTable   = "cluster/table"
	metaVote    = "cluster/vote"
	metaPromise = "cluster/promise"
)

// view is an immutable snapshot of what the disk holds: the table and what follows from it.
type view struct {
	table  ring.Table
	layout *ring.Layout // nil while the table is empty
}

func (v *view) empty() bool { return v.table.Len() == 0 }

func viewOf(t ring.Table) *view {
	v := &view{table: t}
	if t.Len() > 0 {
		v.layout = ring.NewLayout(t)
	}
	return v
}

// update applies change to the table, makes the result durable, and only then shows it to anyone. It is the only writer. change may
// be called with the empty table. On an error nobody has seen anything new, though the disk may hold it.
func (c *Cluster) update(change func(ring.Table) (ring.Table, error)) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	old := c.view.Load()
	next, err := change(old.table)
	if err != nil {
		return err
	}
	if next.Equal(old.table) {
		return nil
	}
	if err := c.cfg.Storage.SaveMeta(metaTable, next.Encode()); err != nil {
		return fmt.Errorf("cluster: saving the member table: %w", err)
	}
	c.view.Store(viewOf(next))
	c.logChanges(old.table, next)
	c.spread(old.table, next)
	c.changed()
	return nil
}

// errNoTable is the answer to a merge of less than a whole table into an empty one.
var errNoTable = errors.New("cluster: no member table yet")

// merge joins a table, or some rows of one, into this node's. An empty node takes only a whole table: from a part it could
// not tell whether its name is taken.
func (c *Cluster) merge(t ring.Table, whole bool) error {
	if t.Len() == 0 {
		return nil
	}
	if t.Cluster() != c.cfg.ClusterName || t.Partitions() == 0 {
		return fmt.Errorf("%w: %q with %d partitions, this is %q", ring.ErrForeign, t.Cluster(), t.Partitions(), c.cfg.ClusterName)
	}
	return c.update(func(own ring.Table) (ring.Table, error) {
		if own.Len() == 0 && !whole {
			return ring.Table{}, errNoTable
		}
		return ring.Merge(own, t)
	})
}

// mergeHeard is merge for what gossip brings: failures are logged, and the next gossip repeats it.
func (c *Cluster) mergeHeard(t ring.Table, whole bool) {
	err := c.merge(t, whole)
	switch {
	case err == nil, errors.Is(err, errNoTable):
	case errors.Is(err, ring.ErrForeign):
		if c.foreignTable.allow() {
			c.log.Warn("member table refused", "err", err)
		}
	default:
		if c.saveFailed.allow() {
			c.log.Error("member table not merged", "err", err)
		}
	}
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
