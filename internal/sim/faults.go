package sim

import (
	"math/rand/v2"
	"time"

	"github.com/quorate/quorate/fault"
)

// faultKind is one row of what can go wrong, or change.
type faultKind struct {
	name      string
	weight    int
	length    time.Duration // mean
	losesDisk bool
	draw      func(r *rand.Rand, p *Plan, f *Fault)
	// Network faults are rules while they last; the others act when they begin and when they end.
	rules      func(f *Fault, self, peer int) []fault.Rule // of node self about node peer, without the name
	begin, end func(w *world, f *Fault)
	// moment is when a split begins that lasts as long as the fault: it returns one side of that.
	moment func(w *world) (side []int)
}

func faultKinds() []faultKind {
	return append(changeKinds(), []faultKind{
		{name: "cut-off", weight: 3, length: 6 * time.Second, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self == f.Node || peer == f.Node, fault.Rule{Drop: true})
		}},
		{name: "cut-pair", weight: 3, length: 10 * time.Second, draw: drawOther, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self == f.Node && peer == f.Other || self == f.Other && peer == f.Node, fault.Rule{Drop: true})
		}},
		{name: "one-way", weight: 3, length: 8 * time.Second, draw: drawOther, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self == f.Node && peer == f.Other, fault.Rule{Drop: true, Direction: fault.Out})
		}},
		{name: "deaf", weight: 1, length: 8 * time.Second, rules: func(f *Fault, self, _ int) []fault.Rule {
			return when(self == f.Node, fault.Rule{Drop: true, Direction: fault.In})
		}},
		{name: "mute", weight: 1, length: 8 * time.Second, rules: func(f *Fault, self, _ int) []fault.Rule {
			return when(self == f.Node, fault.Rule{Drop: true, Direction: fault.Out})
		}},
		{name: "split", weight: 4, length: 10 * time.Second, draw: drawSide, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(in(f.Side, self) != in(f.Side, peer), fault.Rule{Drop: true})
		}},
		{name: "bridge", weight: 2, length: 10 * time.Second, draw: drawSide, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self != f.Node && peer != f.Node && in(f.Side, self) != in(f.Side, peer), fault.Rule{Drop: true})
		}},
		{name: "loss", weight: 3, length: 10 * time.Second, draw: drawLevel, rules: func(f *Fault, _, _ int) []fault.Rule {
			return []fault.Rule{{Loss: f.Level, Direction: fault.Out}}
		}},
		{name: "trip", weight: 4, length: 8 * time.Second, draw: drawTrip, rules: func(f *Fault, self, _ int) []fault.Rule {
			return when(self == f.Node, fault.Rule{Drop: true, Kind: trips[f.Class]})
		}},
		{name: "reorder", weight: 3, length: 12 * time.Second, draw: drawDelay, rules: func(f *Fault, _, _ int) []fault.Rule {
			return []fault.Rule{{Delay: f.Delay, Dist: fault.Exponential, Direction: fault.Out}}
		}},
		{name: "duplicate", weight: 2, length: 12 * time.Second, draw: drawLevel, rules: func(f *Fault, _, _ int) []fault.Rule {
			// Not a write that is handed on to an owner: that has no dot yet, and nothing between nodes sends it twice.
			return []fault.Rule{{Repeat: f.Level, Direction: fault.In, Kind: fault.Write}, {Repeat: f.Level, Direction: fault.In, Kind: fault.Read}}
		}},
		{name: "slow-node", weight: 2, length: 12 * time.Second, draw: drawDelay, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self == f.Node || peer == f.Node, fault.Rule{Delay: 5 * f.Delay, Dist: fault.Exponential, Direction: fault.Out})
		}},
		// Its clock is slow and it gets no writes: what its clients have seen elsewhere has higher stamps than it would issue.
		{name: "behind", weight: 3, length: 10 * time.Second, rules: func(f *Fault, self, _ int) []fault.Rule {
			return when(self == f.Node, fault.Rule{Drop: true, Direction: fault.In, Kind: fault.Write})
		}, draw: drawSlow, begin: beginSkew, end: endSkew},
		{name: "crash", weight: 5, length: 4 * time.Second, draw: drawUnsynced, begin: beginCrash, end: endCrash},
		{name: "crash-in-write", weight: 6, length: 4 * time.Second, draw: drawUnsynced, begin: beginCrashInWrite, end: endCrash},
		{name: "crash-in-exchange", weight: 4, length: 5 * time.Second, draw: drawUnsynced, begin: beginCrash, end: endCrashInExchange},
		{name: "power", weight: 2, length: 2 * time.Second, draw: drawUnsynced, begin: beginPower, end: endPower},
		{name: "stop", weight: 1, length: 4 * time.Second, begin: beginStop, end: endCrash},
		{name: "slow-disk", weight: 3, length: 10 * time.Second, draw: drawDelay, begin: beginSlowDisk, end: endDisk},
		{name: "full-disk", weight: 2, length: 8 * time.Second, begin: beginFullDisk, end: endDisk},
		{name: "failing-disk", weight: 2, length: 3 * time.Second, begin: beginFailingDisk, end: endDisk},
		{name: "flaky-reads", weight: 1, length: 3 * time.Second, begin: beginFlakyReads, end: endDisk},
		{name: "wipe", weight: 2, length: 8 * time.Second, losesDisk: true, begin: beginWipe, end: endWipe},
		{name: "rollback", weight: 2, length: 6 * time.Second, losesDisk: true, begin: beginRollback, end: endRollback},
		{name: "bit-flip", weight: 1, length: 4 * time.Second, losesDisk: true, draw: drawLevel, begin: beginFlip, end: endFlip},
		// All owners of a partition, for the sake of fallbacks: drawn beside the others (drawSloppy).
		{name: "owners-cut", length: 6 * time.Second, draw: drawOwners, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(in(f.Side, self) || in(f.Side, peer), fault.Rule{Drop: true})
		}},
		{name: "owners-crash", length: 6 * time.Second, draw: drawOwners, begin: beginOwnersCrash, end: endOwnersCrash},
		{name: "skew", weight: 3, length: 15 * time.Second, draw: drawSkew, begin: beginSkew, end: endSkew},
	}...)
}

