package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// birth is a cluster that begins: who founds it, and with what. There may be two, which meet later.
type birth struct {
	nodes []*simNode
	rows  []ring.Member // guarded by the world's mu, as is the rest
	table ring.Table
	state layouts.State
	whole chan struct{} // closed when all founders are there
}

// birth is the fault that makes two clusters of the founders; nil if there is one only.
func (p *Plan) birth() *Fault {
	if i := slices.IndexFunc(p.Faults, func(f Fault) bool { return f.Kind == "birth" }); i >= 0 {
		return &p.Faults[i]
	}
	return nil
}

// births groups the founders.
func (p *Plan) births(nodes []*simNode) []*birth {
	all := []*birth{{whole: make(chan struct{})}}
	split := p.birth()
	if split != nil {
		all = append(all, &birth{whole: make(chan struct{})})
	}
	for i, n := range nodes[:p.Nodes] {
		b := all[0]
		if split != nil && in(split.Side, i) {
			b = all[1]
		}
		n.birth, b.nodes = b, append(b.nodes, n)
	}
	return all
}

// join adds a founder, waits for the others, and returns what all begin with.
func (b *birth) join(w *world, row ring.Member) (ring.Table, layouts.State, error) {
	w.mu.Lock()
	b.rows = append(b.rows, row)
	var err error
	if len(b.rows) == len(b.nodes) {
		err = b.found(w.plan.Partitions)
	}
	w.mu.Unlock()
	if err != nil {
		return ring.Table{}, layouts.State{}, err
	}
	<-b.whole
	return b.table, b.state, nil
}

func (b *birth) found(partitions int) error {
	t, err := ring.NewTable("sim", partitions)
	if err != nil {
		return err
	}
	for _, m := range b.rows {
		if t, err = t.With(m); err != nil {
			return err
		}
	}
	b.table = t.WithFounder(b.rows[0].ID)
	if b.state, err = cluster.Founded(b.table); err == nil {
		close(b.whole)
	}
	return err
}

// stranger marks an operation that a node took which knew of no cluster yet.
const stranger = 1 << 63

// foundings are those that a node knows of, a bit each; 0 if there is only one.
func (w *world) foundings(l *lifetime) (known uint64) {
	if len(w.births) < 2 {
		return 0
	}
	v := l.rings()
	if v == nil {
		return stranger
	}
	for i, b := range w.births {
		if _, ok := v.Row(b.rows[0].ID); ok {
			known |= 1 << i
		}
	}
	return known
}

// members is the membership of the node's present life, nil if it has none yet.
func (n *simNode) members() *members {
	if l := n.running(); l != nil {
		return l.members.Load()
	}
	return nil
}

// isFounding reports whether the node's cluster has not begun yet.
func (n *simNode) isFounding() bool {
	if n.birth == nil {
		return false
	}
	select {
	case <-n.birth.whole:
		return false
	default:
		return true
	}
}

// rings is what a node knows of layouts now, nil for nothing.
func (l *lifetime) rings() *layouts.View {
	if m := l.members.Load(); m != nil {
		return m.Rings()
	}
	return nil
}

// replicas is the number of a key's owners, by the layout with the most of those that a node knows.
func (l *lifetime) replicas(p ring.Partition, n int) (most int) {
	v := l.rings()
	if v == nil {
		return 0
	}
	for _, g := range v.WriteGroups(p, n) {
		most = max(most, len(g.Owners))
	}
	return most
}

// tenures are the times in which each node kept each set, by its own view. Guarded by the world's mu.
type tenures map[tenure][]check.Tenure

type tenure struct {
	node string
	p    ring.Partition
	n    int
}

