package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Record implements node.Cluster.
func (m *members) Record(digest uint64) error {
	return m.say(func() (bool, error) {
		changed, err := m.rings.Record(digest)
		if v := m.Rings(); err == nil && v.Digest() == digest {
			m.w.records(m.cfg.ID, v)
		}
		return changed, err
	})
}

// Synced implements node.Cluster.
func (m *members) Synced(top layouts.Hash, at []ring.Partition) error {
	return m.say(func() (bool, error) {
		m.w.reports(m.cfg.ID, m.Rings(), top, at)
		return m.rings.Synced(top, at)
	})
}

// Leave implements node.Cluster.
func (m *members) Leave() error {
	row, err := cluster.Leaving(m.Table(), m.Rings(), m.cfg.ID)
	if err == nil {
		err = m.change(func(t ring.Table) (ring.Table, error) { return t.With(row) })
	}
	for _, peer := range m.reach() {
		m.tell(peer)
	}
	return err
}

// Left implements node.Cluster.
func (m *members) Left() error {
	err := m.change(func(t ring.Table) (ring.Table, error) {
		row, _ := t.Get(m.cfg.ID)
		row.State = ring.Left
		return t.With(row)
	})
	for _, peer := range m.reach() {
		m.tell(peer)
	}
	return err
}

// Remove implements node.Cluster.
func (m *members) Remove(_ context.Context, name string, force bool) error {
	row, ok := m.Table().ByName(name)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", cluster.ErrUnknownMember, name)
	case !force && m.Liveness(row.ID) != cluster.Dead:
		return fmt.Errorf("%w: %s", cluster.ErrMemberAlive, name)
	}
	if _, owns := m.Rings().Row(row.ID); !owns {
		row.State = ring.Removed
		return m.change(func(t ring.Table) (ring.Table, error) { return t.With(row) })
	}
	return m.propose(func(v *layouts.View) (layouts.State, error) { return cluster.Removal(v, m.cfg.ID, row.ID, force) })
}

func (m *members) propose(fn func(*layouts.View) (layouts.State, error)) error {
	return m.say(func() (bool, error) { return m.rings.Change(fn) })
}

// tend does what is to be done now about this node's row and about the layouts.
func (m *members) tend() {
	v := m.Rings()
	if v == nil {
		return
	}
	if why, by := cluster.Departed(m.Table(), v, m.row()); why != "" {
		m.out(why, by)
		return
	}
	err := m.change(m.ownRow)
	if _, owns := v.Row(m.cfg.ID); err == nil && !owns {
		err = m.contend(v)
	}
	m.mu.Lock()
	task := m.duty.Step(m.row(), m.Table(), v, m.Liveness, time.Now())
	m.mu.Unlock()
	if err == nil && task != nil {
		err = m.propose(task.Change)
	}
	if err != nil {
		m.w.trace("%s: %v", m.n.name, err)
	}
}

// out tells the node that this incarnation is out of the ring.
func (m *members) out(why string, by ring.ID) {
	m.outOnce.Do(func() {
		if by.IsZero() {
			go m.cfg.OnRemoved(why)
		} else {
			go m.cfg.OnReplaced(by)
		}
	})
}

// contend asks somebody to give this node the place of the incarnation whose disk was lost, if its name has one. In the simulator whoever comes back under a name has lost
// that disk; that the old one is silent, package cluster sees to.
func (m *members) contend(v *layouts.View) error {
	old, found := m.former(v)
	if !found {
		return nil
	}
	err := fmt.Errorf("nobody is there to ask for the place of %s", m.cfg.Name)
	for _, peer := range m.reach() {
		m.tell(peer)
		err = peer.propose(func(v *layouts.View) (layouts.State, error) { return cluster.Replacement(v, peer.cfg.ID, m.row(), old) })
		if err == nil {
			peer.tell(m)
			return nil
		}
	}
	return err
}

func (m *members) former(v *layouts.View) (ring.ID, bool) {
	for _, id := range v.Members() {
		if row, _ := v.Row(id); row.Name == m.cfg.Name && row.Standing == layouts.Owns {
			return id, true
		}
	}
	return ring.ID{}, false
}
