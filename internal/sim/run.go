package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// Result is what a run led to.
type Result struct {
	Plan       Plan
	History    check.Run
	Violations []check.Violation
	Simulated  time.Duration // clients at work
	Whole      time.Duration // settling included
}

// settle times: how long the cluster gets to find itself again, and to be read into agreement.
const (
	reconnectTime = 15 * time.Second
	repairTime    = 6 * time.Second
	settleTries   = 30
)

// simulate runs a plan inside a synctest bubble: chaos, heal, settle, check. log gets the trace, nil for none.
func simulate(p Plan, log func(string)) Result {
	w := newWorld(p, log)
	w.trace("%v", p)
	w.found()
	w.chaos()
	simulated := w.now()
	w.heal()
	w.settle()
	w.collect()
	whole := w.now()
	for _, n := range w.nodes {
		w.shutDown(n)
	}
	w.ending.Wait()
	return Result{Plan: p, History: w.run, Violations: check.All(&w.run), Simulated: simulated, Whole: whole}
}

// found starts all nodes with one table, and configures the buckets.
func (w *world) found() {
	for _, n := range w.nodes {
		if err := n.start(); err != nil {
			panic(fmt.Sprintf("sim: %s does not start on an empty disk: %v", n.name, err))
		}
		n.running().disk.mood.Store(&mood{}) // no time passes in the disk while locks are held over it
	}
	w.await("one layout on all nodes", func() bool {
		for _, n := range w.nodes {
			if len(n.running().Cluster().Members) != len(w.nodes) {
				return false
			}
		}
		return true
	})
	first := w.nodes[0].running()
	for _, name := range bucketNames() {
		if buckets[name].Conflict == "siblings" {
			w.run.Siblings[name] = true
		}
		if _, err := first.SetBucket(context.Background(), name, buckets[name]); err != nil {
			panic(fmt.Sprintf("sim: bucket %s: %v", name, err))
		}
	}
	w.await("the buckets on all nodes", func() bool {
		for _, n := range w.nodes {
			if len(n.running().Buckets()) != len(buckets) {
				return false
			}
		}
		return true
	})
	for _, n := range w.nodes {
		n.running().disk.mood.Store(&mood{sync: w.plan.Sync})
	}
	w.began = time.Now()
}

func (w *world) await(what string, ok func() bool) {
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	panic("sim: waited in vain for " + what)
}

// chaos lets clients work while faults begin and end.
func (w *world) chaos() {
	var clients, faults sync.WaitGroup
	closed := make(chan struct{})
	for i := range w.plan.Clients {
		clients.Go(newClient(w, i, closed).work)
	}
	for i := range w.plan.Faults {
		f := &w.plan.Faults[i]
		faults.Go(func() {
			time.Sleep(f.At)
			w.begin(f)
			time.Sleep(min(f.For, w.plan.Chaos-f.At))
			w.finish(f)
		})
	}
	time.Sleep(w.plan.Chaos)
	close(closed)
	clients.Wait()
	faults.Wait()
}

// heal ends what is still wrong.
func (w *world) heal() {
	w.trace("heal")
	w.mu.Lock()
	w.active = nil
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.offset.Store(0)
		w.restart(n)
		n.running().disk.mood.Store(&mood{sync: w.plan.Sync})
	}
	w.applyRules()
	time.Sleep(reconnectTime)
}

// settle reads every key until all its owners have answered, and again after what that repaired: as long as nothing else brings
// replicas together, this does.
func (w *world) settle() {
	var keys []check.KeyName
	for name := range w.run.Owners {
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

// readAll reads a key from all its owners. One that lost its disk is asked and repaired like the others, but it never counts.
func (w *world) readAll(name check.KeyName) bool {
	level := quorum.All
	if slices.ContainsFunc(w.run.Losses, func(l check.Loss) bool { return !l.Silent }) {
		level = 0
	}
	owners := w.run.Owners[name]
	for try := range settleTries {
		at := w.byName(owners[try%len(owners)]).running()
		req := coordinator.GetRequest{Options: coordinator.Options{R: level, Timeout: 5 * time.Second}, Bucket: name.Bucket, Key: name.Key, Detail: true}
		_, err := at.Get(context.Background(), req)
		if err == nil {
			return true
		}
		w.trace("settling %v: %v", name, err)
		time.Sleep(time.Second)
	}
	return false
}

// collect takes down what every replica holds.
func (w *world) collect() {
	for _, n := range w.nodes {
		s := n.running().store
		rep := check.Replica{Node: n.name, Clocks: clocksOf(s, w.plan.Partitions), Copies: map[check.KeyName]check.Copy{}, Damaged: map[check.KeyName]bool{}}
		for name, p := range w.run.Partitions {
			rec, err := s.Get(store.Key{Partition: p, Bucket: name.Bucket, Key: name.Key})
			if err != nil {
				w.trace("%s: %v cannot be read: %v", n.name, name, err)
				rep.Damaged[name] = true
				continue
			}
			if !rec.IsAbsent() || rec.N > 0 {
				rep.Copies[name] = check.Copy{Shown: shown(rec), Vector: rec.Vector, N: rec.N, MaxLWW: maxLWW(rec)}
			}
		}
		w.run.Replicas = append(w.run.Replicas, rep)
		w.gauges(n)
	}
}

func maxLWW(r version.Record) version.Stamp {
	highest := r.MaxLWW
	for _, v := range r.Versions {
		if v.Mode == version.LWW {
			highest = version.Later(highest, v.Stamp)
		}
	}
	return highest
}

// idle are the gauges that must be at nothing when nothing happens.
var idle = []string{"quorate_read_repairs_waiting", "quorate_store_pending_keys", "quorate_rpc_requests_running"}

func (w *world) gauges(n *simNode) {
	families, err := n.running().Registry().Gather()
	if err != nil {
		panic(fmt.Sprintf("sim: metrics of %s: %v", n.name, err))
	}
	for _, f := range families {
		if slices.Contains(idle, f.GetName()) {
			w.run.Gauges = append(w.run.Gauges, check.Gauge{Node: n.name, Name: f.GetName(), At: w.now(), Value: f.GetMetric()[0].GetGauge().GetValue()})
		}
	}
}
