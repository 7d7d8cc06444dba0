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

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// Held is what this node keeps for owners that it stood in for. All methods but HandOffs may block on the disk; package store says what
// each promises.
type Held interface {
	HandOffs() store.HandOffs
	Owed() []store.Owed
	HandOffPage(p ring.Partition, owner ring.ID, after store.Key, bytes int) (page []store.HandOff, end bool, err error)
	Delivered(target ring.ID, opening version.ActorID, served []store.HandOff) (forgotten int, err error)
	Readdress(gone ring.ID, moved []store.HandOff, owners func(*store.HandOff) []ring.ID) (readdressed int, err error)
}

// Dots are the dots of this node's fallback actors that owners are to adopt, and those of others' that it adopts itself. All methods but Actor, which
// names the present opening of this node's store, block on the disk.
type Dots interface {
	OwedDots(p ring.Partition, owner ring.ID) (dots version.Vector, opening version.ActorID, err error)
	AdoptedDots(p ring.Partition, owner ring.ID, dots version.Vector) error
	Actor() version.ActorID
	AdoptUnder(opening version.ActorID, p ring.Partition, dots version.Vector) error
}

// DeliverConfig holds the numbers of a Deliverer.
type DeliverConfig struct {
	Cycle      time.Duration // between errands to one owner that answers, with a quarter of jitter
	Retry      time.Duration // after an errand that failed
	Concurrent int           // owners served at once
	Page       int           // bytes of a message, unless one record has more
	Report     time.Duration // between two lines of the log about an errand that takes long
}

// DefaultDeliverConfig returns the numbers that the product runs with.
func DefaultDeliverConfig() DeliverConfig {
	return DeliverConfig{
		Cycle:      4 * time.Second,  // as log exchange; an owner that was missed by a slow answer gets what it lacks within that
		Retry:      time.Second,      // a peer that is starting is ready within that
		Concurrent: 4,                // all but one of a cluster of five; a slow owner holds up nobody
		Page:       64 << 10,         // 500 small records for two syncs; one key a message takes 25 times as long
		Report:     10 * time.Second, // a gigabyte takes minutes
	}
}

// DeliverStats counts what a Deliverer did. All fields only grow.
type DeliverStats struct {
	Delivered   atomic.Int64 // hand-offs that an owner confirmed
	Bytes       atomic.Int64 // of the messages that they went in
	Readdressed atomic.Int64 // hand-offs whose target owns the key no more
	Settled     atomic.Int64 // times an owner adopted dots
	Failed      atomic.Int64 // errands that did not come to their end
	Refused     atomic.Int64 // hand-offs that an owner could not take; they are kept, and tried again
	Received    atomic.Int64 // hand-offs of others that this node took
}

// Deliverer hands what this node keeps for owners over to them, in a cycle and as soon as one answers again, and takes what others kept for this
// node. Methods are safe for concurrent use.
type Deliverer struct {
	cfg   DeliverConfig
	held  Held
	dots  Dots
	x     *Exchanger // whose pace, calls, door and membership it shares
	log   *slog.Logger
	wake  chan struct{} // capacity 1: the ownership may have changed, or an errand has ended
	Stats DeliverStats

	mu       sync.Mutex
	contacts map[ring.ID]*contact // owners that something is kept for
	told     map[ring.ID]*sums    // what was last told to each member since this node started
	telling  time.Time            // when they are to be told again
	holding  map[ring.ID]sums     // what others said
}

// NewDeliverer returns a Deliverer that takes what others hand over, and delivers nothing until Run.
func NewDeliverer(cfg DeliverConfig, h Held, d Dots, x *Exchanger, log *slog.Logger) *Deliverer {
	if cfg.Cycle <= 0 || cfg.Retry <= 0 || cfg.Concurrent < 1 || cfg.Page < 1 || cfg.Report <= 0 {
		panic(fmt.Sprintf("repair: config %+v", cfg))
	}
	return &Deliverer{cfg: cfg, held: h, dots: d, x: x, log: log, wake: make(chan struct{}, 1),
		contacts: make(map[ring.ID]*contact), told: make(map[ring.ID]*sums), holding: make(map[ring.ID]sums)}
}

