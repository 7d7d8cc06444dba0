package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

// rule is one row of /faults.
type rule struct {
	Peer      string  `json:"peer,omitempty"`
	Direction string  `json:"direction,omitempty"`
	Kind      string  `json:"kind,omitempty"`
	Drop      bool    `json:"drop,omitempty"`
	Loss      float64 `json:"loss,omitempty"`
	Delay     string  `json:"delay,omitempty"`
	Dist      string  `json:"dist,omitempty"`
}

// cut is the rule that separates a node from a peer, or from "*".
func cut(peer string) rule { return rule{Peer: peer, Direction: "both", Kind: "any", Drop: true} }

// breaks gives the node these rules and no others; without rules it heals.
func (n *node) breaks(t testing.TB, rules ...rule) {
	t.Helper()
	if len(rules) == 0 {
		n.delete(t, "/faults").wants(t, http.StatusNoContent)
		return
	}
	body, err := json.Marshal(map[string][]rule{"rules": rules})
	if err != nil {
		t.Fatal(err)
	}
	n.put(t, "/faults", string(body)).wants(t, http.StatusNoContent)
}

// quorumError says whether an answer is one of the two that tell of too few replicas, complete in every part.
// Which of them it is depends on what the node knew when it began.
func quorumError(t testing.TB, a answer, needed int, write bool) {
	t.Helper()
	outcome := ""
	switch {
	case a.status == http.StatusServiceUnavailable && write:
		outcome = "not_written"
	case write:
		outcome = "indeterminate"
	}
	kind := map[int]string{http.StatusServiceUnavailable: "quorum-unavailable", http.StatusGatewayTimeout: "quorum-timeout"}[a.status]
	if kind == "" {
		t.Fatalf("%s: status %d, want 503 or 504\n%s", a.request, a.status, a.body)
	}
	a.wantsWriteProblem(t, a.status, kind, outcome).wantsReplicas(t, needed)
}

// TestFaultRules sets, reads and removes rules, and refuses bad ones without changing what holds.
func TestFaultRules(t *testing.T) {
	c := newCluster(t, 1, "--allow-faults")
	n := c.nodes[0]
	rules := func() []rule {
		var list struct {
			Rules []rule `json:"rules"`
		}
		n.get(t, "/faults").wants(t, http.StatusOK).decode(t, &list)
		if list.Rules == nil {
			t.Fatal("no rules member")
		}
		return list.Rules
	}
	if len(rules()) != 0 {
		t.Fatal("a new node has rules")
	}
	n.breaks(t, cut("node-7"), rule{Peer: "*", Direction: "in", Kind: "ack", Loss: 0.25, Delay: "20ms", Dist: "exponential"})
	got := rules()
	if len(got) != 2 || got[0].Peer != "node-7" || got[0].Direction != "both" || got[0].Kind != "any" || !got[0].Drop {
		t.Fatalf("%+v", got)
	}
	if got[1].Peer != "*" || got[1].Direction != "in" || got[1].Kind != "ack" || got[1].Loss != 0.25 || got[1].Delay != "20ms" || got[1].Dist != "exponential" {
		t.Fatalf("%+v", got)
	}
	for _, bad := range []string{
		``, `nonsense`, `{}{}`, `[]`, `{"rules":[{}]}`, `{"rules":[{"peer":"*","colour":"red"}]}`, `{"colour":[]}`,
		`{"rules":[{"peer":"*","direction":"up","drop":true}]}`, `{"rules":[{"peer":"*","kind":"http","drop":true}]}`,
		`{"rules":[{"peer":"*","loss":1.5}]}`, `{"rules":[{"peer":"*","loss":-0.1}]}`,
		`{"rules":[{"peer":"*","delay":"soon"}]}`, `{"rules":[{"peer":"*","delay":"-1s"}]}`, `{"rules":[{"peer":"*","delay":"1ms","dist":"normal"}]}`,
	} {
		n.put(t, "/faults", bad).wantsProblem(t, http.StatusBadRequest, "")
	}
	if len(rules()) != 2 {
		t.Fatal("a refused PUT changed the rules")
	}
	n.breaks(t, cut("*"))
	if len(rules()) != 1 {
		t.Fatal("PUT adds to the rules, where it should replace them")
	}
	n.breaks(t)
	if len(rules()) != 0 {
		t.Fatal("DELETE leaves rules")
	}
	n.do(t, http.MethodPost, "/faults", nil).wantsProblem(t, http.StatusMethodNotAllowed, "")
}

