package load

import (
	"context"
	"time"

	"github.com/quorate/quorate/bench/workload"
)

// notSent is the reason of arrivals that the end of the window overtook.
const notSent = "not sent: all connections were busy"

// connection does operations on connection i until the window or ctx ends.
func (r *run) connection(ctx context.Context, i int) {
	node := i % len(r.hosts)
	w := &worker{
		run: r, node: node,
		session: newSession(r.cfg, r.hosts[node], r.values),
		shard:   r.recorder.of(i),
		warm:    r.warm.of(i),
	}
	defer w.session.conn.close()
	if r.cfg.open() {
		w.open(ctx)
		return
	}
	w.closed(ctx, workload.NewStream(r.cfg.Workload, uint64(i)))
}

// worker does operations on one connection.
type worker struct {
	run     *run
	node    int
	session *session
	shard   *shard // of what begins in the window
	warm    *shard // and before it
}

// closed does one operation after the other.
func (w *worker) closed(ctx context.Context, stream *workload.Stream) {
	for {
		start := time.Now()
		if !start.Before(w.run.till) || ctx.Err() != nil {
			return
		}
		const notLate = -1
		if w.do(ctx, stream.Next(w.run.frontier.Exist()), start, notLate) {
			sleep(ctx, retryPause)
		}
	}
}

// open takes arrivals of its node as they come.
func (w *worker) open(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		at, op := w.run.arrivals[w.node].next()
		due := w.run.begin.Add(at)
		if !due.Before(w.run.till) {
			return
		}
		now := time.Now()
		if !now.Before(w.run.till) {
			w.record(event{kind: op.Kind, result: failed, reason: notSent, latency: now.Sub(due), late: -1}, due)
			continue
		}
		late := time.Duration(-1)
		if wait := due.Sub(now); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			late = max(0, time.Since(due))
		}
		if w.do(ctx, op, due, late) {
			sleep(ctx, retryPause)
		}
	}
}

// do does one operation, and records it with the latency since start. pause tells that the node cannot be reached.
func (w *worker) do(ctx context.Context, op workload.Op, start time.Time, late time.Duration) (pause bool) {
	s := w.session
	if op.Kind == workload.Insert {
		op.Key = w.run.frontier.Take()
		defer w.run.frontier.End(op.Key)
	}
	s.requests, s.siblings = 0, 0
	result, reason, pause := s.do(ctx, op)
	if ctx.Err() != nil && result == failed {
		return false // by the end of the run, not by the cluster
	}
	w.record(event{
		kind: op.Kind, result: result, reason: reason, latency: time.Since(start), late: late,
		node: w.node, requests: s.requests, siblings: s.siblings,
	}, start)
	return pause
}

func (w *worker) record(e event, start time.Time) {
	if start.Before(w.run.from) {
		w.warm.record(e)
		return
	}
	w.shard.record(e)
}
