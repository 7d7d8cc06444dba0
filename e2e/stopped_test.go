package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestStoppedNode stops a process without ending it, under reads and writes through all others: its sockets stay open, and nobody
// answers. Requests that do not need it go on without waiting for it, before and after it is known to be down; when it goes on
// itself, everything is as before. Only what was handed to it in the last moment before may be lost with it.
func TestStoppedNode(t *testing.T) {
	slow(t)
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, size)
			sleeper, others := c.nodes[size-1], c.nodes[:size-1]
			load := newStoppedLoad(t, c, others, sleeper)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failed := make(chan error, 1)
			go func() { failed <- inParallel(ctx, stoppedWorkers, stoppedWorkers, load.run) }()

			eventually(t, soon, "some requests", func() error { return load.beyond(500) })
			load.stopped.Store(time.Now().UnixNano())
			sleeper.pause()
			eventually(t, healLimit, "everybody knows", func() error {
				for _, n := range others {
					if a := n.put(t, fresh("stopped")+fmt.Sprintf("?n=%d&w=all&timeout=300ms", size), "v"); a.status != http.StatusServiceUnavailable {
						return fmt.Errorf("%s: %d", n.name, a.status)
					}
				}
				return nil
			})
			known := load.answered.Load()
			eventually(t, soon, "requests to those who know", func() error { return load.beyond(known + 500) })
			sleeper.resume()
			c.waitSettled(t)
			resumed := load.answered.Load()
			eventually(t, soon, "requests after it went on", func() error { return load.beyond(resumed + 500) })
			cancel()
			if err := <-failed; err != nil {
				t.Error(err)
			}
			t.Logf("%d answered, %d lost with the stopped node, %d slow", load.answered.Load(), load.lost.Load(), load.slow.Load())
			if slow := load.slow.Load(); slow > load.answered.Load()/100 {
				t.Errorf("%d of %d took longer than %v", slow, load.answered.Load(), stoppedSlow)
			}
			for _, n := range c.nodes {
				eventually(t, healLimit, "w=all through "+n.name, func() error { return tries(t, n, "w=all") })
			}
		})
	}
}

const (
	stoppedWorkers = 8
	stoppedSlow    = 3 * time.Second // a connection to a silent node is given up after four: who waits for that is slower
)

// stoppedLoad is reads and writes of some keys of every set of owners, small values and such as are left out of replies.
type stoppedLoad struct {
	keys     []*matrixKey
	values   []string
	via      []*node
	sleeper  *node
	stopped  atomic.Int64 // Unix nanoseconds; 0: not yet
	answered atomic.Int64
	lost     atomic.Int64
	slow     atomic.Int64
}

func newStoppedLoad(t *testing.T, c *cluster, via []*node, sleeper *node) *stoppedLoad {
	t.Helper()
	l := &stoppedLoad{via: via, sleeper: sleeper, values: []string{"small", strings.Repeat("large", 4000)}}
	for i := range 60 {
		key := &matrixKey{path: fresh("stopped"), n: 3}
		if i%3 == 0 {
			key.n = len(c.nodes)
		}
		key.owners = c.nodes[0].ring(t, key.path, fmt.Sprintf("&n=%d", key.n)).Owners
		c.nodes[i%len(c.nodes)].put(t, fmt.Sprintf("%s?n=%d&w=all", key.path, key.n), l.values[i%2]).wants(t, http.StatusNoContent)
		l.keys = append(l.keys, key)
	}
	return l
}

func (l *stoppedLoad) beyond(count int64) error {
	if answered := l.answered.Load(); answered < count {
		return fmt.Errorf("%d answers", answered)
	}
	return nil
}

