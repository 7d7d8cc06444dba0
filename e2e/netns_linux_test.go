package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// ip runs iproute2's ip with these arguments.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// probeNamespace returns why this process cannot make network namespaces.
func probeNamespace() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	name := fmt.Sprintf("qp%d", os.Getpid())
	if err := ip("netns", "add", name); err != nil {
		return err
	}
	return ip("netns", "delete", name)
}

// network is a switch that nodes in namespaces of their own are plugged into, beside a line from each to us
// that is never cut. The switch has a namespace of its own too: what else filters packets on this machine,
// such as a container engine, has no say there.
type network struct {
	space string // namespace of the switch
}

// plug makes the network for a cluster and moves its nodes there. The names are kept short: an interface's
// has 15 letters at most.
func plug(t *testing.T, c *cluster) *network {
	t.Helper()
	need(t, "netns", probeNamespace)
	id := os.Getpid() % 100_000
	net := &network{space: fmt.Sprintf("qs%d", id)}
	must := func(args ...string) {
		t.Helper()
		if err := ip(args...); err != nil {
			t.Fatal(err)
		}
	}
	space := func(name string) {
		t.Helper()
		must("netns", "add", name)
		t.Cleanup(func() {
			if err := ip("netns", "delete", name); err != nil {
				t.Error(err)
			}
		})
		must("-n", name, "link", "set", "lo", "up")
	}
	space(net.space)
	must("-n", net.space, "link", "add", "switch", "type", "bridge")
	must("-n", net.space, "link", "set", "switch", "up")
	var join []string
	for i, n := range c.nodes {
		name := fmt.Sprintf("qn%d-%d", id, i)
		space(name)
		// The line between nodes, through the switch.
		must("link", "add", net.port(i), "netns", net.space, "type", "veth", "peer", "name", "data", "netns", name)
		must("-n", net.space, "link", "set", net.port(i), "master", "switch", "up")
		must("-n", name, "address", "add", fmt.Sprintf("10.213.0.%d/24", i+1), "dev", "data")
		must("-n", name, "link", "set", "data", "up")
		// The line to us. It would go with the namespace, but some time after that was deleted, and its name is needed for the next network.
		direct := fmt.Sprintf("qd%d-%d", id, i)
		must("link", "add", direct, "type", "veth", "peer", "name", "direct", "netns", name)
		t.Cleanup(func() {
			if err := ip("link", "delete", direct); err != nil {
				t.Error(err)
			}
		})
		must("address", "add", fmt.Sprintf("10.214.%d.1/24", i), "dev", direct)
		must("link", "set", direct, "up")
		must("-n", name, "address", "add", fmt.Sprintf("10.214.%d.2/24", i), "dev", "direct")
		must("-n", name, "link", "set", "direct", "up")

		n.before = []string{"ip", "netns", "exec", name}
		n.http = fmt.Sprintf("10.214.%d.2:8080", i)
		n.gossip = fmt.Sprintf("10.213.0.%d:7946", i+1)
		n.rpc = fmt.Sprintf("10.213.0.%d:7947", i+1)
		join = append(join, n.gossip)
	}
	for _, n := range c.nodes {
		n.join = join
	}
	return net
}

// port is the switch's end of the line to node i.
func (n *network) port(i int) string { return fmt.Sprintf("port-%d", i) }

// line cuts node i off from the switch, or connects it again.
func (n *network) line(t *testing.T, i int, state string) {
	t.Helper()
	if err := ip("-n", n.space, "link", "set", n.port(i), state); err != nil {
		t.Fatal(err)
	}
}

// TestCableCut cuts one node's line at the switch, without any help of the product's own fault rules, for as
// long as TestSplitHeals does. Connections hang instead of being refused.
func TestCableCut(t *testing.T) {
	slow(t)
	c := layOut(t, t.TempDir(), 3)
	net := plug(t, c)
	c.endWith(t)
	c.launch(t)
	one, two, length := c.nodes[2], c.nodes[:2], splitTime(t)
	path := fresh("cable")
	one.put(t, path+"?w=3", "before").wants(t, http.StatusNoContent)

	net.line(t, 2, "down")
	began := time.Now()
	eventually(t, length+healLimit, "both sides notice the cut", func() error {
		for _, n := range two {
			n.put(t, path+"?w=2&timeout=20s", n.name).wants(t, http.StatusNoContent)
			n.get(t, path+"?r=2&timeout=20s").wantsValue(t, n.name)
		}
		quorumError(t, one.put(t, fresh("cable")+"?w=2&timeout=300ms", "v"), 2, true)
		quorumError(t, one.get(t, path+"?r=2&timeout=300ms"), 2, false)
		if time.Since(began) < length {
			return errors.New("the cut is to last longer")
		}
		return mutuallyDead(one, two)
	})
	net.line(t, 2, "up")
	c.waitSettled(t)
	for _, n := range c.nodes {
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
		n.get(t, path+"?r=2").wantsValue(t, two[1].name)
	}
}
