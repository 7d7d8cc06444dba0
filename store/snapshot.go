package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Snapshot is one moment of one partition: records, log and clock of a state that is wholly on the disk. It holds back the deletion of
// what compactions have replaced, so it must be closed; it ends by itself when the store is closed or reopened. It is safe for
// concurrent use.
type Snapshot struct {
	epoch     *epoch
	partition ring.Partition
	clock     version.Vector

	mu sync.Mutex // held while a page is read, so that nothing is closed under it
	db *pebble.Snapshot
}

// snapshots are those of an epoch that are open.
type snapshots struct {
	mu   sync.Mutex
	open map[*Snapshot]struct{}
}

// Snapshot takes the present moment of a partition, and waits until it is on the disk.
func (s *Store) Snapshot(p ring.Partition) (*Snapshot, error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	if int(p) >= len(e.parts) {
		return nil, fmt.Errorf("%w: partition %d of %d", ErrKey, p, len(e.parts))
	}
	part := &e.parts[p]
	part.mu.RLock()
	snap := &Snapshot{epoch: e, partition: p, clock: part.clock.Clone(), db: e.db.NewSnapshot()}
	last := part.last
	part.mu.RUnlock()
	e.snaps.mu.Lock()
	e.snaps.open[snap] = struct{}{}
	e.snaps.mu.Unlock()
	if err := last.Wait(); err != nil {
		return nil, firstError(err, snap.end())
	}
	return snap, nil
}

// Clock is the partition's clock at that moment. The caller must not change it.
func (s *Snapshot) Clock() version.Vector { return s.clock }

// Close gives the snapshot up. The second time it does nothing.
func (s *Snapshot) Close() error {
	if !s.epoch.enter() {
		return nil // the epoch ends it
	}
	defer s.epoch.leave()
	return s.end()
}

// end closes the snapshot of a database that is open.
func (s *Snapshot) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	s.epoch.snaps.mu.Lock()
	delete(s.epoch.snaps.open, s)
	s.epoch.snaps.mu.Unlock()
	return db.Close()
}

// endSnapshots closes what is open when the epoch's last caller has left.
func (e *epoch) endSnapshots() error {
	e.snaps.mu.Lock()
	left := make([]*Snapshot, 0, len(e.snaps.open))
	for s := range e.snaps.open {
		left = append(left, s)
	}
	e.snaps.mu.Unlock()
	var err error
	for _, s := range left {
		err = firstError(err, s.end())
	}
	return err
}

// Wanted says which versions of a snapshot another store asks for: those with an n of Least or more whose dots Known does not cover.
type Wanted struct {
	Known version.Vector
	Least uint8
}

// wants reports whether a live version's dot is asked for.
func (w *Wanted) wants(d version.Dot) bool { return d.Actor.N >= w.Least && !w.Known.Covers(d) }

// Page calls fn for the records of which a version is wanted, in the order of the log (n, actor, counter), each once, beginning after
// the dot from (the zero dot: at the beginning), until fn returns false. It returns the last dot that fn was called for, to go on from,
// and whether it came to the end. Records are whole and in full form, filled by the snapshot's clock; they may be kept.
func (s *Snapshot) Page(w Wanted, from version.Dot, fn func(k Key, r version.Record) bool) (last version.Dot, end bool, err error) {
	if !s.epoch.enter() {
		return from, false, firstError(s.epoch.gate.err(), ErrClosed)
	}
	defer s.epoch.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return from, false, ErrClosed
	}
	lower, upper := s.logRange(w.Least, from)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return from, false, diskError("read the log", err)
	}
	last, end, err = s.page(it, &w, from, fn)
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.epoch.readError(Key{Partition: s.partition}, closeErr)
	}
	return last, end, err
}

func (s *Snapshot) page(it *pebble.Iterator, w *Wanted, last version.Dot, fn func(Key, version.Record) bool) (version.Dot, bool, error) {
	for ok := it.First(); ok; {
		_, dot, parsed := parseLogKey(it.Key())
		if !parsed {
			return last, false, s.corrupt(fmt.Sprintf("log key %x", it.Key()))
		}
		if w.Known.Covers(dot) {
			known, _ := w.Known.Entry(dot.Actor)
			ok = it.SeekGE(logKeyAfter(s.partition, dot.Actor, runEnd(known, dot.Counter)))
			continue
		}
		k, r, err := s.logged(it, dot)
		if err != nil {
			return last, false, err
		}
		if w.first(&r) == dot {
			last = dot
			if !fn(k, r.Fill(s.clock)) {
				return last, false, nil
			}
		}
		ok = it.Next()
	}
	if err := it.Error(); err != nil {
		return last, false, s.epoch.readError(Key{Partition: s.partition}, err)
	}
	return last, true, nil
}

// logged reads the record that a log entry names.
func (s *Snapshot) logged(it *pebble.Iterator, dot version.Dot) (Key, version.Record, error) {
	name, err := it.ValueAndErr()
	if err != nil {
		return Key{}, version.Record{}, s.epoch.readError(Key{Partition: s.partition}, err)
	}
	if len(name) == 0 || name[0] != valueFormat {
		return Key{}, version.Record{}, s.corrupt(fmt.Sprintf("log entry %v: %x", dot, name))
	}
	enc := make([]byte, 0, len(name)+2)
	enc = append(enc, prefixRecord, byte(s.partition>>8), byte(s.partition))
	enc = append(enc, name[1:]...)
	k, ok := parseRecordKey(enc)
	if !ok {
		return Key{}, version.Record{}, s.corrupt(fmt.Sprintf("log entry %v: %x", dot, name))
	}
	r, err := readRecord(s.db, enc)
	if errors.Is(err, pebble.ErrNotFound) {
		return k, version.Record{}, s.corrupt(fmt.Sprintf("log entry %v names %q of bucket %q, which is not there", dot, k.Key, k.Bucket))
	}
	if err != nil {
		return k, version.Record{}, s.epoch.readError(k, err)
	}
	if !r.Has(dot) {
		return k, version.Record{}, s.corrupt(fmt.Sprintf("log entry %v names %q of bucket %q, which has no such version", dot, k.Key, k.Bucket))
	}
	return k, r, nil
}

func (s *Snapshot) corrupt(what string) error {
	return s.epoch.readError(Key{Partition: s.partition}, fmt.Errorf("%w: %s", ErrCorrupt, what))
}

// first is the wanted dot of a record that comes first in the log: the record is sent there, and not again.
func (w *Wanted) first(r *version.Record) version.Dot {
	var first version.Dot
	for i := range r.Versions {
		d := r.Versions[i].Dot
		if w.wants(d) && (first.Counter == 0 || compareLogged(d, first) < 0) {
			first = d
		}
	}
	return first
}

// compareLogged is the order of the log, in which n comes first.
func compareLogged(a, b version.Dot) int {
	if a.Actor.N != b.Actor.N {
		return int(a.Actor.N) - int(b.Actor.N)
	}
	return a.Compare(b)
}

// logRange bounds the partition's log from n = least on, after the dot from.
func (s *Snapshot) logRange(least uint8, from version.Dot) (lower, upper []byte) {
	lower = []byte{prefixLog, byte(s.partition >> 8), byte(s.partition), least}
	if from.Counter > 0 {
		lower = logKeyAfter(s.partition, from.Actor, from.Counter)
	}
	return lower, afterPrefix([]byte{prefixLog, byte(s.partition >> 8), byte(s.partition)})
}
