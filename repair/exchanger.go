package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// Store is this node's own replica. All methods may block on the disk; Mend returns before the sync, and Result.Commit says when it is done.
type Store interface {
	SyncedClock(p ring.Partition) (version.Vector, error)
	Snapshot(p ring.Partition) (*store.Snapshot, error)
	Mend(k store.Key, incoming version.Record) (store.Result, error)
	Adopt(p ring.Partition, clock version.Vector) error
}

// Caller calls another node and waits for its answer, or until ctx ends. The body is copied, the answer's belongs to the caller.
type Caller interface {
	Call(ctx context.Context, to ring.ID, kind transport.Kind, body []byte) transport.Response
}

// Membership tells who owns what, and takes this node's word that it is no longer gaining.
type Membership interface {
	Ownership() Ownership
	// Fence returns FenceHeld when the layout in force is that of hash, is recorded on this node's disk, and every store operation that was
	// let in under an older one has ended. It blocks until ctx ends at the latest.
	Fence(ctx context.Context, hash uint64) Fence
	// Table is this node's member table, encoded; Reconcile merges that of a peer that refused us. Neither blocks.
	Table() []byte
	Reconcile(from ring.ID, table []byte)
	// Synced records durably that this node has fetched all that its place holds.
	Synced() error
}

// Fence is the answer to Membership.Fence.
type Fence uint8

// The fences.
const (
	FenceHeld   Fence = iota
	FenceFrozen       // the node is starting, or a membership change is being decided: try again soon
	FenceOther        // this node's layout is another one
)

// ExchangeConfig holds the numbers of an Exchanger.
type ExchangeConfig struct {
	Cycle      time.Duration // between comparisons with one peer, with a quarter of jitter
	Retry      time.Duration // after a round that failed
	Settle     time.Duration // between a comparison and the second look at what differed
	Concurrent int           // rounds at once
	Sessions   int           // exchanges answered at once
	Idle       time.Duration // after which an exchange that nobody asks on is forgotten
	Page       int           // bytes of a page, unless one record has more
	Timeout    time.Duration // of one call
}

// DefaultExchangeConfig returns the numbers that the product runs with.
func DefaultExchangeConfig() ExchangeConfig {
	return ExchangeConfig{
		Cycle:      4 * time.Second,        // 2 kB of hashes a pair and cycle with 256 partitions
		Retry:      time.Second,            // a peer that is starting is ready within that
		Settle:     250 * time.Millisecond, // some times the p99.9 of a write under load
		Concurrent: 2,                      // a second peer goes on while one is slow; more only compete for the disk
		Sessions:   4,                      // of the peers' two each, in a cluster of three; the others try again
		Idle:       30 * time.Second,       // several times a call's timeout
		Page:       64 << 10,               // some 300 small records: a burst of 10 ms of CPU, and one sync
		Timeout:    10 * time.Second,       // twice a client request's own, as it comes second
	}
}

// ExchangeStats counts what an Exchanger did. All fields only grow.
type ExchangeStats struct {
	Compared atomic.Int64 // rounds that found nothing to fetch
	Caught   atomic.Int64 // rounds that fetched everything
	Failed   atomic.Int64 // rounds that did not come to their end
	Adopted  atomic.Int64 // clocks of partitions adopted
	Records  atomic.Int64 // records fetched
	Bytes    atomic.Int64 // bytes of pages that they came in
	Served   atomic.Int64 // records sent to others
}

// Exchanger is log exchange: it compares clocks with every co-owner, in a cycle and as soon as one answers again, fetches what this node lacks,
// and answers the others. Methods are safe for concurrent use.
type Exchanger struct {
	cfg      ExchangeConfig
	store    Store
	call     Caller
	member   Membership
	log      *slog.Logger
	latency  *Latency
	sessions sessions
	wake     chan struct{} // capacity 1: the ownership may have changed, or a round has ended
	pacer    pacer
	worked   atomic.Int64 // when a page was last fetched or served, in Unix nanoseconds
	Stats    ExchangeStats

	mu       sync.Mutex
	contacts map[ring.ID]*contact
	done     map[ring.ID]uint64 // the layout of the last whole round with each peer
	lag      map[ring.ID]lag    // how far each peer is behind, as of the last comparison
	left     map[ring.ID]uint64 // versions that are still to be fetched, by peer of the rounds that run
	rate     rate
	caughtUp func(ring.ID)
}

// lag is how many versions a peer was found to lack, and since when it has lacked some.
type lag struct {
	versions uint64
	since    time.Time
}

// NewExchanger returns an Exchanger that answers others, and fetches nothing until Run.
func NewExchanger(cfg ExchangeConfig, s Store, c Caller, m Membership, l *Latency, log *slog.Logger) *Exchanger {
	if cfg.Cycle <= 0 || cfg.Retry <= 0 || cfg.Concurrent < 1 || cfg.Sessions < 1 || cfg.Idle <= 0 || cfg.Page < 1 || cfg.Timeout <= 0 {
		panic(fmt.Sprintf("repair: config %+v", cfg))
	}
	return &Exchanger{cfg: cfg, store: s, call: c, member: m, log: log, latency: l, wake: make(chan struct{}, 1),
		sessions: sessions{most: cfg.Sessions, open: make(map[uint64]*session)},
		contacts: make(map[ring.ID]*contact), done: make(map[ring.ID]uint64), lag: make(map[ring.ID]lag), left: make(map[ring.ID]uint64)}
}

// OnCompared registers what is to be called after every comparison with a peer, when its lag is known anew. Call it before Run.
func (x *Exchanger) OnCompared(fn func(ring.ID)) { x.caughtUp = fn }

