package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What comes back to a node that was away, or lost its disk, without anybody reading it.

// waitNobodyGains waits until every running node sees a settled layout.
func (c *cluster) waitNobodyGains(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		eventually(t, refillLimit, n.name+" sees a settled layout", func() error {
			v, err := n.view()
			if err == nil && !v.Layout.Settled {
				err = fmt.Errorf("waiting: %+v; to go: %+v", v.Layout.Waiting, v.CatchUp)
			}
			return err
		})
	}
}

// refillLimit bounds how long a refill of the full size may take at all, on a machine that does other things.
const refillLimit = 10 * time.Minute

// batch is a number of keys that were written with their path as the value.
type batch []string

// write puts count new keys through some nodes and waits for w of them each.
func write(t *testing.T, count int, w string, nodes ...*node) (batch, time.Duration) {
	t.Helper()
	paths := make(batch, count)
	for i := range paths {
		paths[i] = fresh("exchange")
	}
	begun := time.Now()
	err := inParallel(t.Context(), 64, count, func(ctx context.Context, i int) error {
		a, err := nodes[i%len(nodes)].insists(ctx, http.MethodPut, paths[i]+"?timeout=30s&w="+w, paths.value(i))
		if err == nil && a.status != http.StatusNoContent {
			err = fmt.Errorf("%s: status %d %.200q", a.request, a.status, a.body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, time.Since(begun)
}

// insists sends a request that changes nothing when it is repeated, again and again as long as too few owners answer: on a machine that others load, one that
// is up may be taken for dead for a moment.
func (n *node) insists(ctx context.Context, method, path string, body []byte) (a answer, err error) {
	err = poll(soon, func() (err error) {
		a, err = n.send(ctx, method, path, body)
		if err == nil && (a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout) {
			err = fmt.Errorf("%s: status %d %.300s", a.request, a.status, a.body)
		}
		return err
	})
	return a, err
}

// value is what was written to a path: 100 bytes.
func (b batch) value(i int) []byte { return fmt.Appendf(nil, "%-100s", b[i]) }

// missing counts what a node answers wrongly when all keys are read through it with a query.
func (b batch) missing(t *testing.T, n *node, query string) int {
	t.Helper()
	var wrong atomic.Int64
	err := inParallel(t.Context(), 32, len(b), func(ctx context.Context, i int) error {
		a, err := n.insists(ctx, http.MethodGet, b[i]+query, nil)
		if err == nil && (a.status != http.StatusOK || string(a.body) != string(b.value(i))) && wrong.Add(1) == 1 {
			t.Logf("%s: status %d %.300s", a.request, a.status, a.body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(wrong.Load())
}

// arrives waits until a node holds all of some keys, looking at all of them again and again.
func (b batch) arrives(t *testing.T, n *node) {
	t.Helper()
	eventually(t, refillLimit, n.name+" holds what it has missed", func() error {
		if missing := b.missing(t, n, "?local=true"); missing > 0 {
			return fmt.Errorf("%d of %d are not there", missing, len(b))
		}
		return nil
	})
}

// TestCatchUp keeps one node of three away for 20,000 writes. Back, it holds all of them, and nobody has read one.
func TestCatchUp(t *testing.T) {
	slow(t)
	c := newCluster(t, 3)
	away, rest := c.nodes[2], c.nodes[:2]
	write(t, 2000, "3", c.nodes...)
	away.kill(t)
	for _, n := range rest {
		knowsDead(t, n, away)
	}
	missed, took := write(t, 20_000, "2", rest...)
	away.restart(t)
	begun := time.Now()
	missed.arrives(t, away)
	back := time.Since(begun)
	plain, rate := float64(len(missed))/took.Seconds(), float64(len(missed))/back.Seconds()
	t.Logf("%d writes at w=2 in %v: %.0f/s; caught up in %v: %.0f/s, %.0f %% of that", len(missed), took, plain, back, rate, 100*rate/plain)
	for _, n := range c.nodes {
		eventually(t, healLimit, n.name+" sees nobody behind", func() error {
			v, err := n.view()
			for _, m := range v.Members {
				if m.Behind != 0 {
					return fmt.Errorf("%s: %d behind", m.Name, m.Behind)
				}
			}
			return err
		})
	}
}

// TestRefill wipes the disk of one node of three, under strict writes and reads that go on throughout. It is refilled without a read,
// counts again, and no read was stale at any moment.
func TestRefill(t *testing.T) {
	slow(t)
	count := 20_000
	if os.Getenv("QUORATE_E2E_FULL") != "" {
		count = 200_000
	}
	c := newCluster(t, 3)
	wiped, rest := c.nodes[2], c.nodes[:2]
	held, took := write(t, count, "3", c.nodes...)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	checked := make(chan registers, 1)
	go func() { checked <- strictLoad(ctx, rest) }()
	started := time.Now()
	eventually(t, time.Minute, "some seconds of load to compare with", func() error {
		if time.Since(started) < 5*time.Second {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	killed := time.Now()
	wiped.kill(t)
	wiped.wipe(t)
	wiped.restart(t)
	begun := time.Now()
	c.waitNobodyGains(t)
	settled := time.Now()
	back := settled.Sub(begun)
	stop()
	r := <-checked
	if r.stale > 0 || r.reads == 0 {
		t.Errorf("strict reads: %d, stale %d", r.reads, r.stale)
	}
	t.Logf("strict load: %d writes, %d reads, %d failed, %d stale; p99 before %v, while refilled %v", r.writes, r.reads, r.failed, r.stale,
		r.p99(started, killed), r.p99(begun, settled))
	plain, rate := float64(count)/took.Seconds(), float64(count)/back.Seconds()
	t.Logf("%d writes at w=3 in %v: %.0f/s; refilled in %v: %.0f/s, %.0f %% of that", count, took, plain, back, rate, 100*rate/plain)
	if wrong := held.missing(t, wiped, "?local=true"); wrong > 0 {
		t.Errorf("%d of %d keys are not there", wrong, count)
	}
	wiped.get(t, fresh("exchange")+"?local=true").wants(t, http.StatusNotFound)
	for _, n := range c.nodes {
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
		if wrong := held[:min(len(held), 500)].missing(t, n, "?r=all"); wrong > 0 {
			t.Errorf("%d of 500 keys are not read with r=all through %s", wrong, n.name)
		}
	}
}

// registers is what a load of one writer for each of some keys has seen.
type registers struct {
	writes, reads, stale, failed int64
	took                         []timed
}

// timed is one request that succeeded.
type timed struct {
	end  time.Time
	took time.Duration
}

// p99 is that of the requests that ended within a span.
func (r *registers) p99(from, to time.Time) time.Duration {
	var took []time.Duration
	for _, one := range r.took {
		if one.end.After(from) && one.end.Before(to) {
			took = append(took, one.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100].Round(10 * time.Microsecond)
}

// strictLoad writes growing numbers to keys, each by one goroutine that reads it back through another node with w=2 and r=2: a read
// that shows less than the last acknowledged write is stale.
func strictLoad(ctx context.Context, nodes []*node) registers {
	var writes, reads, stale, failed atomic.Int64
	var mu sync.Mutex
	var took []timed
	send := func(n *node, method, path string, body []byte) (answer, error) {
		begun := time.Now()
		a, err := n.send(context.WithoutCancel(ctx), method, path, body)
		if err == nil && a.status < 300 {
			mu.Lock()
			took = append(took, timed{time.Now(), time.Since(begun)})
			mu.Unlock()
		}
		return a, err
	}
	_ = inParallel(context.WithoutCancel(ctx), 8, 8, func(context.Context, int) error {
		path, acked := fresh("register"), 0
		for i := 1; ctx.Err() == nil; i++ {
			a, err := send(nodes[i%len(nodes)], http.MethodPut, path+"?w=2", fmt.Append(nil, i))
			if err != nil || a.status != http.StatusNoContent {
				failed.Add(1)
				continue
			}
			acked = i
			writes.Add(1)
			a, err = send(nodes[(i+1)%len(nodes)], http.MethodGet, path+"?r=2", nil)
			if err != nil || a.status != http.StatusOK {
				if err == nil && a.status == http.StatusNotFound {
					stale.Add(1)
				}
				failed.Add(1)
				continue
			}
			seen := 0
			_, _ = fmt.Sscan(string(a.body), &seen) // what is no number is 0, which is stale
			reads.Add(1)
			if seen < acked {
				stale.Add(1)
			}
		}
		return nil
	})
	return registers{writes.Load(), reads.Load(), stale.Load(), failed.Load(), took}
}
