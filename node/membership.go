package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// membership shows the cluster to the coordinator as snapshots, and lets the cluster hold key requests back.
type membership struct {
	node    *Node
	started time.Time
	view    atomic.Pointer[coordinator.View]
	skew    atomic.Int64 // nanoseconds; 0 while this node's clock is near enough to its peers'

	mu     sync.RWMutex // read-locked by every running store operation of a key request
	frozen atomic.Bool

	// fenced is the layout under which no operation of an older one can be running any more; 0 for none.
	fenced atomic.Uint64

	refreshing sync.Mutex // one refresh at a time, or an older view could replace a newer one

	reconcile chan refusal // capacity reconcileQueue; at the bound refusals are dropped, since the next one says the same
}

type refusal struct {
	from  ring.ID
	table []byte
}

const (
	reconcileQueue = 16
	// heardTime is how long after a start gossip may take to hear of everybody: a few rounds of joining.
	heardTime = 5 * time.Second
	// refreshEvery is how soon the view follows what the node's own calls say of a peer.
	refreshEvery = 200 * time.Millisecond
)

func newMembership(n *Node) *membership {
	m := &membership{node: n, started: time.Now(), reconcile: make(chan refusal, reconcileQueue)}
	m.view.Store(&coordinator.View{Self: n.store.Incarnation()})
	return m
}

// View implements coordinator.Membership.
func (m *membership) View() *coordinator.View { return m.view.Load() }

// Enter implements coordinator.Membership.
func (m *membership) Enter(hash uint64) coordinator.Entry {
	m.mu.RLock()
	if m.frozen.Load() {
		m.mu.RUnlock()
		return coordinator.Frozen
	}
	switch v := m.view.Load(); {
	case v.Layout == nil, m.node.replaced.Load(), v.Hash != m.node.cluster.Layout().Hash():
		// Starting, and there is no table yet to compare with; or out; or the table has just changed, and this view is the
		// last thing that does not know.
		m.mu.RUnlock()
		return coordinator.Frozen
	case v.Hash != hash:
		m.mu.RUnlock()
		return coordinator.OtherLayout
	}
	return coordinator.Entered
}

// Leave implements coordinator.Membership.
func (m *membership) Leave() { m.mu.RUnlock() }

// Table implements coordinator.Membership.
func (m *membership) Table() []byte { return m.node.cluster.Table().Encode() }

// Reconcile implements coordinator.Membership.
func (m *membership) Reconcile(from ring.ID, table []byte) {
	select {
	case m.reconcile <- refusal{from, table}:
	default:
	}
}

// Skewed implements coordinator.Membership.
func (m *membership) Skewed() (time.Duration, bool) {
	d := time.Duration(m.skew.Load())
	return d, d != 0
}

// Freeze implements cluster.Freezer.
func (m *membership) Freeze(ctx context.Context) error {
	m.frozen.Store(true)
	if err := m.drain(ctx); err != nil {
		m.frozen.Store(false)
		return err
	}
	return nil
}

// drain returns at a moment when no store operation of a key request is running. It tries again and again instead of waiting for the
// lock: whoever waits for it holds new ones up.
func (m *membership) drain(ctx context.Context) error {
	for pause := time.Millisecond; !m.mu.TryLock(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("node: key requests are still running: %w", ctx.Err())
		}
	}
	m.mu.Unlock()
	return nil
}

// Thaw implements cluster.Freezer.
func (m *membership) Thaw() { m.frozen.Store(false) }

// refresh makes a new view of what the cluster and the transport know now.
func (m *membership) refresh() {
	m.refreshing.Lock()
	defer m.refreshing.Unlock()
	n := m.node
	table, layout := n.cluster.Table(), n.cluster.Layout()
	self := n.store.Incarnation()
	book := make(map[ring.ID]transport.Peer)
	v := &coordinator.View{Self: self, Layout: layout, Peers: make(map[ring.ID]coordinator.Peer)}
	if layout != nil {
		v.Hash = layout.Hash()
	}
	for _, row := range table.Present() {
		if row.ID != self && row.Addrs.RPC != "" {
			book[row.ID] = transport.Peer{Name: row.Name, Addr: row.Addrs.RPC}
		}
		v.Peers[row.ID] = coordinator.Peer{Name: row.Name, Gaining: row.Gaining(), Down: row.ID != self && m.down(row.ID)}
	}
	n.rpc.SetPeers(book)
	m.view.Store(v)
	n.logs.Changed()
}

// down reports whether a peer certainly cannot answer now: nobody listens at its address, or gossip has given it up.
// What gossip has not heard in the first moments after a start is unknown, not down.
func (m *membership) down(id ring.ID) bool {
	h := m.node.rpc.Health(id)
	if h.Up && m.node.cluster.Liveness(id) != cluster.Dead {
		return false
	}
	if errors.Is(h.LastErr, transport.ErrUnreachable) {
		return true
	}
	return m.node.cluster.Liveness(id) == cluster.Dead && time.Since(m.started) > heardTime
}

// run keeps the view fresh, and merges the tables of peers that refused a request. It ends with ctx.
func (m *membership) run(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-m.reconcile:
			m.merge(ctx, r)
		case <-tick.C:
			m.checkSkew()
			m.recheckDown()
		}
	}
}

// recheckDown makes a new view only if somebody's state differs from the present one's.
func (m *membership) recheckDown() {
	v := m.view.Load()
	for id, p := range v.Peers {
		if id != v.Self && p.Down != m.down(id) {
			m.refresh()
			return
		}
	}
}

// minSkewPeers is how many peers must have answered before this node doubts its own clock: of two clocks nobody can
// tell which one is wrong.
const minSkewPeers = 2

func (m *membership) checkSkew() {
	offset, peers := m.node.cluster.ClockOffset()
	skew := int64(0)
	if peers >= minSkewPeers && offset.Abs() > maxSkew {
		skew = int64(offset)
	}
	if old := m.skew.Swap(skew); (old != 0) != (skew != 0) {
		m.node.log.Warn("clock", "offset_of_peers", offset, "peers", peers, "refusing_writes_without_context", skew != 0)
	}
}

// merge learns from a refusal, and teaches the peer what it lacks.
func (m *membership) merge(ctx context.Context, r refusal) {
	n := m.node
	theirs, err := ring.DecodeTable(r.table)
	if err != nil {
		n.log.Warn("a peer sent a table that cannot be read", "peer", r.from.Short(), "err", err)
		return
	}
	if err := n.cluster.MergeTable(theirs); err != nil {
		n.log.Warn("a peer's table was not merged", "peer", r.from.Short(), "err", err)
		return
	}
	if mine := n.cluster.Table(); !mine.Equal(theirs) {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		if _, err := n.Call(ctx, r.from, cluster.KindTable, mine.Encode()); err != nil {
			n.log.Debug("telling a peer of the table", "peer", r.from.Short(), "err", err)
		}
	}
	m.refresh()
}

const tellTimeout = time.Second
