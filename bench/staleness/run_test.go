package staleness

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/history"
)

// quiet is the Progress of tests.
type quiet struct{}

func (quiet) Phase(string)  {}
func (quiet) Second(string) {}

// short is a run of a second over few keys.
func short(scenario Scenario, quorums ...history.Quorum) Config {
	cfg := DefaultConfig()
	cfg.Scenario, cfg.Quorums, cfg.Duration, cfg.Keys = scenario, quorums, time.Second, 8
	cfg.Writes, cfg.Reads = 80, 240
	cfg.Timeout = 10 * time.Second // a busy machine is no fault of the cluster
	return cfg
}

var (
	strict = history.Quorum{N: 3, W: 2, R: 2}
	loose  = history.Quorum{N: 3, W: 1, R: 1}
)

// arrivals is how many operations the schedules of a run have.
func arrivals(cfg Config, clients int) int {
	count := 0
	for i := range cfg.Quorums {
		for range cfg.schedule(clients).Arrivals(rand.New(rand.NewPCG(cfg.Seed, uint64(i)))) {
			count++
		}
	}
	return count
}

// loadOps counts the operations of the load, by outcome.
func loadOps(log history.Log) (total int, by map[history.Outcome]int) {
	by = map[history.Outcome]int{}
	for i := range log.Ops {
		if o := &log.Ops[i]; o.Phase != phaseSetup && o.Phase != phaseFinal {
			total++
			by[o.Outcome]++
		}
	}
	return total, by
}

