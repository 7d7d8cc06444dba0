package fault

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// noChance fails the test if it is asked: the decision must not depend on chance.
func noChance(t *testing.T) func() float64 {
	return func() float64 {
		t.Error("chance was asked")
		return 0
	}
}

func always(v float64) func() float64 { return func() float64 { return v } }

func TestNoRules(t *testing.T) {
	var m Matrix
	if v := m.Decide("node-1", In, Write, noChance(t)); v != (Verdict{}) {
		t.Errorf("got %+v", v)
	}
	if m.Rules() != nil {
		t.Errorf("rules %v", m.Rules())
	}
}

func TestDecide(t *testing.T) {
	const ms = time.Millisecond
	drop := Verdict{Drop: true}
	for _, test := range []struct {
		name   string
		rules  []Rule
		chance float64
		want   Verdict // of an incoming write from node-2
	}{
		{"another peer", []Rule{{Peer: "node-3", Drop: true}}, 0, Verdict{}},
		{"this peer", []Rule{{Peer: "node-2", Drop: true}}, 0, drop},
		{"every peer", []Rule{{Peer: Everyone, Drop: true}}, 0, drop},
		{"this direction", []Rule{{Peer: "node-2", Direction: In, Drop: true}}, 0, drop},
		{"the other direction", []Rule{{Peer: "node-2", Direction: Out, Drop: true}}, 0, Verdict{}},
		{"this kind", []Rule{{Peer: "node-2", Kind: Write, Drop: true}}, 0, drop},
		{"another kind", []Rule{{Peer: "node-2", Kind: Ack, Drop: true}}, 0, Verdict{}},
		{"loss hits", []Rule{{Peer: "node-2", Loss: 0.3}}, 0.29, drop},
		{"loss misses", []Rule{{Peer: "node-2", Loss: 0.3}}, 0.3, Verdict{}},
		{"all lost", []Rule{{Peer: "node-2", Loss: 1}}, math.Nextafter(1, 0), drop},
		{"fixed delay", []Rule{{Peer: "node-2", Delay: 20 * ms}}, 0.9, Verdict{Delay: 20 * ms}},
		{"uniform delay", []Rule{{Peer: "node-2", Delay: 20 * ms, Dist: Uniform}}, 0.75, Verdict{Delay: 30 * ms}},
		{"least exponential delay", []Rule{{Peer: "node-2", Delay: 20 * ms, Dist: Exponential}}, 0, Verdict{}},
		{"delays add up", []Rule{{Peer: "node-2", Delay: 20 * ms}, {Peer: Everyone, Delay: 3 * ms}}, 0, Verdict{Delay: 23 * ms}},
		{"a drop beats delays", []Rule{{Peer: "node-2", Delay: 20 * ms}, {Peer: Everyone, Drop: true}}, 0, drop},
		{"nothing to do", []Rule{{Peer: Everyone}}, 0, Verdict{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var m Matrix
			for _, rules := range [][]Rule{test.rules, reversed(test.rules)} {
				if err := m.Set(rules); err != nil {
					t.Fatal(err)
				}
				if got := m.Decide("node-2", In, Write, always(test.chance)); got != test.want {
					t.Errorf("%v: got %+v, want %+v", rules, got, test.want)
				}
			}
		})
	}
}

func TestKindOfUnnamedMessages(t *testing.T) {
	var m Matrix
	for kind := Any; kind <= Response; kind++ {
		if err := m.Set([]Rule{{Peer: Everyone, Kind: kind, Drop: true}}); err != nil {
			t.Fatal(err)
		}
		if got := m.Decide("node-2", Out, Any, noChance(t)); got.Drop != (kind == Any) {
			t.Errorf("a rule for %v: %+v", kind, got)
		}
	}
}

// The mean of what is drawn over an even grid of chances is the rule's delay.
func TestDelayIsTheMean(t *testing.T) {
	for dist := Fixed; dist <= Exponential; dist++ {
		r := Rule{Peer: Everyone, Delay: time.Second, Dist: dist}
		const steps = 100_000
		var sum time.Duration
		for i := range steps {
			sum += r.delay(always((float64(i) + 0.5) / steps))
		}
		if mean := sum / steps; mean < 999*time.Millisecond || mean > 1001*time.Millisecond {
			t.Errorf("%v: mean %v", dist, mean)
		}
	}
}

func TestSetIsAtomic(t *testing.T) {
	var m Matrix
	good := []Rule{{Peer: "node-1", Drop: true}}
	if err := m.Set(good); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]Rule{
		"no peer":           {good[0], {}},
		"long peer":         {{Peer: strings.Repeat("a", maxPeer+1)}},
		"direction":         {{Peer: "a", Direction: Out + 1}},
		"kind":              {{Peer: "a", Kind: Response + 1}},
		"negative loss":     {{Peer: "a", Loss: -0.1}},
		"loss":              {{Peer: "a", Loss: 1.1}},
		"loss not a number": {{Peer: "a", Loss: math.NaN()}},
		"negative delay":    {{Peer: "a", Delay: -1}},
		"delay":             {{Peer: "a", Delay: MaxDelay + 1}},
		"dist":              {{Peer: "a", Dist: Exponential + 1}},
		"too many":          slices.Repeat(good, MaxRules+1),
	} {
		if err := m.Set(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !slices.Equal(m.Rules(), good) {
			t.Errorf("%s: rules are now %v", name, m.Rules())
		}
	}
	good[0].Drop = false
	m.Rules()[0].Drop = false
	if !m.Decide("node-1", In, Any, noChance(t)).Drop {
		t.Error("a caller's slice changes the rules")
	}
	if err := m.Set(nil); err != nil || m.Rules() != nil {
		t.Errorf("healing: %v, rules %v", err, m.Rules())
	}
}

// With two rules that only together let a message through or drop it, every message meets both or neither.
func TestConcurrentSetAndDecide(t *testing.T) {
	var m Matrix
	a := []Rule{{Peer: "x", Delay: 1}, {Peer: "x", Delay: 2}}
	b := []Rule{{Peer: "x", Delay: 10}, {Peer: "x", Delay: 20}}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 1000 {
			if err := m.Set([][]Rule{a, b, nil}[i%3]); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		for range 1000 {
			if v := m.Decide("x", In, Read, noChance(t)); v.Drop || v.Delay != 0 && v.Delay != 3 && v.Delay != 30 {
				t.Errorf("got %+v", v)
			}
		}
	})
	group.Wait()
}

func BenchmarkDecide(b *testing.B) {
	for _, count := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) {
			var m Matrix
			if err := m.Set(slices.Repeat([]Rule{{Peer: "node-9", Drop: true}}, count)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Decide("node-1", Out, Write, always(0))
			}
		})
	}
}

func reversed(rules []Rule) []Rule {
	rules = slices.Clone(rules)
	slices.Reverse(rules)
	return rules
}
