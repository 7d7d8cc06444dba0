package store

import "sync"

// completions tells those who asked with Commit.Then, one after the other and in the order in which they asked, which is nearly that of the
// log: so one sync wakes one goroutine, and not one for each write that shared it.
//
// The queue holds one entry for each call of Then whose commit is not synced. It is bounded by Pebble, which lets 4,095 syncs be under way
// and holds up Update and Apply beyond that, and for one commit by those who write the same key at that moment.
type completions struct {
	wake chan struct{} // holds one token when run sleeps and there is something to do
	done chan struct{} // closed when run has returned

	mu     sync.Mutex
	queue  []completion
	asleep bool
	closed bool
}

type completion struct {
	commit *Commit
	fn     func(error)
}

// keepCompletions is how many entries of a queue are kept for the next ones after a burst.
const keepCompletions = 4 << 10

func newCompletions() *completions {
	return &completions{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// add reports false after close: then nothing waits for the disk any more.
func (q *completions) add(c *Commit, fn func(error)) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.queue = append(q.queue, completion{c, fn})
	q.rouse()
	return true
}

// rouse unlocks, and wakes run if it sleeps.
func (q *completions) rouse() {
	asleep := q.asleep
	q.asleep = false
	q.mu.Unlock()
	if asleep {
		q.wake <- struct{}{}
	}
}

// run waits for the commits in the queue until close, and then for those that are left.
func (q *completions) run() {
	defer close(q.done)
	var spare []completion
	for {
		batch := q.take(spare)
		if batch == nil {
			return
		}
		for i := range batch {
			batch[i].fn(batch[i].commit.Wait())
			batch[i] = completion{}
		}
		if spare = batch[:0]; cap(spare) > keepCompletions {
			spare = nil
		}
	}
}

// take waits for entries and empties the queue; nil when it is closed and empty. spare is what gathers next.
func (q *completions) take(spare []completion) []completion {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 {
		if q.closed {
			return nil
		}
		q.asleep = true
		q.mu.Unlock()
		<-q.wake
		q.mu.Lock()
	}
	batch := q.queue
	q.queue = spare
	return batch
}

// close returns when everybody has been told. The database must be closed, so that nothing waits for it.
func (q *completions) close() {
	q.mu.Lock()
	q.closed = true
	q.rouse()
	<-q.done
}
