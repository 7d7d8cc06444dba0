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
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// Store is this node's own replica. All methods may block on the disk; Mend returns before the sync, and Result.Commit says when it is done.
type Store interface {
	SyncedClock(p ring.Partition) (version.Vector, error)
	// SyncedBound is SyncedClock and more: it covers every live version, also those that the clock has forgotten, and dots that never came. Nobody adopts it.
	SyncedBound(p ring.Partition) (version.Vector, error)
	Snapshot(partitions ...ring.Partition) (*store.Snapshot, error)
	Mend(k store.Key, incoming version.Record) (store.Result, error)
	Adopt(p ring.Partition, clock version.Vector) error
	// Held says which partitions hold anything, data, log or clock, and of which n. Hand-offs are not meant.
	Held() ([]store.Held, error)
	// Drop forgets all that is held of the sets (p, n) with from ≤ n ≤ to, in one batch, and returns when that is on the disk. Hand-offs stay.
	Drop(p ring.Partition, from, to uint8) error
}

// Caller calls another node and waits for its answer, or until ctx ends. The body is copied, the answer's belongs to the caller.
type Caller interface {
	Call(ctx context.Context, to ring.ID, kind transport.Kind, body []byte) transport.Response
}

// Membership tells who owns what, and takes this node's word for what it has fetched.
type Membership interface {
	Ownership() Ownership
	// Fence returns FenceHeld when the view in force is that of the digest, what it is of is recorded on this node's disk, and every store operation that was
	// let in under an older one has ended. It blocks until ctx ends at the latest.
	Fence(ctx context.Context, digest uint64) Fence
	// Table is what this node knows of table and layouts, encoded; Reconcile merges that of a peer that refused us. Neither blocks.
	Table() []byte
	Reconcile(from ring.ID, table []byte)
	// Synced reports durably that this node holds all that the top layout gives it in some partitions. It is ignored for a layout that is not the top one any more.
	Synced(top layouts.Hash, at []ring.Partition) error
}

// Door lets store operations in under a view, so that a change of the view knows when the last one has ended.
type Door interface {
	// Enter does not block. After FenceHeld, Leave must follow.
	Enter(digest uint64) Fence
	Leave()
	// Alone runs fn if the fence of the digest is held, and lets no other view take its place before fn has returned. Enter is not enough for what a newer view
	// forbids: under that one, operations may run before the last of the older one has ended. fn does not enter the door. Otherwise fn is not run.
	Alone(ctx context.Context, digest uint64, fn func()) Fence
}

// Fence is the answer to Membership.Fence, and of a Door.
type Fence uint8

// The fences.
const (
	FenceHeld   Fence = iota
	FenceFrozen       // the node is starting, or its view is just being swapped: try again soon
	FenceOther        // this node's view is another one
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
		Cycle:      4 * time.Second,        // 60 bytes a direction and cycle while nothing differs
		Retry:      time.Second,            // a peer that is starting is ready within that
		Settle:     250 * time.Millisecond, // some times the p99.9 of a write under load
		Concurrent: 2,                      // a second peer goes on while one is slow; more only compete for the disk
		Sessions:   4,                      // of the peers' two each, in a cluster of three; the others try again
		Idle:       30 * time.Second,       // several times a call's timeout
		Page:       16 << 10,               // some 100 small records: a burst of 2 ms of CPU, and one sync
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
	Dropped  atomic.Int64 // partitions of which something was dropped that others own
}

// Exchanger is log exchange: it compares clocks with every co-owner, in a cycle and as soon as one answers again, fetches what this node lacks,
// and answers the others. Methods are safe for concurrent use.
type Exchanger struct {
	cfg      ExchangeConfig
	store    Store
	call     Caller
	member   Membership
	door     Door
	log      *slog.Logger
	latency  *Latency
	sessions sessions
	claims   claims
	invited  invitations
	former   former
	land     atomic.Pointer[territory]
	wake     chan struct{} // capacity 1: the ownership may have changed, or a round has ended
	pacer    pacer
	worked   atomic.Int64 // when a page was last fetched or served, in Unix nanoseconds
	Stats    ExchangeStats

	mu       sync.Mutex
	contacts map[ring.ID]*contact
	sight    sight
	hurry    bool // the sight has changed: all rounds are to begin
	ledger   ledger
	missing  map[ring.ID]int    // as of the last look at the ledger
	telling  bool               // a report is being made
	told     time.Time          // when one was last looked for; zero: one is to be
	base     fetched            // as of the beginning of the change under way
	lag      map[ring.ID]lag    // how far each peer is behind, as of the last comparison
	left     map[ring.ID]uint64 // versions that are still to be fetched, by peer of the rounds that run
	rate     rate
	compared func(ring.ID) time.Time
}

