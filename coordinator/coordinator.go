package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/ration"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// Store is this node's own replica. All methods but Peek may block on the disk; Update, Apply and Mend return before the
// sync, and Result.Commit tells when it is done.
type Store interface {
	Update(k store.Key, n uint8, fn store.UpdateFunc) (store.Result, error)
	Apply(k store.Key, incoming version.Record) (store.Result, error)
	Mend(k store.Key, incoming version.Record) (store.Result, error)
	Get(k store.Key) (version.Record, error)
	Peek(k store.Key) (version.Record, bool)
	// Issued is the last counter that an actor of this store has used in a partition; false: it is not one of this opening.
	Issued(p ring.Partition, a version.Actor) (uint64, bool)
}

// Sender moves messages to other nodes. Go copies body, never blocks, and calls done exactly once, from any goroutine.
type Sender interface {
	Go(to ring.ID, kind transport.Kind, body []byte, deadline time.Time, done func(transport.Response))
}

// Membership tells who owns what.
type Membership interface {
	// View returns the snapshot in force; it is never nil.
	View() *View
	// Enter lets one store operation run if digest is that of the view in force. Leave must follow if, and only if, the answer is Entered. It does not block.
	Enter(digest uint64) Entry
	Leave()
	// Table is what this node knows of members and layouts, encoded, for a peer whose view differs. There is something once View has layouts.
	Table() []byte
	// Reconcile merges what a peer knows that refused us, and sends it what we know if that is more. It does not
	// block.
	Reconcile(from ring.ID, table []byte)
	// Skewed reports how far this node's clock is from most peers' when that is too far to issue stamps.
	Skewed() (time.Duration, bool)
}

// Entry is the answer to Membership.Enter.
type Entry uint8

// The entries.
const (
	Entered     Entry = iota
	Frozen            // the node is starting, or goes over from one view to the next: try again soon
	OtherLayout       // this node's view is another one
)

// HandOffs is where this node keeps, on its disk, what it stands in for, until the owners have it. All methods may block on the disk;
// StandUpdate and StandApply return before the sync, and Result.Commit says when it is done. At the bound of the space they return
// store.ErrHandOffSpace, and nothing is written.
type HandOffs interface {
	// StandUpdate is Store.Update for a fallback that coordinates: local is what is held of the key for others, absent if nothing, and the dot is of
	// an actor that writes nothing else. The result is kept for all targets.
	StandUpdate(k store.Key, n uint8, targets []ring.ID, fn store.UpdateFunc) (store.Result, error)
	// StandApply is Store.Apply for a record that is kept for one owner.
	StandApply(k store.Key, incoming version.Record, target ring.ID) (store.Result, error)
	// StandGet is what is held of the key for others, and on the disk; false if nothing.
	StandGet(k store.Key) (version.Record, bool, error)
}

// Repairer runs repairs in the background, as many at a time as it sees fit.
type Repairer interface {
	// Repair takes on a repair that holds so many bytes of values, or reports that there is no room for it. It does not block. The ctx that run gets has a
	// deadline, by which run returns.
	Repair(bytes int64, run func(ctx context.Context)) bool
}

// View is one immutable snapshot of who owns what and who answers.
type View struct {
	Rings  *layouts.View // which layouts are live; nil until this node has founded or met a cluster
	Layout *ring.Layout  // the newest placement: for fallbacks, and the number of partitions; nil iff Rings is
	Digest uint64        // of Rings: every request carries it
	Self   ring.ID
	Peers  map[ring.ID]Peer // every present member, and every owner of a live layout; one that is lost is Down
}

// Peer is what a View knows of one member.
type Peer struct {
	Name, Zone string
	Down       bool // gossip says dead, or our own calls do
}

// Config holds the numbers of a Coordinator.
type Config struct {
	Name           string
	Inline         int              // bytes of values that ride along in read replies of replicas other than the nearest
	MaxTries       int              // versions that one write may make: the first, and those that had to beat a higher stamp or n
	RetryPause     time.Duration    // between tries after a refusal because the views differ, when it was not the first
	SessionRetries int              // rounds of reading again for a context that is not met yet
	MaxMissed      int              // keys remembered per owner that missed a write
	MaxOwnReads    int              // reads that wait for this node's own store; beyond it they count on the others
	Now            func() time.Time // this node's wall clock, for stamps alone
	Rand           func() float64   // draws how long each pause is, uniform in [0,1); called from several goroutines
	// Slow is the time after which an answer of a peer is unusually late, 0 if that is not known; nil: of none it is.
	Slow func(ring.ID) time.Duration
}

