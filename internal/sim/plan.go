package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/ring"
)

// Plan is what a seed means: everything that is decided before the first node starts.
type Plan struct {
	Seed       uint64
	Nodes      int // that found the cluster
	Joiners    int // that come later
	Zones      int
	Partitions int
	Chaos      time.Duration // how long clients and faults run
	Latency    time.Duration // mean of one way between nodes
	Sync       time.Duration // mean of a sync of the log
	Clients    int
	Period     time.Duration // one operation of a client begins so long after the one before, or when that has ended
	Keys       int           // per bucket
	Sloppy     int           // of a hundred operations so many ask for fallbacks by themselves
	Loose      []string      // buckets whose requests are sloppy if they do not say
	Late       float64       // share of the news of the membership that only the next rounds of gossip bring
	Faults     []Fault
}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind   string
	At     time.Duration
	For    time.Duration
	Node   int // the one that it happens to, or the first side of a cut
	Other  int
	Side   []int         // the nodes of one side of a split, or that join
	Level  float64       // share of messages lost; or, for crashes, of unsynced data that stays
	Delay  time.Duration // mean
	Class  string        // the trip of a replicated request that it is about
	Weight uint32        // and Zone: what a node gets that is placed anew
	Zone   string
	of     *Fault // whose moment came
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
	if f.Weight > 0 {
		fmt.Fprintf(&b, " weight %d zone %q", f.Weight, f.Zone)
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
	wipes := r.IntN(4) == 0 && !p.NoExchange()
	if wipes { // two, and with notice: each may be refilled from a node that is refilled itself
		spare = 2
	}
	for {
		at += time.Duration(r.ExpFloat64() * float64(5*time.Second))
		if at >= p.Chaos-2*time.Second {
			break
		}
		k := pick(r, o.Only)
		if k.name == "join" && p.Joiners >= maxJoiners {
			continue
		}
		if k.losesDisk {
			if spare == 0 || wipes && k.name != "wipe" {
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
	p.drawSloppy(rand.New(rand.NewPCG(seed, 3)), len(o.Only) > 0)
	p.drawChanges(rand.New(rand.NewPCG(seed, 4)), len(o.Only) > 0)
	return p
}

// maxJoiners bounds who joins in a plan that is limited to few kinds of faults.
const maxJoiners = 4

// drawSloppy says which requests may have fallbacks, and takes all owners of some keys away so that they need them. A quarter of the seeds has none. It has a
// source of its own: what a seed means otherwise does not depend on it.
func (p *Plan) drawSloppy(r *rand.Rand, limited bool) {
	if r.IntN(4) == 0 {
		return
	}
	p.Sloppy = 20 + r.IntN(60)
	for _, name := range bucketNames() {
		if r.IntN(5) == 0 {
			p.Loose = append(p.Loose, name)
		}
	}
	if p.Nodes == 3 || limited {
		return
	}
	layout := ring.NewLayout(p.table())
	for range 2 + r.IntN(3) {
		f := Fault{Kind: []string{"owners-cut", "owners-crash"}[r.IntN(2)], At: time.Duration(r.Float64() * 0.9 * float64(p.Chaos)),
			For: time.Duration((0.5 + r.Float64()) * float64(10*time.Second))}
		for _, id := range layout.Owners(ring.Partition(r.IntN(p.Partitions)), 3) {
			f.Side = append(f.Side, int(id[0])-1)
		}
		p.Faults = append(p.Faults, f)
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// table has the members as they are placed: by their names and zones. Their incarnations, which are drawn later, do not matter for that.
func (p *Plan) table() ring.Table {
	t, err := ring.NewTable("sim", p.Partitions)
	for i := range p.Nodes {
		if err == nil {
			t, err = t.With(ring.Member{ID: ring.ID{byte(i + 1)}, Name: nodeName(i), Zone: p.zone(i), Weight: 1, State: ring.Active})
		}
	}
	if err != nil {
		panic(fmt.Sprintf("sim: a table of %d nodes: %v", p.Nodes, err))
	}
	return t
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i+1) }

func (p *Plan) zone(i int) string {
	if p.Zones == 1 {
		return ""
	}
	return fmt.Sprintf("zone-%d", i%p.Zones)
}

func pick(r *rand.Rand, only []string) faultKind {
	var kinds []faultKind
	sum := 0
	for _, k := range faultKinds() {
		if slices.Contains(only, k.name) {
			k.weight = max(1, k.weight)
		}
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
	fmt.Fprintf(&b, "  %d of 100 operations sloppy, and those of buckets %v\n", p.Sloppy, p.Loose)
	if p.Joiners > 0 || p.Late > 0 {
		fmt.Fprintf(&b, "  %d nodes join, %.0f of 100 news of the membership are late\n", p.Joiners, 100*p.Late)
	}
	if p.NoExchange() {
		b.WriteString("  no log exchange\n")
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "  %v\n", f)
	}
	return b.String()
}
