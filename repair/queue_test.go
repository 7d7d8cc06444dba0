package repair

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func run(t *testing.T, cfg Config, test func(q *Queue)) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(cfg)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); q.Run(ctx) }()
		test(q)
		stop()
		<-done
	})
}

// At its bound the queue refuses, and never blocks whoever asks.
func TestQueueIsBounded(t *testing.T) {
	cfg := Config{Depth: 3, Bytes: 10, Workers: 2, Timeout: time.Hour}
	run(t, cfg, func(q *Queue) {
		hold := make(chan struct{}) // in the bubble, so that waiting for it counts as idle
		ran := make(chan struct{}, 5)
		job := func(context.Context) { <-hold; ran <- struct{}{} }
		for range 2 {
			if !q.Repair(1, job) {
				t.Fatal("refused by an empty queue")
			}
		}
		synctest.Wait() // both workers are busy
		taken := 0
		for range 5 {
			if q.Repair(1, job) {
				taken++
			}
		}
		if q.Waiting() != 3 || taken != 3 {
			t.Errorf("%d waiting, %d taken of five; want 3 and 3", q.Waiting(), taken)
		}
		close(hold)
		synctest.Wait()
		if q.Waiting() != 0 || len(ran) != 5 {
			t.Errorf("%d waiting, %d ran after the hold; want 0 and 5", q.Waiting(), len(ran))
		}
		for range 5 {
			<-ran
		}
		if q.Repair(11, job) {
			t.Error("took on more bytes than it may hold")
		}
		if !q.Repair(10, job) {
			t.Error("what ran and what was refused still counts as held")
		}
	})
}

// A repair that hangs is given up, and the next one gets its turn.
func TestQueueGivesUp(t *testing.T) {
	cfg := Config{Depth: 1, Bytes: 1, Workers: 1, Timeout: time.Minute}
	run(t, cfg, func(q *Queue) {
		begun := time.Now()
		q.Repair(0, func(ctx context.Context) { <-ctx.Done() })
		synctest.Wait()
		next := make(chan time.Duration, 1)
		q.Repair(0, func(context.Context) { next <- time.Since(begun) })
		if after := <-next; after != cfg.Timeout {
			t.Errorf("after %v, want %v", after, cfg.Timeout)
		}
	})
}