// soonTries is how many pauses are shorter than RetryPause: the first is a sixteenth of it.
const soonTries = 4

// DefaultConfig returns the numbers that the product runs with.
func DefaultConfig() Config {
	return Config{
		Inline:         4 << 10, // below this a second round trip costs more CPU than the bytes
		MaxTries:       4,       // each needs yet another concurrent writer with a clock ahead
		RetryPause:     20 * time.Millisecond,
		SessionRetries: 4,
		MaxMissed:      100_000, // ≈ 10 MB per owner with keys of 20 bytes, 110 MB with the longest
		MaxOwnReads:    4096,    // as many as requests of clients are at work; more only wait for a disk that hangs
		Now:            time.Now,
		Rand:           rand.Float64,
	}
}

// Coordinator runs client requests over the replicas of their keys, and answers other coordinators as a replica.
// It is safe for concurrent use.
type Coordinator struct {
	cfg    Config
	store  Store
	send   Sender
	member Membership
	repair Repairer
	hands  HandOffs
	hlc    *version.HLC
	log    *slog.Logger
	missed *missed
	pace   *pace
	hedges allowance
	timers timers
	heard  heard
	drain  atomic.Bool
	Stats  Stats

	// unsynced and storeErrs bound what the log is told of a disk that is dead: every write fails on it.
	unsynced, storeErrs *ration.Ration

	ownReads atomic.Int64 // that wait for the store, or for its disk
}

// logPause is between two lines about one kind of failure.
const logPause = time.Second

// New returns a Coordinator. It starts no goroutine.
func New(cfg Config, s Store, send Sender, m Membership, hlc *version.HLC, log *slog.Logger) *Coordinator {
	c := &Coordinator{cfg: cfg, store: s, send: send, member: m, hlc: hlc, log: log, missed: newMissed(cfg.MaxMissed), pace: newPace(cfg.Inline),
		unsynced: ration.New(logPause), storeErrs: ration.New(logPause)}
	c.hedges.parts.Store(hedgeShare * hedgeBurst)
	return c
}

// Drain makes this node refuse, for good, the writes that other nodes hand to it; as a replica it goes on. It is for the end of a node's
// life: those that are under way need to have their answers out before the connections close.
func (c *Coordinator) Drain() { c.drain.Store(true) }

// SetRepairer wires read repair; without it reads repair nothing. Call it before the first request.
func (c *Coordinator) SetRepairer(r Repairer) { c.repair = r }

// SetHandOffs makes this node stand in for others; without it it refuses to. Call it before the first request.
func (c *Coordinator) SetHandOffs(h HandOffs) { c.hands = h }

// Missed returns how many versions the owner is known to lack, by this node's own requests, and since when it has lacked some.
func (c *Coordinator) Missed(id ring.ID) (versions int, since time.Time) { return c.missed.count(id) }

// ForgetMissed says that it is known from elsewhere now what the owner lacks. It returns since when it has lacked something.
func (c *Coordinator) ForgetMissed(id ring.ID) time.Time { return c.missed.forget(id) }

// slot is one replica of one request.
type slot struct {
	id      ring.ID
	name    string
	sent    time.Time
	elapsed time.Duration
	outcome Outcome // "" while it has not answered
	detail  string
	behind  int
	rec     version.Record // read
}

func (s *slot) replica() Replica {
	return Replica{Name: s.name, Outcome: s.outcome, Detail: s.detail, Elapsed: s.elapsed, Behind: s.behind}
}

// fanout is what reads and writes share: the replicas of one request and how they have answered so far. Callbacks of
// the transport and of the store, and the waiting request, meet under mu.
type fanout struct {
	mu     sync.Mutex
	slots  []slot
	left   int           // slots that have not answered
	wake   chan struct{} // capacity 1: something changed
	again  ack           // the largest stamp and n that replicas reported above the write's
	remake bool          // a replica's view differs from ours: resolve the view again
	frozen bool          // a replica is between two views
	closed bool          // the request is over; later answers only feed repair and counters
	held   ring.ID       // the node whose sync everybody else is sent a write after; zero once they were

	asked   int             // the answers that the level asks for, in the layout that asks for most: what the result reports
	standby *standby        // the fallbacks; nil unless they may stand in
	beside  *version.Record // read: what fallbacks hold that were asked for a context's sake

	few [usualN]slot // holds slots where it is enough: one allocation less
}

