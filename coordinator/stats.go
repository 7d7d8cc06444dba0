package coordinator

import (
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
)

// Stats counts what a Coordinator has done since it was made. All fields only grow.
type Stats struct {
	Forwarded     atomic.Int64 // writes sent on to an owner
	Rewritten     atomic.Int64 // writes made again because a replica held a higher stamp or n
	LayoutRetries atomic.Int64 // requests sent again after member tables were merged
	Fetches       atomic.Int64 // values fetched in a second round trip
	StaleReplies  atomic.Int64 // read replies that lacked something
	MissedWrites  atomic.Int64 // replicas that did not confirm a write
	MissedDropped atomic.Int64 // of them, not remembered because of the bound
}

// missed remembers, per owner and up to a bound, the keys whose writes this node could not confirm there. It tells how
// far behind an owner is until a comparison of clocks measures it.
type missed struct {
	mu   sync.Mutex
	max  int
	keys map[ring.ID]map[store.Key]int
	any  atomic.Bool // no owner ever missed anything: the hot path looks no further
}

func newMissed(max int) *missed {
	return &missed{max: max, keys: make(map[ring.ID]map[store.Key]int)}
}

// add notes one missed version; false when the bound is reached.
func (m *missed) add(id ring.ID, k store.Key) bool {
	m.any.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	set := m.keys[id]
	if set == nil {
		set = make(map[store.Key]int)
		m.keys[id] = set
	}
	if _, known := set[k]; !known && len(set) >= m.max {
		return false
	}
	set[k]++
	return true
}

// clear forgets a key once the owner has confirmed a whole record of it.
func (m *missed) clear(id ring.ID, k store.Key) {
	if !m.any.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if set := m.keys[id]; set != nil {
		delete(set, k)
		if len(set) == 0 {
			delete(m.keys, id)
		}
	}
}

// forget drops what is remembered of an owner.
func (m *missed) forget(id ring.ID) {
	if !m.any.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, id)
}

func (m *missed) count(id ring.ID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, missing := range m.keys[id] {
		n += missing
	}
	return n
}