// TestHonestClusterIsCleared runs on a cluster that is always right, and cut: nothing is wrong with it but what is unavailable.
func TestHonestClusterIsCleared(t *testing.T) {
	c := newCloud(t, 5)
	cfg := short(IsolateOne, loose, strict)
	results, log, err := Run(t.Context(), c.dial(t, nil), cfg, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results.Broken)+len(results.Unknown) > 0 {
		t.Errorf("broken: %v, unknown: %v", results.Broken, results.Unknown)
	}
	if total, _ := loadOps(log); total != arrivals(cfg, 5) {
		t.Errorf("%d operations in the log, %d arrivals", total, arrivals(cfg, 5))
	}
	cutAt := markAt(log.Marks, markCut)
	for i := range log.Ops {
		if o := &log.Ops[i]; o.Phase == phaseBefore && o.Returned < cutAt && o.Outcome != history.Acked && !o.Answered() {
			t.Errorf("not answered before anything was cut: %+v", o)
		}
	}
	for _, q := range results.Quorums {
		for _, row := range q.Rows {
			// Some may be sent before the cut and reach their node after it, and some before the heal that are answered after it.
			during := row.Phase == phaseDuring
			if row.Stale > 0 || during && row.Side == isolated != (row.Unavailable > 0) || row.Reads == 0 {
				t.Errorf("%s: %+v", q.name(), row)
			}
		}
		if q.Fates["acked-present"] != cfg.Keys || q.Fates["refused"] == 0 {
			t.Errorf("%s: fates %v", q.name(), q.Fates)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.values) > 0 {
		t.Errorf("%d keys are left in a cluster that is not ours", len(c.values))
	}
}

// TestLiarsAreExposed puts a proxy in front of one node that makes the cluster wrong.
func TestLiarsAreExposed(t *testing.T) {
	for _, liar := range []struct {
		name   string
		proxy  func(http.Handler) http.Handler
		stale  bool
		broken string
	}{
		{"answers old values", nostalgic, true, "stale reads"},
		{"acknowledges and forgets", forgetful, true, "acknowledged writes lost"},
		{"honest", func(next http.Handler) http.Handler { return next }, false, ""},
	} {
		t.Run(liar.name, func(t *testing.T) {
			c := newCloud(t, 3)
			proxy := liar.proxy(proxyTo(t, c.nodes[1].URL))
			results, _, err := Run(t.Context(), c.dial(t, map[int]http.Handler{1: proxy}), short(None, strict), quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if (results.Quorums[0].LastStale != nil) != liar.stale {
				t.Errorf("stale reads were seen: %v", !liar.stale)
			}
			if broken := strings.Join(results.Broken, "; "); !strings.Contains(broken, liar.broken) || liar.broken == "" && broken != "" {
				t.Errorf("broken: %q, want %q", broken, liar.broken)
			}
		})
	}
}

// TestBoundIsUnavailability lets all reads hang: what arrives above the bound is in the log all the same.
func TestBoundIsUnavailability(t *testing.T) {
	c := newCloud(t, 3)
	c.hang = func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Get("r") == "1" }
	cfg := short(None, loose)
	cfg.InFlight, cfg.Timeout = 2, time.Millisecond
	results, log, err := Run(t.Context(), c.dial(t, nil), cfg, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	total, by := loadOps(log)
	if total != arrivals(cfg, 3) || by[history.OK]+by[history.NotFound] > 0 || by[history.Unavailable] == 0 {
		t.Errorf("%d operations, %v; want %d, and no read answered", total, by, arrivals(cfg, 3))
	}
	notSent := 0
	for i := range log.Ops {
		if o := &log.Ops[i]; o.Reason == reasonNotSent {
			notSent++
			if o.Returned != o.Invoked || o.Outcome != history.Unavailable && o.Outcome != history.NotWritten {
				t.Fatalf("%+v", o)
			}
		}
	}
	if notSent == 0 {
		t.Error("nothing met the bound")
	}
	for _, row := range results.Quorums[0].Rows {
		if row.PFresh != nil || row.Unavailable != row.Reads || *row.Availability != 0 {
			t.Errorf("failed reads pass for something else: %+v", row)
		}
	}
}

// TestHealsWhenInterrupted interrupts a run as soon as faults are set.
func TestHealsWhenInterrupted(t *testing.T) {
	c := newCloud(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.faults = cancel
	cfg := short(Halves, strict)
	cfg.Timeout = time.Millisecond
	c.hang = func(r *http.Request) bool { return ctx.Err() != nil && r.Method != http.MethodDelete } // nor does it matter that answers are missing
	if _, _, err := Run(ctx, c.dial(t, nil), cfg, quiet{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rules) != 3 {
		t.Errorf("rules were set at %d nodes", len(c.rules))
	}
	for node, rules := range c.rules {
		if len(rules) > 0 {
			t.Errorf("%s is left with %+v", node, rules)
		}
	}
}

// TestInterruptedRunIsTold interrupts a run while keys are put, before the cut, and in it: what had been done until then is in the log, in its phase.
func TestInterruptedRunIsTold(t *testing.T) {
	for _, at := range []struct {
		name   string
		phases []string
		cut    bool
	}{{"setup", []string{phaseSetup}, false}, {"before", []string{phaseSetup, phaseBefore}, false}, {"during", []string{phaseSetup, phaseBefore, phaseDuring}, true}} {
		t.Run(at.name, func(t *testing.T) {
			c := newCloud(t, 3)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.hang = func(r *http.Request) bool {
				if at.name == "setup" || at.name == "before" && r.Method == http.MethodGet {
					cancel()
				}
				return false
			}
			if at.cut {
				c.faults = cancel
			}
			results, log, err := Run(ctx, c.dial(t, nil), short(Halves, strict), quiet{})
			if !errors.Is(err, context.Canceled) || len(log.Ops) == 0 {
				t.Fatalf("error %v, %d operations", err, len(log.Ops))
			}
			for i := range log.Ops {
				if !slices.Contains(at.phases, log.Ops[i].Phase) {
					t.Fatalf("%+v", log.Ops[i])
				}
			}
			dir := t.TempDir()
			if files, err := Save(dir, results, log); err != nil || !slices.Contains(files, LogFile) {
				t.Errorf("saved %v, error %v", files, err)
			}
			if at.name == "setup" {
				if results != nil {
					t.Errorf("results of no load: %+v", results)
				}
				return
			}
			var out strings.Builder
			if err := results.Print(&out); err != nil {
				t.Fatal(err)
			}
			if results.Incomplete == "" || (results.Cut != nil) != at.cut || results.Healed != nil || len(results.Broken) > 0 ||
				!strings.Contains(out.String(), "INCOMPLETE") || strings.Contains(out.String(), "every promise held") || strings.Contains(out.String(), "after the heal") {
				t.Errorf("%+v\n%s", results, out.String())
			}
		})
	}
}

// TestNodeThatDoesNotHeal has a node that takes no rules after the cut, as one that has died: what was found is told, and that it is not all.
func TestNodeThatDoesNotHeal(t *testing.T) {
	c := newCloud(t, 3)
	var faults atomic.Int64
	deaf := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/faults" && faults.Add(1) > 2 { // after the first removal, and the cut
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxyTo(t, c.nodes[2].URL).ServeHTTP(w, r)
	})
	cfg := short(IsolateOne, strict)
	cfg.Settle = 100 * time.Millisecond
	results, log, err := Run(t.Context(), c.dial(t, map[int]http.Handler{2: deaf}), cfg, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if total, _ := loadOps(log); total != arrivals(cfg, 3) {
		t.Errorf("%d operations in the log, %d arrivals", total, arrivals(cfg, 3))
	}
	if unknown := strings.Join(results.Unknown, "; "); !strings.Contains(unknown, "set faults of node-3") || len(results.Broken) > 0 {
		t.Errorf("unknown: %q, broken: %q", unknown, results.Broken)
	}
	if len(c.rules["node-1"])+len(c.rules["node-2"]) > 0 {
		t.Errorf("rules are left: %+v", c.rules)
	}
}

// TestDeadReplica has a node that is away in the end, so that no key can be read from all replicas: the others prove what became of the writes.
func TestDeadReplica(t *testing.T) {
	c := newCloud(t, 3)
	proxies := map[int]http.Handler{}
	for i := range c.nodes {
		proxies[i] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if q.Get("r") == "all" || i == 0 && (q.Get("local") != "" || r.URL.Path == "/cluster/ring") {
				problem(w, http.StatusServiceUnavailable, "quorum-unavailable", false)
				return
			}
			proxyTo(t, c.nodes[i].URL).ServeHTTP(w, r)
		})
	}
	cfg := short(None, strict)
	cfg.Settle = 100 * time.Millisecond
	results, _, err := Run(t.Context(), c.dial(t, proxies), cfg, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	q := results.Quorums[0]
	if q.Fates["acked-present"] != cfg.Keys || q.Fates["undetermined"]+q.Fates["lost"] > 0 || len(results.Unknown)+len(results.Broken) > 0 {
		t.Errorf("fates %v, unknown: %v, broken: %v", q.Fates, results.Unknown, results.Broken)
	}
	var out strings.Builder
	if err := results.Print(&out); err != nil || !strings.Contains(out.String(), "no replica could be compared") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestDeletesWhatItPut interrupts a run while keys are put, with a node that deletes nothing: none is left behind.
func TestDeletesWhatItPut(t *testing.T) {
	c := newCloud(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var puts atomic.Int64
	c.hang = func(r *http.Request) bool {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/kv/") && puts.Add(1) == 10 {
			cancel()
		}
		return false
	}
	useless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			problem(w, http.StatusServiceUnavailable, "quorum-unavailable", true)
			return
		}
		proxyTo(t, c.nodes[1].URL).ServeHTTP(w, r)
	})
	cfg := short(None, strict)
	cfg.Keys = 100
	if _, _, err := Run(ctx, c.dial(t, map[int]http.Handler{1: useless}), cfg, quiet{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if puts.Load() < 10 || len(c.values) > 0 {
		t.Errorf("%d keys are left of %d that were put", len(c.values), puts.Load())
	}
}

// TestSaved reads back what was written, and finds the same in it.
func TestSaved(t *testing.T) {
	c := newCloud(t, 3)
	cfg := short(Halves, strict)
	results, log, err := Run(t.Context(), c.dial(t, nil), cfg, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := history.Encode(&file, log); err != nil {
		t.Fatal(err)
	}
	again, err := history.Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	recomputed := *results
	recomputed.Quorums = nil
	if _, err := newResults(cfg, &recomputed, again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(results, &recomputed) {
		t.Errorf("from the file:\n%+v\nfrom the run:\n%+v", recomputed, results)
	}
}
