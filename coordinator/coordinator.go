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

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// Store is this node's own replica. All methods but Peek may block on the disk; Update, Apply and Mend return before the
// sync, and Result.Commit says when it is done.
type Store interface {
	Update(k store.Key, n uint8, fn store.UpdateFunc) (store.Result, error)
	Apply(k store.Key, incoming version.Record) (store.Result, error)
	Mend(k store.Key, incoming version.Record) (store.Result, error)
	Get(k store.Key) (version.Record, error)
	Peek(k store.Key) (version.Record, bool)
	Clock(p ring.Partition) version.Vector
	Actor() version.ActorID
}

// Sender moves messages to other nodes. Go copies body, never blocks, and calls done exactly once, from any goroutine.
type Sender interface {
	Go(to ring.ID, kind transport.Kind, body []byte, deadline time.Time, done func(transport.Response))
}

// Membership tells who owns what.
type Membership interface {
	// View returns the snapshot in force; it is never nil.
	View() *View
	// Enter lets one store operation run under the layout of hash. Leave must follow if, and only if, the answer is
	// Entered. It does not block for longer than a change of layout is being recorded.
	Enter(hash uint64) Entry
	Leave()
	// Table is this node's member table, encoded, for a peer whose layout differs. There is one once View has a layout.
	Table() []byte
	// Reconcile merges the member table of a peer that refused us, and sends it ours if that says more. It does not
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
	Frozen            // the node is starting, or a membership change is being decided: try again soon
	OtherLayout       // this node's layout is another one
)

// Repairer sends a record to owners that lack some of it. It never blocks; at its bound it drops and counts.
type Repairer interface {
	// Where values of rec are elided, the first of holders that answers supplies them.
	Repair(k store.Key, rec version.Record, to, holders []ring.ID)
}

// View is one immutable snapshot of who owns what and who answers.
type View struct {
	Layout *ring.Layout // nil until this node has founded or met a cluster
	Hash   uint64
	Self   ring.ID
	Peers  map[ring.ID]Peer // every member of the layout
}

// Peer is what a View knows of one member.
type Peer struct {
	Name    string
	Down    bool // gossip says dead, or our own calls do
	Gaining bool // counts for w and not for r
}

// Config holds the numbers of a Coordinator.
type Config struct {
	Name           string
	Inline         int              // bytes of values that ride along in read replies of replicas other than the nearest
	MaxTries       int              // versions that one write may make: the first, and those that had to beat a higher stamp or n
	RetryPause     time.Duration    // between tries while the membership is being decided
	SessionRetries int              // rounds of reading again for a context that is not met yet
	MaxMissed      int              // keys remembered per owner that missed a write
	Now            func() time.Time // this node's wall clock, for stamps alone
}

// DefaultConfig returns the numbers that the product runs with.
func DefaultConfig() Config {
	return Config{
		Inline:         4 << 10, // below this a second round trip costs more CPU than the bytes
		MaxTries:       4,       // each needs yet another concurrent writer with a clock ahead
		RetryPause:     20 * time.Millisecond,
		SessionRetries: 4,
		MaxMissed:      100_000, // ≈ 10 MB per owner with keys of 20 bytes, 110 MB with the longest
		Now:            time.Now,
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
	hlc    *version.HLC
	log    *slog.Logger
	missed *missed
	timers timers
	heard  heard
	drain  atomic.Bool
	Stats  Stats
}

// New returns a Coordinator. It starts no goroutine.
func New(cfg Config, s Store, send Sender, m Membership, hlc *version.HLC, log *slog.Logger) *Coordinator {
	return &Coordinator{cfg: cfg, store: s, send: send, member: m, hlc: hlc, log: log, missed: newMissed(cfg.MaxMissed)}
}

// Drain makes this node refuse, for good, the writes that other nodes hand to it; as a replica it goes on. It is for the end of a node's
// life: those that are under way need to have their answers out before the connections close.
func (c *Coordinator) Drain() { c.drain.Store(true) }

// SetRepairer wires read repair; without it reads repair nothing. Call it before the first request.
func (c *Coordinator) SetRepairer(r Repairer) { c.repair = r }

// Missed returns how many versions the owner is known to lack, by this node's own requests.
func (c *Coordinator) Missed(id ring.ID) int { return c.missed.count(id) }

// ForgetMissed says that it is known from elsewhere now what the owner lacks.
func (c *Coordinator) ForgetMissed(id ring.ID) { c.missed.forget(id) }

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
// the transport and the waiting request meet under mu.
type fanout struct {
	mu     sync.Mutex
	slots  []slot
	left   int           // slots that have not answered
	wake   chan struct{} // capacity 1: something changed
	again  ack           // the largest stamp and n that replicas reported above the write's
	remake bool          // a replica's layout differs from ours: resolve the view again
	frozen bool          // a replica waits for a membership decision
	closed bool          // the request was answered; later answers only feed repair and counters

	few [usualN]slot // holds slots where it is enough: one allocation less
}

// usualN is the number of owners that most requests have.
const usualN = 3

// begin lays out the owners of a key.
func (f *fanout) begin(v *View, owners []ring.ID, now time.Time) quorum.Group {
	f.left, f.wake = len(owners), make(chan struct{}, 1)
	if f.slots = f.few[:]; len(owners) <= usualN {
		f.slots = f.slots[:len(owners)]
	} else {
		f.slots = make([]slot, len(owners))
	}
	var g quorum.Group
	for i, id := range owners {
		p := v.Peers[id]
		f.slots[i] = slot{id: id, name: p.Name, sent: now}
		g.Owners = g.Owners.With(i)
		if !p.Gaining || mutation.CountGaining {
			g.Synced = g.Synced.With(i)
		}
	}
	return g
}

func (f *fanout) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// answer records how slot i answered. The caller holds f.mu.
func (f *fanout) answer(i int, o Outcome, detail string, now time.Time) *slot {
	s := &f.slots[i]
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
			r.Outcome, r.Detail, r.Elapsed = OutcomeTimeout, "no answer when the request was decided", now.Sub(f.slots[i].sent)
		}
		out = append(out, r)
	}
	return out
}

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
		return OutcomeRefused, "its member table differs", true
	case statusSiblings:
		return OutcomeRefused, "it holds siblings of a lower n", true
	case statusNoSpace:
		return OutcomeRefused, "its disk is full", true
	case statusDraining:
		return OutcomeRefused, "it is shutting down", true
	case statusFrozen:
		return OutcomeRefused, "it is starting, or a membership change is being decided", true
	case statusTooLarge:
		return OutcomeRefused, "the record would be too large", true
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

// pause waits a little for the membership to be decided; false when the time is up.
func (c *Coordinator) pause(ctx context.Context, deadline time.Time) bool {
	d := c.cfg.RetryPause/2 + rand.N(c.cfg.RetryPause)
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

// up counts the owners that may answer and, of them, those that count for reads.
func up(v *View, owners []ring.ID) (any, synced int) {
	for _, id := range owners {
		if p := v.Peers[id]; !p.Down || id == v.Self {
			any++
			if !p.Gaining {
				synced++
			}
		}
	}
	return any, synced
}

// checkToken refuses a context that names writes of this node that never were: a dot that this node is still to use
// would look superseded.
func (c *Coordinator) checkToken(p ring.Partition, t *version.Token) bool {
	if t == nil {
		return true
	}
	own := c.store.Actor()
	for _, e := range t.Vector.Entries() {
		if e.Actor.ID != own {
			continue
		}
		issued, _ := c.store.Clock(p).Entry(e.Actor)
		if e.Highest() > issued.Highest() {
			return false
		}
	}
	return true
}
