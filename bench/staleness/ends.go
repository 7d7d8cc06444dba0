package staleness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/internal/history"
	"github.com/quorate/quorate/quorum"
)

// The beginning and the end of a run: every key is put once, and every key is read from all its replicas.

const (
	atOnce     = 16                     // requests at a time, where there is no schedule
	setUpTries = 5                      // for the first write of a key: a cluster that has just been started may be slow
	retryPause = 200 * time.Millisecond // between looks at something that is not so yet
	deleteTime = 30 * time.Second       // for the keys of a run
)

// place is a probe key of a quorum.
type place struct {
	quorum history.Quorum
	key    int
}

// forAll does something for every key of every quorum, some at a time, and returns what failed first.
func (r *runner) forAll(ctx context.Context, do func(ctx context.Context, at place) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan place)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for at := range work {
				if err := do(ctx, at); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, q := range r.cfg.Quorums {
		for key := range r.cfg.Keys {
			select {
			case work <- place{q, key}:
			case <-ctx.Done():
			}
		}
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// setUp lets each key's writer put it, so that there is something to read.
func (r *runner) setUp(ctx context.Context) error {
	r.progress.Phase(fmt.Sprintf("putting %d keys", r.cfg.Keys*len(r.cfg.Quorums)))
	schedule := r.cfg.schedule(len(r.probes))
	return r.forAll(ctx, func(ctx context.Context, at place) error {
		p := r.probes[schedule.Writer(at.key)]
		var o history.Op
		for range setUpTries {
			o = r.operation(history.Put, at, phaseSetup)
			o.Seq = p.seq.Add(1)
			r.do(context.WithoutCancel(ctx), p, &o) // one that is given up may be stored after it was deleted
			r.record(o)
			if o.Outcome == history.Acked {
				return nil
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s takes no write at %s: %s", p.node, Name(at.quorum), o.Reason)
	})
}

// operation is one that is due now.
func (r *runner) operation(kind history.Kind, at place, phase string) history.Op {
	return history.Op{Kind: kind, Bucket: r.bucketOf(at.quorum), Key: keyName(at.key), N: at.quorum.N, W: at.quorum.W, R: at.quorum.R, Due: r.now(), Phase: phase}
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish waits until the cluster has found itself again, and reads every key: each replica by itself, and all together.
func (r *runner) finish(ctx context.Context) error {
	r.progress.Phase("reading every key from all its replicas")
	deadline := r.now() + r.cfg.Settle.Nanoseconds()
	// Half the time is for the reads themselves: a member that stays away is found out by them, key by key.
	for r.now() < deadline-r.cfg.Settle.Nanoseconds()/2 && !r.allAlive(ctx) {
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return r.forAll(ctx, func(ctx context.Context, at place) error {
		for {
			if r.readEnd(ctx, at) || r.now() >= deadline {
				return ctx.Err()
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	})
}

// allAlive tells whether every node takes every member for alive.
func (r *runner) allAlive(ctx context.Context) bool {
	for _, p := range r.probes {
		view, err := p.client.Cluster(ctx)
		if err != nil {
			return false
		}
		for _, m := range view.Members {
			if m.Liveness != "alive" {
				return false
			}
		}
	}
	return true
}

// ownersOf asks who has a key, and returns who knew: a node may be down.
func (r *runner) ownersOf(ctx context.Context, at place) (through *probe, owners []string) {
	for i := range r.probes {
		p := r.probes[(at.key+i)%len(r.probes)]
		if view, err := p.client.Ring(ctx, r.bucketOf(at.quorum), keyName(at.key), at.quorum.N); err == nil {
			return p, view.Owners
		}
	}
	return nil, nil
}

// readEnd reads a key in each replica's own store, and then from all of them through one node; it tells whether the latter has an answer.
func (r *runner) readEnd(ctx context.Context, at place) bool {
	through, owners := r.ownersOf(ctx, at)
	if through == nil {
		return false
	}
	o := r.operation(history.Get, at, phaseFinal)
	for _, owner := range owners {
		for _, p := range r.probes {
			if p.node == owner {
				local := r.operation(history.Get, at, phaseFinal)
				local.Local = true
				r.do(ctx, p, &local)
				r.record(local)
			}
		}
	}
	o.Due, o.Final = r.now(), true
	r.do(ctx, through, &o)
	r.record(o)
	return o.Answered()
}

// deleteKeys leaves no keys in a cluster that is not ours, as far as that can be done. What cannot be deleted is told, with the buckets' names.
func (r *runner) deleteKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime)
	defer cancel()
	written := map[string]bool{}
	for i := range r.log.Ops { // nothing is under way any more
		written[r.log.Ops[i].Bucket+"/"+r.log.Ops[i].Key] = true
	}
	var left atomic.Int64
	err := r.forAll(ctx, func(ctx context.Context, at place) error {
		bucket, key := r.bucketOf(at.quorum), keyName(at.key)
		if !written[bucket+"/"+key] {
			return nil
		}
		for i := range r.probes { // a node may be down
			p := r.probes[(at.key+i)%len(r.probes)]
			if _, err := p.client.Delete(ctx, bucket, key, kvhttp.KeyOptions{N: at.quorum.N, W: quorum.Quorum}); err == nil {
				return nil
			}
		}
		left.Add(1)
		return nil
	})
	if err == nil && left.Load() == 0 {
		return
	}
	var buckets []string
	for _, q := range r.cfg.Quorums {
		buckets = append(buckets, r.bucketOf(q))
	}
	r.progress.Phase(fmt.Sprintf("probe keys are left in the buckets %s (%d of them could not be deleted, within %v)", strings.Join(buckets, ", "), left.Load(), deleteTime))
}

// watch tells every second how it goes.
func (r *runner) watch(ctx context.Context, start int64) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.progress.Second(r.standing(start))
		}
	}
}

// standing is one line: where the run is, and how many requests of each side have failed.
func (r *runner) standing(start int64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := "before the cut"
	switch {
	case markAt(r.log.Marks, markEnd) != never:
		state = "waiting for answers"
	case markAt(r.log.Marks, markHealed) != never:
		state = "healed"
	case markAt(r.log.Marks, markCut) != never:
		state = "CUT"
	}
	if r.cfg.Scenario == None {
		state = "running"
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%3.0f of %.0f s, %s", time.Duration(r.now()-start).Seconds(), r.cfg.Duration.Seconds(), state)
	for _, side := range r.cfg.Scenario.Sides() {
		t := r.counts[side]
		fmt.Fprintf(&line, " | %s: %d reads (%d failed), %d writes (%d failed)", side, t.reads, t.readsFailed, t.writes, t.writesFailed)
	}
	return line.String()
}
