package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Get returns the record in full form; it has no versions if the key is absent. It waits until what it shows is on the disk. The
// record is immutable and may be kept: its values share memory with the store's cache.
func (s *Store) Get(k Key) (version.Record, error) {
	e, err := s.enterRead()
	if err != nil {
		return version.Record{}, err
	}
	defer e.leave()
	p, err := e.partition(k)
	if err != nil {
		return version.Record{}, err
	}
	var buf keyBuffer
	l := locate(&buf, k)
	r, err := e.read(p, &l)
	if err != nil {
		return version.Record{}, err
	}
	if err := e.pending.get(l.hash).Wait(); err != nil {
		return version.Record{}, err
	}
	return r, nil
}

// read reads record and clock at one moment: a record filled by a clock that is newer than it would claim to have seen, and dropped,
// what it has not; by an older one, it would forget what it has dropped.
func (e *epoch) read(p *partition, l *locator) (version.Record, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	stored, err := e.load(l)
	if err != nil {
		return version.Record{}, err
	}
	return stored.Fill(p.clock), nil
}

// Clock is SyncedClock for those who can do with less: if the disk fails, or the store is closed, it returns the empty clock, which is
// safe because a clock may under-report.
func (s *Store) Clock(p ring.Partition) version.Vector {
	clock, err := s.SyncedClock(p)
	if err != nil {
		return version.Vector{}
	}
	return clock
}

// SyncedClock returns the clock of a partition, of all n together, as far as the disk has it: it waits for what is on its way.
func (s *Store) SyncedClock(p ring.Partition) (version.Vector, error) {
	clock, _, err := s.synced(p)
	return clock, err
}

// SyncedBound is SyncedClock with, of each actor of which the clock has forgotten something (Options.MaxDetached), every dot up to the highest that it forgot. So it covers
// each live version that is here, and who covers it lacks none of them. It is no clock: it also covers dots that never came. It is the clock again once the clock's bases have
// passed what was forgotten, and after the store was opened anew.
func (s *Store) SyncedBound(p ring.Partition) (version.Vector, error) {
	clock, forgot, err := s.synced(p)
	clock.Merge(forgot)
	return clock, err
}

// synced returns the clock of a partition and a bound of what that has forgotten, both of one moment that is on the disk.
func (s *Store) synced(p ring.Partition) (clock, forgot version.Vector, _ error) {
	e, err := s.enterRead()
	if err != nil {
		return version.Vector{}, version.Vector{}, err
	}
	defer e.leave()
	if int(p) >= len(e.parts) {
		return version.Vector{}, version.Vector{}, fmt.Errorf("%w: partition %d of %d", ErrKey, p, len(e.parts))
	}
	part := &e.parts[p]
	part.mu.RLock()
	clock, forgot = part.clock.Clone(), part.forgot.Clone()
	last := part.last
	part.mu.RUnlock()
	if err := last.Wait(); err != nil {
		return version.Vector{}, version.Vector{}, err
	}
	return clock, forgot, nil
}

// Scan calls fn for the records of a bucket in one partition, in the order of their keys' bytes, from the key from on and as long as
// they start with prefix, until fn returns false. It shows one moment of the partition, and only what is on the disk. Records are in
// full form, tombstones included; their memory is only valid during the call. A long scan holds back the deletion of tables that
// compactions have replaced, and a reopening after a disk failure.
func (s *Store) Scan(p ring.Partition, bucket, from, prefix string, fn func(key string, r version.Record) bool) error {
	e, err := s.enterRead()
	if err != nil {
		return err
	}
	defer e.leave()
	if err := checkBucket(p, bucket, len(e.parts)); err != nil {
		return err
	}
	lower := appendRecordPrefix(nil, p, bucket)
	skip := len(lower)
	upper := afterPrefix(append(lower[:skip:skip], prefix...))
	lower = append(lower, max(from, prefix)...)

	part := &e.parts[p]
	part.mu.RLock()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	clock, last := part.clock.Clone(), part.last
	part.mu.RUnlock()
	if err != nil {
		return diskError("scan", err)
	}
	err = last.Wait()
	for ok := err == nil && it.First(); ok; ok = it.Next() {
		key := string(it.Key()[skip:])
		r, decodeErr := decodeValue(it)
		if decodeErr != nil {
			err = e.readError(Key{Partition: p, Bucket: bucket, Key: key}, decodeErr)
			break
		}
		if !fn(key, r.Fill(clock)) {
			break
		}
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = e.readError(Key{Partition: p, Bucket: bucket}, closeErr)
	}
	return err
}

func decodeValue(it *pebble.Iterator) (version.Record, error) {
	enc, err := it.ValueAndErr()
	if err != nil {
		return version.Record{}, err
	}
	return decodeRecord(enc)
}
