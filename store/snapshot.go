package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Snapshot is one moment of some partitions: records, logs and clocks of a state that is wholly on the disk. It holds back the deletion of
// what compactions have replaced, so it must be closed; it ends by itself when the store is closed or reopened. It is safe for
// concurrent use.
type Snapshot struct {
	epoch  *epoch
	clocks map[ring.Partition]version.Vector

	mu sync.Mutex // held while a page is read, so that nothing is closed under it
	db *pebble.Snapshot
}

// snapshots are those of an epoch that are open.
type snapshots struct {
	mu   sync.Mutex
	open map[*Snapshot]struct{}
}

// Snapshot takes the present moment of some partitions, and waits until it is on the disk. For as long as it takes to begin, none of them
// is written to.
func (s *Store) Snapshot(partitions ...ring.Partition) (*Snapshot, error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	// In one order everywhere: a reader that waits for a lock behind a writer, and holds one that another such reader waits for, would never end.
	at := slices.Compact(slices.Sorted(slices.Values(partitions)))
	if n := len(at); n > 0 && int(at[n-1]) >= len(e.parts) {
		return nil, fmt.Errorf("%w: partition %d of %d", ErrKey, at[n-1], len(e.parts))
	}
	snap := &Snapshot{epoch: e, clocks: make(map[ring.Partition]version.Vector, len(at))}
	last := make([]*Commit, 0, len(at))
	for _, p := range at {
		part := &e.parts[p]
		part.mu.RLock()
		snap.clocks[p] = part.clock.Clone()
		last = append(last, part.last)
	}
	snap.db = e.db.NewSnapshot()
	for _, p := range at {
		e.parts[p].mu.RUnlock()
	}
	e.snaps.mu.Lock()
	e.snaps.open[snap] = struct{}{}
	e.snaps.mu.Unlock()
	for _, c := range last {
		if err := c.Wait(); err != nil {
			return nil, firstError(err, snap.end())
		}
	}
	return snap, nil
}

// Clock is a partition's clock at that moment, empty for a partition that the snapshot is not of. The caller must not change it.
func (s *Snapshot) Clock(p ring.Partition) version.Vector { return s.clocks[p] }

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

// Page calls fn for the records of a partition of which a version is wanted, in the order of the log (n, actor, counter), each once, beginning
// after the dot from (the zero dot: at the beginning), until fn returns false. It returns the last dot that fn was called for, to go on from,
// and whether it came to the end. Records are whole, and in stored form under the snapshot's clock: who sends one on has it filled by that
// clock, here or there. They may be kept.
func (s *Snapshot) Page(p ring.Partition, w Wanted, from version.Dot, fn func(k Key, r version.Record) bool) (last version.Dot, end bool, err error) {
	if !s.epoch.enter() {
		return from, false, firstError(s.epoch.gate.err(), ErrClosed)
	}
	defer s.epoch.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return from, false, ErrClosed
	}
	if _, held := s.clocks[p]; !held {
		return from, false, fmt.Errorf("%w: the snapshot is not of partition %d", ErrKey, p)
	}
	lower, upper := logRange(p, w.Least, from)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return from, false, diskError("read the log", err)
	}
	last, end, err = s.page(p, it, &w, from, fn)
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.epoch.readError(Key{Partition: p}, closeErr)
	}
	return last, end, err
}

func (s *Snapshot) page(p ring.Partition, it *pebble.Iterator, w *Wanted, last version.Dot, fn func(Key, version.Record) bool) (version.Dot, bool, error) {
	for ok := it.First(); ok; {
		_, dot, parsed := parseLogKey(it.Key())
		if !parsed {
			return last, false, s.corrupt(p, fmt.Sprintf("log key %x", it.Key()))
		}
		if w.Known.Covers(dot) {
			known, _ := w.Known.Entry(dot.Actor)
			ok = it.SeekGE(logKeyAfter(p, dot.Actor, runEnd(known, dot.Counter)))
			continue
		}
		k, r, err := s.logged(p, it, dot)
		if err != nil {
			return last, false, err
		}
		if w.first(&r) == dot {
			last = dot
			if !fn(k, r.Strip(s.clocks[p])) {
				return last, false, nil
			}
		}
		ok = it.Next()
	}
	if err := it.Error(); err != nil {
		return last, false, s.epoch.readError(Key{Partition: p}, err)
	}
	return last, true, nil
}

// logged reads the record that a log entry names.
func (s *Snapshot) logged(p ring.Partition, it *pebble.Iterator, dot version.Dot) (Key, version.Record, error) {
	name, err := it.ValueAndErr()
	if err != nil {
		return Key{}, version.Record{}, s.epoch.readError(Key{Partition: p}, err)
	}
	if len(name) == 0 || name[0] != valueFormat {
		return Key{}, version.Record{}, s.corrupt(p, fmt.Sprintf("log entry %v: %x", dot, name))
	}
	enc := make([]byte, 0, len(name)+2)
	enc = append(enc, prefixRecord, byte(p>>8), byte(p))
	enc = append(enc, name[1:]...)
	k, ok := parseRecordKey(enc)
	if !ok {
		return Key{}, version.Record{}, s.corrupt(p, fmt.Sprintf("log entry %v: %x", dot, name))
	}
	r, err := readRecord(s.db, enc)
	if errors.Is(err, pebble.ErrNotFound) {
		return k, version.Record{}, s.corrupt(p, fmt.Sprintf("log entry %v names %q of bucket %q, which is not there", dot, k.Key, k.Bucket))
	}
	if err != nil {
		return k, version.Record{}, s.epoch.readError(k, err)
	}
	if !r.Has(dot) {
		return k, version.Record{}, s.corrupt(p, fmt.Sprintf("log entry %v names %q of bucket %q, which has no such version", dot, k.Key, k.Bucket))
	}
	return k, r, nil
}

func (s *Snapshot) corrupt(p ring.Partition, what string) error {
	return s.epoch.readError(Key{Partition: p}, fmt.Errorf("%w: %s", ErrCorrupt, what))
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
func logRange(p ring.Partition, least uint8, from version.Dot) (lower, upper []byte) {
	lower = []byte{prefixLog, byte(p >> 8), byte(p), least}
	if from.Counter > 0 {
		lower = logKeyAfter(p, from.Actor, from.Counter)
	}
	return lower, afterPrefix([]byte{prefixLog, byte(p >> 8), byte(p)})
}
