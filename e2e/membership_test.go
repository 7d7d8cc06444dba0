package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// notServing fails if a node that must not serve yet does: it lives, says that it is not ready, and answers
// no key request with a value or with "not found".
func notServing(t *testing.T, n *node) {
	t.Helper()
	if n.ready() {
		t.Fatalf("%s is ready", n.name)
	}
	if !n.running() {
		return // refused, by ending: equally good
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	health, err := n.send(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return // not listening, or ending just now
	}
	health.wants(t, http.StatusOK)
	n.get(t, "/readyz").wants(t, http.StatusServiceUnavailable)
	for _, query := range []string{"", "?r=1", "?n=1&r=1", "?local=true"} {
		if a := n.get(t, "/kv/b/k"+query); a.status < 500 {
			t.Fatalf("%s answers %d before it is ready", a.request, a.status)
		}
	}
	if a := n.put(t, "/kv/b/k", "v"); a.status < 500 {
		t.Fatalf("%s answers %d before it is ready", a.request, a.status)
	}
}

// TestReadiness starts the three nodes of a --join list one after the other. One alone is not ready; two,
// both empty, are more than half and found the cluster; the third finds it there.
func TestReadiness(t *testing.T) {
	t.Parallel()
	c := layOut(t, t.TempDir(), 3)
	c.endWith(t)
	first := c.nodes[0]
	first.start(t)
	eventually(t, startLimit, "the first node answers /healthz", func() error {
		_, err := first.send(t.Context(), http.MethodGet, "/healthz", nil)
		return err
	})
	never(t, 3*time.Second, "one of three ready alone", first.ready)
	notServing(t, first)

	c.nodes[1].start(t)
	first.waitReady(t)
	c.nodes[1].waitReady(t)
	c.nodes[2].start(t)
	c.nodes[2].waitReady(t)
	c.waitSettled(t)
	for _, n := range c.nodes {
		n.get(t, "/readyz").wants(t, http.StatusOK)
		serves(t, n)
	}
}

// TestClusterOfOne starts a node without --join: it is ready by itself, and numbers stay literal.
func TestClusterOfOne(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	if len(n.join) > 0 {
		t.Fatalf("--join %v", n.join)
	}
	path := fresh("one")
	n.get(t, path).wants(t, http.StatusNotFound).wantsQuorum(t, 3, "r", 1)
	n.put(t, path, "v").wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 1)
	n.put(t, path+"?w=all", "v").wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 1)
	n.put(t, path+"?w=3", "x").
		wantsWriteProblem(t, http.StatusServiceUnavailable, "quorum-unavailable", "not_written").wantsReplicas(t, 3)
	n.get(t, path+"?r=2").wantsProblem(t, http.StatusServiceUnavailable, "quorum-unavailable").wantsReplicas(t, 2)
	n.get(t, path).wantsValue(t, "v")
	n.kill(t)
	n.restart(t)
	n.get(t, path).wantsValue(t, "v")
}

