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
	"github.com/quorate/quorate/ring/layouts"
)

// members is the membership of one node, driven directly: it keeps the member table and the layouts on the node's disk and spreads them as gossip would,
// late and not through cuts; but nobody is guessed at. Whether a peer lives, the world tells it, some seconds late. What is done about the layouts, package
// cluster decides (steward.go).
type members struct {
	w     *world
	n     *simNode
	life  *lifetime
	cfg   cluster.Config
	dead  atomic.Bool
	rings *cluster.Rings
	// met: it has the state that travels with the table, the properties of buckets: at once if it founded or comes back, and by its
	// first gossip if it is a namesake, or its disk has been rolled back: the last is what is not asked of the product yet (testdata/seeds).
	met atomic.Bool

	table atomic.Pointer[ring.Table]
	live  atomic.Pointer[map[ring.ID]cluster.Liveness]
	// saving has one place: who holds it saves. A lock would hold up virtual time while the disk is at work.
	saving chan struct{}
	news   chan struct{}
	pushes chan struct{}

	mu       sync.Mutex
	watchers []func()
	heard    map[ring.ID]time.Time
	duty     cluster.Duty // guarded by mu
	outOnce  sync.Once

	stop context.CancelFunc
	work sync.WaitGroup
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
	m := &members{w: w, n: n, life: n.running(), cfg: cfg, saving: make(chan struct{}, 1), news: make(chan struct{}, 1), pushes: make(chan struct{}, 1),
		heard: map[ring.ID]time.Time{}, duty: cluster.Duty{Timing: cluster.DefaultConfig().Timing}}
	m.live.Store(&map[ring.ID]cluster.Liveness{})
	saved, err := m.load()
	if err != nil {
		return nil, err
	}
	if saved {
		err = m.change(m.ownRow)
	} else if n.isFounding() {
		err = m.found()
	}
	if err != nil {
		return nil, err
	}
	m.met.Store(!n.damaged.Swap(false) && m.Rings() != nil)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	w.keeps(n, cfg.ID, m.Rings())
	m.work.Go(func() { m.gossip(ctx) })
	m.work.Go(func() { m.notify(ctx) })
	m.work.Go(func() { m.push(ctx) })
	w.started(n, cfg)
	m.life.members.Store(m)
	return m, nil
}

// load reads what the disk has.
func (m *members) load() (saved bool, err error) {
	t := ring.Table{}
	b, err := m.cfg.Storage.LoadMeta(metaTable)
	if err == nil && b != nil {
		t, err = ring.DecodeTable(b)
	}
	if err != nil {
		return false, err
	}
	m.table.Store(&t)
	m.rings, err = cluster.OpenRings(m.cfg.Storage, m.cfg.ID)
	return b != nil, err
}

// found makes this node one of those that begin a cluster.
func (m *members) found() error {
	row := m.row()
	row.State = ring.Active
	t, s, err := m.n.birth.join(m.w, row)
	if err != nil {
		return err
	}
	if err := m.say(func() (bool, error) { return m.rings.Merge(s) }); err != nil {
		return err
	}
	return m.change(func(ring.Table) (ring.Table, error) { return t, nil })
}

// row is this node's own, as long as it is nobody yet.
func (m *members) row() ring.Member {
	return ring.Member{ID: m.cfg.ID, Name: m.cfg.Name, Zone: m.cfg.Zone, Weight: m.cfg.Weight, State: ring.Joining, Addrs: m.cfg.Advertise}
}

// ownRow has this start's addresses in the table, and this node if it is not there yet.
func (m *members) ownRow(t ring.Table) (ring.Table, error) {
	row, known := t.Get(m.cfg.ID)
	if !known {
		return t.With(m.row())
	}
	row.Addrs = m.cfg.Advertise
	return t.With(row)
}

// change changes the table, and has in it what the layouts say. What has changed is on the disk, and is told.
func (m *members) change(fn func(ring.Table) (ring.Table, error)) error {
	m.saving <- struct{}{}
	defer func() { <-m.saving }()
	old := *m.table.Load()
	next, err := fn(old)
	if v := m.Rings(); err == nil && v != nil {
		next, err = cluster.Mirrored(next, v)
	}
	if err != nil || next.Equal(old) {
		return err
	}
	if err := m.cfg.Storage.SaveMeta(metaTable, next.Encode()); err != nil {
		return fmt.Errorf("sim: saving the member table: %w", err)
	}
	m.table.Store(&next)
	m.changed()
	m.Push()
	return nil
}

