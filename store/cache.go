package store

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

const (
	cacheShards = 16
	// cacheOverhead is what an entry costs beside its bytes: the entry, its slot in the map, the rest of the message that the value
	// came in, rounding of the allocator.
	cacheOverhead = 320
)

// cache keeps records by key as they are stored, the least recently used going first, within a bound of bytes. What it hands out is
// immutable and shared. It holds what the database holds: the writer of a key puts its record there under the partition's lock.
type cache struct {
	shards [cacheShards]cacheShard
	drops  []atomic.Uint32 // by partition: how often all of it was forgotten
}

type cacheShard struct {
	mu           sync.Mutex
	entries      map[uint64]*cached
	used, max    int64
	hits, misses uint64
	ring         cached // sentinel of the list: next is the most recently used
}

// cached is one record.
type cached struct {
	prev, next *cached
	hash       uint64
	key        string
	rec        version.Record
	size       int64
	drops      uint32 // of its partition, when it was put here; after another the entry is waste, and goes in its turn
}

// sizeInMemory is about what a record and its key take, in bytes.
func sizeInMemory(key []byte, r *version.Record) int64 {
	size := cacheOverhead + len(key) + 40*r.Vector.Len()
	for i := range r.Versions {
		v := &r.Versions[i]
		size += int(unsafe.Sizeof(*v)) + len(v.ContentType) + len(v.Value)
	}
	return int64(size)
}

func newCache(bytes int64, partitions int) *cache {
	c := &cache{drops: make([]atomic.Uint32, partitions)}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries, s.max = make(map[uint64]*cached), bytes/cacheShards
		s.ring.prev, s.ring.next = &s.ring, &s.ring
	}
	return c
}

func (c *cache) shard(hash uint64) *cacheShard { return &c.shards[hash>>32%cacheShards] }

// get returns the record of key, false if it is not here.
func (c *cache) get(hash uint64, key []byte) (version.Record, bool) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hash]
	if e == nil || e.key != string(key) || e.drops != c.dropsOf(key).Load() {
		s.misses++
		return version.Record{}, false
	}
	s.hits++
	if s.ring.next != e {
		e.unlink()
		s.link(e)
	}
	return e.rec, true
}

// put takes over the record, but not the key. A record that would push out a large part of its shard is not kept.
func (c *cache) put(hash uint64, key []byte, r version.Record) {
	size := sizeInMemory(key, &r)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hash]
	if e != nil {
		s.used -= e.size
		e.unlink()
	}
	if size > s.max/8 {
		delete(s.entries, hash)
		return
	}
	if e == nil {
		e = &cached{hash: hash}
		s.entries[hash] = e
	}
	if e.key != string(key) {
		e.key = string(key)
	}
	e.rec, e.size, e.drops = r, size, c.dropsOf(key).Load()
	s.link(e)
	for s.used += size; s.used > s.max; {
		s.forget(s.ring.prev)
	}
}

// remove forgets whatever is kept under the hash.
func (c *cache) remove(hash uint64) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[hash]; e != nil {
		s.forget(e)
	}
}

// dropsOf are the drops of a record's partition.
func (c *cache) dropsOf(key []byte) *atomic.Uint32 { return &c.drops[binary.BigEndian.Uint16(key[1:])] }

// removePartition forgets all records of a partition, whatever there is of it and elsewhere. The caller holds the partition's lock, as does whoever puts a record there.
func (c *cache) removePartition(p ring.Partition) { c.drops[p].Add(1) }

func (s *cacheShard) forget(e *cached) {
	s.used -= e.size
	e.unlink()
	delete(s.entries, e.hash)
}

func (e *cached) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (s *cacheShard) link(e *cached) {
	e.prev, e.next = &s.ring, s.ring.next
	e.prev.next, e.next.prev = e, e
}

func (c *cache) stats() (hits, misses uint64, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		hits, misses, bytes = hits+s.hits, misses+s.misses, bytes+s.used
		s.mu.Unlock()
	}
	return hits, misses, bytes
}
