package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
)

// Names of the store's own entries.
const (
	metaOwn         = "store/"
	metaIncarnation = metaOwn + "incarnation" // 16 bytes
	metaStarts      = metaOwn + "starts"      // 8 bytes, big-endian
	metaPartitions  = metaOwn + "partitions"  // 2 bytes, big-endian
)

// metas are the entries under m, all of them in memory: they are few, small and read often. What is here is on the disk.
type metas struct {
	// write is held over the sync, so that values reach the disk in the order in which they are shown. It is taken before mu.
	write  sync.Mutex
	mu     sync.RWMutex
	values map[string][]byte
}

// LoadMeta returns the value saved under name, nil if there is none. The caller must not change it.
func (s *Store) LoadMeta(name string) ([]byte, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	s.meta.mu.RLock()
	defer s.meta.mu.RUnlock()
	return s.meta.values[name], nil
}

// Meta yields the saved values whose names start with prefix, in the order of names, as they are when the iteration starts.
func (s *Store) Meta(prefix string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		s.meta.mu.RLock()
		values := maps.Clone(s.meta.values)
		s.meta.mu.RUnlock()
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, metaOwn) && !yield(name, values[name]) {
				return
			}
		}
	}
}

// SaveMeta stores a small value, such as the member table, under a name, and returns when it is on the disk. Names that start with
// "store/" are the store's own. After an error the value may or may not be there when the store is opened again.
//
// It works below the floor of free space, down to a sixteenth of it: the values are few and small, and a node that cannot save what its cluster has agreed
// on cannot serve reads either.
func (s *Store) SaveMeta(name string, value []byte) error {
	if strings.HasPrefix(name, metaOwn) {
		return fmt.Errorf("%w: the name %q is reserved", ErrKey, name)
	}
	e, err := s.enterRead()
	if err != nil {
		return err
	}
	defer e.leave()
	if err := firstError(e.gate.err(), s.space.metaErr()); err != nil {
		return err
	}
	s.meta.write.Lock()
	defer s.meta.write.Unlock()
	b := e.db.NewBatch()
	setMeta(b, name, value)
	if err := e.sync(b); err != nil {
		return err
	}
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	s.meta.values[name] = bytes.Clone(value)
	return nil
}

func setMeta(b *pebble.Batch, name string, value []byte) {
	_ = b.Set(metaKey(name), append([]byte{valueFormat}, value...), nil)
}

// sync writes a batch that concerns no record, and waits for the disk.
func (e *epoch) sync(b *pebble.Batch) error {
	err := e.db.Apply(b, pebble.Sync)
	if failure := e.gate.err(); failure != nil {
		return failure
	}
	if err != nil {
		return diskError("write", err)
	}
	return b.Close()
}

// loadMetas reads all entries under m.
func loadMetas(db *pebble.DB) (map[string][]byte, error) {
	values := make(map[string][]byte)
	err := scanPrefix(db, prefixMeta, func(key, value []byte) error {
		if len(value) == 0 || value[0] != valueFormat {
			return fmt.Errorf("%w: entry %q", ErrFormat, key[1:])
		}
		values[string(key[1:])] = bytes.Clone(value[1:])
		return nil
	})
	return values, err
}

// scanPrefix calls fn for all entries of one kind, in order.
func scanPrefix(db *pebble.DB, prefix byte, fn func(key, value []byte) error) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = fn(it.Key(), value)
		}
	}
	return firstError(err, it.Close())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// identity is what makes a directory the store of one incarnation.
type identity struct {
	incarnation ring.ID
	starts      uint64
	partitions  int
}

// decodeIdentity reads the store's own entries. ok is false if there is none of them: the directory has no store yet.
func decodeIdentity(values map[string][]byte) (id identity, ok bool, err error) {
	inc, starts, parts := values[metaIncarnation], values[metaStarts], values[metaPartitions]
	if inc == nil && starts == nil && parts == nil {
		return identity{}, false, nil
	}
	if len(inc) != len(id.incarnation) || len(starts) != 8 || len(parts) != 2 {
		return identity{}, false, fmt.Errorf("%w: the entries that identify the store", ErrCorrupt)
	}
	copy(id.incarnation[:], inc)
	id.starts, id.partitions = binary.BigEndian.Uint64(starts), int(binary.BigEndian.Uint16(parts))
	return id, true, nil
}

func (id *identity) set(b *pebble.Batch) {
	setMeta(b, metaIncarnation, id.incarnation[:])
	setMeta(b, metaStarts, binary.BigEndian.AppendUint64(nil, id.starts))
	setMeta(b, metaPartitions, binary.BigEndian.AppendUint16(nil, uint16(id.partitions)))
}
