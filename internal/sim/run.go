package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// Result is what a run led to.
type Result struct {
	Plan       Plan
	History    check.Run
	Violations []check.Violation
	Repairs    node.RepairsView // of all nodes, each since its last start
	Hedges     node.HedgesView
	Simulated  time.Duration // clients at work
	Whole      time.Duration // settling included
	Unread     bool          // it settled without a read
}

// simulate runs a plan inside a synctest bubble: chaos, heal, settle, check. log gets the trace, nil for none. alive is called once a virtual second, and
// between the steps at the ends in which little virtual time passes or none.
func simulate(p Plan, log func(string), alive func()) Result {
	w := newWorld(p, log)
	w.trace("%v", p)
	w.found()
	watch := w.watch(alive)
	w.chaos()
	simulated := w.now()
	w.heal()
	w.settle()
	watch()
	w.collect()
	alive()
	whole := w.now()
	repairs, hedges := w.sideWork()
	for _, n := range w.nodes {
		n.wanted.Store(false)
		w.shutDown(n)
	}
	w.ending.Wait()
	alive()
	return Result{Plan: p, History: w.run, Violations: check.All(&w.run), Repairs: repairs, Hedges: hedges, Simulated: simulated, Whole: whole, Unread: w.exchangeSuffices()}
}

// found starts the founders, as one cluster or two, and configures the buckets.
func (w *world) found() {
	founders := w.nodes[:w.plan.Nodes]
	if len(w.births) > 1 {
		w.begin(w.plan.birth())
	}
	var started sync.WaitGroup
	for _, n := range founders {
		n.wanted.Store(true)
		started.Go(func() {
			if err := n.start(); err != nil {
				panic(fmt.Sprintf("sim: %s does not start on an empty disk: %v", n.name, err))
			}
			n.running().disk.mood.Store(&mood{}) // no time passes in the disk while locks are held over it
		})
	}
	started.Wait()
	for _, b := range w.births {
		w.configure(b)
	}
	w.await("the buckets on all nodes", func() bool {
		return !slices.ContainsFunc(founders, func(n *simNode) bool { return len(n.running().Buckets()) != len(buckets) })
	})
	for _, n := range founders {
		n.running().disk.mood.Store(&mood{sync: w.plan.Sync})
	}
	w.began = time.Now()
	w.tenures.begin()
}

// configure waits for a cluster of founders, and tells one of them of the buckets.
func (w *world) configure(b *birth) {
	w.await("one layout on all nodes", func() bool {
		return !slices.ContainsFunc(b.nodes, func(n *simNode) bool { return len(n.running().Cluster().Members) != len(b.nodes) })
	})
	for _, name := range bucketNames() {
		if buckets[name].Conflict == "siblings" {
			w.run.Siblings[name] = true
		}
		props := buckets[name]
		props.Sloppy = slices.Contains(w.plan.Loose, name)
		if _, err := b.nodes[0].running().SetBucket(context.Background(), name, props); err != nil {
			panic(fmt.Sprintf("sim: bucket %s: %v", name, err))
		}
	}
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
			if f != w.plan.birth() { // which is in force already
				time.Sleep(f.At)
				w.begin(f)
			}
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
		if l := n.running(); l != nil {
			l.disk.mood.Store(&mood{sync: w.plan.Sync})
		}
	}
	w.applyRules()
	time.Sleep(reconnectTime)
}

// collect takes down what every replica holds.
func (w *world) collect() {
	w.locate()
	for _, n := range w.present() {
		w.ring(n)
		s := n.running().store
		rep := check.Replica{Node: n.name, Clocks: clocksOf(s, w.plan.Partitions), Copies: map[check.KeyName]check.Copy{}, Damaged: map[check.KeyName]bool{},
			Held: w.held(s)}
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

// held is what a node keeps for owners.
func (w *world) held(s *store.Store) map[check.KeyName]map[string]version.Vector {
	held := map[check.KeyName]map[string]version.Vector{}
	for _, owed := range s.Owed() {
		w.mu.Lock()
		owner := w.names[owed.Owner]
		w.mu.Unlock()
		for after := (store.Key{}); ; {
			page, end, err := s.HandOffPage(owed.Partition, owed.Owner, after, 1<<20)
			if err != nil {
				w.trace("hand-offs for %s cannot be read: %v", owner, err)
				break
			}
			for _, h := range page {
				name := check.KeyName{Bucket: h.Key.Bucket, Key: h.Key.Key}
				if held[name] == nil {
					held[name] = map[string]version.Vector{}
				}
				held[name][owner], after = h.Record.Vector, h.Key
			}
			if end {
				break
			}
		}
	}
	return held
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

// sideWork sums up what reads have done beside answering.
func (w *world) sideWork() (r node.RepairsView, h node.HedgesView) {
	for _, n := range w.present() {
		v := n.running().Cluster()
		r.Stale += v.Repairs.Stale
		r.Absent += v.Repairs.Absent
		r.Siblings += v.Repairs.Siblings
		r.Vector += v.Repairs.Vector
		r.Minority += v.Repairs.Minority
		r.Unneeded += v.Repairs.Unneeded
		r.Failed += v.Repairs.Failed
		r.Dropped += v.Repairs.Dropped
		h.Sent += v.Hedges.Sent
		h.Won += v.Hedges.Won
		h.Suppressed += v.Hedges.Suppressed
	}
	return r, h
}

// idle are the gauges that must be at nothing when nothing happens; caught those that must be when nobody is behind.
var (
	idle   = []string{"quorate_read_repairs_waiting", "quorate_store_pending_keys", "quorate_rpc_requests_running"}
	caught = []string{"quorate_member_behind_versions", "quorate_exchange_remaining_versions"}
)

func (w *world) gauges(n *simNode) {
	families, err := n.running().Registry().Gather()
	if err != nil {
		panic(fmt.Sprintf("sim: metrics of %s: %v", n.name, err))
	}
	for _, f := range families {
		if !slices.Contains(idle, f.GetName()) && !(w.exchangeSuffices() && slices.Contains(caught, f.GetName())) {
			continue
		}
		for _, m := range f.GetMetric() {
			w.run.Gauges = append(w.run.Gauges, check.Gauge{Node: n.name, Name: f.GetName(), At: w.now(), Value: m.GetGauge().GetValue()})
		}
	}
}
