package sim

import (
	"context"
	"slices"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/quorum"
)

// How long a cluster is given to find itself again, and to come into agreement.
const (
	reconnectTime = 15 * time.Second
	repairTime    = 6 * time.Second
	settleTries   = 30
	catchUpTime   = 2 * time.Minute  // at most; a round with a peer begins every 4 s
	ringTime      = 3 * time.Minute  // at most, for changes of the ring to end: two, one after the other
	damagedTime   = 30 * time.Second // where a disk was damaged: what cannot be read can neither be fetched nor dropped
	twoCycles     = 10 * time.Second
)

// settle waits until log exchange has brought the owners together, and reads nothing. Where there is none, or a disk has gone back or was damaged
// without anybody's notice, which clocks do not show, reads do it.
func (w *world) settle() {
	if !w.plan.NoExchange() {
		w.settleRing()
	}
	w.locate()
	if w.exchangeSuffices() {
		w.catchUp()
		return
	}
	w.readEverything()
}

func (w *world) exchangeSuffices() bool {
	return !w.plan.NoExchange() && !slices.ContainsFunc(w.run.Losses, func(l check.Loss) bool { return l.Silent })
}

// settleRing waits until no change of the ring is under way, leavers have left and former owners have dropped what they held. If that never comes, checkers see what there is.
func (w *world) settleRing() {
	limit := ringTime
	if !w.exchangeSuffices() {
		limit = damagedTime
	}
	for began := time.Now(); time.Since(began) < limit; time.Sleep(time.Second) {
		if w.ringSettled() {
			return
		}
	}
	w.trace("the ring has not settled")
}

func (w *world) ringSettled() bool {
	w.mu.Lock()
	leaving := slices.ContainsFunc(w.run.Exits, func(e check.Exit) bool { return e.Done == 0 && e.Reason == "" })
	w.mu.Unlock()
	if leaving || w.operators.Load() > 0 {
		return false
	}
	for _, n := range w.present() {
		l := n.running()
		if l == nil || l.rings() == nil || !l.rings().Settled() || len(w.strays(n)) > 0 {
			return false
		}
	}
	return true
}

// catchUp waits until every node says that nobody gains and nobody is behind. If some never do, checkers see what there is.
func (w *world) catchUp() {
	for began := time.Now(); time.Since(began) < catchUpTime; time.Sleep(time.Second) {
		if w.caughtUp() {
			time.Sleep(twoCycles)
			if w.caughtUp() {
				return
			}
		}
	}
	w.trace("not everybody has caught up")
}

// caughtUp asks the nodes as quorate status does.
func (w *world) caughtUp() bool {
	for _, n := range w.present() {
		l := n.running()
		if l == nil {
			return false
		}
		v := l.Cluster()
		if !v.Layout.Settled || v.CatchUp.Remaining > 0 {
			return false
		}
		for _, m := range v.Members {
			if m.Behind > 0 {
				return false
			}
		}
	}
	return true
}

// readEverything reads every key until all its owners have answered, and again after what that repaired.
func (w *world) readEverything() {
	var keys []check.KeyName
	for name := range w.run.Partitions {
		if name.Key != "" {
			keys = append(keys, name)
		}
	}
	slices.SortFunc(keys, func(a, b check.KeyName) int {
		if a.Bucket != b.Bucket {
			return compareStrings(a.Bucket, b.Bucket)
		}
		return compareStrings(a.Key, b.Key)
	})
	for range 2 {
		for _, name := range keys {
			w.mu.Lock()
			delete(w.run.Unsettled, name)
			w.mu.Unlock()
			if !w.readAll(name) {
				w.trace("%v cannot be read from all owners", name)
				w.mu.Lock()
				w.run.Unsettled[name] = true
				w.mu.Unlock()
			}
		}
		time.Sleep(repairTime)
	}
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// readAll reads a key from all its owners. One that lost its disk is asked and repaired like the others, but may never count.
func (w *world) readAll(name check.KeyName) bool {
	level := quorum.All
	if slices.ContainsFunc(w.run.Losses, func(l check.Loss) bool { return !l.Silent }) {
		level = 0
	}
	owners, strict := w.run.Owners[name], false
	for try := range settleTries {
		at := w.byName(owners[try%len(owners)]).running()
		if at == nil {
			continue // it has left meanwhile
		}
		req := coordinator.GetRequest{Options: coordinator.Options{R: level, Sloppy: &strict, Timeout: 5 * time.Second}, Bucket: name.Bucket, Key: name.Key, Detail: true}
		_, err := at.Get(context.Background(), req)
		if err == nil {
			return true
		}
		w.trace("settling %v: %v", name, err)
		time.Sleep(time.Second)
	}
	return false
}
