package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring"
)

// members is the membership of one node, driven directly: it keeps the member table on the node's disk and spreads it as gossip would,
// late and not through cuts; but nobody votes and nobody is guessed at. Whether a peer lives, the world tells it, some seconds late.
type members struct {
	w    *world
	n    *simNode
	cfg  cluster.Config
	dead atomic.Bool
	// met: it has the state that travels with the table, the properties of buckets: at once if it founded or comes back, and by its
	// first gossip if it is a namesake, or its disk has been rolled back: the last is what is not asked of the product yet (testdata/seeds).
	met atomic.Bool

	view atomic.Pointer[tableView]
	live atomic.Pointer[map[ring.ID]cluster.Liveness]
	// saving has one place: who holds it saves. A lock would hold up virtual time while the disk is at work.
	saving chan struct{}
	news   chan struct{}

	mu       sync.Mutex
	watchers []func()
	heard    map[ring.ID]time.Time

	stop context.CancelFunc
	work sync.WaitGroup
}

type tableView struct {
	table  ring.Table
	layout *ring.Layout
}

const (
	metaTable = "sim/table"
	// gossipEvery is the pace of exchanges; suspectAfter and deadAfter that of the judgement over silent peers.
	gossipEvery  = time.Second
	suspectAfter = 2 * time.Second
	deadAfter    = 8 * time.Second
)

// startMembers takes the place of cluster.Start.
func (w *world) startMembers(_ context.Context, n *simNode, cfg cluster.Config) (node.Cluster, error) {
	m := &members{w: w, n: n, cfg: cfg, saving: make(chan struct{}, 1), news: make(chan struct{}, 1), heard: map[ring.ID]time.Time{}}
	m.view.Store(&tableView{})
	m.live.Store(&map[ring.ID]cluster.Liveness{})
	saved, err := cfg.Storage.LoadMeta(metaTable)
	if err != nil {
		return nil, err
	}
	var t ring.Table
	if saved != nil {
		if t, err = ring.DecodeTable(saved); err != nil {
			return nil, err
		}
	} else if t, err = w.place(n, cfg); err != nil {
		return nil, err
	}
	if err := m.MergeTable(t); err != nil {
		return nil, err
	}
	row, _ := t.Get(cfg.ID)
	m.met.Store(!n.damaged.Swap(false) && (saved != nil || !row.Fresh))
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.work.Go(func() { m.gossip(ctx) })
	m.work.Go(func() { m.notify(ctx) })
	w.started(n, cfg)
	n.members.Store(m)
	return m, nil
}

// place is the table with the row of a node that has none: a founder's, or that of a namesake whose disk was lost.
func (w *world) place(n *simNode, cfg cluster.Config) (ring.Table, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	row := ring.Member{ID: cfg.ID, Name: cfg.Name, Zone: cfg.Zone, Weight: cfg.Weight, State: ring.Active, Addrs: cfg.Advertise}
	t := w.table
	if old, ok := t.ByName(cfg.Name); ok && old.ID != cfg.ID {
		old.State, old.ReplacedBy = ring.Replaced, cfg.ID
		row.Fresh = true
		var err error
		if t, err = t.With(old); err != nil {
			return t, err
		}
	}
	t, err := t.With(row)
	w.table = t
	return t, err
}

// Table implements node.Cluster.
func (m *members) Table() ring.Table { return m.view.Load().table }

// Layout implements node.Cluster.
func (m *members) Layout() *ring.Layout { return m.view.Load().layout }

// MergeTable implements node.Cluster.
func (m *members) MergeTable(t ring.Table) error {
	m.saving <- struct{}{}
	defer func() { <-m.saving }()
	old := m.view.Load()
	next, err := ring.Merge(old.table, t)
	if err != nil || next.Equal(old.table) {
		return err
	}
	if err := m.cfg.Storage.SaveMeta(metaTable, next.Encode()); err != nil {
		return fmt.Errorf("sim: saving the member table: %w", err)
	}
	m.view.Store(&tableView{table: next, layout: ring.NewLayout(next)})
	m.changed()
	return nil
}

// MarkSynced implements node.Cluster.
func (m *members) MarkSynced() error {
	row, ok := m.Table().Get(m.cfg.ID)
	if !ok {
		return fmt.Errorf("sim: %s is in no table", m.cfg.Name)
	}
	row.Synced = true
	t, err := m.Table().With(row)
	if err != nil {
		return err
	}
	return m.MergeTable(t)
}

