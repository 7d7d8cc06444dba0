package cluster

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/ring"
)

func simID(i int) (id ring.ID) {
	id[0] = byte(i + 1)
	return id
}

// bag is a network that loses, repeats and reorders.
type bag struct{ msgs []func() }

func (b *bag) send(f func()) {
	if len(b.msgs) < 400 {
		b.msgs = append(b.msgs, f)
	}
}

// deliver takes one message, or a copy of it, or loses it.
func (b *bag) deliver(t *rapid.T) {
	if len(b.msgs) == 0 {
		return
	}
	i := rapid.IntRange(0, len(b.msgs)-1).Draw(t, "message")
	m := b.msgs[i]
	fate := rapid.IntRange(0, 9).Draw(t, "fate")
	if fate != 0 { // 0: delivered, and delivered again some day
		b.msgs = slices.Delete(b.msgs, i, i+1)
	}
	if fate != 1 { // 1: lost
		m()
	}
}

// foundSim is a set of empty nodes with one list, of which some are not in it.
type foundSim struct {
	bag
	t       *rapid.T
	nodes   []*foundNode
	decided []string
}

type foundNode struct {
	id    ring.ID
	of    electorate
	disk  vote // survives
	saved bool // a table: survives
	round uint64
	phase *proposal // volatile
	want  []byte    // in phase two
}

func (s *foundSim) propose(n *foundNode) {
	if n.saved {
		return
	}
	n.round = max(n.round, n.disk.Promised.Round) + 1
	n.phase, n.want = newProposal(ballot{n.round, n.id}), nil
	s.ask(n)
}

// ask sends the present phase's request to all, the own vote first, as ballotPhase does.
func (s *foundSim) ask(n *foundNode) {
	b, want, phase := n.phase.ballot, n.want, n.phase
	s.vote(n, n, b, want, phase)
	for _, to := range s.nodes {
		if to != n {
			s.send(func() { s.vote(n, to, b, want, phase) })
		}
	}
}

func (s *foundSim) vote(n, to *foundNode, b ballot, want []byte, phase *proposal) {
	if to.saved {
		return
	}
	next, ok := to.disk.promise(b)
	if want != nil {
		next, ok = to.disk.accept(b, want)
	}
	if ok {
		to.disk = next
	}
	seen := to.disk
	answer := func() {
		n.round = max(n.round, seen.Promised.Round)
		if ok && n.phase == phase {
			s.granted(n, to, seen)
		}
	}
	if n == to {
		answer()
		return
	}
	s.send(answer)
}

func (s *foundSim) granted(n, from *foundNode, v vote) {
	n.phase.grant(from.id, from.of, v)
	if !n.phase.quorum() {
		return
	}
	if n.want != nil {
		s.decided = append(s.decided, string(n.want))
		n.phase, n.saved = nil, true
		return
	}
	n.want = n.phase.value
	if len(n.want) == 0 {
		n.want = fmt.Appendf(nil, "table of %s with %v", n.id.Short(), n.phase.voters())
	}
	n.phase = newProposal(n.phase.ballot)
	s.ask(n)
}

// Law (invariant 3): whatever is lost, repeated, reordered and crashed, at most one table is decided for one list.
func TestSimulatedFoundings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { simulateFounding(t) })
	if total := overSeeds(simulateFounding); total == 0 {
		t.Error("no run founded anything: the simulation tests nothing")
	}
}

// simulateFounding reports how many proposals were decided.
func simulateFounding(t *rapid.T) int {
	s := &foundSim{t: t}
	named := rapid.IntRange(1, 5).Draw(t, "named")
	outside := rapid.IntRange(0, 2).Draw(t, "outside")
	for i := range named + outside {
		n := &foundNode{id: simID(i), of: electorate{Size: named}}
		unknown := rapid.IntRange(0, 1).Draw(t, "unidentified")
		for j := range named {
			if j == i || j >= unknown {
				n.of.IDs = append(n.of.IDs, simID(j))
			}
		}
		if i >= named {
			n.of.Size++
			n.of.IDs = append(n.of.IDs, n.id)
		}
		s.nodes = append(s.nodes, n)
	}
	for range rapid.IntRange(20, 300).Draw(t, "steps") {
		n := rapid.SampledFrom(s.nodes).Draw(t, "node")
		switch rapid.IntRange(0, 19).Draw(t, "step") {
		case 0:
			s.propose(n)
		case 1:
			n.phase, n.round = nil, 0 // crash
		default:
			s.deliver(t)
		}
	}
	for _, value := range s.decided {
		if value != s.decided[0] {
			t.Fatalf("two foundings: %q and %q", value, s.decided[0])
		}
	}
	return len(s.decided)
}

