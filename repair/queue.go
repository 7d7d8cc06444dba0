package repair

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// Replicas is how records reach other owners. Both methods block until ctx ends at the latest.
type Replicas interface {
	// Complete fetches the values that rec lacks from holders; it fails rather than return a record without them.
	Complete(ctx context.Context, k store.Key, rec version.Record, holders []ring.ID) (version.Record, error)
	// Send merges rec into one owner, and returns nil when it is durable there.
	Send(ctx context.Context, k store.Key, rec version.Record, to ring.ID, deadline time.Time) error
}

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

// Stats counts what a Queue did. All fields only grow.
type Stats struct {
	Sent    atomic.Int64 // records that an owner confirmed
	Failed  atomic.Int64 // records that it did not
	Dropped atomic.Int64 // repairs that found the queue full
}

// Queue is read repair: a bounded queue of records to send to stale owners.
type Queue struct {
	cfg   Config
	rep   Replicas
	log   *slog.Logger
	jobs  chan job
	held  atomic.Int64 // bytes of values in jobs
	Stats Stats
}

type job struct {
	key         store.Key
	rec         version.Record
	to, holders []ring.ID
	size        int64
}

// NewQueue returns a queue that does nothing until Run.
func NewQueue(cfg Config, rep Replicas, log *slog.Logger) *Queue {
	if cfg.Depth < 1 || cfg.Workers < 1 || cfg.Bytes < 1 || cfg.Timeout <= 0 {
		panic(fmt.Sprintf("repair: config %+v", cfg))
	}
	return &Queue{cfg: cfg, rep: rep, log: log, jobs: make(chan job, cfg.Depth)}
}

// Repair queues a record for the owners that lack some of it. It never blocks. The values that rec lacks come from
// holders.
func (q *Queue) Repair(k store.Key, rec version.Record, to, holders []ring.ID) {
	size := int64(0)
	for i := range rec.Versions {
		size += int64(len(rec.Versions[i].Value))
	}
	if q.held.Add(size) <= q.cfg.Bytes {
		select {
		case q.jobs <- job{k, rec, to, holders, size}:
			return
		default:
		}
	}
	q.held.Add(-size)
	q.Stats.Dropped.Add(1)
}

// Waiting returns how many repairs wait.
func (q *Queue) Waiting() int { return len(q.jobs) }

// Run sends what is queued until ctx ends, and returns when nothing runs any more. What still waits then is dropped.
func (q *Queue) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range q.cfg.Workers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-q.jobs:
					q.repair(ctx, j)
					q.held.Add(-j.size)
				}
			}
		})
	}
	workers.Wait()
}

func (q *Queue) repair(ctx context.Context, j job) {
	deadline := time.Now().Add(q.cfg.Timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	rec, err := q.rep.Complete(ctx, j.key, j.rec, j.holders)
	if err != nil {
		q.Stats.Failed.Add(int64(len(j.to)))
		q.log.Debug("read repair: a value could not be fetched", "bucket", j.key.Bucket, "key", j.key.Key, "err", err)
		return
	}
	for _, id := range j.to {
		if err := q.rep.Send(ctx, j.key, rec, id, deadline); err != nil {
			q.Stats.Failed.Add(1)
			q.log.Debug("read repair", "bucket", j.key.Bucket, "key", j.key.Key, "to", id.Short(), "err", err)
			continue
		}
		q.Stats.Sent.Add(1)
	}
}