// mergeExtra is the same for the properties of buckets.
func (m *members) mergeExtra(state []byte) error {
	m.saving <- struct{}{}
	defer func() { <-m.saving }()
	return m.cfg.Extra.Merge(state)
}

// Liveness implements node.Cluster.
func (m *members) Liveness(id ring.ID) cluster.Liveness {
	if id == m.cfg.ID {
		return cluster.Alive
	}
	return (*m.live.Load())[id]
}

// ClockOffset implements node.Cluster.
func (m *members) ClockOffset() (time.Duration, int) {
	var offsets []time.Duration
	for _, row := range m.Table().Present() {
		if peer := m.w.byName(row.Name); row.ID != m.cfg.ID && m.Liveness(row.ID) == cluster.Alive && peer != nil {
			offsets = append(offsets, peer.skew()-m.n.skew())
		}
	}
	if len(offsets) == 0 {
		return 0, 0
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2], len(offsets)
}

// Ready implements node.Cluster.
func (m *members) Ready() (bool, string) {
	if m.dead.Load() {
		return false, "stopping"
	}
	if !m.met.Load() {
		return false, "has met nobody yet"
	}
	return true, ""
}

// Watch implements node.Cluster.
func (m *members) Watch(fn func()) {
	m.mu.Lock()
	m.watchers = append(m.watchers, fn)
	m.mu.Unlock()
	m.changed()
}

func (m *members) changed() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

func (m *members) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.news:
		}
		m.mu.Lock()
		watchers := slices.Clone(m.watchers)
		m.mu.Unlock()
		for _, fn := range watchers {
			fn()
		}
	}
}

// HandleRPC implements node.Cluster.
func (m *members) HandleRPC(kind uint8, _ ring.ID, body []byte) ([]byte, error) {
	if kind != cluster.KindTable {
		return nil, fmt.Errorf("sim: kind %d is gossip's", kind)
	}
	t, err := ring.DecodeTable(body)
	if err == nil {
		err = m.MergeTable(t)
	}
	return m.Table().Encode(), err
}

// GossipAddr implements node.Cluster.
func (m *members) GossipAddr() string { return m.cfg.BindGossip }

// Push implements node.Cluster. The next round of gossip does it.
func (m *members) Push() {}

// Stop implements node.Cluster.
func (m *members) Stop(context.Context) error {
	m.dead.Store(true)
	m.stop()
	m.work.Wait()
	return nil
}

// gossip exchanges state with one peer a round, and judges who is silent.
func (m *members) gossip(ctx context.Context) {
	tick := time.NewTicker(gossipEvery)
	defer tick.Stop()
	for {
		m.judge()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var peers []*members
		for _, other := range m.w.nodes {
			if peer := other.members.Load(); other != m.n && peer != nil && !peer.dead.Load() && m.w.hears(m.n, other) {
				peers = append(peers, peer)
			}
		}
		if len(peers) > 0 {
			peer := peers[int(m.w.random.float()*float64(len(peers)))]
			_ = peer.MergeTable(m.Table()) // a disk that fails is met again in the next round
			_ = m.MergeTable(peer.Table())
			_ = peer.mergeExtra(m.cfg.Extra.State())
			if m.mergeExtra(peer.cfg.Extra.State()) == nil && peer.met.Load() && !m.met.Swap(true) {
				m.changed()
			}
		}
	}
}

func (m *members) judge() {
	now := time.Now()
	live := make(map[ring.ID]cluster.Liveness)
	for _, row := range m.Table().Present() {
		peer := m.w.byName(row.Name)
		if peer == nil || row.ID == m.cfg.ID {
			continue
		}
		last, known := m.heard[row.ID]
		if p := peer.members.Load(); !known || p != nil && !p.dead.Load() && p.cfg.ID == row.ID && m.w.hears(m.n, peer) {
			m.heard[row.ID], last = now, now
		}
		switch silent := now.Sub(last); {
		case silent > deadAfter:
			live[row.ID] = cluster.Dead
		case silent > suspectAfter:
			live[row.ID] = cluster.Suspect
		default:
			live[row.ID] = cluster.Alive
		}
	}
	old := *m.live.Load()
	m.live.Store(&live)
	for id, l := range live {
		if was, known := old[id]; !known || was != l {
			m.changed()
			return
		}
	}
}
