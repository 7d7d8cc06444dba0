package sim

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/ring"
)

// The kinds of faults that change the ring, in the table of all. They are drawn beside the others (drawChanges).
func changeKinds() []faultKind {
	return []faultKind{
		{name: "join", length: time.Second, draw: drawJoin, begin: beginJoin},
		{name: "leave", length: time.Second, begin: beginLeave},
		{name: "remove", length: 4 * time.Second, losesDisk: true, draw: drawForce, begin: beginRemove, end: endRemove},
		{name: "reweigh", length: 2 * time.Second, draw: drawWeight, begin: beginStop, end: endReweigh},
		// A node that hears nothing of a change from before its beginning until after its end.
		{name: "cut-through", length: 20 * time.Second, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(self == f.Node || peer == f.Node, fault.Rule{Drop: true})
		}},
		// A split at the moment when somebody finds the newest layout whole, between those who know and those who do not.
		{name: "half-told", length: 12 * time.Second, moment: half},
		// Two clusters of one name, which meet when it ends: it begins before everything else.
		{name: "birth", length: 10 * time.Second, draw: drawBirth, rules: func(f *Fault, self, peer int) []fault.Rule {
			return when(in(f.Side, self) != in(f.Side, peer), fault.Rule{Drop: true})
		}},
	}
}