// overSeeds adds up what a simulation reports in runs that are the same every time: a run drawn anew may well be one
// in which nothing happens.
func overSeeds(simulate func(*rapid.T) int) (total int) {
	runs := rapid.Custom(simulate)
	for seed := range 100 {
		total += runs.Example(seed)
	}
	return total
}

// failer is what rapid.T and testing.T have in common.
type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// admitSim is a cluster without data, nodes that want to join, and clients that write to any one owner with w=1.
type admitSim struct {
	bag
	t       failer
	nodes   []*admitNode
	written uint64 // the layout under which data were written first
	any     bool
	counter byte
	rounds  int
}

type admitNode struct {
	id      ring.ID
	table   ring.Table // survives
	promise promise    // survives
	data    bool       // survives
	running attemptID  // volatile, as what follows
	base    uint64
	owners  map[ring.ID]bool // true: has agreed
	joiners []ring.Member
}

func (s *admitSim) node(id ring.ID) *admitNode {
	return s.nodes[slices.IndexFunc(s.nodes, func(n *admitNode) bool { return n.id == id })]
}

func (n *admitNode) hash() uint64 { return ring.NewLayout(n.table).Hash() }

func (n *admitNode) owns() bool {
	row, ok := n.table.Get(n.id)
	return ok && row.State.Owns()
}

func (s *admitSim) merge(n *admitNode, t ring.Table) {
	merged, err := ring.Merge(n.table, t)
	if err != nil {
		s.t.Fatal(err)
	}
	n.table = merged
}

// serve is a key request that one owner answers alone.
func (s *admitSim) serve(n *admitNode, write bool) {
	if !n.owns() || n.promise.open() {
		return
	}
	if s.any && n.hash() != s.written {
		s.t.Fatalf("%s serves under layout %x, and %x has data", n.id.Short(), n.hash(), s.written)
	}
	if write && !s.any {
		s.any, s.written = true, n.hash()
	}
	n.data = n.data || write
}

// start begins a round at any owner: more than one coordinator, as if nodes disagreed about the founder.
func (s *admitSim) start(n *admitNode, alive func() bool) {
	if !n.owns() || n.promise.open() || !n.running.IsZero() {
		return
	}
	n.joiners = nil
	for _, m := range n.table.Present() {
		if m.State == ring.Joining && alive() {
			n.joiners = append(n.joiners, m)
		}
	}
	if len(n.joiners) == 0 {
		return
	}
	s.counter++
	n.running, n.base, n.owners = simID(int(s.counter)), n.hash(), map[ring.ID]bool{}
	n.running[1] = 0xaa
	req := attemptRequest{Attempt: n.running, Base: n.base, Table: n.table}
	for _, m := range ring.NewLayout(n.table).Members() {
		n.owners[m.ID] = false
		s.send(func() { s.prepare(n, s.node(m.ID), req) })
	}
}

func (s *admitSim) prepare(from, n *admitNode, req attemptRequest) {
	s.merge(n, req.Table)
	v := considerPrepare(n.promise, req.Attempt, req.Base, n.hash(), n.data)
	if !n.owns() || v != agreed {
		s.send(func() { s.refused(from, req.Attempt) })
		return
	}
	n.promise = promise{Attempt: req.Attempt, Coordinator: from.id}
	s.send(func() { s.agreed(from, n.id, req.Attempt) })
}

// refused also stands for a time-out, which can come at any moment.
func (s *admitSim) refused(n *admitNode, attempt attemptID) {
	if n.running == attempt {
		s.end(n)
	}
}