// say changes the layouts, and has in the table what they say.
func (m *members) say(fn func() (changed bool, err error)) error {
	m.saving <- struct{}{}
	changed, err := fn()
	if changed {
		m.w.keeps(m.n, m.cfg.ID, m.Rings())
		m.w.look()
	}
	<-m.saving
	if err != nil || !changed {
		return err
	}
	m.changed()
	m.Push()
	return m.change(func(t ring.Table) (ring.Table, error) { return t, nil })
}

// Table implements node.Cluster.
func (m *members) Table() ring.Table { return *m.table.Load() }

// Rings implements node.Cluster.
func (m *members) Rings() *layouts.View { return m.rings.View() }

// Layout implements node.Cluster.
func (m *members) Layout() *ring.Layout { return m.rings.Layout() }

// Knowledge implements node.Cluster.
func (m *members) Knowledge() []byte {
	table, v := m.Table(), m.Rings() // in this order: who owns in the table owns in the layouts
	if v == nil {
		return nil
	}
	return cluster.Knowledge(table, v.State())
}

// Learn implements node.Cluster.
func (m *members) Learn(knowledge []byte) error {
	t, s, err := cluster.Known(knowledge)
	if err != nil || t.Len() == 0 {
		return err
	}
	if err := m.say(func() (bool, error) { return m.rings.Merge(s) }); err != nil {
		return err
	}
	return m.change(func(own ring.Table) (ring.Table, error) { return ring.Merge(own, t) })
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

func (m *members) changed() { signal(m.news) }

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
	err := m.Learn(body)
	return m.Knowledge(), err
}

// GossipAddr implements node.Cluster.
func (m *members) GossipAddr() string { return m.cfg.BindGossip }

// Push implements node.Cluster.
func (m *members) Push() { signal(m.pushes) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stop implements node.Cluster.
func (m *members) Stop(context.Context) error {
	m.dead.Store(true)
	m.stop()
	m.work.Wait()
	return nil
}

// speaks reports whether anybody may still hear this node: what a node that was killed has on its disk since is on no disk that it will wake up with. It is asked
// after what is told was read.
func (m *members) speaks() bool {
	return !m.dead.Load() && !m.life.dead.Load() && m.n.running() == m.life
}

// reach are the peers with whom gossip can be exchanged now.
func (m *members) reach() (peers []*members) {
	for _, other := range m.w.nodes {
		if peer := other.members(); other != m.n && peer != nil && peer.speaks() && m.w.hears(m.n, other) {
			peers = append(peers, peer)
		}
	}
	return peers
}

// gossip exchanges state with one peer a round, judges who is silent, and tends the layouts.
func (m *members) gossip(ctx context.Context) {
	tick := time.NewTicker(gossipEvery)
	defer tick.Stop()
	for {
		m.judge()
		m.tend()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		peers := m.reach()
		if len(peers) == 0 {
			continue
		}
		peer := peers[int(m.w.random.float()*float64(len(peers)))]
		extra := m.cfg.Extra.State()
		if m.tell(peer) {
			_ = peer.mergeExtra(extra) // a disk that fails is met again in the next round
		}
		extra = peer.cfg.Extra.State()
		if peer.tell(m) && m.mergeExtra(extra) == nil && peer.met.Load() && m.Rings() != nil && !m.met.Swap(true) {
			m.changed()
		}
	}
}

// tell gives a peer what this node knows, unless this node has just died.
func (m *members) tell(peer *members) bool {
	knowledge := m.Knowledge()
	if !m.speaks() || !peer.speaks() {
		return false
	}
	if err := peer.Learn(knowledge); err != nil {
		m.w.trace("%s does not learn from %s: %v", peer.n.name, m.n.name, err)
	}
	return true
}

// push tells everybody in reach as soon as there is something new; a share of that is late, and comes by gossip.
func (m *members) push(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.pushes:
		}
		time.Sleep(m.w.plan.Latency)
		m.tend()
		for _, peer := range m.reach() {
			if m.w.plan.Late == 0 || m.w.random.float() >= m.w.plan.Late {
				m.tell(peer)
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
		if p := peer.members(); !known || p != nil && p.speaks() && p.cfg.ID == row.ID && m.w.hears(m.n, peer) {
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
