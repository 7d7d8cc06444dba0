package store

import (
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/ration"
)

// counters are kept over all epochs.
type counters struct {
	commits, written, corrupt, failures, background, stalls, crowded atomic.Uint64
	// Each read of damaged data finds it anew; the log is told of a record and of a table once in logPause.
	damagedRecord, damagedTable *ration.Ration
}

const logPause = time.Second

// Stats is a snapshot of the store's counters and sizes.
type Stats struct {
	Commits          uint64 // batches of records handed to the log since Open
	Written          uint64 // bytes of keys and records in them
	Pending          int    // keys with a write that is not on the disk yet, or never will be since it failed
	CacheHits        uint64 // of the record cache, since the last reopening
	CacheMisses      uint64
	CacheBytes       int64
	Corrupt          uint64 // damaged records and tables met
	Failures         uint64 // times the disk failed and the store was reopened
	BackgroundErrors uint64 // flushes and compactions that failed and were tried again
	Stalls           uint64 // times writers had to wait for flushes or compactions
	FreeBytes        uint64 // on the disk, at the last probe
	DiskBytes        uint64 // used by the store, log included
	MemTableBytes    uint64
	ReadAmp          int // tables that a read of a key may have to look into
}

// Stats returns how the store is doing. It takes a lock of Pebble's: ask once a second, not with every request.
func (s *Store) Stats() Stats {
	st := Stats{Commits: s.stats.commits.Load(), Written: s.stats.written.Load(), Corrupt: s.stats.corrupt.Load(),
		Failures: s.stats.failures.Load(), BackgroundErrors: s.stats.background.Load(), Stalls: s.stats.stalls.Load(),
		FreeBytes: s.space.free.Load()}
	e, err := s.enterRead()
	if err != nil {
		return st
	}
	defer e.leave()
	st.Pending = e.pending.count()
	st.CacheHits, st.CacheMisses, st.CacheBytes = e.cache.stats()
	m := e.db.Metrics()
	st.DiskBytes, st.MemTableBytes, st.ReadAmp = m.DiskSpaceUsage(), m.MemTable.Size, m.ReadAmp()
	return st
}
