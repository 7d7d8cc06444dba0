package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Plan is what a seed means: everything that is decided before the first node starts.
type Plan struct {
	Seed       uint64
	Nodes      int
	Zones      int
	Partitions int
	Chaos      time.Duration // how long clients and faults run
	Latency    time.Duration // mean of one way between nodes
	Sync       time.Duration // mean of a sync of the log
	Clients    int
	Period     time.Duration // one operation of a client begins so long after the one before, or when that has ended
	Keys       int           // per bucket
	Faults     []Fault
}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind  string
	At    time.Duration
	For   time.Duration
	Node  int // the one that it happens to, or the first side of a cut
	Other int
	Side  []int         // the nodes of one side of a split
	Level float64       // share of messages lost; or, for crashes, of unsynced data that stays
	Delay time.Duration // mean
	Class string        // the trip of a replicated request that it is about
}

// String is the fault on one line.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s node-%d", f.Kind, f.Node+1)
	if f.Other != f.Node {
		fmt.Fprintf(&b, " node-%d", f.Other+1)
	}
	if len(f.Side) > 0 {
		b.WriteString(" side")
		for _, i := range f.Side {
			fmt.Fprintf(&b, " node-%d", i+1)
		}
	}
	if f.Level > 0 {
		fmt.Fprintf(&b, " level %.2f", f.Level)
	}
	if f.Delay != 0 {
		fmt.Fprintf(&b, " delay %v", f.Delay.Round(time.Microsecond))
	}
	if f.Class != "" {
		b.WriteString(" " + f.Class)
	}
	fmt.Fprintf(&b, " at %v for %v", f.At.Round(time.Millisecond), f.For.Round(time.Millisecond))
	return b.String()
}

// Options bound what a plan may be.
type Options struct {
	Chaos time.Duration
	Only  []string // fault kinds, empty: all
}

// NewPlan draws what a seed means.
func NewPlan(seed uint64, o Options) Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Plan{
		Seed:       seed,
		Nodes:      3 + r.IntN(4),
		Zones:      1 + r.IntN(3),
		Partitions: 8 << r.IntN(3),
		Chaos:      o.Chaos,
		Latency:    time.Duration(200+r.IntN(3000)) * time.Microsecond,
		Sync:       time.Duration(100+r.IntN(4000)) * time.Microsecond,
		Clients:    14 + r.IntN(5),
		Period:     900 * time.Millisecond,
		Keys:       3 + r.IntN(6),
	}
	if r.IntN(2) == 0 {
		p.Nodes = 3 // where each fault counts most
	}
	at := time.Duration(0)
	spare := 1 // disks that may be lost
	for {
		at += time.Duration(r.ExpFloat64() * float64(5*time.Second))
		if at >= p.Chaos-2*time.Second {
			break
		}
		k := pick(r, o.Only)
		if k.losesDisk {
			if spare == 0 {
				continue
			}
			spare--
		}
		f := Fault{Kind: k.name, At: at, For: time.Duration((0.2 + r.ExpFloat64()) * float64(k.length)), Node: r.IntN(p.Nodes)}
		f.For = min(f.For, 6*k.length)
		f.Other = f.Node
		if k.draw != nil {
			k.draw(r, &p, &f)
		}
		p.Faults = append(p.Faults, f)
	}
	if len(p.Faults) == 0 {
		p.Faults = []Fault{{Kind: "crash", At: p.Chaos / 2, For: time.Second}}
	}
	return p
}

func pick(r *rand.Rand, only []string) faultKind {
	var kinds []faultKind
	sum := 0
	for _, k := range faultKinds() {
		if len(only) == 0 || slices.Contains(only, k.name) {
			kinds = append(kinds, k)
			sum += k.weight
		}
	}
	at := r.IntN(sum)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k
		}
	}
	panic(fmt.Sprintf("sim: %d of %d left after all kinds", at, sum))
}

// NoExchange reports whether the nodes do without log exchange. With it, most of what read repair leaves out is soon mended, and a lost disk
// refilled, before any checker looks: a third of the seeds shows what there is without.
func (p Plan) NoExchange() bool { return p.Seed%3 == 0 }

// String is the plan, a fault a line.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d nodes in %d zones, %d partitions, %d keys a bucket, %d clients every %v, latency %v, sync %v, %v of chaos\n",
		p.Seed, p.Nodes, p.Zones, p.Partitions, p.Keys, p.Clients, p.Period, p.Latency, p.Sync, p.Chaos)
	if p.NoExchange() {
		b.WriteString("  no log exchange\n")
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "  %v\n", f)
	}
	return b.String()
}
