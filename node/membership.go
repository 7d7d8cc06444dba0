package node

import (
	"bytes"
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

// membership shows the cluster to the coordinator as snapshots, and is the door through which operations on the store enter under one of them.
//
// A node acts under one view of the layouts, that of the state on its disk. When it hears of another state that is saved first; then the view is swapped,
// and from that moment the door refuses the old one; then what had been let in under it is seen to end (fence); and only then the node says
// that it has recorded the new layouts (ring/layouts, invariant 4).
type membership struct {
	node    *Node
	started time.Time
	view    atomic.Pointer[coordinator.View]
	skew    atomic.Int64 // nanoseconds; 0 while this node's clock is near enough to its peers'

	mu     sync.RWMutex // read-locked by every running operation that a view let in
	fences atomic.Int32 // how many wait for all that runs to end, and let nothing in meanwhile

	// fenced is the digest of the view under which no operation of an older one can be running any more; 0 for none.
	fenced atomic.Uint64

	// recorded is the digest of the view that was recorded last; 0 for none. It is not fenced: a peer's request may see a view fenced before its record was asked for.
	recorded atomic.Uint64

	// refreshing has one place: who holds it makes a view, as an older one could replace a newer one otherwise, or keeps the present one. It is no lock, as a
	// disk may be at work meanwhile (exchanges.Alone), which in the simulator's time must not happen under one.
	refreshing chan struct{}

	reconcile chan refusal  // capacity reconcileQueue; at the bound refusals are dropped, since the next one says the same
	swapped   chan struct{} // capacity 1: there is a view that is not recorded yet
}

type refusal struct {
	from      ring.ID
	knowledge []byte
}

const (
	reconcileQueue = 16
	// heardTime is how long after a start gossip may take to hear of everybody: a few rounds of joining.
	heardTime = 5 * time.Second
	// refreshEvery is how soon the view follows what the node's own calls say of a peer.
	refreshEvery = 200 * time.Millisecond
)

func newMembership(n *Node) *membership {
	m := &membership{node: n, started: time.Now(), refreshing: make(chan struct{}, 1), reconcile: make(chan refusal, reconcileQueue), swapped: make(chan struct{}, 1)}
	m.view.Store(&coordinator.View{Self: n.store.Incarnation()})
	return m
}

// View implements coordinator.Membership.
func (m *membership) View() *coordinator.View { return m.view.Load() }

// Enter implements coordinator.Membership.
func (m *membership) Enter(digest uint64) coordinator.Entry {
	m.mu.RLock()
	switch v := m.view.Load(); {
	case m.behind(v), m.fences.Load() > 0:
		m.mu.RUnlock()
		return coordinator.Frozen
	case v.Digest != digest:
		m.mu.RUnlock()
		return coordinator.OtherLayout
	}
	return coordinator.Entered
}

// behind reports whether this node cannot let anything in under v: it is starting, and there are no layouts yet to compare with; or it is out; or the
// state has just changed, and v is the last thing that does not know.
func (m *membership) behind(v *coordinator.View) bool {
	return v.Rings == nil || m.node.replaced.Load() || v.Digest != m.node.cluster.Rings().Digest()
}

// Leave implements coordinator.Membership.
func (m *membership) Leave() { m.mu.RUnlock() }

// Table implements coordinator.Membership.
func (m *membership) Table() []byte { return m.node.cluster.Knowledge() }

// Reconcile implements coordinator.Membership.
func (m *membership) Reconcile(from ring.ID, knowledge []byte) {
	select {
	case m.reconcile <- refusal{from, knowledge}:
	default:
	}
}

// Skewed implements coordinator.Membership.
func (m *membership) Skewed() (time.Duration, bool) {
	d := time.Duration(m.skew.Load())
	return d, d != 0
}

// fence returns when nothing runs any more that was let in under an older view than that of the digest, which is in force.
func (m *membership) fence(ctx context.Context, digest uint64) error {
	if m.fenced.Load() == digest {
		return nil
	}
	if err := m.drain(ctx); err != nil {
		return err
	}
	m.fenced.Store(digest) // what came later was let in under it, or under one that has a fence of its own
	return nil
}

// openTries is how often a moment is looked for at which nothing runs, while the door stays open: some 60 ms. Under load there may be none, ever.
const openTries = 6

// drain returns at a moment when no operation is running. It tries again and again instead of waiting for the lock: whoever waits for it holds new ones up, for longer than
// the others run. Only when operations overlap without end does it shut the door, until those that run have ended: what comes then is told to try again.
func (m *membership) drain(ctx context.Context) error {
	pause := time.Millisecond
	for try := 0; !m.mu.TryLock(); try++ {
		if try == openTries {
			m.fences.Add(1)
			defer m.fences.Add(-1)
			pause = time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("node: key requests are still running: %w", ctx.Err())
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	m.mu.Unlock()
	return nil
}

// refresh makes a new view of what the cluster and the transport know now.
func (m *membership) refresh() {
	m.refreshing <- struct{}{}
	defer func() { <-m.refreshing }()
	n := m.node
	// In this order: a row of the table is known before the layouts that it owns in, so a layout's owner without a row is one that is gone.
	rings, layout := n.cluster.Rings(), n.cluster.Layout()
	table := n.cluster.Table()
	self := n.store.Incarnation()
	v := &coordinator.View{Self: self, Peers: make(map[ring.ID]coordinator.Peer)}
	if rings != nil {
		v.Rings, v.Layout, v.Digest = rings, layout, rings.Digest()
		for _, id := range rings.Owners() {
			row, _ := rings.Row(id)
			v.Peers[id] = coordinator.Peer{Name: row.Name, Zone: row.Zone, Down: id != self}
		}
	}
	book := make(map[ring.ID]transport.Peer)
	for _, row := range table.Present() {
		lost := rings != nil && rings.Lost(row.ID)
		if row.ID != self && row.Addrs.RPC != "" && !lost {
			book[row.ID] = transport.Peer{Name: row.Name, Addr: row.Addrs.RPC}
		}
		v.Peers[row.ID] = coordinator.Peer{Name: row.Name, Zone: row.Zone, Down: row.ID != self && (lost || m.down(row.ID))}
	}
	n.rpc.SetPeers(book)
	m.show(v)
	n.logs.Changed()
	n.owing.Changed()
}

// show puts a view in force, and has it recorded if it has not been.
func (m *membership) show(v *coordinator.View) {
	m.view.Store(v)
	if v.Rings != nil && m.recorded.Load() != v.Digest {
		select {
		case m.swapped <- struct{}{}:
		default:
		}
	}
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

// run keeps the view fresh, merges what peers know that refused a request, and ends this node when it has left. It ends with ctx.
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
			m.node.checkLeft()
		}
	}
}

// fenceTime is how long the door may be shut for a record: if one operation hangs, the others are not to wait for it for ever.
const fenceTime = 2 * time.Second

// recordRetry is how soon a record that the disk refused is tried again.
const recordRetry = time.Second

// record tells the cluster, after each change of the view, that nothing older runs here any more. It ends with ctx.
func (m *membership) record(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.swapped:
		}
		for m.recordOnce(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(recordRetry):
			}
		}
	}
}

