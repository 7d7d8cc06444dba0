package store

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/internal/mutation"
)

// Commit is a write on its way to the disk. Whoever gets one from Update or Apply must call Wait or Then, once at least.
type Commit struct {
	epoch *epoch
	batch *pebble.Batch // nil once synced
	hash  uint64

	done   atomic.Bool
	mu     sync.Mutex // held while the batch is applied, and to find out who waits for the disk: the first that comes
	led    bool
	synced sync.WaitGroup // what the other waiters wait for: unlike a lock, virtual time can pass over it
	err    error          // written before done
}

// Wait blocks until the write is on the disk and returns nil, or until it cannot be known to be: then the error wraps ErrIO,
// ErrNoSpace, ErrReadOnly or ErrClosed, and the write may or may not be there later. It may be called by several goroutines, any
// number of times, and on nil.
func (c *Commit) Wait() error {
	if c == nil || c.done.Load() {
		return c.result()
	}
	c.mu.Lock()
	follows := c.led
	c.led = true
	c.mu.Unlock()
	if follows || c.done.Load() {
		c.synced.Wait()
		return c.err
	}
	// Behind the gate a sync never fails for Pebble; whether it truly did not is the gate's to say, and it knows before Pebble wakes us.
	err := c.batch.SyncWait()
	if failure := c.epoch.gate.err(); failure != nil {
		err = failure
	}
	if err == nil {
		if !mutation.LeakPending {
			c.epoch.pending.remove(c)
		}
		_ = c.batch.Close()
	}
	c.batch = nil
	c.settle(err)
	c.epoch.pending.unsynced.Add(-1)
	return err
}

// Then calls fn with what Wait would return, once: before it returns if that is known, and otherwise on the goroutine that all callers of
// this epoch share. So fn must not block: nobody else is told meanwhile. It may be called on nil, and during and after Close.
func (c *Commit) Then(fn func(error)) {
	if c == nil || c.done.Load() || !c.epoch.completions.add(c, fn) {
		fn(c.Wait())
	}
}

// settle makes err the outcome, once.
func (c *Commit) settle(err error) {
	c.err = err
	c.done.Store(true)
	c.synced.Done()
}

func (c *Commit) result() error {
	if c == nil {
		return nil
	}
	return c.err
}

// pendingShards keeps 64 writers on two to sixteen cores out of each other's way.
const pendingShards = 64

// pending maps keys, by their hash, to the newest commit that is not yet synced. Keys that share a hash share an entry: then one of
// them waits for a sync it did not need, and the newer commit is later in the log, so that it stands for the older. A commit that
// failed stays, so that what it wrote is never shown.
type pending struct {
	shards   [pendingShards]pendingShard
	unsynced atomic.Int64 // commits that nobody has seen on the disk
}

type pendingShard struct {
	mu      sync.Mutex
	commits map[uint64]*Commit
	_       [48]byte // one cache line each
}

func newPending() *pending {
	p := new(pending)
	for i := range p.shards {
		p.shards[i].commits = make(map[uint64]*Commit)
	}
	return p
}

func (p *pending) shard(hash uint64) *pendingShard { return &p.shards[hash%pendingShards] }

func (p *pending) put(c *Commit) {
	s := p.shard(c.hash)
	s.mu.Lock()
	s.commits[c.hash] = c
	s.mu.Unlock()
}

func (p *pending) get(hash uint64) *Commit {
	s := p.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits[hash]
}

// remove takes c out, unless a newer commit of its key has taken its place.
func (p *pending) remove(c *Commit) {
	s := p.shard(c.hash)
	s.mu.Lock()
	if s.commits[c.hash] == c {
		delete(s.commits, c.hash)
	}
	s.mu.Unlock()
}

func (p *pending) count() (n int) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		n += len(s.commits)
		s.mu.Unlock()
	}
	return n
}
