package node

import (
	"fmt"
	"testing"
	"time"
)

// TestBehindIsSeen: while a member is away and after it has come back, the others say how many versions it lacks and since when, until it
// has them: in the view that GET /cluster shows, and in the metrics.
func TestBehindIsSeen(t *testing.T) {
	nodes := startCluster(t, 3)
	away, seen := nodes[2], nodes[0]
	if err := closeNode(away.Node); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	for i := range 5 {
		if err := put(seen, "b", fmt.Sprint(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	var since time.Time
	eventually(t, "five versions behind", func() bool {
		for _, m := range seen.Cluster().Members {
			if m.Name == away.Name() && m.Behind == 5 {
				since = m.Since
				return true
			}
		}
		return false
	})
	if since.Before(before) || since.After(time.Now()) {
		t.Errorf("behind since %v, the first of the writes began at %v", since, before)
	}
	if versions, seconds := gauges(t, seen, away.Name()); versions != 5 || seconds <= 0 {
		t.Errorf("metrics: %v versions, for %v s", versions, seconds)
	}
	startAll(t, nodes[2:])
	eventually(t, "nobody behind", func() bool {
		for _, m := range seen.Cluster().Members {
			if m.Behind != 0 || !m.Since.IsZero() {
				return false
			}
		}
		return true
	})
	if versions, seconds := gauges(t, seen, away.Name()); versions != 0 || seconds != 0 {
		t.Errorf("metrics at the end: %v versions, for %v s", versions, seconds)
	}
}

// gauges are what a node's metrics say of a member.
func gauges(t *testing.T, n *testNode, member string) (versions, seconds float64) {
	t.Helper()
	families, err := n.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == member {
				switch f.GetName() {
				case "quorate_member_behind_versions":
					versions = m.GetGauge().GetValue()
				case "quorate_member_behind_seconds":
					seconds = m.GetGauge().GetValue()
				}
			}
		}
	}
	return versions, seconds
}
