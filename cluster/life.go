package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
)

// load reads what earlier starts saved.
func (c *Cluster) load() error {
	t, err := c.loadTable()
	if err != nil {
		return err
	}
	if c.held, err = OpenRings(c.cfg.Storage, c.cfg.ID); err != nil {
		return err
	}
	if t, err = c.reconcile(t); err != nil {
		return err
	}
	c.table.Store(&t)
	if why, by := departed(t, c.held.View(), c.cfg.member()); why != "" && by.IsZero() {
		return errors.New("cluster: " + why)
	}
	if t.Len() > 0 {
		return nil // whoever belongs to a cluster votes no more
	}
	b, err := c.cfg.Storage.LoadMeta(metaVote)
	if err == nil && b != nil {
		c.found.vote, err = decodeVote(b)
	}
	if err != nil {
		return fmt.Errorf("cluster: loading the vote: %w", err)
	}
	return nil
}

// loadTable refuses to start on a table that is not this node's.
func (c *Cluster) loadTable() (ring.Table, error) {
	b, err := c.cfg.Storage.LoadMeta(metaTable)
	if err != nil {
		return ring.Table{}, fmt.Errorf("cluster: loading the member table: %w", err)
	}
	if b == nil {
		return ring.Table{}, nil
	}
	t, err := ring.DecodeTable(b)
	if err != nil {
		return ring.Table{}, fmt.Errorf("cluster: the saved member table: %w", err)
	}
	if t.Cluster() != c.cfg.ClusterName {
		return ring.Table{}, fmt.Errorf("cluster: the data belong to cluster %q, not to %q", t.Cluster(), c.cfg.ClusterName)
	}
	if row, ok := t.Get(c.cfg.ID); ok && row.Name != c.cfg.Name {
		return ring.Table{}, fmt.Errorf("cluster: the data belong to node %q, not to %q", row.Name, c.cfg.Name)
	}
	if t.Partitions() != c.cfg.Partitions {
		c.log.Info("the cluster keeps the number of partitions that it was born with", "partitions", t.Partitions())
	}
	return t, nil
}

// reconcile makes one of a table and layouts that were not saved together. A table without layouts is of a version that knew none: its owners are the first layout. Layouts without
// a table, or that know more, are what a crash between the two saves leaves.
func (c *Cluster) reconcile(t ring.Table) (ring.Table, error) {
	v := c.held.View()
	switch {
	case v == nil && t.Len() == 0:
		if c.cfg.HasData() {
			return t, errors.New("cluster: the store holds data and no member table")
		}
		return t, nil
	case v == nil:
		k, err := founded(t)
		if err == nil {
			_, err = c.held.Merge(k.state)
		}
		if err != nil {
			return t, fmt.Errorf("cluster: the first layout of the saved member table: %w", err)
		}
		v = c.held.View()
	case t.Len() == 0:
		var err error
		if t, err = ring.NewTable(c.cfg.ClusterName, v.Partitions()); err != nil {
			return t, err
		}
	case v.Partitions() != t.Partitions():
		return t, fmt.Errorf("cluster: the saved member table is of %d partitions, and the layouts are of %d", t.Partitions(), v.Partitions())
	}
	return mirrored(t, v)
}

// resume takes the node's part in a table that it has, or founds a cluster where there is nobody to ask.
func (c *Cluster) resume() error {
	if c.empty() {
		if len(c.cfg.Join) == 0 {
			if reason := c.foundAlone(); reason != "" {
				return errors.New(reason)
			}
			c.setWaiting("")
		}
		return nil
	}
	row, ok := c.Table().Get(c.cfg.ID)
	if !ok || row.State.Gone() {
		return nil
	}
	if err := c.updateRow(resumed(row, c.cfg.member())); err != nil {
		return err
	}
	c.placed = true // it was ready before it stopped, and is not less so now
	c.setWaiting("")
	return nil
}

// steward is the membership goroutine: it looks at the state, takes one step, and looks again.
func (c *Cluster) steward() {
	tick := time.NewTicker(c.cfg.Timing.Tick)
	defer tick.Stop()
	for {
		if c.empty() {
			c.stepFounding()
		}
		if !c.empty() {
			c.stepStanding()
			c.stepRings()
		}
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		case <-c.steps:
		}
	}
}

// changed is called after every change of table, liveness or readiness. It does not block.
func (c *Cluster) changed() {
	signal(c.news)
	c.wake()
}

// wake hastens the next step.
func (c *Cluster) wake() { signal(c.steps) }

// Ready says whether the node may answer key requests, and if not, why: one line for people.
func (c *Cluster) Ready() (bool, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false, "stopping"
	}
	return c.waiting == "", c.waiting
}

// ReadyCh is closed when Ready was true for the first time.
func (c *Cluster) ReadyCh() <-chan struct{} { return c.readyCh }

func (c *Cluster) setWaiting(reason string) {
	c.mu.Lock()
	news := c.waiting != reason
	c.waiting = reason
	c.mu.Unlock()
	if !news {
		return
	}
	if reason != "" {
		c.log.Info("not ready", "reason", reason)
	}
	c.changed()
}

// Watch registers fn to be called, with no lock held and never concurrently, after changes of the table, of what is known
// of the layouts, of a liveness or of readiness; several changes may share a call. It is called once soon after.
func (c *Cluster) Watch(fn func()) {
	c.mu.Lock()
	c.watchers = append(c.watchers, fn)
	c.mu.Unlock()
	signal(c.news)
}

// notify calls the watchers, and opens ReadyCh.
func (c *Cluster) notify() {
	known := map[ring.ID]Liveness{}
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.news:
		}
		now := *c.peers.live.Load()
		c.logLiveness(known, now)
		known = now
		ready, _ := c.Ready()
		c.mu.Lock()
		if ready && !c.wasReady {
			c.wasReady = true
			close(c.readyCh)
		}
		watchers := slices.Clone(c.watchers)
		c.mu.Unlock()
		for _, fn := range watchers {
			fn()
		}
	}
}

func (c *Cluster) logLiveness(was, now map[ring.ID]Liveness) {
	ids := slices.Collect(maps.Keys(now))
	for id := range was {
		if _, ok := now[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ring.ID.Compare)
	for _, id := range ids {
		if was[id] == now[id] {
			continue
		}
		row, _ := c.Table().Get(id)
		c.log.Info("liveness changed", "name", row.Name, "id", id.Short(), "now", now[id].String(), "before", was[id].String())
	}
}

// hello is what this node tells of itself.
func (c *Cluster) hello() hello {
	return hello{ID: c.cfg.ID, Name: c.cfg.Name, RPC: c.cfg.Advertise.RPC, Empty: c.empty()}
}

// errOther: another incarnation than the one called listens at the address.
var errOther = errors.New("another node answers there")

// callNode calls an incarnation at an address.
func (c *Cluster) callNode(ctx context.Context, id ring.ID, addr string, kind uint8, body []byte) ([]byte, error) {
	resp, from, err := c.cfg.Caller.CallAddr(ctx, addr, kind, body)
	if err == nil && from != id {
		err = fmt.Errorf("%w: %s", errOther, from.Short())
	}
	return resp, err
}

// maxCalls bounds the calls of one step under way.
const maxCalls = 16

// each calls fn for 0 to n-1, some at a time, each with its own timeout, and waits for all.
func (c *Cluster) each(n int, timeout time.Duration, fn func(ctx context.Context, i int)) {
	slots := make(chan struct{}, maxCalls)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(c.ctx, timeout)
			defer cancel()
			fn(ctx, i)
		})
	}
	wg.Wait()
}
