package repair

import (
	"sync"

	"github.com/quorate/quorate/ring"
)

// claims are the partitions that are being fetched: two rounds do not fetch one from two peers at once. The second one looks again when the first has ended, and
// finds little or nothing missing.
type claims struct {
	mu    sync.Mutex
	taken map[ring.Partition]bool
	freed chan struct{} // closed when some are given back; nil while nobody waits
}

// take claims the first batch of what is free among some tasks. rest are the others, in their order. If nothing is free, freed is closed when something may be.
func (c *claims) take(tasks []task) (some, rest []task, freed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var free, held []task
	for _, t := range tasks {
		if c.taken[t.share.Partition] {
			held = append(held, t)
		} else {
			free = append(free, t)
		}
	}
	if len(free) == 0 {
		if c.freed == nil {
			c.freed = make(chan struct{})
		}
		return nil, tasks, c.freed
	}
	some = firstBatch(free)
	if c.taken == nil {
		c.taken = make(map[ring.Partition]bool)
	}
	for _, t := range some {
		c.taken[t.share.Partition] = true
	}
	return some, append(free[len(some):len(free):len(free)], held...), nil
}

// release gives them back.
func (c *claims) release(some []task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range some {
		delete(c.taken, t.share.Partition)
	}
	if c.freed != nil {
		close(c.freed)
		c.freed = nil
	}
}
