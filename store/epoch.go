package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// epoch is one opening of the database: everything that must not outlive a disk failure. A failed epoch goes on answering reads of
// what is certainly on the disk until the next one can be opened.
type epoch struct {
	opts        *Options
	db          *pebble.DB
	gate        *gate
	actor       version.ActorID
	stand       version.ActorID // the fallback actor: of what this node coordinates in the place of owners
	parts       []partition
	pending     *pending
	completions *completions
	cache       *cache
	stats       *counters
	snaps       snapshots
	// handOffs are the sums of all partitions; any is set as soon as one has anything.
	handOffs struct {
		count, bytes atomic.Int64
		any          atomic.Bool
	}

	// users counts the calls inside, plus retiring once no more are let in. idle is closed when the last one has left after that.
	users    atomic.Int64
	idle     chan struct{}
	idleOnce sync.Once
	retired  sync.Once
}

// partition is the unit of clocks and locks. Its lock is never held over a sync, and no other lock of this package is taken before it.
type partition struct {
	mu sync.RWMutex
	// clock says which dots of each actor this store has received; it is what the database holds, synced or not.
	clock version.Vector
	// forgot is a bound of the dots that clock has forgotten (Vector.Limit) in this epoch, which began by adding the log: each live dot is in one of them.
	forgot version.Vector
	// saved is the part of it that is written under c; log entries tell the rest.
	saved map[version.Actor]saved
	// last is the newest commit of the partition.
	last *Commit
	// stand is what it holds for others, nil if it never held anything.
	stand *standing
	dropping
	// scratch is where the writer encodes a record.
	scratch []byte
	_       [64]byte // neighbours are locked by other cores
}

// retiring is added to users when an epoch ends; it is larger than any number of callers.
const retiring = 1 << 40

// enter lets a call in, unless the epoch is being closed. The caller must leave.
func (e *epoch) enter() bool {
	if e.users.Add(1) < retiring {
		return true
	}
	e.leave()
	return false
}

func (e *epoch) leave() {
	if e.users.Add(-1) == retiring {
		e.idleOnce.Do(func() { close(e.idle) })
	}
}

// retire waits until every call has left and closes the database; the second time it does nothing. Commits that nobody has waited
// for are synced by that, or failed.
func (e *epoch) retire() (err error) {
	e.retired.Do(func() {
		if e.users.Add(retiring) == retiring {
			e.idleOnce.Do(func() { close(e.idle) })
		}
		e.gate.beginClose()
		<-e.idle
		err = firstError(e.endSnapshots(), e.db.Close())
		e.completions.close()
	})
	return err
}

func (e *epoch) partition(k Key) (*partition, error) {
	if err := checkBucket(k.Partition, k.Bucket, len(e.parts)); err != nil {
		return nil, err
	}
	return &e.parts[k.Partition], nil
}

func checkBucket(p ring.Partition, bucket string, partitions int) error {
	if int(p) >= partitions {
		return fmt.Errorf("%w: partition %d of %d", ErrKey, p, partitions)
	}
	if bucket == "" {
		return fmt.Errorf("%w: no bucket", ErrKey)
	}
	for i := range len(bucket) {
		if bucket[i] == 0 {
			return fmt.Errorf("%w: bucket %q", ErrKey, bucket)
		}
	}
	return nil
}

// keyBuffer is room for the encoded key of all but the longest names.
type keyBuffer [192]byte

// locate is a key as the database and the tables in memory know it.
type locator struct {
	Key
	enc  []byte
	hash uint64
}

func locate(buf *keyBuffer, k Key) locator {
	enc := appendRecordKey(buf[:0], k)
	return locator{Key: k, enc: enc, hash: xxhash.Sum64(enc)}
}

// load reads a record as it is stored, the zero record if there is none. The caller holds the partition's lock. The record is
// immutable and may be kept: it is the cache's copy or one of its own.
func (e *epoch) load(l *locator) (version.Record, error) {
	if r, ok := e.cache.get(l.hash, l.enc); ok {
		return r, nil
	}
	r, err := readRecord(e.db, bytes.Clone(l.enc)) // a copy, so that callers keep theirs off the heap
	if errors.Is(err, pebble.ErrNotFound) {
		return version.Record{}, nil
	}
	if err != nil {
		return version.Record{}, e.readError(l.Key.clone(), err)
	}
	e.cache.put(l.hash, l.enc, r)
	return r, nil
}

// readRecord reads one record, in memory of its own, from a database or a snapshot of it. Errors are Pebble's, its ErrNotFound among them, or
// wrap ErrCorrupt.
func readRecord(from pebble.Reader, enc []byte) (version.Record, error) {
	value, closer, err := from.Get(enc)
	if err != nil {
		return version.Record{}, err
	}
	value = bytes.Clone(value)
	if err := closer.Close(); err != nil {
		return version.Record{}, err
	}
	return decodeRecord(value)
}

func decodeRecord(value []byte) (version.Record, error) {
	r, err := version.DecodeRecord(value)
	if err != nil {
		return version.Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return r, nil
}

// clone keeps a locator that is only read off the heap: an error that names its key has a copy.
func (k Key) clone() Key {
	return Key{Partition: k.Partition, Bucket: strings.Clone(k.Bucket), Key: strings.Clone(k.Key)}
}

// readError tells damage from a disk that does not answer, and reports the first: by its text, as Pebble's errors bring their stacks along.
func (e *epoch) readError(k Key, err error) error {
	if !errors.Is(err, ErrCorrupt) && !pebble.IsCorruptionError(err) {
		return diskError(fmt.Sprintf("read %q of bucket %q", k.Key, k.Bucket), err)
	}
	e.stats.corrupt.Add(1)
	if left, ok := e.stats.damagedRecord.Take(time.Now()); ok {
		e.opts.Logger.Error("store: a record is damaged", "partition", k.Partition, "bucket", k.Bucket, "key", k.Key, "err", err.Error(), "left_out", left)
	}
	return fmt.Errorf("%w: key %q of bucket %q: %w", ErrCorrupt, k.Key, k.Bucket, err)
}