// TestOneWayFaults drops each of the four trips of a request alone. Gossip goes on, so every node is known to
// be up: the answers are 504, and a write's outcome is open.
func TestOneWayFaults(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "--allow-faults")
	n, others := c.nodes[0], c.nodes[1:]
	const impatient = "timeout=700ms"

	t.Run("write", func(t *testing.T) {
		path := fresh("faults")
		n.breaks(t, rule{Peer: "*", Direction: "out", Kind: "write", Drop: true})
		p := n.put(t, path+"?w=2&"+impatient, "v").wantsWriteProblem(t, http.StatusGatewayTimeout, "quorum-timeout", "indeterminate")
		p.wantsReplicas(t, 2)
		if *p.Got != 1 || p.replica(n.name) != "ok" {
			t.Errorf("%+v", p)
		}
		for _, other := range others { // nothing reached them, but what log exchange may have brought since
			if a := other.get(t, path+"?local=true"); a.status != http.StatusNotFound && string(a.body) != "v" {
				t.Errorf("%s: status %d %.100q", a.request, a.status, a.body)
			}
		}
		n.get(t, fresh("faults")+"?r=3").wants(t, http.StatusNotFound)
	})
	t.Run("ack", func(t *testing.T) {
		path := fresh("faults")
		n.breaks(t, rule{Peer: "*", Direction: "in", Kind: "ack", Drop: true})
		n.put(t, path+"?w=2&"+impatient, "v").
			wantsWriteProblem(t, http.StatusGatewayTimeout, "quorum-timeout", "indeterminate").wantsReplicas(t, 2)
		n.breaks(t)
		// It never said "failed": the write is there.
		for _, other := range others {
			eventually(t, soon, other.name+" holds it", func() error {
				if a := other.get(t, path+"?local=true"); string(a.body) != "v" {
					return fmt.Errorf("status %d %.100q", a.status, a.body)
				}
				return nil
			})
		}
	})
	for kind, direction := range map[string]string{"read": "out", "response": "in"} {
		t.Run(kind, func(t *testing.T) {
			path := fresh("faults")
			n.breaks(t, rule{Peer: "*", Direction: direction, Kind: kind, Drop: true})
			n.put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
			n.get(t, path+"?r=2&"+impatient).wantsProblem(t, http.StatusGatewayTimeout, "quorum-timeout").wantsReplicas(t, 2)
			n.get(t, path+"?r=1&"+impatient).wantsValue(t, "v")
			n.breaks(t)
			n.get(t, path+"?r=3").wantsValue(t, "v")
		})
	}
	t.Run("one peer", func(t *testing.T) {
		n.breaks(t, rule{Peer: others[0].name, Direction: "both", Kind: "write", Drop: true})
		n.put(t, fresh("faults")+"?w=2", "v").wants(t, http.StatusNoContent)
		p := n.put(t, fresh("faults")+"?w=3&"+impatient, "v").
			wantsWriteProblem(t, http.StatusGatewayTimeout, "quorum-timeout", "indeterminate")
		p.wantsReplicas(t, 3)
		if outcome := p.replica(others[0].name); outcome == "ok" || p.replica(others[1].name) != "ok" {
			t.Errorf("%+v", p)
		}
		n.breaks(t)
		eventually(t, healLimit, "w=3 after the rules are gone", func() error { return tries(t, n, "w=3") })
	})
	t.Run("delay", func(t *testing.T) {
		path := fresh("faults")
		n.breaks(t, rule{Peer: "*", Direction: "both", Kind: "any", Delay: "5ms", Dist: "uniform"})
		for range 10 {
			n.put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
			n.get(t, path+"?r=3").wantsValue(t, "v")
		}
		n.breaks(t)
	})
}

// tries writes a key with these numbers and returns why it could not.
func tries(t testing.TB, n *node, numbers string) error {
	t.Helper()
	a, err := n.send(t.Context(), http.MethodPut, fresh("tries")+"?"+numbers, []byte("v"))
	if err != nil {
		return err
	}
	if a.status != http.StatusNoContent {
		return fmt.Errorf("%s: status %d %.300s", a.request, a.status, a.body)
	}
	return nil
}

