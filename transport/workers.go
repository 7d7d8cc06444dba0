package transport

import "sync"

// maxIdle is how many workers are kept for the next burst.
const maxIdle = 128

// workers are the goroutines that handlers run on. A worker that has done one job takes the next, so the jobs that came in together, or while
// it was busy, cost one wake-up and not one each. A worker's stack has grown to what handlers need, which a fresh goroutine's has not.
//
// Handlers may block, and a job must not wait for another's: as long as a job is in the queue, a worker is on its way to it that has no other.
// Whoever takes a job and leaves one behind sends for the next worker first. The queue, and with it the number of workers, is bounded by
// MaxRunning.
type workers struct {
	wake chan struct{} // holds one token at most: for the worker that is on its way

	mu     sync.Mutex
	queue  []*job // from next on, first in, first out
	next   int
	idle   int  // asleep, or just woken
	coming bool // a worker has been woken or started and has not looked at the queue since
}

// run gives the job to a worker.
func (e *Endpoint) run(j *job) {
	w := &e.workers
	w.mu.Lock()
	if len(w.queue) == cap(w.queue) && w.next > len(w.queue)/2 {
		n := copy(w.queue, w.queue[w.next:])
		clear(w.queue[n:])
		w.queue, w.next = w.queue[:n], 0
	}
	w.queue = append(w.queue, j)
	e.sendForWorker()
}

// sendForWorker unlocks the workers. Before, it makes one come if there is a job.
func (e *Endpoint) sendForWorker() {
	w := &e.workers
	needed := !w.coming && w.next < len(w.queue)
	start := needed && w.idle == 0
	w.coming = w.coming || needed
	w.mu.Unlock()
	switch {
	case start:
		if !e.crew.spawn(e.labour) {
			e.dropJobs()
		}
	case needed:
		select {
		case w.wake <- struct{}{}:
		default: // one that woke up by itself, because the endpoint is closing, has left its token
		}
	}
}

func (e *Endpoint) labour() {
	w := &e.workers
	w.mu.Lock()
	w.coming = false
	for {
		for w.next < len(w.queue) {
			j := w.take()
			e.sendForWorker()
			j.handle()
			w.mu.Lock()
		}
		if e.ctx.Err() != nil || w.idle >= maxIdle {
			w.mu.Unlock()
			return
		}
		w.idle++
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-e.ctx.Done():
		}
		w.mu.Lock()
		w.idle--
		w.coming = false
	}
}

// take removes the first job. The caller holds mu, and knows that there is one.
func (w *workers) take() *job {
	j := w.queue[w.next]
	w.queue[w.next] = nil
	if w.next++; w.next == len(w.queue) {
		w.queue, w.next = w.queue[:0], 0
	}
	return j
}

// dropJobs forgets what nobody will handle: the endpoint is closing.
func (e *Endpoint) dropJobs() {
	w := &e.workers
	w.mu.Lock()
	defer w.mu.Unlock()
	w.coming = false
	for w.next < len(w.queue) {
		e.load.leave(w.take().size)
	}
}