// run makes requests, each through the next node, until the context ends.
func (l *stoppedLoad) run(ctx context.Context, worker int) error {
	for i := worker; ctx.Err() == nil; i++ {
		key := l.keys[i*7%len(l.keys)]
		via, value, method := l.via[i%len(l.via)], l.values[i*7%len(l.keys)%2], http.MethodGet
		if i/2%2 == 0 {
			method = http.MethodPut
		}
		began := time.Now()
		a, err := via.send(context.Background(), method, fmt.Sprintf("%s?n=%d&w=quorum&r=quorum&timeout=20s", key.path, key.n), []byte(value))
		if err != nil {
			return err
		}
		l.answered.Add(1)
		if err := l.judge(key, via, began, method, a, value); err != nil {
			return fmt.Errorf("%w: %s: %d %.500s", err, a.request, a.status, a.body)
		}
	}
	return nil
}

// judge accepts success, and the loss of a write that was just being handed to the node when it was stopped.
func (l *stoppedLoad) judge(key *matrixKey, via *node, began time.Time, method string, a answer, value string) error {
	if method == http.MethodGet && a.status == http.StatusOK && string(a.body) == value || method == http.MethodPut && a.status == http.StatusNoContent {
		if time.Since(began) > stoppedSlow {
			l.slow.Add(1)
		}
		return nil
	}
	stopped := l.stopped.Load()
	p, err := a.problem()
	switch {
	case err != nil:
		return err
	case method != http.MethodPut || a.status != http.StatusGatewayTimeout || p.Outcome != "indeterminate":
		return errors.New("not answered as if the node were not needed")
	case slices.Contains(key.owners, via.name) || p.replica(l.sleeper.name) == "not-sent":
		return errors.New("not handed to the stopped node, and failed")
	case stopped == 0 || began.After(time.Unix(0, stopped).Add(time.Second)):
		return errors.New("handed to a node that had been stopped before")
	}
	l.lost.Add(1)
	return nil
}

// TestStoppedOwnerIsNotLate stops the owner to which a write has just been handed, so that the write lies in the buffers of the
// stopped process when its client is told that nobody knows. What the client then writes through another node is not
// undone when the owner goes on.
func TestStoppedOwnerIsNotLate(t *testing.T) {
	slow(t)
	c := newCluster(t, 5)
	sleeper := c.nodes[4]
	for range 20 {
		key, via := stockOf(t, c, sleeper)
		if !handsOver(t, key, via, sleeper) {
			sleeper.resume()
			c.waitSettled(t)
			continue
		}
		other := c.node(key.owners[1])
		eventually(t, healLimit, "a write through the next owner", func() error {
			return answers(t.Context(), other, http.MethodPut, key.path+"?w=2", "new", http.StatusNoContent)
		})
		sleeper.resume()
		c.waitSettled(t)
		for _, n := range c.nodes {
			n.get(t, key.path+"?r=3").wantsValue(t, "new")
		}
		return
	}
	t.Skip("the owner was never stopped in time")
}

// stockOf finds a key that the node comes first for, and a node that does not own it.
func stockOf(t *testing.T, c *cluster, first *node) (*matrixKey, *node) {
	t.Helper()
	for range 10_000 {
		key := &matrixKey{path: fresh("stopped"), n: 3}
		view := c.nodes[0].ring(t, key.path, "&n=3")
		if key.owners = view.Owners; view.Owners[0] == first.name {
			return key, c.node(view.Fallbacks[0])
		}
	}
	t.Fatal("no key")
	return nil, nil
}

// handsOver stops the sleeper under a stream of writes of one key through a node that hands them over, and reports whether one of
// them was lost with it.
func handsOver(t *testing.T, key *matrixKey, via, sleeper *node) bool {
	t.Helper()
	var lost atomic.Int64
	stop := time.AfterFunc(300*time.Millisecond, sleeper.pause)
	defer stop.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := inParallel(ctx, 4, 4, func(context.Context, int) error {
		for ctx.Err() == nil {
			a, err := via.send(t.Context(), http.MethodPut, key.path+"?w=2&timeout=1s", []byte("old"))
			switch {
			case err != nil:
				return err
			case a.status == http.StatusGatewayTimeout:
				lost.Add(1)
			case a.status != http.StatusNoContent:
				return fmt.Errorf("%d %s", a.status, a.body)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lost.Load() > 0
}
