package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Liveness is what gossip and this node's own probes say about a node now. It never says who owns data.
type Liveness uint8

// The liveness of a node.
const (
	Dead    Liveness = iota // gossip does not know it, or has given it up
	Suspect                 // gossip still holds it for alive, but it does not answer this node
	Alive
)

// String returns "dead", "suspect" or "alive".
func (l Liveness) String() string { return [...]string{"dead", "suspect", "alive"}[l] }

// Cluster is a running node's membership.
//
// Locks, in the order in which they may be taken: founder.voting, saving, that of Rings; the others are leaves.
type Cluster struct {
	cfg        Config
	log        *slog.Logger
	list       *memberlist.Memberlist
	peers      *peers
	moves      *moves
	rows       *memberlist.TransmitLimitedQueue
	delegate   *delegate
	join       *joins
	carrier    *carrier
	gossipAddr string
	nonce      atomic.Uint64

	saving sync.Mutex // held over change, save and publication of table and layouts
	table  atomic.Pointer[ring.Table]
	held   *Rings

	found founder

	// Of the membership goroutine alone.
	duty         Duty
	joiningSince time.Time // when this node found itself joining
	placed       bool      // it owns, or has waited long enough for that
	silent       ring.ID   // the namesake contended with, and since when it is silent
	silentSince  time.Time
	unproved     time.Time       // no call to see whether a namesake runs before this: the last one had no answer
	called       ring.ID         // the namesake that was called last to see whether it runs
	noted        map[toward]bool // what was logged of namesakes; it grows with the incarnations of this node's name that the table knows
	asked        int             // how often members were asked for the place of a namesake

	mu       sync.Mutex
	waiting  string // why the node is not ready; empty: it is
	stopping bool
	aside    bool // the node knows that its incarnation is out
	left     bool // by its own wish, and in this process
	watchers []func()
	readyCh  chan struct{}
	wasReady bool

	news  chan struct{} // something that watchers may want to see
	steps chan struct{} // something that the membership goroutine may act on
	push  chan struct{}
	out   *outbox

	foreignTable, saveFailed, extraTooLong *limiter

	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup
}

// Start loads table and layouts, listens for gossip and goes on in the background: joining, founding, changes of the ring. It refuses a data directory whose
// incarnation has left or was removed. ctx bounds only the start itself. The node's transport must serve HandleRPC from now on.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger, duty: Duty{Timing: cfg.Timing},
		noted: make(map[toward]bool), waiting: "starting", readyCh: make(chan struct{}),
		news: make(chan struct{}, 1), steps: make(chan struct{}, 1), push: make(chan struct{}, 1), out: newOutbox(),
		foreignTable: newLimiter(time.Minute), saveFailed: newLimiter(time.Second), extraTooLong: newLimiter(time.Minute),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.peers, c.moves = newPeers(c.nodeName(), c.changed), newMoves()
	c.rows = &memberlist.TransmitLimitedQueue{
		NumNodes:       func() int { return len(*c.peers.live.Load()) + 1 },
		RetransmitMult: memberlist.DefaultLANConfig().RetransmitMult,
	}
	if err := c.load(); err != nil {
		c.cancel()
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	for _, loop := range []func(){c.handleGossip, c.rejoin, c.watchPeers, c.steward, c.notify, c.pushes} {
		c.background.Go(loop)
	}
	return c, nil
}

// open starts gossip. Before it can tell anyone anything, this start's addresses are in the table on disk.
func (c *Cluster) open(ctx context.Context) error {
	carrier, err := c.listen(ctx)
	if err != nil {
		return err
	}
	c.carrier, c.gossipAddr = carrier, carrier.advertise.String()
	c.join = newJoins(sighting{ID: c.cfg.ID, Name: c.cfg.Name, Empty: true}, c.gossipAddr, c.cfg.Join)
	c.delegate = &delegate{
		meta:  meta{ID: c.cfg.ID, Starts: c.cfg.Starts, RPC: c.cfg.Advertise.RPC}.encode(),
		state: c.localState, rows: c.rows, inbox: make(chan []byte, inboxLength),
	}
	if err := c.resume(); err != nil {
		return errors.Join(err, carrier.Shutdown())
	}
	list, err := memberlist.Create(c.gossipConfig(carrier))
	if err != nil {
		return errors.Join(fmt.Errorf("cluster: gossip: %w", err), carrier.Shutdown())
	}
	c.list = list
	return nil
}

// Table returns the member table as it is on disk.
func (c *Cluster) Table() ring.Table { return *c.table.Load() }

// Rings returns the view of the layouts as they are on disk, or nil as long as the node belongs to no cluster.
func (c *Cluster) Rings() *layouts.View { return c.held.View() }

// Layout returns the placement by which this node looks for its peers, as Rings.Layout does; nil exactly while Rings is.
func (c *Cluster) Layout() *ring.Layout { return c.held.Layout() }

// Record says for this node that it acts under the view with this digest, and that nothing runs here any more that an older one let in. If another view has come meanwhile
// it does nothing. When it returns nil what it said is on disk.
func (c *Cluster) Record(digest uint64) error {
	return c.say(func(v *layouts.View) (layouts.State, error) { return recorded(v, c.cfg.ID, digest), nil })
}

// Synced reports that this node holds all that the top layout gives it in these partitions, which View.MaySync must have said. If there is another top meanwhile
// it does nothing. When it returns nil the reports are on disk.
func (c *Cluster) Synced(top layouts.Hash, at []ring.Partition) error {
	return c.say(func(v *layouts.View) (layouts.State, error) { return synced(v, c.cfg.ID, top, at) })
}

// Self returns this node's row: the one in the table, or the one it would have there.
func (c *Cluster) Self() ring.Member {
	if row, ok := c.Table().Get(c.cfg.ID); ok {
		return row
	}
	return c.cfg.member()
}

// Liveness returns what is known of a node now. A node is alive to itself.
func (c *Cluster) Liveness(id ring.ID) Liveness {
	if id == c.cfg.ID {
		return Alive
	}
	return (*c.peers.live.Load())[id]
}

// ClockOffset returns the median of how far the clocks of the live peers are ahead of this node's, and how many
// peers it is the median of. Its error is at most half a round trip.
func (c *Cluster) ClockOffset() (offset time.Duration, peers int) { return c.peers.clockOffset() }

// GossipAddr returns the address that others reach this node's gossip at.
func (c *Cluster) GossipAddr() string { return c.gossipAddr }

// maxLeave bounds how long Stop tries to tell the peers.
const maxLeave = 2 * time.Second

// Stop tells the peers that the node stops, until ctx ends, and ends all background work. The table is left alone: a
// stopped node owns what it owned. A second call does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	again := c.stopping
	c.stopping = true
	c.mu.Unlock()
	if again {
		return nil
	}
	patience := maxLeave
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	var err error
	if patience > 0 {
		if leaveErr := c.list.Leave(patience); leaveErr != nil {
			c.log.Info("the peers may take this stop for a crash", "err", leaveErr)
		}
	}
	c.cancel()
	if shutErr := c.list.Shutdown(); shutErr != nil {
		err = fmt.Errorf("cluster: closing gossip: %w", shutErr)
	}
	ended := make(chan struct{})
	go func() {
		c.background.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// signal makes sure that the receiver looks once more, without waiting for it.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// sleep waits, and reports false when the node stops.
func (c *Cluster) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}
