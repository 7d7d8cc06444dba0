package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// sideWork is what GET /cluster says of the reads of a node.
type sideWork struct {
	Repairs struct {
		Stale, Absent, Siblings, Vector, Minority, Unneeded, Failed, Dropped int64
	} `json:"read_repairs"`
	Hedges  struct{ Sent, Won, Suppressed int64 } `json:"hedges"`
	Members []struct{ Name, Liveness string }
}

func (n *node) sideWork(t testing.TB) (s sideWork) {
	t.Helper()
	n.get(t, "/cluster").wants(t, http.StatusOK).decode(t, &s)
	return s
}

// metric is the value of one line of /metrics.
func (n *node) metric(t testing.TB, name string) (value float64) {
	t.Helper()
	for line := range strings.Lines(string(n.get(t, "/metrics").wants(t, http.StatusOK).body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("%s has no metric %s", n.name, name)
	return 0
}

// TestLateValueIsHedged delays the answers of one owner after the other beyond the time-out. One of them is whom the reading node asks for large
// values: these come through another owner then, and the late one is not taken for dead.
func TestLateValueIsHedged(t *testing.T) {
	slow(t)
	c := newCluster(t, 4, "--allow-faults")
	path, value := fresh("hedge"), strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	owners := c.nodes[0].ring(t, path, "").Owners
	reader := c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return !slices.Contains(owners, n.name) })]
	reader.put(t, path+"?w=3", value).wants(t, http.StatusNoContent)
	for range 20 { // it gets to know the owners
		reader.get(t, path+"?r=3").wantsValue(t, value)
	}
	for _, name := range owners {
		late := c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })]
		late.breaks(t, rule{Peer: reader.name, Direction: "out", Kind: "response", Delay: "30s"})
		for range 4 {
			a := reader.get(t, path+"?r=2&detail=true&timeout=20s").wantsValue(t, value)
			if replicas := a.must(t, "Quorate-Replicas"); strings.Contains(replicas, late.name+";") {
				t.Errorf("%s answers 30 s late, and yet: %s", late.name, replicas)
			}
		}
		late.breaks(t)
	}
	s := reader.sideWork(t)
	if s.Hedges.Sent == 0 || s.Hedges.Won == 0 {
		t.Errorf("every owner was late in turn, and no value was hedged: %+v", s.Hedges)
	}
	for _, m := range s.Members {
		if m.Liveness != "alive" {
			t.Errorf("%s is %s for having been slow", m.Name, m.Liveness)
		}
	}
	if sent := reader.metric(t, `quorate_hedges_total{event="sent"}`); sent != float64(s.Hedges.Sent) {
		t.Errorf("/metrics counts %v hedges, /cluster %d", sent, s.Hedges.Sent)
	}
	reader.get(t, path+"?r=3").wantsValue(t, value)
}

// TestReadWritesBack reads from all owners what one of them has missed: with the answer, that one has it too. What agrees is not repaired.
func TestReadWritesBack(t *testing.T) {
	c := newCluster(t, 3, "--allow-faults")
	writer, reader, misses := c.nodes[0], c.nodes[1], c.nodes[2]
	writer.breaks(t, rule{Peer: misses.name, Direction: "out", Kind: "write", Drop: true})
	last := ""
	eventually(t, healLimit, "a read is first to mend what was missed", func() error {
		last = fresh("back")
		writer.put(t, last+"?w=2", "v").wants(t, http.StatusNoContent)
		reader.get(t, last+"?r=all").wantsValue(t, "v")
		misses.get(t, last+"?local=true").wantsValue(t, "v")
		if reader.sideWork(t).Repairs.Absent == 0 { // log exchange was first
			return errors.New("no repair of an absent value was counted")
		}
		return nil
	})
	writer.breaks(t)
	before := reader.sideWork(t).Repairs
	for range 20 {
		reader.get(t, last+"?r=all").wantsValue(t, "v")
		reader.get(t, last+"?r=1").wantsValue(t, "v")
	}
	if after := reader.sideWork(t).Repairs; after != before {
		t.Errorf("40 reads of what agrees: %+v, before them %+v", after, before)
	}
	if got := reader.metric(t, `quorate_read_repairs_total{cause="absent",outcome="ok"}`); got != float64(before.Absent) {
		t.Errorf("/metrics counts %v, /cluster %d", got, before.Absent)
	}

	// An owner that cannot take it: the answer would promise what is not so.
	writer.breaks(t, rule{Peer: misses.name, Direction: "both", Kind: "write", Drop: true})
	path := fresh("back")
	writer.put(t, path+"?w=2", "v").wants(t, http.StatusNoContent)
	a := writer.get(t, path+"?r=all&timeout=1s")
	if a.status == http.StatusOK { // log exchange was first
		misses.get(t, path+"?local=true").wantsValue(t, "v")
	} else {
		p := a.wantsProblem(t, http.StatusGatewayTimeout, "quorum-timeout")
		if p.replica(misses.name) != "timeout" || *p.Needed != 3 || *p.Got != 2 {
			t.Errorf("%s", a.body)
		}
	}
	writer.get(t, path+"?r=all&repair=false").wantsValue(t, "v")
}
