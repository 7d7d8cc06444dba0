package repair

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

type replicas struct {
	mu       sync.Mutex
	sent     []ring.ID
	fail     map[ring.ID]bool
	noValue  bool
	hold     chan struct{} // nil, or what Complete waits for
	complete int
}

func (r *replicas) Complete(ctx context.Context, _ store.Key, rec version.Record, _ []ring.ID) (version.Record, error) {
	r.mu.Lock()
	r.complete++
	r.mu.Unlock()
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return rec, ctx.Err()
		}
	}
	if r.noValue {
		return rec, errors.New("nobody has it")
	}
	return rec, nil
}

func (r *replicas) Send(_ context.Context, _ store.Key, _ version.Record, to ring.ID, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail[to] {
		return errors.New("down")
	}
	r.sent = append(r.sent, to)
	return nil
}

func run(t *testing.T, cfg Config, r *replicas, test func(q *Queue)) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(cfg, r, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); q.Run(ctx) }()
		test(q)
		stop()
		<-done
	})
}

func TestQueueSendsToEveryStaleOwner(t *testing.T) {
	r := &replicas{fail: map[ring.ID]bool{{2}: true}}
	run(t, DefaultConfig(), r, func(q *Queue) {
		q.Repair(store.Key{Key: "k"}, version.Record{}, []ring.ID{{1}, {2}, {3}}, nil)
		synctest.Wait()
		if len(r.sent) != 2 || q.Stats.Sent.Load() != 2 || q.Stats.Failed.Load() != 1 {
			t.Errorf("sent to %v, counted %d sent and %d failed; want two and one", r.sent, q.Stats.Sent.Load(), q.Stats.Failed.Load())
		}
	})
}

func TestQueueSendsNothingWithoutTheValue(t *testing.T) {
	r := &replicas{noValue: true}
	run(t, DefaultConfig(), r, func(q *Queue) {
		q.Repair(store.Key{Key: "k"}, version.Record{}, []ring.ID{{1}}, nil)
		synctest.Wait()
		if len(r.sent) != 0 || q.Stats.Failed.Load() != 1 {
			t.Errorf("sent to %v, %d failed; want nobody and one", r.sent, q.Stats.Failed.Load())
		}
	})
}

// At its bound the queue drops, counts, and never blocks whoever asks.
func TestQueueIsBounded(t *testing.T) {
	r := &replicas{}
	cfg := Config{Depth: 3, Bytes: 10, Workers: 2, Timeout: time.Hour}
	run(t, cfg, r, func(q *Queue) {
		r.hold = make(chan struct{}) // in the bubble, so that waiting for it counts as idle
		for range 2 {
			q.Repair(store.Key{}, version.Record{}, []ring.ID{{1}}, nil)
		}
		synctest.Wait() // both workers are busy
		for range 5 {
			q.Repair(store.Key{}, version.Record{}, []ring.ID{{1}}, nil)
		}
		if q.Waiting() != 3 || q.Stats.Dropped.Load() != 2 {
			t.Errorf("%d waiting, %d dropped; want 3 and 2", q.Waiting(), q.Stats.Dropped.Load())
		}
		big := version.Record{Versions: []version.Version{{Value: make([]byte, 11)}}}
		if q.Repair(store.Key{}, big, []ring.ID{{1}}, nil); q.Stats.Dropped.Load() != 3 {
			t.Error("a record of more bytes than the queue may hold was not dropped")
		}
		close(r.hold)
		synctest.Wait()
		if q.Waiting() != 0 || len(r.sent) != 5 {
			t.Errorf("%d waiting, %d sent after the hold; want 0 and 5", q.Waiting(), len(r.sent))
		}
	})
}