// TestSessionUnsatisfied asks, with the context of a write that one node alone holds, the two that cannot
// reach it.
func TestSessionUnsatisfied(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3, "--allow-faults")
	alone, path := c.nodes[2], fresh("faults")
	c.nodes[0].put(t, path+"?w=3", "old").wants(t, http.StatusNoContent)
	alone.breaks(t, cut("*"))
	token := alone.put(t, path+"?w=1", "new").wants(t, http.StatusNoContent).token(t)
	for _, n := range c.nodes[:2] {
		n.get(t, path+"?r=1&timeout=1s", seen(token)).wantsProblem(t, http.StatusServiceUnavailable, "session-unsatisfied")
		n.get(t, path+"?r=1").wantsValue(t, "old")
	}
	alone.breaks(t)
	for _, n := range c.nodes {
		eventually(t, healLimit, n.name+" meets the context", func() error {
			a := n.get(t, path+"?r=1", seen(token))
			if a.status != http.StatusOK || string(a.body) != "new" {
				return fmt.Errorf("status %d %.100q", a.status, a.body)
			}
			return nil
		})
	}
}

// splitTime is how long a cut lasts: short, unless QUORATE_E2E_SPLIT asks for the full promise.
func splitTime(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("QUORATE_E2E_SPLIT")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("QUORATE_E2E_SPLIT: %v", err)
	}
	return d
}

// TestSplitHeals cuts one node off from two, keeps traffic on both sides, and expects the cluster to find
// itself again without help once the rules are gone.
func TestSplitHeals(t *testing.T) {
	slow(t)
	t.Parallel()
	for _, side := range []string{"rules on the one", "rules on the two"} {
		t.Run(side, func(t *testing.T) {
			c := newCluster(t, 3, "--allow-faults")
			one, two := c.nodes[0], c.nodes[1:]
			if side == "rules on the one" {
				one.breaks(t, cut("*"))
			} else {
				two[0].breaks(t, cut(one.name))
				two[1].breaks(t, cut(one.name))
			}
			written := splitTraffic(t, one, two)
			for _, n := range c.nodes {
				n.breaks(t)
			}
			c.waitSettled(t)
			for _, n := range c.nodes {
				eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
				for path, value := range written {
					n.get(t, path).wantsValue(t, value)
				}
			}
		})
	}
}

// splitTraffic writes on both sides for as long as the split lasts and at least until each side knows the
// other to be away. It returns what the two have acknowledged.
func splitTraffic(t *testing.T, one *node, two []*node) map[string]string {
	t.Helper()
	written, began := map[string]string{}, time.Now()
	length := splitTime(t)
	eventually(t, length+healLimit, "both sides notice the cut", func() error {
		for _, n := range two {
			path := fresh("split")
			n.put(t, path+"?w=2&timeout=10s", n.name).wants(t, http.StatusNoContent)
			n.get(t, path+"?r=2&timeout=10s").wantsValue(t, n.name)
			written[path] = n.name
		}
		quorumError(t, one.put(t, fresh("split")+"?w=2&timeout=300ms", "v"), 2, true)
		quorumError(t, one.get(t, fresh("split")+"?r=2&timeout=300ms"), 2, false)
		one.get(t, "/readyz").wants(t, http.StatusOK)
		if time.Since(began) < length {
			return errors.New("the split is to last longer")
		}
		return mutuallyDead(one, two)
	})
	one.put(t, fresh("split")+"?w=2", "v").wantsWriteProblem(t, http.StatusServiceUnavailable, "quorum-unavailable", "not_written")
	return written
}

// mutuallyDead returns nil once each side takes the other for dead.
func mutuallyDead(one *node, two []*node) error {
	for _, n := range two {
		for from, to := range map[*node]*node{n: one, one: n} {
			v, err := from.view()
			if err != nil {
				return err
			}
			if alive := v.member(to.name).Liveness; alive != "dead" {
				return fmt.Errorf("%s takes %s for %q", from.name, to.name, alive)
			}
		}
	}
	return nil
}
