package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/bench/workload"
)

// Progress is what a run tells about itself, once a second and at the turns.
type Progress interface {
	Phase(text string)  // something begins
	Second(text string) // how the last second went; it replaces the one before
}

// run is one load under way.
type run struct {
	cfg      Config
	fleet    *fleet.Fleet
	hosts    []string // of the nodes
	values   workload.Values
	frontier *workload.Frontier
	arrivals []*arrivals // by node; none in a closed loop
	warm     *recorder   // of what began before the window; it only shows how the warm-up goes
	recorder *recorder   // of what began in it
	progress Progress

	begin      time.Time // of the load
	from, till time.Time // the window
}

// shards bounds how many locks the connections share: more than processors are of no use.
func shards(connections int) int { return min(connections, runtime.GOMAXPROCS(0), 16) }

// Run loads the cluster and returns what was measured. If ctx ends during the window, it returns what was measured until then, together with
// the error.
func Run(ctx context.Context, f *fleet.Fleet, cfg Config, progress Progress) (*Results, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &run{
		cfg: cfg, fleet: f, progress: progress,
		values:   workload.NewValues(cfg.Workload.Seed, cfg.Workload.Values.Max),
		frontier: workload.NewFrontier(cfg.Workload.Keys),
		warm:     newRecorder(shards(cfg.Connections), len(f.Nodes())),
		recorder: newRecorder(shards(cfg.Connections), len(f.Nodes())),
	}
	for _, n := range f.Nodes() {
		u, err := url.Parse(n.URL)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "http" || u.Path != "" || u.Port() == "" {
			return nil, fmt.Errorf("%s: want an address such as http://10.0.0.1:8080", n.URL)
		}
		r.hosts = append(r.hosts, u.Host)
	}
	if idle := len(r.hosts) - cfg.Connections; idle > 0 {
		progress.Phase(fmt.Sprintf("WARNING: %d connections to %d nodes: %d of the nodes get no load", cfg.Connections, len(r.hosts), idle))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-f.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if err := r.canScan(ctx); err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	loaded, err := r.preload(ctx)
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	results, err := r.measure(ctx)
	if results != nil {
		results.Preload = loaded
	}
	return results, err
}

// ErrRefused marks a workload that the cluster cannot serve, whatever it does.
var ErrRefused = errors.New("the cluster cannot serve this workload")

// canScan refuses a workload with scans if the cluster does not list keys.
func (r *run) canScan(ctx context.Context) error {
	if r.cfg.Workload.Mix[workload.Scan] == 0 {
		return nil
	}
	c := newConn(r.hosts[0], r.cfg.answerTime())
	defer c.close()
	status, err := c.read(ctx, "/kv/"+r.cfg.Bucket+"?limit=1")
	switch {
	case err != nil:
		return fmt.Errorf("list keys of %s: %w", r.hosts[0], err)
	case status != http.StatusOK:
		return fmt.Errorf("%w: it scans, which needs the listing of keys, and %s answers GET /kv/%s with %s; workloads a, b, c, d and f do without",
			ErrRefused, r.hosts[0], r.cfg.Bucket, c.problem())
	}
	return nil
}

// preload puts every key once.
func (r *run) preload(ctx context.Context) (*Preload, error) {
	if !r.cfg.Preload {
		return nil, nil
	}
	began := time.Now()
	r.progress.Phase(fmt.Sprintf("preload: %d keys", r.cfg.Workload.Keys))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Uint64
	var busy sync.WaitGroup
	for i := range r.cfg.Connections {
		busy.Go(func() {
			if err := r.preloadSome(ctx, i, &next, &done); err != nil {
				cancel(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		busy.Wait()
		close(ended)
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ended:
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			return &Preload{Keys: r.cfg.Workload.Keys, Seconds: time.Since(began).Seconds()}, nil
		case <-second.C:
			n := done.Load()
			r.progress.Second(fmt.Sprintf("preload  %5.1f %%  %d keys", 100*float64(n)/float64(r.cfg.Workload.Keys), n))
		}
	}
}

const (
	preloadTries = 5                      // for each key
	retryPause   = 200 * time.Millisecond // before a node that did not answer is spoken to again, so that trying is not all we do
)

// preloadSome puts keys until there are none left. The value of a key depends on the seed and the key alone.
func (r *run) preloadSome(ctx context.Context, i int, next, done *atomic.Uint64) error {
	s := newSession(r.cfg, r.hosts[i%len(r.hosts)], r.values)
	defer s.conn.close()
	for {
		key := next.Add(1) - 1
		if key >= r.cfg.Workload.Keys {
			return nil
		}
		op := workload.Op{Kind: workload.Insert, Key: key}
		op.Size, op.From = workload.NewStream(r.cfg.Workload, key).Value()
		for try := 1; ; try++ {
			result, reason, _ := s.do(ctx, op)
			if result == succeeded {
				break
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if try == preloadTries {
				return fmt.Errorf("preload: key %d could not be put through %s in %d tries: %s", key, r.hosts[i%len(r.hosts)], try, reason)
			}
			sleep(ctx, retryPause)
		}
		done.Add(1)
	}
}

// sleep waits for a while, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// measure runs warm-up and window.
func (r *run) measure(ctx context.Context) (*Results, error) {
	r.progress.Phase(r.describe())
	r.begin = time.Now()
	r.from = r.begin.Add(r.cfg.Warmup)
	r.till = r.from.Add(r.cfg.Duration)
	if r.cfg.open() {
		asked := min(len(r.hosts), r.cfg.Connections) // a node without a connection has no part
		for i := range asked {
			r.arrivals = append(r.arrivals, newArrivals(r.cfg, r.frontier, i, asked))
		}
	}
	var busy sync.WaitGroup
	for i := range r.cfg.Connections {
		busy.Go(func() { r.connection(ctx, i) })
	}
	w := r.watch(ctx)
	busy.Wait()
	w.counts.merge(r.recorder.collect()) // what began in the window and ended after it
	return r.results(w), context.Cause(ctx)
}

func (r *run) describe() string {
	loop := fmt.Sprintf("closed loop, %d connections", r.cfg.Connections)
	if r.cfg.open() {
		loop = fmt.Sprintf("open loop, %g arrivals/s, at most %d at a time", r.cfg.Rate, r.cfg.Connections)
	}
	return fmt.Sprintf("%v of %v keys, %s; warm-up %v, then %v", r.cfg.Workload.Mix, r.cfg.Workload.Distribution, loop, r.cfg.Warmup, r.cfg.Duration)
}

// window is what was measured so far.
type window struct {
	began, ended time.Time // when usage was read
	counts       *counts   // of what began in it
	sent         work      // what was done in it, whenever it began
	seconds      []Second
	before       usage
	after        usage
}

// work is what CPU was used for.
type work struct {
	answered int64   // operations
	requests []int64 // by node
}

func (w *work) add(all ...*counts) {
	for _, c := range all {
		for k := range c.kinds {
			w.answered += c.kinds[k].Succeeded + c.kinds[k].NotFound
		}
		for i, n := range c.requests {
			w.requests[i] += n
		}
	}
}

// usage is what the nodes and this process had used at some moment.
type usage struct {
	nodes  []fleet.Usage
	failed []error
	own    time.Duration
	ownErr error
}

func (r *run) usage(ctx context.Context) (u usage) {
	u.nodes, u.failed = r.fleet.Usage(ctx)
	u.own, u.ownErr = ownCPU()
	return u
}

// watch tells of every second, and takes what is counted, until the window or ctx ends.
func (r *run) watch(ctx context.Context) *window {
	w := &window{counts: newCounts(len(r.hosts)), sent: work{requests: make([]int64, len(r.hosts))}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := r.begin
	r.turn(ctx, w, r.begin) // without a warm-up the window begins at once
	for next := r.nextTick(r.begin); ; next = r.nextTick(next) {
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		now := time.Now()
		c, warm := r.recorder.collect(), r.warm.collect()
		w.counts.merge(c)
		if w.began.IsZero() {
			c.merge(warm)
		} else {
			w.sent.add(c, warm) // what arrived before the window is still work that is done in it
		}
		s := secondOf(c, now.Sub(last))
		last = now
		if !w.began.IsZero() {
			s.At = now.Sub(w.began).Seconds()
			w.seconds = append(w.seconds, s)
		}
		r.progress.Second(s.line(!w.began.IsZero()))
		if r.turn(ctx, w, now) {
			return w
		}
	}
}

// turn begins and ends the window when it is time to, and tells whether it has ended.
func (r *run) turn(ctx context.Context, w *window, now time.Time) bool {
	interrupted := ctx.Err() != nil
	if w.began.IsZero() && (interrupted || !now.Before(r.from)) {
		w.before = r.usage(ctx)
		w.began = time.Now()
	}
	if interrupted || !now.Before(r.till) {
		w.after = r.usage(context.WithoutCancel(ctx)) // what was measured until an interruption counts
		w.ended = time.Now()
		return true
	}
	return false
}

// nextTick is the end of the second that begins at t, or the beginning or end of the window if that is sooner.
func (r *run) nextTick(t time.Time) time.Time {
	next := t.Add(time.Second)
	for _, turn := range []time.Time{r.from, r.till} {
		if t.Before(turn) && turn.Before(next) {
			next = turn
		}
	}
	return next
}