// Changed says that the ownership may have changed. It does not block.
func (x *Exchanger) Changed() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// Run compares and fetches until ctx ends, and returns when nothing runs any more.
func (x *Exchanger) Run(ctx context.Context) {
	var rounds sync.WaitGroup
	sweep := time.NewTicker(x.cfg.Idle / 4)
	defer sweep.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			x.end(x.sessions.remove(0, time.Now().Add(-x.cfg.Idle)))
		case <-x.wake:
		case <-timer.C:
		}
		for _, id := range x.schedule(time.Now()) {
			rounds.Go(func() { x.round(ctx, id) })
		}
		x.pressure() // a window each time, so that it is known what is usual
		timer.Reset(x.cfg.Retry / 4)
	}
	rounds.Wait()
	x.end(x.sessions.remove(0, time.Now().Add(time.Hour)))
}

// schedule notes who answers, and returns the peers to begin a round with now. One that answers again is due at once.
func (x *Exchanger) schedule(now time.Time) []ring.ID {
	o := x.member.Ownership()
	x.mu.Lock()
	defer x.mu.Unlock()
	present := make(map[ring.ID]bool)
	for _, id := range partners(&o) {
		present[id] = true
		c := x.contacts[id]
		if c == nil {
			c = &contact{}
			x.contacts[id] = c
		}
		if up := !o.Peers[id].Down; up != c.up {
			c.up, c.due = up, time.Time{}
		}
	}
	for id, c := range x.contacts {
		if !present[id] && !c.running {
			delete(x.contacts, id)
			delete(x.lag, id)
			delete(x.done, id)
		}
	}
	due := pick(x.contacts, now, x.cfg.Concurrent)
	for _, id := range due {
		x.contacts[id].running = true
	}
	return due
}

// round is one comparison with a peer and all that it calls for.
func (x *Exchanger) round(ctx context.Context, id ring.ID) {
	o := x.member.Ownership()
	begun := time.Now()
	fetched, err := x.compare(ctx, &o, id)
	pause := x.cfg.Cycle - x.cfg.Cycle/8 + rand.N(x.cfg.Cycle/4+1)
	switch {
	case err != nil:
		x.Stats.Failed.Add(1)
		pause = x.cfg.Retry/2 + rand.N(x.cfg.Retry)
		x.log.Debug("log exchange", "peer", o.Peers[id].Name, "err", err)
	case fetched > 0:
		x.Stats.Caught.Add(1)
		x.log.Info("caught up", "from", o.Peers[id].Name, "records", fetched, "in", time.Since(begun).Round(time.Millisecond))
	default:
		x.Stats.Compared.Add(1)
	}
	x.mu.Lock()
	if c := x.contacts[id]; c != nil {
		c.running, c.due = false, time.Now().Add(pause)
	}
	delete(x.left, id)
	if err == nil {
		x.done[id] = o.Hash
	}
	gained := err == nil && o.gaining() && len(waitsFor(&o, x.done)) == 0
	x.mu.Unlock()
	if gained {
		x.gained(&o)
	}
	x.Changed()
}

// gained ends this node's gaining: it has completed a round, begun under a layout that contains it, with every co-owner.
func (x *Exchanger) gained(o *Ownership) {
	if now := x.member.Ownership(); now.Hash != o.Hash || !now.gaining() {
		return
	}
	if err := x.member.Synced(); err != nil {
		x.log.Error("everything was fetched, and that could not be recorded", "err", err)
		return
	}
	x.log.Info("this node has fetched what its place holds, and counts for reads from now on")
}

// errAgain ends a round that is to be begun anew.
var errAgain = errors.New("repair: start again")

// ask calls a peer and reads its verdict.
func (x *Exchanger) ask(ctx context.Context, id ring.ID, kind transport.Kind, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Timeout)
	defer cancel()
	r := x.call.Call(ctx, id, kind, body)
	switch {
	case r.Err != nil:
		return nil, r.Err
	case r.Status == transport.StatusOK:
		return r.Body, nil
	case r.Status == statusLayout:
		x.member.Reconcile(id, r.Body)
		return nil, fmt.Errorf("%w: the layouts differ", errAgain)
	case r.Status == statusUnknown, r.Status == statusBusy, r.Status == statusFrozen:
		return nil, fmt.Errorf("%w: the peer answered %d", errAgain, r.Status)
	}
	return nil, fmt.Errorf("repair: the peer answered %v: %s", r.Status, r.Body)
}

// Lag returns how many versions a peer lacked at the last comparison, and since when.
func (x *Exchanger) Lag(id ring.ID) (versions uint64, since time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.lag[id].versions, x.lag[id].since
}

// Progress is how far this node is with catching up.
type Progress struct {
	Remaining uint64  // versions that it is known to lack
	Rate      float64 // records a second, over the last seconds; 0 when nothing is being fetched
	WaitsFor  []ring.ID
}

// Progress returns how far this node is with catching up. WaitsFor is who is missing for a gaining node to count.
func (x *Exchanger) Progress() Progress {
	o := x.member.Ownership()
	x.mu.Lock()
	defer x.mu.Unlock()
	p := Progress{Rate: x.rate.read(time.Now())}
	for _, left := range x.left { // several peers may have the same versions
		p.Remaining = max(p.Remaining, left)
	}
	if o.gaining() {
		p.WaitsFor = waitsFor(&o, x.done)
	}
	return p
}

// Open returns how many exchanges this node answers now.
func (x *Exchanger) Open() int { return x.sessions.count() }

// restTime after an exchange, what client requests take is what they usually take.
const restTime = time.Second

func (x *Exchanger) busy() { x.worked.Store(time.Now().UnixNano()) }

// pressure is how slow client requests are here.
func (x *Exchanger) pressure() uint32 {
	now := time.Now()
	return x.latency.Pressure(now, now.Sub(time.Unix(0, x.worked.Load())) > restTime)
}
