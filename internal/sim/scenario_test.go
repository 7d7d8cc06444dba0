package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/quorum"
)

// A coordinator that is cut off during the whole change, and then returns, neither serves nor hides anything: alone it has a quorum in no layout, what it acknowledged with w=1 is
// there at the end, and as long as its word is missing the old layout lives on.
func TestCoordinatorCutOffDuringTheWholeChange(t *testing.T) {
	const from, to = 5 * time.Second, 35 * time.Second
	p := Plan{Seed: 1, Nodes: 3, Joiners: 1, Zones: 1, Partitions: 16, Chaos: time.Minute, Latency: time.Millisecond, Sync: time.Millisecond,
		Clients: 12, Period: 400 * time.Millisecond, Keys: 5, Faults: []Fault{
			{Kind: "cut-through", Node: 0, Other: 0, At: from, For: to - from},
			{Kind: "join", Node: 3, Other: 3, Side: []int{3}, At: from + 2*time.Second},
		}}
	r := simulatedPlan(t, p, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	// From the moment at which requests that were under way have ended.
	cutOff := func(o *check.Op) bool { return o.Node == "node-1" && o.Invoked > from+time.Second && o.Returned < to }
	alone := 0
	for _, o := range r.History.Ops {
		switch {
		case !cutOff(o):
		case o.IsWrite() && o.Outcome == check.Acked && o.W >= quorum.Quorum.Resolve(p.Nodes), o.Kind == check.Get && o.Outcome == check.OK && o.R >= quorum.Quorum.Resolve(p.Nodes):
			t.Errorf("cut off, and answered: %v", o)
		case o.IsWrite() && o.Outcome == check.Acked:
			alone++
		}
	}
	if alone == 0 {
		t.Error("no write was acknowledged by the node that was cut off: there was nothing that it could hide")
	}
	others := func(o *check.Op) bool {
		return o.Node != "node-1" && o.Outcome == check.Acked && o.Invoked > from+5*time.Second && o.Returned < to
	}
	if !slices.ContainsFunc(r.History.Ops, others) {
		t.Error("the others acknowledged nothing during the change")
	}
	for _, rep := range r.History.Reports {
		if rep.Of == 4*p.Partitions && rep.Done == rep.Of && rep.At < to {
			t.Errorf("at %v %s holds the layout of all four for whole, and node-1 had not heard of it", rep.At, rep.Node)
		}
	}
	if rings := r.History.Rings; len(rings) != 4 || !rings[0].Settled {
		t.Errorf("at the end: %+v", rings)
	}
}

// TestPlansChangeTheRing counts what seeds mean for the ring.
func TestPlansChangeTheRing(t *testing.T) {
	kinds, changing := map[string]int{}, 0
	for seed := range uint64(300) {
		p := NewPlan(seed, Options{Chaos: time.Minute})
		changes, members, gone := 0, p.Nodes, map[int]bool{}
		for _, f := range p.Faults {
			kinds[f.Kind]++
			switch f.Kind {
			case "join":
				members += len(f.Side)
			case "leave", "remove":
				members--
				if gone[f.Node] || f.Node >= p.Nodes {
					t.Errorf("seed %d: %v: it is gone already, or never came", seed, f)
				}
				gone[f.Node] = true
			case "reweigh", "birth":
			default:
				continue
			}
			changes++
		}
		if changes > 0 {
			changing++
		}
		if changes > 0 && p.NoExchange() {
			t.Errorf("seed %d: the ring changes, and nothing fetches", seed)
		}
		if members < 3 || members > p.places() {
			t.Errorf("seed %d: %d members remain of %d", seed, members, p.places())
		}
	}
	if changing < 180 {
		t.Errorf("the ring changes in %d of 300 seeds", changing)
	}
	for _, k := range faultKinds() {
		if kinds[k.name] < 10 {
			t.Errorf("%d faults of kind %s", kinds[k.name], k.name)
		}
	}
}