var trips = map[string]fault.Kind{"write": fault.Write, "ack": fault.Ack, "read": fault.Read, "response": fault.Response}

func when(applies bool, r fault.Rule) []fault.Rule {
	if !applies {
		return nil
	}
	return []fault.Rule{r}
}

func in(side []int, i int) bool {
	for _, s := range side {
		if s == i {
			return true
		}
	}
	return false
}

func drawOther(r *rand.Rand, p *Plan, f *Fault) { f.Other = (f.Node + 1 + r.IntN(p.Nodes-1)) % p.Nodes }

func drawSide(r *rand.Rand, p *Plan, f *Fault) {
	perm := r.Perm(p.Nodes)
	f.Side = perm[:1+r.IntN(p.Nodes-1)]
}

func drawLevel(r *rand.Rand, _ *Plan, f *Fault) { f.Level = 0.05 + 0.5*r.Float64() }

func drawTrip(r *rand.Rand, _ *Plan, f *Fault) {
	f.Class = []string{"write", "ack", "read", "response"}[r.IntN(4)]
}

func drawDelay(r *rand.Rand, _ *Plan, f *Fault) {
	f.Delay = time.Duration(5+r.ExpFloat64()*60) * time.Millisecond
}

// drawUnsynced: mostly nothing survives that was not synced, as that is when promises show.
func drawUnsynced(r *rand.Rand, _ *Plan, f *Fault) { f.Level = []float64{0, 0, 0.5, 1}[r.IntN(4)] }

func drawSkew(r *rand.Rand, _ *Plan, f *Fault) {
	f.Delay = time.Duration((r.Float64()*2 - 1) * float64(3*time.Second))
	if r.IntN(2) == 0 {
		f.Delay /= 10 // within what nodes tolerate
	}
}

func drawSlow(r *rand.Rand, _ *Plan, f *Fault) {
	f.Delay = -time.Duration((0.3 + 4*r.Float64()) * float64(time.Second))
}

func beginCrash(w *world, f *Fault) { w.kill(w.nodes[f.Node], int(100*f.Level)) }

func beginCrashInWrite(w *world, f *Fault) {
	n := w.nodes[f.Node]
	if l := n.running(); l != nil {
		l.disk.mood.Store(&mood{sync: 20 * w.plan.Sync}) // long enough for what leaves too early to arrive
		hook := func() {
			go func() {
				time.Sleep(time.Duration(w.random.exp() * 10 * float64(w.plan.Sync)))
				if w.lasts(f) && n.running() == l {
					w.kill(n, int(100*f.Level))
				}
			}()
		}
		l.disk.onSync.Store(&hook)
	}
}

