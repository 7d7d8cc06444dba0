package store

import "sync"

const (
	cacheShards = 16
	// cacheOverhead is what an entry costs beside its bytes: the entry, its slot in the map, rounding of the allocator.
	cacheOverhead = 128
)

// cache keeps encoded records by key, the least recently used going first, within a bound of bytes. What it hands out is immutable
// and shared. It holds what the database holds: the writer of a key puts its record there under the partition's lock.
type cache struct {
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu           sync.Mutex
	entries      map[uint64]*cached
	used, max    int64
	hits, misses uint64
	ring         cached // sentinel of the list: next is the most recently used
}

// cached is one record. buf is its key and, from klen on, its value: one allocation for both.
type cached struct {
	prev, next *cached
	hash       uint64
	buf        []byte
	klen       int
}

func (e *cached) size() int64 { return int64(cap(e.buf)) + cacheOverhead }

func newCache(bytes int64) *cache {
	c := new(cache)
	for i := range c.shards {
		s := &c.shards[i]
		s.entries, s.max = make(map[uint64]*cached), bytes/cacheShards
		s.ring.prev, s.ring.next = &s.ring, &s.ring
	}
	return c
}

func (c *cache) shard(hash uint64) *cacheShard { return &c.shards[hash>>32%cacheShards] }

// get returns the encoded record of key, nil if it is not here.
func (c *cache) get(hash uint64, key []byte) []byte {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hash]
	if e == nil || string(e.buf[:e.klen]) != string(key) {
		s.misses++
		return nil
	}
	s.hits++
	if s.ring.next != e {
		e.unlink()
		s.link(e)
	}
	return e.buf[e.klen:len(e.buf):len(e.buf)]
}

// put takes over buf, which is a key of klen bytes followed by its record. A record that would push out a large part of its shard is
// not kept.
func (c *cache) put(hash uint64, buf []byte, klen int) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hash]
	if e != nil {
		s.used -= e.size()
		e.unlink()
	} else {
		e = &cached{hash: hash}
	}
	e.buf, e.klen = buf, klen
	if e.size() > s.max/8 {
		delete(s.entries, hash)
		return
	}
	s.entries[hash] = e
	s.link(e)
	for s.used += e.size(); s.used > s.max; {
		last := s.ring.prev
		s.used -= last.size()
		last.unlink()
		delete(s.entries, last.hash)
	}
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
