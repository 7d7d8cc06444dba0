package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// ringView is GET /cluster/ring.
type ringView struct {
	Partition int      `json:"partition"`
	N         int      `json:"n"`
	Owners    []string `json:"owners"`
	Fallbacks []string `json:"fallbacks"`
}

// ring asks for the preference list of a path of fresh, which needs no escapes.
func (n *node) ring(t testing.TB, path, more string) ringView {
	t.Helper()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/kv/"), "/")
	var r ringView
	n.get(t, "/cluster/ring?bucket="+bucket+"&key="+key+more).wants(t, http.StatusOK).decode(t, &r)
	return r
}

// TestCluster reads the members as each node sees them.
func TestCluster(t *testing.T) {
	c := sharedCluster(t)
	var versions []string
	c.each(t, func(t *testing.T, n *node) {
		var v view
		n.get(t, "/cluster").wants(t, http.StatusOK).decode(t, &v)
		if v.Cluster != c.name || v.Self != n.name || v.Partitions != 256 || !v.Layout.Settled || v.Layout.Version == "" {
			t.Errorf("%+v", v)
		}
		versions = append(versions, v.Layout.Version)
		owned := 0
		for _, other := range c.nodes {
			m := v.member(other.name)
			if m.ID == "" || m.Status != "member" || m.Liveness != "alive" || m.Weight != 1 || m.Zone != "" {
				t.Errorf("%+v", m)
			}
			if m.RPC != other.rpc || m.Gossip != other.gossip {
				t.Errorf("%s is at rpc %s, gossip %s: %+v", other.name, other.rpc, other.gossip, m)
			}
			if m.Partitions == nil {
				t.Fatalf("no partitions: %+v", m)
			}
			owned += *m.Partitions
		}
		if owned != 3*256 {
			t.Errorf("with n=3 the members own %d replicas of partitions, want %d", owned, 3*256)
		}
	})
	if len(slices.Compact(versions)) != 1 {
		t.Errorf("the nodes have different layouts: %v", versions)
	}
}

// TestRing compares the preference lists of the nodes with each other, and of growing n with themselves.
func TestRing(t *testing.T) {
	c := sharedCluster(t)
	for range 20 {
		path := fresh("ring")
		first := c.nodes[0].ring(t, path, "")
		for _, n := range c.nodes {
			three := n.ring(t, path, "")
			if fmt.Sprint(three) != fmt.Sprint(first) {
				t.Fatalf("%s: %+v, node-1: %+v", n.name, three, first)
			}
			sorted := slices.Sorted(slices.Values(three.Owners))
			if three.N != 3 || !slices.Equal(sorted, []string{"node-1", "node-2", "node-3"}) || len(three.Fallbacks) != 0 || three.Partition < 0 || three.Partition > 255 {
				t.Fatalf("%+v", three)
			}
			two, five := n.ring(t, path, "&n=2"), n.ring(t, path, "&n=5")
			if !slices.Equal(two.Owners, three.Owners[:2]) || !slices.Equal(two.Fallbacks, three.Owners[2:]) {
				t.Fatalf("n=2: %+v, n=3: %+v", two, three)
			}
			if !slices.Equal(five.Owners, three.Owners) {
				t.Fatalf("n=5: %+v, n=3: %+v", five, three)
			}
		}
	}
	for _, query := range []string{"", "?bucket=b", "?key=k", "?bucket=-b&key=k", "?bucket=b&key=k&n=0", "?bucket=b&key=k&n=17"} {
		c.nodes[0].get(t, "/cluster/ring"+query).wantsProblem(t, http.StatusBadRequest, "")
	}
}

// TestHealthAndReadiness asks a settled node.
func TestHealthAndReadiness(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		n.get(t, "/healthz").wants(t, http.StatusOK)
		n.get(t, "/readyz").wants(t, http.StatusOK)
	})
}

// TestMetrics reads the Prometheus text: well-formed, ours among it, and counting.
func TestMetrics(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		n.put(t, path, "v").wants(t, http.StatusNoContent)
		n.get(t, path).wantsValue(t, "v")
		a := n.get(t, "/metrics").wants(t, http.StatusOK)
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("Content-Type %q", a.header.Get("Content-Type"))
		}
		ours := 0
		for text := range strings.Lines(string(a.body)) {
			text = strings.TrimSpace(text)
			if text == "" || strings.HasPrefix(text, "#") {
				continue
			}
			if at := strings.LastIndexByte(text, ' '); at < 1 {
				t.Errorf("line %q", text)
			}
			if strings.HasPrefix(text, "quorate_") {
				ours++
			}
		}
		if ours == 0 {
			t.Error("nothing of ours in the metrics")
		}
	})
}
