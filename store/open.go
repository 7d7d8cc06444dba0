package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/version"
)

// lockDir creates the directory and takes its lock, which is held over all epochs.
func lockDir(o *Options) (*pebble.Lock, error) {
	if err := makeDir(o); err != nil {
		return nil, diskError("create the directory "+o.Dir, err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		if disk := diskError("lock "+o.Dir, err); !errors.Is(disk, ErrIO) {
			return nil, disk
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrLocked, o.Dir, err)
	}
	if err := probe(o); err != nil {
		_ = lock.Close()
		if errors.Is(err, ErrNoSpace) {
			return nil, fmt.Errorf("%w; nothing is lost: make room there, and start again", err)
		}
		return nil, err
	}
	return lock, nil
}

// makeDir makes the directory and every one above it, each of them to stay after a crash.
func makeDir(o *Options) error {
	var missing []string
	dir := o.Dir
	for ; ; dir = o.FS.PathDir(dir) {
		if _, err := o.FS.Stat(dir); err == nil || dir == o.FS.PathDir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	if err := o.FS.MkdirAll(o.Dir, 0o750); err != nil {
		return err
	}
	for _, dir := range missing {
		if err := syncDir(o.FS, o.FS.PathDir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// probe reports whether the directory takes writes, by one.
func probe(o *Options) error {
	name := o.FS.PathJoin(o.Dir, "probe.tmp")
	f, err := o.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		err = firstError(err, f.Sync(), f.Close(), o.FS.Remove(name))
	}
	if err != nil {
		return diskError("write to the directory "+o.Dir, err)
	}
	return nil
}

// openEpoch opens the database behind a new gate, loads its clocks and draws an actor.
func (s *Store) openEpoch() (*epoch, error) {
	e := &epoch{opts: &s.opts, gate: newGate(s.opts.FS, s.tableFailed), parts: make([]partition, s.opts.Partitions), pending: newPending(),
		completions: newCompletions(), cache: newCache(s.opts.RecordCache, s.opts.Partitions), stats: &s.stats, idle: make(chan struct{}),
		snaps: snapshots{open: make(map[*Snapshot]struct{})}}
	db, err := pebble.Open(s.opts.Dir, pebbleOptions(&s.opts, e.gate, &s.stats, s.lock, &e.pending.unsynced))
	if err != nil {
		e.gate.beginClose()
		return nil, openError(s.opts.Dir, firstError(e.gate.err(), err))
	}
	e.db = db
	go e.completions.run() // until retire
	err = firstError(e.loadClocks(), e.loadHeld(), e.loadHandOffs())
	if err == nil {
		s.empty.Store(e.isEmpty())
		err = firstError(s.identify(e), e.gate.err())
	}
	if err != nil {
		return nil, errors.Join(openError(s.opts.Dir, err), e.retire())
	}
	for e.actor == 0 || e.knows(e.actor) {
		e.actor = version.ActorID(s.opts.Rand())
	}
	for e.stand == 0 || e.stand == e.actor || e.knows(e.stand) {
		e.stand = version.ActorID(s.opts.Rand())
	}
	if mutation.ReuseDot {
		e.actor = version.ActorID(binary.BigEndian.Uint64(s.identity.incarnation[:]))
		e.goOn()
	}
	return e, nil
}

// openError makes one of this package's errors of what opening met.
func openError(dir string, err error) error {
	for _, own := range []error{ErrIO, ErrNoSpace, ErrReadOnly, ErrFormat, ErrCorrupt} {
		if errors.Is(err, own) {
			return fmt.Errorf("open %s: %w", dir, err)
		}
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: open %s: %w", ErrCorrupt, dir, err)
	}
	return diskError("open "+dir, err)
}

// identify reads who the directory belongs to, or makes it somebody's; and counts the start if this is one.
func (s *Store) identify(e *epoch) error {
	values, err := loadMetas(e.db)
	if err != nil {
		return err
	}
	id, found, err := decodeIdentity(values)
	if err != nil {
		return err
	}
	if found && id.partitions != s.opts.Partitions {
		return fmt.Errorf("%w: the data has %d partitions, not %d: a cluster's number of partitions cannot change", ErrFormat, id.partitions, s.opts.Partitions)
	}
	if !found {
		if len(values) > 0 || !s.empty.Load() {
			return fmt.Errorf("%w: data without an incarnation", ErrCorrupt)
		}
		id.partitions = s.opts.Partitions
		for id.incarnation.IsZero() {
			binary.BigEndian.PutUint64(id.incarnation[:8], s.opts.Rand())
			binary.BigEndian.PutUint64(id.incarnation[8:], s.opts.Rand())
		}
	}
	if !s.identified {
		id.starts++
		b := e.db.NewBatch()
		id.set(b)
		if err := e.sync(b); err != nil {
			return err
		}
		s.identity, s.fresh, s.identified = id, !found, true
	} else if id.incarnation != s.identity.incarnation {
		return fmt.Errorf("%w: the directory now belongs to incarnation %v, not %v", ErrCorrupt, id.incarnation, s.identity.incarnation)
	}
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	s.meta.values = values
	return nil
}

func (e *epoch) isEmpty() bool {
	for i := range e.parts {
		if !e.parts[i].clock.IsEmpty() || e.parts[i].stand != nil {
			return false
		}
	}
	return true
}

// knows reports whether an actor has written here before.
func (e *epoch) knows(id version.ActorID) bool {
	for i := range e.parts {
		for _, entry := range e.parts[i].clock.Entries() {
			if entry.Actor.ID == id {
				return true
			}
		}
		if st := e.parts[i].stand; st != nil && st.knows(id) {
			return true
		}
	}
	return false
}

// goOn takes up the counters of the actor where the clocks end.
func (e *epoch) goOn() {
	for i := range e.parts {
		for _, entry := range e.parts[i].clock.Entries() {
			if entry.Actor.ID == e.actor {
				e.parts[i].use(entry.Actor.N, entry.Base)
			}
		}
	}
}

// Under load a short pause after a sync lets more writes share the next one, and their acknowledgements one packet: 8 % more writes
// per CPU-second with 64 writers on three nodes, and a lower latency with it. A few writers would only wait, so for them there is none.
const (
	crowd      = 8
	crowdPause = time.Millisecond
)

// pebbleOptions are the same for tests and the binary.
func pebbleOptions(o *Options, g *gate, stats *counters, lock *pebble.Lock, unsynced *atomic.Int64) *pebble.Options {
	logger := pebbleLogger{log: o.Logger, gate: g}
	p := &pebble.Options{
		FS: g, Lock: lock, Logger: logger,
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          o.BlockCache,
		MemTableSize:       o.MemTable,
		// A burst may fill 15 memtables, 60 MiB, while the first is flushed; then writers wait.
		MemTableStopWritesThreshold: 16,
		// Flushes are small, so eight of them go into one compaction: half the bytes rewritten below, and a read of an absent key
		// still costs a few filters only. At more than 20 writers wait for the compactions.
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 20,
		// Beside the writers, one compaction on a machine of two cores, and a second one when L0 grows.
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 2 },
		// Beyond that, tables are opened and closed as they are needed.
		MaxOpenFiles: 1000,
		WALMinSyncInterval: func() time.Duration {
			if unsynced.Load() < crowd {
				return 0
			}
			return crowdPause
		},
	}
	for i := range p.Levels {
		// 10 bits a key: one in a hundred reads of an absent key opens a block in vain.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// What is flushed is soon rewritten.
	p.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	p.Levels[1].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	var failed atomic.Int64 // when work in the background failed last, in Unix nanoseconds
	p.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			stats.background.Add(1)
			o.Logger.Warn("store: work in the background failed, will be tried again", "err", err)
			failed.Store(time.Now().UnixNano())
			pauseTableStats()
		},
		TableCreated: func(info pebble.TableCreateInfo) { pauseCompaction(info.Reason, time.Unix(0, failed.Load())) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			stats.corrupt.Add(1)
			if left, ok := stats.damagedTable.Take(time.Now()); ok {
				o.Logger.Error("store: a table is damaged", "path", info.Path, "err", info.Details.Error(), "left_out", left)
			}
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			stats.stalls.Add(1)
			o.Logger.Warn("store: writes wait for flushes or compactions", "reason", info.Reason)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) { o.Logger.Warn("store: the disk is slow", "detail", info.String()) },
	}
	return p
}

// pebbleLogger hands Pebble's messages on. Its Fatalf must end what Pebble was doing and must not end the process: it cuts the
// database off from the disk and lets Pebble go on with what can do no more harm, until the store has closed it.
type pebbleLogger struct {
	log  *slog.Logger
	gate *gate
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("store: pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("store: pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Error("store: pebble gave up", "detail", text, "before", l.gate.err())
	l.gate.trip(fmt.Errorf("%w: %s", ErrIO, text), true)
}