func (s *admitSim) agreed(n *admitNode, who ring.ID, attempt attemptID) {
	if n.running != attempt {
		return
	}
	n.owners[who] = true
	for _, yes := range n.owners {
		if !yes {
			return
		}
	}
	if n.hash() == n.base {
		t, err := activated(n.table, n.joiners)
		if err != nil {
			s.t.Fatal(err)
		}
		n.table = t
		s.rounds++
	}
	s.end(n)
}

func (s *admitSim) end(n *admitNode) {
	attempt, t := n.running, n.table
	n.running = attemptID{}
	for _, to := range s.nodes {
		s.send(func() { s.outcome(to, attempt, t) })
	}
}

func (s *admitSim) outcome(n *admitNode, attempt attemptID, t ring.Table) {
	s.merge(n, t)
	if n.promise.Attempt == attempt {
		n.promise = promise{}
	}
}

func (s *admitSim) askOutcome(n *admitNode) {
	if !n.promise.open() {
		return
	}
	p := n.promise
	s.send(func() {
		to := s.node(p.Coordinator)
		open, t := to.running == p.Attempt, to.table
		s.send(func() {
			if open {
				s.merge(n, t)
				return
			}
			s.outcome(n, p.Attempt, t)
		})
	})
}

func newAdmitSim(t failer, owners, joining int) *admitSim {
	s := &admitSim{t: t}
	table, err := ring.NewTable("sim", 1)
	for i := range owners + joining {
		m := row(i, nameOf(i), ring.Joining)
		if i < owners {
			m.State = ring.Active
		}
		if err == nil {
			table, err = table.With(m)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range owners + joining {
		s.nodes = append(s.nodes, &admitNode{id: simID(i), table: table.WithFounder(simID(0))})
	}
	return s
}

// flush delivers all messages in order, and those that follow.
func (s *admitSim) flush() {
	for len(s.msgs) > 0 {
		m := s.msgs[0]
		s.msgs = s.msgs[1:]
		m()
	}
}

// A round that sets out from a layout that is no more admits nobody, however late its messages come.
func TestStaleRound(t *testing.T) {
	s := newAdmitSim(t, 2, 2)
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	nth := func(want int) func() bool {
		i := -1
		return func() bool { i++; return i == want }
	}
	s.start(b, nth(1))
	stale := s.msgs
	s.msgs = nil
	s.start(a, nth(0))
	s.flush()
	s.serve(c, true)
	if !s.any {
		t.Fatal("the first round admitted nobody")
	}
	s.msgs = stale
	s.flush()
	for _, n := range s.nodes {
		s.serve(n, false)
	}
}

// Law (invariant 6): once data were written under a layout, no owner serves under another.
func TestSimulatedAdmissions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { simulateAdmissions(t) })
	rounds := overSeeds(func(t *rapid.T) int { return simulateAdmissions(t).rounds })
	wrote := overSeeds(func(t *rapid.T) int {
		if simulateAdmissions(t).any {
			return 1
		}
		return 0
	})
	if rounds == 0 || wrote == 0 {
		t.Errorf("%d rounds admitted somebody and %d runs wrote: the simulation tests nothing", rounds, wrote)
	}
}

func simulateAdmissions(t *rapid.T) *admitSim {
	s := newAdmitSim(t, rapid.IntRange(1, 3).Draw(t, "owners"), rapid.IntRange(1, 3).Draw(t, "joining"))
	for range rapid.IntRange(20, 300).Draw(t, "steps") {
		n := rapid.SampledFrom(s.nodes).Draw(t, "node")
		switch rapid.IntRange(0, 39).Draw(t, "step") {
		case 0:
			s.start(n, func() bool { return rapid.Bool().Draw(t, "alive") })
		case 1:
			n.running = attemptID{} // crash: what is promised stays promised
		case 2:
			s.refused(n, n.running)
		case 3, 4:
			s.askOutcome(n)
		case 5, 6:
			s.serve(n, false)
		case 7:
			s.serve(n, true)
		case 8:
			to := rapid.SampledFrom(s.nodes).Draw(t, "gossip")
			t := n.table
			s.send(func() { s.merge(to, t) })
		default:
			s.deliver(t)
		}
	}
	return s
}
