package transport

import "sync"

// crew is a set of goroutines that somebody waits for in the end.
type crew struct {
	mu     sync.Mutex // no other lock is taken under it
	closed bool
	work   sync.WaitGroup
}

// spawn starts a goroutine, unless close has been called.
func (c *crew) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
}

func (c *crew) wait() { c.work.Wait() }
