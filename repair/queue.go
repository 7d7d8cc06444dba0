package repair

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config holds the bounds of a Queue.
type Config struct {
	Depth   int           // repairs that wait
	Bytes   int64         // of values in repairs that wait or run
	Workers int           // repairs that run
	Timeout time.Duration // of one repair, with all its owners
}

// DefaultConfig returns the numbers that the product runs with.
func DefaultConfig() Config {
	return Config{
		Depth:   1024,            // a second of reads that all find something stale, on two cores
		Bytes:   64 << 20,        // some of the largest values, or any number of usual ones
		Workers: 8,               // below what foreground requests have in flight, so that repair comes second
		Timeout: 5 * time.Second, // a client request's own default
	}
}

// Queue is read repair's bounded queue.
type Queue struct {
	cfg  Config
	jobs chan job
	held atomic.Int64 // bytes of values in jobs
}

type job struct {
	run   func(ctx context.Context)
	bytes int64
}

// NewQueue returns a queue that does nothing until Run.
func NewQueue(cfg Config) *Queue {
	if cfg.Depth < 1 || cfg.Workers < 1 || cfg.Bytes < 1 || cfg.Timeout <= 0 {
		panic(fmt.Sprintf("repair: config %+v", cfg))
	}
	return &Queue{cfg: cfg, jobs: make(chan job, cfg.Depth)}
}

// Repair queues a repair that holds so many bytes of values, and reports whether there was room. It never blocks. run must return when its ctx ends, which
// has a deadline.
func (q *Queue) Repair(bytes int64, run func(ctx context.Context)) bool {
	if q.held.Add(bytes) <= q.cfg.Bytes {
		select {
		case q.jobs <- job{run, bytes}:
			return true
		default:
		}
	}
	q.held.Add(-bytes)
	return false
}

// Waiting returns how many repairs wait.
func (q *Queue) Waiting() int { return len(q.jobs) }

// Run works off what is queued until ctx ends, and returns when nothing runs any more. What still waits then is dropped.
func (q *Queue) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range q.cfg.Workers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-q.jobs:
					q.work(ctx, j)
				}
			}
		})
	}
	workers.Wait()
}

func (q *Queue) work(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	j.run(ctx)
	q.held.Add(-j.bytes)
}
