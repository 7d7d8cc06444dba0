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