// usualN is the number of owners that most requests have.
const usualN = 3

// begin lays out the owners of a key.
func (f *fanout) begin(v *View, owners []ring.ID, now time.Time) {
	f.left, f.wake = len(owners), make(chan struct{}, 1)
	if f.slots = f.few[:]; len(owners) <= usualN {
		f.slots = f.slots[:len(owners)]
	} else {
		f.slots = make([]slot, len(owners))
	}
	for i, id := range owners {
		f.slots[i] = slot{id: id, name: v.Peers[id].Name, sent: now}
	}
}

func (f *fanout) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// answer records how node i answered. The caller holds f.mu.
func (f *fanout) answer(i int, o Outcome, detail string, now time.Time) *slot {
	s := f.at(i)
	s.outcome, s.detail, s.elapsed = o, detail, now.Sub(s.sent)
	f.left--
	return s
}

// replicas lists the slots for the client: those that answered, or all of them when the request failed.
func (f *fanout) replicas(all bool, now time.Time) []Replica {
	out := make([]Replica, 0, len(f.slots))
	for i := range f.slots {
		r := f.slots[i].replica()
		if r.Outcome == "" {
			if !all {
				continue
			}
			r.Outcome, r.Detail, r.Elapsed = OutcomeTimeout, undecidedDetail, now.Sub(f.slots[i].sent)
			switch {
			case f.slots[i].id == f.held:
				r.Detail = "its disk has not confirmed the write"
			case !f.held.IsZero():
				r.Outcome, r.Detail = OutcomeNotSent, ""
			}
		}
		out = append(out, r)
	}
	return append(out, f.standInReplicas(all, now)...)
}

const (
	undecidedDetail = "no answer when the request was decided"
	downDetail      = "known to be down"
)

// classify turns a failed call into an outcome; ok is true for an answer of the replica's own code.
func classify(r *transport.Response) (o Outcome, detail string, ok bool) {
	switch {
	case r.Err == nil && r.Status == transport.StatusOK:
		return OutcomeOK, "", true
	case r.Err == nil:
		return classifyStatus(r)
	case errors.Is(r.Err, transport.ErrTimeout):
		return OutcomeTimeout, "no answer in time", false
	case !r.Sent:
		return OutcomeUnreachable, r.Err.Error(), false
	}
	return OutcomeError, r.Err.Error(), false
}

func classifyStatus(r *transport.Response) (Outcome, string, bool) {
	switch r.Status {
	case statusLayout:
		return OutcomeRefused, "it sees other layouts", true
	case statusSiblings:
		return OutcomeRefused, "it holds siblings of a lower n", true
	case statusNoSpace:
		return OutcomeRefused, "its disk is full", true
	case statusDraining:
		return OutcomeRefused, "it is shutting down", true
	case statusFrozen:
		return OutcomeRefused, "it is starting, or taking a change of the layouts in", true
	case statusTooLarge:
		return OutcomeRefused, "the record would be too large", true
	case statusHandOffSpace:
		return OutcomeRefused, "its space for hand-offs is full", true
	case statusBad:
		return OutcomeRefused, string(r.Body), true
	case statusIO:
		return OutcomeError, string(r.Body), true
	case transport.StatusOverloaded:
		return OutcomeRefused, "overloaded", true
	case transport.StatusUnknownKind:
		return OutcomeRefused, "it does not know the request", true
	}
	return OutcomeError, fmt.Sprintf("status %d", r.Status), true
}

// wait blocks until the fan-out changed, and reports false when the time of the request is up.
func (f *fanout) wait(ctx context.Context, timer *time.Timer) bool {
	select {
	case <-f.wake:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// pause waits for what has been refused to be merged, which takes some milliseconds or, across a bad network, much longer: for the more, up to RetryPause, the more tries
// there were. It returns false when the time is up.
func (c *Coordinator) pause(ctx context.Context, deadline time.Time, tries int) bool {
	d := c.cfg.RetryPause >> max(0, soonTries-tries)
	d = d/2 + time.Duration(c.cfg.Rand()*float64(d))
	if time.Until(deadline) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// checkToken refuses a context that names writes of this node that never were: a dot that this node is still to use
// would look superseded.
func (c *Coordinator) checkToken(p ring.Partition, t *version.Token) bool {
	if t == nil {
		return true
	}
	for _, e := range t.Vector.Entries() {
		if issued, own := c.store.Issued(p, e.Actor); own && e.Highest() > issued {
			return false
		}
	}
	return true
}
