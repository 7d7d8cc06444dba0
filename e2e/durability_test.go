package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// startLoad writes in the background until stop is called; stop returns when the last request has ended.
func startLoad(t *testing.T, nodes []*node, workers int) (load *writeLoad, stop func()) {
	t.Helper()
	load = &writeLoad{nodes: nodes}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		load.run(ctx, workers)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return load, stop
}

// waitAcked waits until so many writes have been acknowledged.
func (l *writeLoad) waitAcked(t *testing.T, count int64) {
	t.Helper()
	eventually(t, 5*time.Minute, fmt.Sprintf("%d acknowledged writes", count), func() error {
		if got := l.acked.Load(); got < count {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
}

// TestKillAllUnderLoad kills every node at once in the middle of a load, and expects each acknowledged write
// of it after the restart: nothing may leave a node that its disk could still forget.
func TestKillAllUnderLoad(t *testing.T) {
	count := int64(10_000)
	if testing.Short() {
		count = 1_000
	}
	c := newCluster(t, 3)
	load, stop := startLoad(t, c.nodes, 64)
	load.waitAcked(t, count)
	c.killAll(t)
	stop()
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	c.waitSettled(t)
	load.check(t, c.nodes)
	t.Logf("%d writes acknowledged, %d attempted", load.acked.Load(), len(load.attempts))
}

// TestRollingKills kills and restarts one node after the other while writes go on through all of them, twice
// around. Requests at the killed node fail; what was acknowledged stays.
func TestRollingKills(t *testing.T) {
	slow(t)
	c := newCluster(t, 3)
	load, stop := startLoad(t, c.nodes, 16)
	for round := range 2 * len(c.nodes) {
		n := c.nodes[round%len(c.nodes)]
		load.waitAcked(t, load.acked.Load()+500)
		n.kill(t)
		load.waitAcked(t, load.acked.Load()+500)
		n.restart(t)
		c.waitSettled(t)
	}
	stop()
	load.check(t, c.nodes)
	t.Logf("%d writes acknowledged, %d attempted", load.acked.Load(), len(load.attempts))
}

// TestRollingRestarts does the same by SIGTERM: each node drains, exits 0 and keeps its place.
func TestRollingRestarts(t *testing.T) {
	slow(t)
	c := newCluster(t, 3)
	load, stop := startLoad(t, c.nodes, 16)
	for _, n := range c.nodes {
		load.waitAcked(t, load.acked.Load()+500)
		if code := n.stop(t); code != 0 {
			t.Errorf("%s: SIGTERM: exit status %d", n.name, code)
		}
		n.restart(t)
		c.waitSettled(t)
	}
	stop()
	load.check(t, c.nodes)
}

// TestPausesUnderLoad stops and continues nodes in the middle of a load, so that answers come late and in
// another order: no acknowledged write is missing, and none has a wrong value.
func TestPausesUnderLoad(t *testing.T) {
	slow(t)
	c := newCluster(t, 3)
	load, stop := startLoad(t, c.nodes[:2], 16)
	for range 5 {
		load.waitAcked(t, load.acked.Load()+300)
		c.nodes[2].pause()
		load.waitAcked(t, load.acked.Load()+300)
		c.nodes[2].resume()
	}
	stop()
	c.waitSettled(t)
	load.check(t, c.nodes)
}