// drawChanges says how the ring changes meanwhile. It has a source of its own: what a seed means otherwise does not depend on it. Without log exchange no change could end,
// so the seeds without have none.
func (p *Plan) drawChanges(r *rand.Rand, limited bool) {
	if p.NoExchange() || limited {
		return
	}
	p.Late = []float64{0, 0.3, 0.9}[r.IntN(3)]
	d := changes{p: p, r: r, members: p.Nodes}
	if r.IntN(5) == 0 {
		d.add("birth", 0, time.Duration((0.05+0.3*r.Float64())*float64(p.Chaos)))
	}
	at := time.Duration((0.03 + 0.3*r.Float64()) * float64(p.Chaos))
	for range 1 + r.IntN(3) {
		d.change(at)
		// One time in three the next one comes while this one is under way.
		at += time.Duration((0.5 + r.Float64()) * float64(12*time.Second))
		if r.IntN(3) == 0 {
			at -= 6 * time.Second
		}
		if at > p.Chaos*3/4 {
			break
		}
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// changes draws the changes of one plan.
type changes struct {
	p       *Plan
	r       *rand.Rand
	members int   // if all that was drawn had ended
	touched []int // nodes that leave, are removed, weighed anew, or join
}

func (d *changes) add(kind string, at, length time.Duration) *Fault {
	f := Fault{Kind: kind, At: at, For: length}
	if k := kindOf(&f); k.draw != nil {
		k.draw(d.r, d.p, &f)
	}
	f.Other = f.Node
	d.p.Faults = append(d.p.Faults, f)
	return &d.p.Faults[len(d.p.Faults)-1]
}

// change draws one, and often something that goes wrong in the middle of it.
func (d *changes) change(at time.Duration) {
	kind := []string{"join", "join", "join", "leave", "leave", "remove", "remove", "reweigh"}[d.r.IntN(8)]
	node := d.spare(kind)
	if (kind == "leave" || kind == "remove") && d.members <= 3 || node < 0 || kind == "remove" && d.p.losesDisks() {
		kind = "join"
	}
	var whose int
	switch kind {
	case "join":
		f := d.add(kind, at, time.Second)
		d.members += len(f.Side)
		whose = f.Side[0]
	default:
		f := d.add(kind, at, time.Duration((0.5+d.r.Float64())*float64(4*time.Second)))
		f.Node, f.Other, whose = node, node, node
		d.touched = append(d.touched, node)
		if kind == "leave" || kind == "remove" {
			d.members--
		}
	}
	switch d.r.IntN(6) {
	case 0: // who changes crashes while it does
		if kind != "remove" {
			f := d.add("crash", at+time.Duration((0.3+d.r.ExpFloat64())*float64(2*time.Second)), time.Duration(d.r.ExpFloat64()*float64(3*time.Second)))
			f.Node, f.Other = whose, whose
		}
	case 1, 2: // one of the others hears nothing of it
		f := d.add("cut-through", max(0, at-time.Second), time.Duration((1+d.r.Float64())*float64(10*time.Second)))
		f.Node = d.r.IntN(d.p.Nodes)
		f.Other = f.Node
	case 4: // some hear that it is done, and others do not
		d.add("half-told", max(0, at-time.Second), 20*time.Second)
	case 3: // who changes is cut off while it does
		f := d.add("cut-off", at+time.Duration((0.3+d.r.ExpFloat64())*float64(2*time.Second)), time.Duration((0.5+d.r.ExpFloat64())*float64(4*time.Second)))
		f.Node, f.Other = whose, whose
	}
}

// spare is a node that may still change: one whose disk is not lost, and that no other change is about. -1: there is none.
func (d *changes) spare(kind string) int {
	for _, i := range d.r.Perm(d.p.Nodes) {
		busy := slices.Contains(d.touched, i) || slices.ContainsFunc(d.p.Faults, func(f Fault) bool { return f.Node == i && kindOf(&f).losesDisk })
		if !busy || kind == "reweigh" && !slices.Contains(d.touched, i) {
			return i
		}
	}
	return -1
}

// losesDisks reports whether some disk is lost.
func (p *Plan) losesDisks() bool {
	return slices.ContainsFunc(p.Faults, func(f Fault) bool { return kindOf(&f).losesDisk })
}

// places is how many nodes there ever are.
func (p *Plan) places() int { return p.Nodes + p.Joiners }

// drawJoin: one node, or two at once. Their numbers go on where the founders' end.
func drawJoin(r *rand.Rand, p *Plan, f *Fault) {
	for range 1 + r.IntN(2) {
		f.Side = append(f.Side, p.places())
		p.Joiners++
	}
	f.Node = f.Side[0]
}

func drawBirth(r *rand.Rand, p *Plan, f *Fault) {
	f.At = 0
	drawSide(r, p, f)
}

func drawForce(r *rand.Rand, _ *Plan, f *Fault) { f.Level = float64(r.IntN(2)) }

func drawWeight(r *rand.Rand, p *Plan, f *Fault) {
	f.Weight = 2 + uint32(r.IntN(3)) // all begin with 1
	f.Zone = p.zone(r.IntN(p.Zones))
}

func beginJoin(w *world, f *Fault) {
	for _, i := range f.Side {
		w.nodes[i].wanted.Store(true)
		w.restart(w.nodes[i])
	}
}

// beginLeave tells the node to leave, until it has understood.
func beginLeave(w *world, f *Fault) {
	n := w.nodes[f.Node]
	w.mu.Lock()
	w.run.Exits = append(w.run.Exits, check.Exit{Node: n.name, At: w.now()})
	w.mu.Unlock()
	var told *lifetime // that has said so; a process that dies in the write may have said it and not kept it
	w.operate("leave "+n.name, func(int) error {
		l := n.running()
		if l == nil {
			return errStopped
		}
		if err := l.Leave(context.Background()); err != nil || told == l {
			return err
		}
		told = l
		return errAskAgain
	})
}

// beginRemove ends a node for good.
func beginRemove(w *world, f *Fault) {
	n := w.nodes[f.Node]
	n.wanted.Store(false)
	w.kill(n, 0)
	w.lose(n, false)
}

// endRemove is an operator who says so to somebody, until it counts. Where no majority is left to hear of it, it takes force.
func endRemove(w *world, f *Fault) {
	n := w.nodes[f.Node]
	w.operate("remove "+n.name, func(try int) error {
		other := w.nodes[(f.Node+1+try)%len(w.nodes)]
		l := other.running()
		if other == n || l == nil || l.rings() == nil {
			return errStopped
		}
		if err := l.Remove(context.Background(), n.name, f.Level > 0 || try > patience); err != nil && !errors.Is(err, cluster.ErrUnknownMember) {
			return err
		}
		// The other one of two clusters that have not met knows of nobody of that name, and has removed nobody.
		if !slices.ContainsFunc(l.members.Load().Table().Members(), func(m ring.Member) bool { return m.Name == n.name }) {
			return errUncounted
		}
		for _, id := range l.rings().Members() {
			if row, _ := l.rings().Row(id); row.Name == n.name {
				return errUncounted
			}
		}
		return nil
	})
}

// patience is how often an operator tries without force.
const patience = 30

var (
	errStopped   = errors.New("it does not run")
	errAskAgain  = errors.New("it has said so once")
	errUncounted = errors.New("the removal does not count yet")
)

// operatorTries is how often an operator tries, once a second: long enough to be heard when everything works again.
const operatorTries = 150

// operate does what an operator wants until it is done.
func (w *world) operate(what string, do func(try int) error) {
	w.operators.Add(1)
	w.ending.Go(func() {
		defer w.operators.Add(-1)
		for try := range operatorTries {
			err := do(try)
			w.trace("operator: %s: %v", what, err)
			if err == nil {
				return
			}
			time.Sleep(time.Second)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.run.Refused = append(w.run.Refused, what)
	})
}

// endReweigh starts a node that was stopped with another weight, and perhaps in another zone.
func endReweigh(w *world, f *Fault) {
	n := w.nodes[f.Node]
	n.mu.Lock()
	n.zone, n.weight = f.Zone, f.Weight
	n.mu.Unlock()
	w.shutDown(n)
	w.restart(n)
}
