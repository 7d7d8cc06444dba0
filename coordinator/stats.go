package coordinator

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
)

// Stats counts what a Coordinator has done since it was made. All fields only grow.
type Stats struct {
	Forwarded     atomic.Int64 // writes sent on to an owner
	StoodIn       atomic.Int64 // writes coordinated as a fallback
	StandIns      atomic.Int64 // fallbacks asked in the place of owners
	Rewritten     atomic.Int64 // writes made again because a replica held a higher stamp or n
	LayoutRetries atomic.Int64 // requests sent again under a newer view
	Fetches       atomic.Int64 // values fetched in a second round trip
	StaleReplies  atomic.Int64 // read replies that lacked something
	MissedWrites  atomic.Int64 // replicas that did not confirm a write
	MissedDropped atomic.Int64 // of them, not remembered because of the bound

	Repairs          RepairStats
	Hedges           atomic.Int64 // values asked for again because a replica was late
	HedgesWon        atomic.Int64 // of them, those that brought the value first
	HedgesSuppressed atomic.Int64 // not sent, as too many had been
}

// RepairStats counts repairs, one for each owner that a read found to lack something.
type RepairStats struct {
	counts   [quorum.Causes][repairOutcomes]atomic.Int64
	minority atomic.Int64
}

// repairOutcome is what became of a repair.
type repairOutcome uint8

const (
	repairOK       repairOutcome = iota // it is durable there
	repairFailed                        // the owner did not confirm it, or a value could not be fetched
	repairDropped                       // there was no room in the queue
	repairUnneeded                      // the owner had got it meanwhile
	repairOutcomes
)

var repairOutcomeNames = [repairOutcomes]string{"ok", "failed", "dropped", "unneeded"}

func (s *RepairStats) note(l lack, o repairOutcome) {
	s.counts[l.cause][o].Add(1)
	if l.minority && o == repairOK {
		s.minority.Add(1)
	}
}

// Each calls fn with every count.
func (s *RepairStats) Each(fn func(cause quorum.Cause, outcome string, count int64)) {
	for cause := range s.counts {
		for o := range s.counts[cause] {
			fn(quorum.Cause(cause), repairOutcomeNames[o], s.counts[cause][o].Load())
		}
	}
}

// Minority counts the repairs that succeeded with a version which fewer than half of the replies held.
func (s *RepairStats) Minority() int64 { return s.minority.Load() }

// missed remembers, per owner and up to a bound, the keys whose writes this node could not confirm there. It tells how
// far behind an owner is until a comparison of clocks measures it.
type missed struct {
	mu  sync.Mutex
	max int
	by  map[ring.ID]missedBy
	any atomic.Bool // no owner ever missed anything: the hot path looks no further
}

// missedBy is what one owner missed, and since when it has missed something.
type missedBy struct {
	keys  map[store.Key]int
	since time.Time
}

func newMissed(max int) *missed {
	return &missed{max: max, by: make(map[ring.ID]missedBy)}
}

// add notes one missed version; false when the bound is reached.
func (m *missed) add(id ring.ID, k store.Key) bool {
	m.any.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	set, known := m.by[id]
	if !known {
		set = missedBy{make(map[store.Key]int), time.Now()}
		m.by[id] = set
	}
	if _, known := set.keys[k]; !known && len(set.keys) >= m.max {
		return false
	}
	set.keys[k]++
	return true
}

// clear forgets a key once the owner has confirmed a whole record of it.
func (m *missed) clear(id ring.ID, k store.Key) {
	if !m.any.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if set, known := m.by[id]; known {
		delete(set.keys, k)
		if len(set.keys) == 0 {
			delete(m.by, id)
		}
	}
}

// forget drops what is remembered of an owner, and returns since when it has missed something; zero: nothing was remembered.
func (m *missed) forget(id ring.ID) time.Time {
	if !m.any.Load() {
		return time.Time{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	since := m.by[id].since
	delete(m.by, id)
	return since
}

func (m *missed) count(id ring.ID) (versions int, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, missing := range m.by[id].keys {
		versions += missing
	}
	return versions, m.by[id].since
}
