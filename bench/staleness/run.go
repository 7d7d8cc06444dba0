package staleness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/fault"
	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/internal/history"
)

// Progress is told how a run goes. Phase begins or ends something; Second comes every second. They are not called at the same time.
type Progress interface {
	Phase(text string)
	Second(text string)
}

// The phases of a run, as the log has them.
const (
	phaseSetup  = "setup"  // every key is put once
	phaseBefore = "before" // from here to after is the load
	phaseDuring = "during"
	phaseAfter  = "after"
	phaseFinal  = "final" // every key is read from all replicas
)

// The marks of a run.
const (
	markLoad   = "load"   // the load began
	markCut    = "cut"    // the first fault rule was about to be set
	markHealed = "healed" // the last one had been removed
	markEnd    = "end"    // the last arrival was due
)

// runner is one run under way.
type runner struct {
	dialect
	cfg      Config
	fleet    *fleet.Fleet
	progress Progress
	side     map[string]string
	probes   []*probe // in the order of the fleet's nodes

	mu     sync.Mutex
	log    history.Log
	counts map[string]*tally // by side

	unhealed error // why a node did not take the heal; only the run's own goroutine knows of it
}

// tally is what has come so far, for Progress.
type tally struct{ reads, readsFailed, writes, writesFailed int }

// Run measures the cluster, and returns the log and what it says. An error means that the run could not be done, or not to its end: the log is then what
// came of it until then, and the Results are nil if it failed before the load.
func Run(ctx context.Context, f *fleet.Fleet, cfg Config, progress Progress) (*Results, history.Log, error) {
	if err := cfg.Validate(len(f.Nodes())); err != nil {
		return nil, history.Log{}, err
	}
	started := time.Now()
	r, err := newRunner(f, cfg, progress, started)
	if err != nil {
		return nil, history.Log{}, err
	}
	defer r.close()
	ctx, stop := failWith(ctx, f)
	defer stop()
	failed := r.measure(ctx)
	if failed != nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	r.label()
	if markAt(r.log.Marks, markLoad) == never {
		return nil, r.log, failed
	}
	results, err := newResults(cfg, r.setting(started), r.log)
	if err != nil {
		return nil, r.log, errors.Join(failed, err)
	}
	if failed != nil {
		results.Incomplete = failed.Error()
	}
	if r.unhealed != nil {
		results.Unknown = append(results.Unknown, fmt.Sprintf("when all of the cut was healed: %v", r.unhealed))
	}
	return results, r.log, failed
}

// failWith ends the context when a node of ours ends.
func failWith(parent context.Context, f *fleet.Fleet) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		select {
		case err := <-f.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func newRunner(f *fleet.Fleet, cfg Config, progress Progress, started time.Time) (*runner, error) {
	r := &runner{
		dialect: dialect{runID: started.UTC().Format("20060102-150405"), repair: cfg.Repair, timeout: cfg.Timeout},
		cfg:     cfg, fleet: f, progress: progress, side: cfg.Scenario.sides(f.Nodes(), f.Members()), counts: map[string]*tally{},
	}
	for i, n := range f.Nodes() {
		client, err := kvhttp.NewClient(n.URL)
		if err != nil {
			r.close()
			return nil, err
		}
		r.probes = append(r.probes, &probe{id: uint32(i + 1), node: n.Name, side: r.side[n.Name], client: client, room: make(chan struct{}, cfg.InFlight)})
	}
	for _, side := range cfg.Scenario.Sides() {
		r.counts[side] = &tally{}
	}
	return r, nil
}

func (r *runner) close() {
	for _, p := range r.probes {
		p.client.Close()
	}
}

// measure does the whole run: every key once, the load with the cut in it, and how every key ended.
func (r *runner) measure(ctx context.Context) error {
	if r.cfg.Scenario != None {
		if err := setFaults(ctx, r.fleet, nil); err != nil {
			return fmt.Errorf("faults cannot be set, and so nothing be cut off: %w", err)
		}
	}
	r.clock = history.NewClock(time.Now())
	if !r.fleet.Started() {
		defer r.deleteKeys(ctx)
	}
	if err := r.setUp(ctx); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	if r.unhealed != nil {
		if left := healAnyway(ctx, r.fleet); left != nil {
			r.progress.Phase(fmt.Sprintf("FAULTS ARE LEFT BEHIND, unless the node has ended: %v", left))
		}
	}
	return r.finish(ctx)
}

// load lets the arrivals come, and cuts and heals meanwhile.
func (r *runner) load(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := r.mark(markLoad)
	var arrivals, requests sync.WaitGroup
	for i, q := range r.cfg.Quorums {
		random := rand.New(rand.NewPCG(r.cfg.Seed, uint64(i)))
		arrivals.Go(func() { r.arrive(ctx, &requests, q, random, start) })
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx, start)
	}()
	err := r.cutAndHeal(ctx, start)
	if err != nil {
		cancel()
	}
	arrivals.Wait()
	r.mark(markEnd)
	requests.Wait()
	cancel()
	<-watched
	return err
}

