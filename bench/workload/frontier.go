package workload

import (
	"sync"
	"sync/atomic"
)

// Frontier numbers new keys, and knows up to which one all are written. It is safe for concurrent use, and holds a record of each insert that
// ended while an earlier one had not: no more than there are connections.
type Frontier struct {
	exist atomic.Uint64 // all keys below are written, or were tried

	mu    sync.Mutex
	next  uint64
	ended map[uint64]bool // at or above exist
}

// NewFrontier begins after the keys that exist.
func NewFrontier(exist uint64) *Frontier {
	f := &Frontier{next: exist, ended: map[uint64]bool{}}
	f.exist.Store(exist)
	return f
}

// Take returns the number of a new key. The caller owes an End for it.
func (f *Frontier) Take() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.next - 1
}

// End tells that the insert of a key has ended, well or not: one that failed must not hold all later keys back.
func (f *Frontier) End(key uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended[key] = true
	exist := f.exist.Load()
	for f.ended[exist] {
		delete(f.ended, exist)
		exist++
	}
	f.exist.Store(exist)
}

// Exist is how many keys may be read.
func (f *Frontier) Exist() uint64 { return f.exist.Load() }
