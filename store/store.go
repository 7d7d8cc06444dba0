package store

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/internal/ration"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Store is one node's replica of everything that it owns. It is safe for concurrent use.
type Store struct {
	opts  Options
	lock  *pebble.Lock
	stats counters
	meta  metas
	space space

	// cur is the epoch in force. It may have failed, then it answers reads if it can; and it may be closed, then nothing.
	cur    atomic.Pointer[epoch]
	closed atomic.Bool
	// empty: there was no trace of a record when the epoch was opened.
	empty atomic.Bool
	// quit ends the supervisor, done is closed when it has.
	quit, done chan struct{}

	// Written by Open only.
	identity          identity
	fresh, identified bool
}

// Open opens the store in a directory, and makes one if there is none. Its errors wrap ErrLocked, ErrReadOnly, ErrNoSpace, ErrFormat,
// ErrCorrupt or ErrIO.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	lock, err := lockDir(&o)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, lock: lock, quit: make(chan struct{}), done: make(chan struct{}),
		stats: counters{damagedRecord: ration.New(logPause), damagedTable: ration.New(logPause)}}
	e, err := s.openEpoch()
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	s.cur.Store(e)
	s.checkSpace()
	go s.supervise()
	return s, nil
}

// Close waits for the calls that are running, and closes the store. Writes that were not waited for are on the disk then, unless it
// failed. Calls that come later return ErrClosed.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	close(s.quit)
	<-s.done
	e := s.cur.Load()
	if err := s.space.tablesFail(); err != nil {
		// A flush that cannot succeed may hold back writers that hold back the closing. So the disk is left as by a crash.
		e.gate.trip(err, false)
	}
	err := e.retire()
	if failure := e.gate.err(); failure != nil {
		err = failure
	}
	if unlockErr := s.lock.Close(); err == nil && unlockErr != nil {
		err = diskError("unlock "+s.opts.Dir, unlockErr)
	}
	return err
}

// Incarnation names this life of the directory: it was drawn when the store was made and is part of the data.
func (s *Store) Incarnation() ring.ID { return s.identity.incarnation }

// Fresh reports whether this Open made the store.
func (s *Store) Fresh() bool { return s.fresh }

// Starts counts the Opens of this directory, this one included.
func (s *Store) Starts() uint64 { return s.identity.starts }

// Actor is the writer of new dots. It is drawn anew by every Open, and by every reopening after a disk failure.
func (s *Store) Actor() version.ActorID { return s.cur.Load().actor }

// StandActor is the writer of new dots where this node coordinates in the place of owners. It is drawn as Actor is.
func (s *Store) StandActor() version.ActorID { return s.cur.Load().stand }

// Empty reports whether the store held no record when it was opened, and was given none since.
func (s *Store) Empty() bool { return s.empty.Load() && s.stats.commits.Load() == 0 }

// Writable returns nil if writes are taken, and else why not: ErrNoSpace, ErrReadOnly, ErrIO or ErrClosed. Writes come back by
// themselves when the reason has gone.
func (s *Store) Writable() error {
	e, err := s.enterWrite()
	if err == nil {
		e.leave()
	}
	return err
}

// enterRead lets a call into the epoch in force. The caller must leave it.
func (s *Store) enterRead() (*epoch, error) {
	e := s.cur.Load()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if !e.enter() {
		return nil, firstError(e.gate.err(), ErrClosed)
	}
	if e.gate.isFatal() {
		e.leave()
		return nil, e.gate.err()
	}
	return e, nil
}

// enterWrite does the same for a call that writes.
func (s *Store) enterWrite() (*epoch, error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, err
	}
	if s.space.due(s.stats.written.Load()) {
		s.checkSpace()
	}
	if err := firstError(e.gate.err(), s.space.err()); err != nil {
		e.leave()
		return nil, err
	}
	return e, nil
}
