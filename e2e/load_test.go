package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// inParallel runs a job for each index below count, a bounded number at once, and returns the first few
// errors. It stops handing out jobs after an error.
func inParallel(ctx context.Context, workers, count int, job func(ctx context.Context, i int) error) error {
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	for range min(workers, count) {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= count || ctx.Err() != nil {
					return
				}
				if err := job(ctx, i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	group.Wait()
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more", len(errs)-5))
	}
	return errors.Join(errs...)
}

// attempt is one write of the load: each has a key of its own.
type attempt struct {
	path, value string
	acked       bool
}

// writeLoad writes distinct keys through all nodes in turn, on many connections, until the context ends. It
// keeps every attempt, acknowledged or not.
type writeLoad struct {
	nodes []*node
	acked atomic.Int64

	mu       sync.Mutex
	attempts []attempt
}

// run writes until the context ends and returns when the last request has ended too.
func (l *writeLoad) run(ctx context.Context, workers int) {
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.write(ctx, l.nodes[(worker+i)%len(l.nodes)])
			}
		})
	}
	group.Wait()
}

func (l *writeLoad) write(ctx context.Context, n *node) {
	path := fresh("load")
	value := "value of " + path
	a, err := n.send(ctx, http.MethodPut, path+"?w=2", []byte(value))
	acked := err == nil && a.status == http.StatusNoContent
	if acked {
		l.acked.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts = append(l.attempts, attempt{path, value, acked})
	if err != nil {
		runtime.Gosched() // a node that is down refuses in microseconds
	}
}

// check reads every attempt back through the nodes in turn: what was acknowledged is there, and the rest is
// there or not, but never something else.
func (l *writeLoad) check(t *testing.T, nodes []*node) {
	t.Helper()
	err := inParallel(t.Context(), 32, len(l.attempts), func(ctx context.Context, i int) error {
		made := l.attempts[i]
		a, err := nodes[i%len(nodes)].send(ctx, http.MethodGet, made.path+"?r=2&timeout=30s", nil)
		switch {
		case err != nil:
			return err
		case a.status == http.StatusOK && string(a.body) == made.value:
			return nil
		case a.status == http.StatusNotFound && !made.acked:
			return nil
		}
		return fmt.Errorf("%s, acknowledged: %v: status %d %.200q", a.request, made.acked, a.status, a.body)
	})
	if err != nil {
		t.Fatal(err)
	}
}
