package staleness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/fault"
)

// Scenario is what happens to the cluster.
type Scenario uint8

// The scenarios. A cut drops every message between its two sides, gossip too; clients reach all nodes all the time.
const (
	None       Scenario = iota // nothing
	IsolateOne                 // the last node is cut off from all others
	Halves                     // the first half of the nodes, rounded down, is cut off from the rest
)

var scenarioNames = []string{None: "none", IsolateOne: "isolate-one", Halves: "halves"}

// String is the scenario's name.
func (s Scenario) String() string {
	if int(s) >= len(scenarioNames) {
		return fmt.Sprintf("unknown(%d)", uint8(s))
	}
	return scenarioNames[s]
}

// ParseScenario reads a name.
func ParseScenario(name string) (Scenario, error) {
	i := slices.Index(scenarioNames, name)
	if i < 0 {
		return 0, fmt.Errorf("scenario %.40q: want one of %v", name, scenarioNames)
	}
	return Scenario(i), nil
}

// The sides of cuts.
const (
	everyone  = "all"
	isolated  = "isolated"
	rest      = "rest"
	firstHalf = "half-1"
	otherHalf = "half-2"
)

// Sides lists the sides of a scenario, in the order of reports.
func (s Scenario) Sides() []string {
	return [][]string{None: {everyone}, IsolateOne: {isolated, rest}, Halves: {firstHalf, otherHalf}}[s]
}

// sides says on which side each of the members is. Those that cannot be spoken to are on the larger one.
func (s Scenario) sides(nodes []fleet.Node, members []string) map[string]string {
	side := map[string]string{}
	larger := s.Sides()[len(s.Sides())-1]
	for _, name := range members {
		side[name] = larger
	}
	for i, n := range nodes {
		switch {
		case s == IsolateOne && i == len(nodes)-1, s == Halves && i < len(nodes)/2:
			side[n.Name] = s.Sides()[0]
		default:
			side[n.Name] = larger
		}
	}
	return side
}

// cutRules are the rules of one node: it hears nobody on the other side, and is heard by nobody there.
func cutRules(node string, side map[string]string) []fault.Rule {
	var rules []fault.Rule
	for peer, where := range side {
		if where != side[node] {
			rules = append(rules, fault.Rule{Peer: peer, Direction: fault.Both, Kind: fault.Any, Drop: true})
		}
	}
	slices.SortFunc(rules, func(a, b fault.Rule) int { return strings.Compare(a.Peer, b.Peer) })
	return rules
}

// setFaults gives all nodes their rules at the same time; nil heals.
func setFaults(ctx context.Context, f *fleet.Fleet, rules func(node string) []fault.Rule) error {
	failed := make([]error, len(f.Nodes()))
	var all sync.WaitGroup
	for i, n := range f.Nodes() {
		all.Go(func() {
			var its []fault.Rule
			if rules != nil {
				its = rules(n.Name)
			}
			failed[i] = f.SetFaults(ctx, n.Name, its)
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// healTime bounds the removal of faults after an interruption, when the run's own context has ended.
const healTime = 10 * time.Second

// healAnyway removes all faults although the run has been interrupted.
func healAnyway(ctx context.Context, f *fleet.Fleet) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTime)
	defer cancel()
	return setFaults(ctx, f, nil)
}