// cutAndHeal does what the scenario says when its time has come. It leaves no fault behind.
func (r *runner) cutAndHeal(ctx context.Context, start int64) (err error) {
	if !r.sleepUntil(ctx, start+r.cfg.cutAt().Nanoseconds()) {
		return ctx.Err()
	}
	r.mark(markCut)
	if r.cfg.Scenario != None {
		defer func() {
			if err == nil {
				return
			}
			if left := healAnyway(ctx, r.fleet); left != nil {
				r.progress.Phase(fmt.Sprintf("FAULTS ARE LEFT BEHIND, unless the node has ended: %v", left))
			}
		}()
		// An interruption does not abort this: a node could come to rules whose request was given up after it was healed.
		if err := setFaults(context.WithoutCancel(ctx), r.fleet, func(node string) []fault.Rule { return cutRules(node, r.side) }); err != nil {
			return fmt.Errorf("cut: %w", err)
		}
	}
	if !r.sleepUntil(ctx, start+r.cfg.healAt().Nanoseconds()) {
		return ctx.Err()
	}
	if r.cfg.Scenario != None {
		if err := setFaults(ctx, r.fleet, nil); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("heal: %w", err)
			}
			r.unhealed = err // a node that has died is what the run is to tell of, not what ends it
			r.progress.Phase(fmt.Sprintf("heal: %v", err))
		}
	}
	r.mark(markHealed)
	return nil
}

// arrive starts each operation of a quorum when it is due, and waits for none.
func (r *runner) arrive(ctx context.Context, requests *sync.WaitGroup, q history.Quorum, random *rand.Rand, start int64) {
	bucket := r.bucketOf(q)
	for a := range r.cfg.schedule(len(r.probes)).Arrivals(random) {
		if !r.sleepUntil(ctx, start+a.Due) {
			return
		}
		p := r.probes[a.Client]
		o := history.Op{Kind: a.Kind, Bucket: bucket, Key: keyName(a.Key), N: q.N, W: q.W, R: q.R, Due: start + a.Due}
		if o.IsWrite() {
			o.Seq = p.seq.Add(1)
		}
		select {
		case p.room <- struct{}{}:
			requests.Go(func() {
				// A request that was sent is waited for even if the run is interrupted: its answer is part of the truth.
				r.do(context.WithoutCancel(ctx), p, &o)
				<-p.room
				r.record(o)
			})
		default:
			r.record(r.notSent(p, o))
		}
	}
}

// notSent is an arrival that met the bound: unavailability as its client sees it.
func (r *runner) notSent(p *probe, o history.Op) history.Op {
	o.Client, o.Node, o.Side, o.Reason = p.id, p.node, p.side, reasonNotSent
	o.Invoked = r.now()
	o.Returned = o.Invoked
	o.Outcome = history.Unavailable
	if o.IsWrite() {
		o.Outcome = history.NotWritten
	}
	return o
}

// sleepUntil waits for a moment of the clock; it returns false if the context ends first.
func (r *runner) sleepUntil(ctx context.Context, at int64) bool {
	wait := time.Until(r.clock.Time(at))
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mark notes a moment, and returns it.
func (r *runner) mark(name string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.now()
	r.log.Marks = append(r.log.Marks, history.Mark{Name: name, At: at})
	return at
}

func (r *runner) record(o history.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.ID = uint64(len(r.log.Ops) + 1)
	r.log.Ops = append(r.log.Ops, o)
	if o.Phase != "" {
		return // not of the load
	}
	t := r.counts[o.Side]
	switch {
	case o.IsWrite() && o.Outcome != history.Acked:
		t.writesFailed++
		fallthrough
	case o.IsWrite():
		t.writes++
	case !o.Answered():
		t.readsFailed++
		fallthrough
	default:
		t.reads++
	}
}

// label says of each operation of the load in which phase it was sent.
func (r *runner) label() {
	cut, healed := markAt(r.log.Marks, markCut), markAt(r.log.Marks, markHealed)
	for i := range r.log.Ops {
		o := &r.log.Ops[i]
		switch {
		case o.Phase != "":
		case o.Invoked < cut:
			o.Phase = phaseBefore
		case o.Invoked < healed:
			o.Phase = phaseDuring
		default:
			o.Phase = phaseAfter
		}
	}
}

// never is when what did not happen was: after everything.
const never = math.MaxInt64

// markAt is when the last mark of that name was, or never.
func markAt(marks []history.Mark, name string) int64 {
	at := int64(never)
	for _, m := range marks {
		if m.Name == name {
			at = m.At
		}
	}
	return at
}