// Changed says that the ownership may have changed. It does not block.
func (d *Deliverer) Changed() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, and returns when nothing runs any more.
func (d *Deliverer) Run(ctx context.Context) {
	var running sync.WaitGroup
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer.C:
		}
		now := time.Now()
		due := d.schedule(now)
		for _, id := range due {
			running.Go(func() { d.errand(ctx, id) })
		}
		for _, id := range d.tell(now) {
			running.Go(func() { d.tellOne(ctx, id) })
		}
		timer.Reset(d.cfg.Retry / 4)
	}
	running.Wait()
}

// Kept is how many hand-offs this node keeps for others: a member that leaves must have delivered all of them before it goes.
func (d *Deliverer) Kept() int64 { return d.held.HandOffs().Count }

// schedule notes who is owed something and answers, and returns whom to serve now.
func (d *Deliverer) schedule(now time.Time) []ring.ID {
	o := d.x.member.Ownership()
	if o.Rings == nil {
		return nil
	}
	up := make(map[ring.ID]bool)
	for id, e := range errandsOf(d.held.Owed()) {
		up[id] = reachable(&o, e)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	due, _ := attend(d.contacts, up, now, d.cfg.Concurrent)
	return due
}

// errand serves one owner with all that is kept for it.
func (d *Deliverer) errand(ctx context.Context, id ring.ID) {
	r := trip{d: d, o: d.x.member.Ownership(), id: id, begun: time.Now()}
	r.reported = r.begun
	err := r.all(ctx)
	pause := d.cfg.Cycle - d.cfg.Cycle/8 + rand.N(d.cfg.Cycle/4+1)
	switch {
	case err != nil:
		d.Stats.Failed.Add(1)
		pause = d.cfg.Retry/2 + rand.N(d.cfg.Retry)
		d.log.Debug("hand-offs", "for", r.name(), "err", err)
	case r.refused > 0 && r.delivered+r.moved == 0:
		pause *= refusedCycles
	}
	if r.delivered+r.moved > 0 {
		d.log.Info("hand-offs", "for", r.name(), "delivered", r.delivered, "readdressed", r.moved, "refused", r.refused,
			"in", time.Since(r.begun).Round(time.Millisecond), "complete", err == nil)
	}
	d.mu.Lock()
	if c := d.contacts[id]; c != nil {
		c.running, c.due = false, time.Now().Add(pause)
	}
	d.mu.Unlock()
	d.Changed()
}

// refusedCycles is how many cycles to wait after an errand, or an exchange, that found nothing but what its receiver cannot take: it may be large.
const refusedCycles = 15

// trip is one errand as it goes on.
type trip struct {
	d        *Deliverer
	o        Ownership // as of its beginning: a peer that has another view refuses, and so does this node
	id       ring.ID
	begun    time.Time
	reported time.Time

	delivered, moved, refused int
}

func (r *trip) name() string {
	if p, ok := r.o.Peers[r.id]; ok {
		return p.Name
	}
	return r.id.Short()
}

// all goes through the partitions. One that cannot be read here does not keep back the others; an owner that does not take what it is given does.
func (r *trip) all(ctx context.Context) (err error) {
	e := errandsOf(r.d.held.Owed())[r.id]
	if e == nil || r.o.Rings == nil {
		return nil
	}
	for _, p := range e.order(r.o.Rings) {
		if failure := r.partition(ctx, p); failure != nil {
			err = fmt.Errorf("partition %d: %w", p, failure)
			if !errors.Is(failure, store.ErrCorrupt) {
				return err
			}
		}
		if now := time.Now(); now.Sub(r.reported) >= r.d.cfg.Report {
			r.reported = now
			left := uint64(0)
			if e := errandsOf(r.d.held.Owed())[r.id]; e != nil {
				left = e.handOffs
			}
			r.d.log.Info("delivering hand-offs", "to", r.name(), "delivered", r.delivered, "left", left)
		}
	}
	return err
}

// partition hands over what is kept in one partition, page by page, and the dots after the last.
func (r *trip) partition(ctx context.Context, p ring.Partition) error {
	after := store.Key{}
	for end := false; !end; {
		var page []store.HandOff
		var err error
		if page, end, err = r.d.held.HandOffPage(p, r.id, after, r.d.cfg.Page); err != nil {
			return err
		}
		if len(page) > 0 {
			after = page[len(page)-1].Key
		}
		stay, move := divide(r.o.Rings, page, r.id)
		moved, err := r.d.held.Readdress(r.id, move, func(h *store.HandOff) []ring.ID { return ownersOf(r.o.Rings, h) })
		r.moved += moved
		r.d.Stats.Readdressed.Add(int64(moved))
		if err != nil {
			return err
		}
		if len(stay) > 0 {
			if err := r.deliver(ctx, p, stay); err != nil {
				return err
			}
		}
	}
	return r.settle(ctx, p)
}

// deliver hands one batch over, and forgets what the owner has confirmed.
func (r *trip) deliver(ctx context.Context, p ring.Partition, batch []store.HandOff) error {
	if mutation.ForgetHandOff {
		if _, err := r.d.held.Delivered(r.id, 0, batch); err != nil {
			return err
		}
	}
	m := handOffs{Digest: r.o.Digest, Partition: p, Records: make([]handed, len(batch))}
	for i, h := range batch {
		m.Records[i] = handed{h.Key.Bucket, h.Key.Key, h.Record}
	}
	r.d.x.pacer.begin(time.Now())
	answer, bytes, err := r.give(ctx, &m)
	if err != nil {
		return err
	}
	for _, f := range answer.Refused {
		r.d.log.Warn("an owner cannot take a hand-off, which is kept", "owner", r.name(), "bucket", batch[f.Index].Key.Bucket,
			"key", batch[f.Index].Key.Key, "reason", f.Reason)
	}
	confirmed := served(batch, answer.Refused)
	if _, err := r.d.held.Delivered(r.id, answer.Opening, confirmed); err != nil {
		return err
	}
	r.delivered += len(confirmed)
	r.refused += len(answer.Refused)
	s := &r.d.Stats
	s.Delivered.Add(int64(len(confirmed)))
	s.Refused.Add(int64(len(answer.Refused)))
	s.Bytes.Add(int64(bytes))
	r.d.x.busy()
	if !r.d.x.paced(ctx, r.id, answer.Pressure, bytes) {
		return ctx.Err()
	}
	return nil
}

// give hands a batch to its owner, which may be this node.
func (r *trip) give(ctx context.Context, m *handOffs) (answer taken, bytes int, err error) {
	if r.id == r.o.Self {
		answer, err = r.d.take(m)
		return answer, 0, err
	}
	body := m.append(nil)
	reply, err := r.d.x.ask(ctx, r.id, KindHandOff, body)
	if err != nil {
		return taken{}, 0, err
	}
	answer, err = decodeTaken(reply, len(m.Records))
	return answer, len(body), err
}

// settle lets the owner adopt the fallback's dots, if nothing more is owed to it in the partition. Of dots with an n for which it is an owner no
// more it is not told: what it was served with may be gone with its place. What it does not adopt, as its store was opened anew since it confirmed,
// is forgotten as well: it learns of these dots from other owners, or keeps holes.
func (r *trip) settle(ctx context.Context, p ring.Partition) error {
	dots, opening, err := r.d.dots.OwedDots(p, r.id)
	if err != nil || dots.IsEmpty() {
		return err
	}
	if its := ownedDots(r.o.Rings, p, r.id, dots); !its.IsEmpty() {
		m := settle{Digest: r.o.Digest, Partition: p, Opening: opening, Dots: its}
		answer, err := r.tell(ctx, &m)
		if err != nil {
			return err
		}
		if answer.Adopted {
			r.d.Stats.Settled.Add(1)
		}
	}
	return r.d.dots.AdoptedDots(p, r.id, dots)
}

// tell gives dots to their owner, which may be this node.
func (r *trip) tell(ctx context.Context, m *settle) (settled, error) {
	if r.id == r.o.Self {
		return r.d.adopt(m)
	}
	reply, err := r.d.x.ask(ctx, r.id, KindSettle, m.append(nil))
	if err != nil {
		return settled{}, err
	}
	return decodeSettled(reply)
}