func (m *membership) recordOnce(ctx context.Context) error {
	v := m.view.Load()
	if v.Rings == nil || m.node.replaced.Load() {
		return nil
	}
	fence, cancel := context.WithTimeout(ctx, fenceTime)
	defer cancel()
	if err := m.fence(fence, v.Digest); err != nil {
		return err
	}
	err := m.node.cluster.Record(v.Digest)
	if err != nil {
		m.node.log.Error("the layouts in force cannot be recorded; ring changes wait for this node", "err", err)
		return err
	}
	m.recorded.Store(v.Digest)
	return nil
}

// recheckDown makes a new view only if somebody's state differs from the present one's.
func (m *membership) recheckDown() {
	v := m.view.Load()
	for id, p := range v.Peers {
		if id != v.Self && p.Down != (v.Rings != nil && v.Rings.Lost(id) || m.down(id)) {
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
	if err := n.cluster.Learn(r.knowledge); err != nil {
		n.log.Warn("what a peer knows of the cluster was not merged", "peer", r.from.Short(), "err", err)
		return
	}
	m.refresh()
	if mine := n.cluster.Knowledge(); !bytes.Equal(mine, r.knowledge) {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		if _, err := n.Call(ctx, r.from, cluster.KindTable, mine); err != nil {
			n.log.Debug("telling a peer of the layouts", "peer", r.from.Short(), "err", err)
		}
	}
}

const tellTimeout = time.Second