func endCrash(w *world, f *Fault) {
	w.restart(w.nodes[f.Node])
	endDisk(w, f)
}

// endCrashInExchange starts the node again and crashes it, or the one that it fetches from, in the middle of fetching what it has missed: syncs
// take long, so it is at work for a while after the second look that it takes.
func endCrashInExchange(w *world, f *Fault) {
	n := w.nodes[f.Node]
	w.restart(n)
	w.setMood(f, mood{sync: 20 * w.plan.Sync})
	time.Sleep(time.Duration((0.2 + w.random.exp()) * float64(time.Second)))
	victim := n
	if w.random.float() < 0.3 {
		victim = w.nodes[(f.Node+1)%len(w.nodes)]
	}
	w.kill(victim, int(100*f.Level))
	time.Sleep(time.Second)
	w.restart(victim)
	endDisk(w, f)
}

// drawOwners takes any three: for a plan that is limited to this kind.
func drawOwners(r *rand.Rand, p *Plan, f *Fault) { f.Side = r.Perm(p.Nodes)[:3] }

func beginOwnersCrash(w *world, f *Fault) {
	for _, i := range f.Side {
		w.kill(w.nodes[i], 0)
	}
}

func endOwnersCrash(w *world, f *Fault) {
	for _, i := range f.Side {
		w.restart(w.nodes[i])
	}
}

func beginPower(w *world, f *Fault) {
	for _, n := range w.nodes {
		w.kill(n, int(100*f.Level))
	}
}

func endPower(w *world, _ *Fault) {
	for _, n := range w.nodes {
		w.restart(n)
	}
}

func beginStop(w *world, f *Fault) { w.shutDown(w.nodes[f.Node]) }

func (w *world) setMood(f *Fault, m mood) {
	if l := w.nodes[f.Node].running(); l != nil {
		m.sync = max(m.sync, w.plan.Sync)
		l.disk.mood.Store(&m)
	}
}

func beginSlowDisk(w *world, f *Fault)    { w.setMood(f, mood{sync: f.Delay}) }
func beginFullDisk(w *world, f *Fault)    { w.setMood(f, mood{full: true}) }
func beginFailingDisk(w *world, f *Fault) { w.setMood(f, mood{failing: true}) }
func beginFlakyReads(w *world, f *Fault)  { w.setMood(f, mood{flaky: true}) }
func endDisk(w *world, f *Fault)          { w.setMood(f, mood{}) }

func beginWipe(w *world, f *Fault) { w.kill(w.nodes[f.Node], 0) }

func endWipe(w *world, f *Fault) {
	n := w.nodes[f.Node]
	w.atRest(n, func() {
		w.lose(n, false)
		n.setDisk(newMem())
	})
	w.restart(n)
}

func beginRollback(w *world, f *Fault) {
	n := w.nodes[f.Node]
	older := n.mem().CrashClone(crashWith(0, nil))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk.older = older
}

func endRollback(w *world, f *Fault) {
	n := w.nodes[f.Node]
	rollBack := func() {
		w.lose(n, true)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.disk.mem = n.disk.older
	}
	w.kill(n, 0)
	for !w.atRest(n, rollBack) { // another fault's end has started it meanwhile
		w.kill(n, 0)
	}
	w.restart(n)
}

func beginFlip(w *world, f *Fault) { w.kill(w.nodes[f.Node], 0) }

// endFlip damages the disk of a stopped node. If the node does not start on it, somebody empties the disk.
func endFlip(w *world, f *Fault) {
	n := w.nodes[f.Node]
	w.atRest(n, func() {
		r := rand.New(rand.NewPCG(w.plan.Seed, uint64(f.At)))
		if what := flip(n.mem(), dataDir, f.Level > 0.3, r); what != "" {
			w.trace("node-%d: %s flipped", f.Node+1, what)
			w.lose(n, true)
		}
	})
	w.restart(n)
}

func beginSkew(w *world, f *Fault) { w.nodes[f.Node].offset.Store(int64(f.Delay)) }
func endSkew(w *world, f *Fault)   { w.nodes[f.Node].offset.Store(0) }