// note takes down what a node keeps from now on.
func (t tenures) note(node string, now time.Duration, partitions int, keeps func(p ring.Partition, n int) bool) {
	for p := range ring.Partition(partitions) {
		for _, n := range replicaCounts {
			at := tenure{node, p, n}
			spans := t[at]
			on := len(spans) > 0 && spans[len(spans)-1].To == check.Ever
			switch k := keeps(p, n); {
			case k && !on:
				t[at] = append(spans, check.Tenure{From: now, To: check.Ever})
			case !k && on:
				spans[len(spans)-1].To = now
			}
		}
	}
}

// begin makes what founders keep begin with the clock.
func (t tenures) begin() {
	for _, spans := range t {
		spans[0].From = 0
	}
}

// replicaCounts are the n that buckets have.
var replicaCounts = []int{3, 5}

// keeps takes down what a node keeps by a view that it is about to act under.
func (w *world) keeps(n *simNode, self ring.ID, v *layouts.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[self] = n.name
	w.tenures.note(n.name, w.now(), w.plan.Partitions, func(p ring.Partition, replicas int) bool { return v != nil && v.Keeps(self, p, replicas) })
}

// locate notes whose the keys are now: of several live layouts the owners in all.
func (w *world) locate() {
	var v *layouts.View
	for _, n := range w.present() {
		if l := n.running(); l != nil && l.rings() != nil {
			v = l.rings()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run.Owners, w.run.Tenures = map[check.KeyName][]string{}, map[check.KeyName]map[string][]check.Tenure{}
	for name, p := range w.run.Partitions {
		replicas := buckets[name.Bucket].N
		for _, g := range v.WriteGroups(p, replicas) {
			for _, id := range g.Owners {
				if owner := w.names[id]; !slices.Contains(w.run.Owners[name], owner) && w.byName(owner).wanted.Load() {
					w.run.Owners[name] = append(w.run.Owners[name], owner)
				}
			}
		}
		w.run.Tenures[name] = map[string][]check.Tenure{}
		for _, n := range w.nodes {
			w.run.Tenures[name][n.name] = w.tenures[tenure{n.name, p, replicas}]
		}
	}
}

// watch looks, once a second until the returned function is called, how far nodes say that a change is, and calls alive.
func (w *world) watch(alive func()) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			alive()
			for _, n := range w.nodes {
				if l := n.running(); l != nil && l.rings() != nil {
					w.report(n.name, l.rings())
				}
			}
		}
	}()
	return func() { close(done); <-gone }
}

func (w *world) report(node string, v *layouts.View) {
	top, ok := v.Top()
	if !ok {
		return
	}
	done, of := v.Progress()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run.Reports = append(w.run.Reports, check.Report{Node: node, Layout: top.Hash().String(), At: w.now(), Done: done, Of: of})
}

// ring takes down what a node says of the ring at the end, where it must have settled.
func (w *world) ring(n *simNode) {
	if !w.exchangeSuffices() {
		return
	}
	v := n.running().rings()
	end := check.Ring{Node: n.name, Settled: v.Settled(), Waits: waits(v), Strays: w.strays(n)}
	if top, ok := v.Top(); ok {
		end.Layout = top.Hash().String()
	}
	w.run.Rings = append(w.run.Rings, end)
}

func waits(v *layouts.View) string {
	var all []string
	for _, wait := range v.Waits() {
		for _, id := range wait.For {
			row, _ := v.Row(id)
			wait.What += " " + row.Name
		}
		all = append(all, wait.What)
	}
	return fmt.Sprintf("%d layouts are live, waiting for %s", len(v.Live()), strings.Join(all, "; "))
}

// strays are the partitions of which a node holds sets that no live layout gives it.
func (w *world) strays(n *simNode) (strays []check.Partition) {
	l := n.running()
	held, err := l.store.Held()
	if err != nil {
		w.trace("%s does not say what it holds: %v", n.name, err)
		return nil
	}
	v, self := l.rings(), l.members.Load().cfg.ID
	for _, h := range held {
		if slices.ContainsFunc(h.N, func(replicas uint8) bool { return !v.Keeps(self, h.Partition, int(replicas)) }) {
			strays = append(strays, h.Partition)
		}
	}
	return strays
}
