package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// spaceInterval: how soon a disk that others fill is noticed, and writes come back; a probe is one system call.
	spaceInterval = time.Second
	// tableQuiet is how long no write to a table must have failed before writes are taken again. Pebble tries about once a second.
	tableQuiet = 5 * time.Second
	// metaShare is the part of the floor below which SaveMeta is refused as well: what is left is for letting go of data, which is all that can make
	// room, and a log that fails for want of room would end that too.
	metaShare = 16
	// Between tries to reopen after a failure.
	minReopenPause = 20 * time.Millisecond
	maxReopenPause = 5 * time.Second
)

// space is what is known of the room on the disk.
type space struct {
	low    atomic.Pointer[error] // why writes are refused, nil if they are not
	scarce atomic.Pointer[error] // why SaveMeta is refused, nil if it is not
	tables atomic.Pointer[tableFailure]
	// A probe is due when this many bytes have been written in all.
	dueAt atomic.Uint64
	free  atomic.Uint64
}

type tableFailure struct {
	err error
	at  time.Time
}

func (sp *space) err() error {
	if err := sp.low.Load(); err != nil {
		return *err
	}
	return sp.tablesFail()
}

// metaErr is err for SaveMeta: the floor is for what clients write.
func (sp *space) metaErr() error {
	if err := sp.scarce.Load(); err != nil {
		return *err
	}
	return sp.tablesFail()
}

// tablesFail returns why flushes or compactions do not succeed. Writes are refused then: a few memtables later they would block.
func (sp *space) tablesFail() error {
	if f := sp.tables.Load(); f != nil {
		return f.err
	}
	return nil
}

func (sp *space) due(written uint64) bool { return written >= sp.dueAt.Load() }

// tableFailed is called by the gate.
func (s *Store) tableFailed(err error) {
	s.space.tables.Store(&tableFailure{err: err, at: time.Now()})
}

// checkSpace compares the free space with the floor.
func (s *Store) checkSpace() {
	floor := s.opts.FreeFloor
	usage, err := s.opts.FS.GetDiskUsage(s.opts.Dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		usage = vfs.DiskUsage{AvailBytes: 1 << 62, TotalBytes: 1 << 62}
	case err != nil:
		s.opts.Logger.Warn("store: the free space is not known", "dir", s.opts.Dir, "err", err)
		s.space.dueAt.Store(s.stats.written.Load() + floor/8)
		return
	}
	floor = min(floor, usage.TotalBytes/20)
	s.space.free.Store(usage.AvailBytes)
	// Between two probes less is written than an eighth of the floor, several times over with log, tables and compactions.
	s.space.dueAt.Store(s.stats.written.Load() + floor/8 + 1)
	if least := floor / metaShare; usage.AvailBytes < least {
		err := fmt.Errorf("%w: %d bytes are free in %s, the least is %d", ErrNoSpace, usage.AvailBytes, s.opts.Dir, least)
		s.space.scarce.Store(&err)
	} else {
		s.space.scarce.Store(nil)
	}
	low := s.space.low.Load()
	switch {
	case usage.AvailBytes < floor:
		err := fmt.Errorf("%w: %d bytes are free in %s, the floor is %d", ErrNoSpace, usage.AvailBytes, s.opts.Dir, floor)
		if s.space.low.Swap(&err) == nil {
			s.opts.Logger.Error("store: writes stop", "err", err)
		}
	case low != nil && usage.AvailBytes >= floor+floor/8: // not at the floor itself, or writes would come and go
		s.space.low.Store(nil)
		s.opts.Logger.Info("store: there is room again, writes are taken", "free", usage.AvailBytes)
	}
	if f := s.space.tables.Load(); f != nil && time.Since(f.at) > tableQuiet {
		s.space.tables.CompareAndSwap(f, nil)
	}
}

// supervise watches the disk and replaces an epoch that failed.
func (s *Store) supervise() {
	defer close(s.done)
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	for {
		e := s.cur.Load()
		select {
		case <-s.quit:
			return
		case <-tick.C:
			s.checkSpace()
		case <-e.gate.tripped:
			s.stats.failures.Add(1)
			s.opts.Logger.Error("store: the disk failed, the store is being reopened", "err", e.gate.err())
			if !s.reopen(e) {
				return
			}
		}
	}
}

// reopen replaces a failed epoch. As long as the disk takes no writes the failed one stays and answers reads; an opening that fails
// halfway leaves nothing that could. It returns false if the store was closed meanwhile.
func (s *Store) reopen(failed *epoch) bool {
	for pause := minReopenPause; ; pause = min(2*pause, maxReopenPause) {
		s.checkSpace()
		err := firstError(probe(&s.opts), s.space.err())
		if err == nil {
			if closeErr := failed.retire(); closeErr != nil {
				s.opts.Logger.Warn("store: closing after the failure", "err", closeErr)
			}
			var e *epoch
			if e, err = s.openEpoch(); err == nil {
				s.cur.Store(e)
				s.opts.Logger.Info("store: reopened", "actor", e.actor)
				return true
			}
		}
		s.opts.Logger.Warn("store: cannot be reopened yet", "err", err, "next_try", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.quit:
			timer.Stop()
			return false
		}
	}
}