// TestNamesakeWithEmptyDisk loses the disk of a node and starts it again under its name, while another owner is away. It takes its place
// and its share of writes at once, but as long as it has not heard from everybody it knows nothing: no read counts it, and none is answered from it.
// When the other is back it is refilled, and counts.
func TestNamesakeWithEmptyDisk(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	var paths []string
	for range 20 {
		path := fresh("namesake")
		c.nodes[0].put(t, path+"?w=3", path).wants(t, http.StatusNoContent)
		paths = append(paths, path)
	}
	namesake, witness, other := c.nodes[2], c.nodes[0], c.nodes[1]
	before, err := witness.view()
	if err != nil {
		t.Fatal(err)
	}
	namesake.kill(t)
	namesake.wipe(t)
	other.kill(t)
	knowsDead(t, witness, namesake)
	namesake.restart(t)

	// One synced owner is left, and the namesake: enough for w=2, not for r=2.
	for _, n := range []*node{witness, namesake} {
		eventually(t, healLimit, "w=2 through "+n.name, func() error { return tries(t, n, "w=2") })
		for _, path := range paths {
			n.get(t, path+"?r=1&timeout=20s").wantsValue(t, path)
		}
		quorumError(t, n.get(t, paths[0]+"?r=2&timeout=1s"), 2, false)
	}
	after, err := namesake.view()
	if err != nil {
		t.Fatal(err)
	}
	if after.member(namesake.name).ID == before.member(namesake.name).ID {
		t.Error("an empty disk has the identity of the lost one")
	}
	namesake.get(t, fresh("namesake")+"?local=true").wantsProblem(t, http.StatusServiceUnavailable, "quorum-unavailable").wantsReplicas(t, 1)
	eventually(t, healLimit, "the namesake says for whom it waits", func() error {
		v, err := namesake.view()
		if err != nil {
			return err
		}
		if v.Layout.Settled || !v.member(namesake.name).Gaining || !v.waitsFor(other.name) {
			return fmt.Errorf("%+v", v.Layout)
		}
		return nil
	})
	// None is left that counts: then no answer is the only honest one.
	witness.kill(t)
	for _, path := range append(paths, fresh("namesake")) {
		quorumError(t, namesake.get(t, path+"?r=1&timeout=500ms"), 1, false)
	}
	witness.restart(t)
	other.restart(t)
	c.waitSettled(t)
	c.waitNobodyGains(t)
	for _, n := range c.nodes {
		for _, path := range paths {
			n.get(t, path+"?r=3").wantsValue(t, path)
		}
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
	}
	namesake.get(t, fresh("namesake")+"?local=true").wants(t, http.StatusNotFound)
}