// lag is how many versions a peer was found to lack, and since when it has lacked some.
type lag struct {
	versions uint64
	since    time.Time
}

// NewExchanger returns an Exchanger that answers others, and fetches nothing until Run.
func NewExchanger(cfg ExchangeConfig, s Store, c Caller, m Membership, d Door, l *Latency, log *slog.Logger) *Exchanger {
	if cfg.Cycle <= 0 || cfg.Retry <= 0 || cfg.Concurrent < 1 || cfg.Sessions < 1 || cfg.Idle <= 0 || cfg.Page < 1 || cfg.Timeout <= 0 {
		panic(fmt.Sprintf("repair: config %+v", cfg))
	}
	return &Exchanger{cfg: cfg, store: s, call: c, member: m, door: d, log: log, latency: l, wake: make(chan struct{}, 1),
		sessions: sessions{most: cfg.Sessions, open: make(map[uint64]*session)},
		contacts: make(map[ring.ID]*contact), lag: make(map[ring.ID]lag), left: make(map[ring.ID]uint64)}
}

// OnCompared registers what is to be called after every comparison with a peer, when its lag is known anew. It returns since when the peer has
// been known to lack something, zero if it has not. Call it before Run.
func (x *Exchanger) OnCompared(fn func(ring.ID) time.Time) { x.compared = fn }

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
		x.follow(ctx, &rounds, time.Now())
		x.pressure() // a window each time, so that it is known what is usual
		timer.Reset(x.cfg.Retry / 4)
	}
	rounds.Wait()
	x.end(x.sessions.remove(0, time.Now().Add(time.Hour)))
}

// schedule notes who answers, and returns the peers to begin a round with now. When the view has changed, or its fence has fallen, all are due.
func (x *Exchanger) schedule(now time.Time) []ring.ID {
	o := x.member.Ownership()
	up := make(map[ring.ID]bool)
	if o.Rings != nil {
		for _, id := range x.territory(&o).partners(o.Rings) {
			up[id] = o.answers(id)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.look(&o); x.hurry {
		x.hurry = false
		hasten(x.contacts, x.missing)
	}
	due, gone := attend(x.contacts, up, now, x.cfg.Concurrent)
	for _, id := range gone {
		delete(x.lag, id)
	}
	return due
}

// round is one comparison with a peer and all that it calls for.
func (x *Exchanger) round(ctx context.Context, id ring.ID) {
	o := x.member.Ownership()
	begun := time.Now()
	var fetched haul
	err := errAgain
	if o.Rings != nil {
		fetched, err = x.compareAndFetch(ctx, &o, id)
	}
	pause := x.cfg.Cycle - x.cfg.Cycle/8 + rand.N(x.cfg.Cycle/4+1)
	switch {
	case err != nil:
		x.Stats.Failed.Add(1)
		switch {
		case !errors.Is(err, errRefused):
			pause = x.cfg.Retry/2 + rand.N(x.cfg.Retry)
		case fetched.records == 0:
			pause *= refusedCycles
		}
		x.log.Debug("log exchange", "peer", o.Peers[id].Name, "err", err)
	case fetched != haul{}:
		x.Stats.Caught.Add(1)
		x.log.Info("caught up", "from", o.Peers[id].Name, "records", fetched.records, "clocks", fetched.clocks, "in", time.Since(begun).Round(time.Millisecond))
	default:
		x.Stats.Compared.Add(1)
	}
	x.mu.Lock()
	if c := x.contacts[id]; c != nil {
		c.ended(time.Now().Add(pause))
	}
	delete(x.left, id)
	x.told = time.Time{}
	x.mu.Unlock()
	x.Changed()
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
		return nil, fmt.Errorf("%w: the views differ", errAgain)
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

// paced waits until so many bytes that were fetched or sent are paid for, after the peer's word on its pressure; false if ctx ended. pacer.begin or page comes first.
func (x *Exchanger) paced(ctx context.Context, peer ring.ID, pressure uint32, bytes int) bool {
	begun := time.Now()
	x.pacer.hear(begun, peer, pressure)
	for now := begun; ; now = time.Now() {
		pause := x.pacer.pause(now, x.pressure(), bytes)
		if !sleep(ctx, min(pause, paceWindow)) {
			return false
		}
		// Half as long as the peer remembers the exchange at most: what is owed then, the next pages wait for.
		if pause <= paceWindow || now.Sub(begun) > x.cfg.Idle/2 {
			return true
		}
		bytes = 0 // after each window the rate may be another one
	}
}