// TestWipedSeed loses the disk of the node that --join names alone, to itself as to the others, and starts it again at once. It founds no cluster of its own: until it is ready it
// answers nothing, and then it knows what was written.
func TestWipedSeed(t *testing.T) {
	slow(t) // alone: who misses it has 5 s to reach it
	c := layOut(t, t.TempDir(), 3)
	seed := c.nodes[0]
	for _, n := range c.nodes {
		n.join = []string{seed.gossip}
	}
	c.endWith(t)
	c.launch(t)
	path := fresh("seed")
	seed.put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
	seed.kill(t)
	seed.wipe(t)
	seed.start(t)
	eventually(t, healLimit, "the wiped seed reads what was written", func() error {
		a, err := seed.send(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if a.status == http.StatusNotFound {
			t.Fatal("it answers 404 for what was written with w=3")
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	c.waitSettled(t)
	c.waitNobodyGains(t)
	for _, n := range c.nodes {
		n.get(t, path+"?r=all").wantsValue(t, "v")
	}
}

// TestNamesakeOfTheLiving starts a second, empty node under the name of one that answers: it gets nowhere,
// and the first keeps its place.
func TestNamesakeOfTheLiving(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	before, err := c.nodes[0].view()
	if err != nil {
		t.Fatal(err)
	}
	serves(t, c.nodes[1])
	rogue := strangerOf(t, c, "node-2", c.name)
	never(t, 5*time.Second, "a second node-2 ready", rogue.ready)
	notServing(t, rogue)
	for _, n := range c.nodes {
		v, err := n.view()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := v.member("node-2"), before.member("node-2"); got.ID != want.ID || got.Liveness != "alive" || len(v.Members) != 3 {
			t.Errorf("%s: %+v, before %+v", n.name, v.Members, want)
		}
		serves(t, n)
	}
}

// strangerOf starts one more process that joins the nodes of a cluster, under a name and a cluster name of
// the test's choice. It may end by itself, and does not count as a node of the cluster.
func strangerOf(t *testing.T, c *cluster, name, clusterName string) *node {
	t.Helper()
	apart := &cluster{name: c.name, base: t.TempDir(), flags: c.flags}
	n := apart.add(t)
	n.name, n.cluster = name, clusterName
	for _, member := range c.nodes {
		n.join = append(n.join, member.gossip)
	}
	apart.watch(t)
	n.start(t)
	n.proc.wanted = true
	t.Cleanup(func() {
		for _, complaint := range apart.shutdown() {
			t.Error(complaint)
		}
	})
	return n
}

// TestForeignCluster joins with another cluster name: refused, whichever side calls.
func TestForeignCluster(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	foreign := strangerOf(t, c, "foreigner", c.name+"-other")
	never(t, 4*time.Second, "a node of another cluster ready", foreign.ready)
	notServing(t, foreign)
	for _, n := range c.nodes {
		v, err := n.view()
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Members) != 3 || v.member("foreigner").Name != "" {
			t.Errorf("%s: %+v", n.name, v.Members)
		}
		serves(t, n)
	}
}

// TestNewNodeServesBeforeItOwns starts a fourth node under a new name beside three that hold data, while one of them is cut off: it cannot become an owner,
// serves requests like any, and counts for nothing. When everybody is back, it owns its share.
func TestNewNodeServesBeforeItOwns(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3, "--allow-faults")
	owners := slices.Clone(c.nodes)
	var paths []string
	for range 20 {
		path := fresh("joining")
		owners[0].put(t, path+"?w=3", path).wants(t, http.StatusNoContent)
		paths = append(paths, path)
	}
	away := owners[2]
	away.kill(t)
	for _, n := range owners[:2] {
		knowsDead(t, n, away)
	}
	newcomer := c.add(t)
	newcomer.restart(t)
	check := func() {
		t.Helper()
		for _, path := range paths {
			newcomer.get(t, path+"?timeout=20s").wantsValue(t, path).wantsQuorum(t, 3, "r", 2)
		}
		path := fresh("joining")
		newcomer.put(t, path+"?w=2&timeout=20s", "through the newcomer").wants(t, http.StatusNoContent)
		owners[0].get(t, path+"?r=2").wantsValue(t, "through the newcomer")
		newcomer.delete(t, path+"?w=2").wants(t, http.StatusNoContent)
		newcomer.get(t, path+"?r=2").wants(t, http.StatusNotFound)
		if v, err := newcomer.view(); err != nil || v.member(newcomer.name).Status == "member" && v.Layout.Settled {
			t.Errorf("the ring has changed while a member was away: %+v, %v", v, err)
		}
	}
	check()
	newcomer.kill(t)
	newcomer.restart(t)
	check()
	away.restart(t)
	c.waitRing(t)
	for _, n := range c.nodes {
		for _, path := range paths {
			n.get(t, path+"?r=3").wantsValue(t, path)
		}
	}
}

// TestAddressesChange restarts nodes on other ports: first one, whom the others must follow, then all.
func TestAddressesChange(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	path := fresh("addresses")
	c.nodes[0].put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
	moved := c.nodes[1]
	moved.stop(t)
	moved.newAddresses(t)
	moved.restart(t)
	c.waitSettled(t)
	for _, n := range c.nodes {
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
		n.get(t, path+"?r=3").wantsValue(t, "v")
	}

	c.killAll(t)
	var join []string
	for _, n := range c.nodes {
		n.newAddresses(t)
		join = append(join, n.gossip)
	}
	for _, n := range c.nodes {
		n.join = join
		n.start(t)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	c.waitSettled(t)
	for _, n := range c.nodes {
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
		n.get(t, path+"?r=3").wantsValue(t, "v")
	}
}

// TestRestartWithoutJoin restarts nodes without any --join: they know each other from their disks.
func TestRestartWithoutJoin(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	path := fresh("nojoin")
	c.nodes[0].put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
	c.killAll(t)
	for _, n := range c.nodes {
		n.join = nil
		n.restart(t)
	}
	c.waitSettled(t)
	for _, n := range c.nodes {
		eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
		n.get(t, path+"?r=3").wantsValue(t, "v")
	}
}
