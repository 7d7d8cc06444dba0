package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// Changes of the ring while some nodes do not hear each other.

// cutTime is how long a cut lasts during a change, beyond what the change takes: as long as gossip needs to call a node dead.
const cutTime = 4 * time.Second

// holds keeps things as they are for a while, so that traffic meets them.
func holds(t testing.TB, while time.Duration, nodes ...*node) {
	t.Helper()
	never(t, while, "a node ends", func() bool {
		return slices.ContainsFunc(nodes, func(n *node) bool { return !n.running() })
	})
}

// split cuts some nodes off from the others, both ways, by rules on the former.
func split(t testing.TB, some, others []*node) {
	t.Helper()
	var rules []rule
	for _, n := range others {
		rules = append(rules, cut(n.name))
	}
	for _, n := range some {
		n.breaks(t, rules...)
	}
}

// heals takes all rules back.
func (c *cluster) heals(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if n.running() {
			n.breaks(t)
		}
	}
}

// running are the nodes whose processes run.
func (c *cluster) running() []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return !n.running() })
}

// TestRingChangesUnderPartitions is TestRingChanges with a cut during each change: the joiner from an owner, a member from everybody, and the cluster in two.
func TestRingChangesUnderPartitions(t *testing.T) {
	slow(t)
	for _, row := range []struct {
		name    string
		size    int
		changes func(t *testing.T, c *cluster, f *traffic)
	}{
		{"join, leave", 3, joinAndLeaveUnderPartitions},
		{"remove, join, replace", 4, removeJoinAndReplaceUnderPartitions},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, row.size, "--allow-faults")
			held, _ := write(t, bulk(), "3", c.nodes...)
			f := newTraffic(t, 2, 2, c.nodes...)
			row.changes(t, c, f)
			f.calmPhase("afterwards")
			holds(t, time.Second, c.nodes...)
			f.audit(t, c.nodes...)
			f.account(t)
			c.holdsAll(t, held)
			c.heldByOwnersAlone(t, held[:200])
		})
	}
}

// joinAndLeaveUnderPartitions begins with three nodes, and ends with four.
func joinAndLeaveUnderPartitions(t *testing.T, c *cluster, f *traffic) {
	f.phase("two join, cut off from one owner")
	first, second := c.add(t), c.add(t)
	first.restart(t)
	second.restart(t)
	first.breaks(t, cut(c.nodes[0].name))
	second.breaks(t, cut(c.nodes[1].name))
	f.through(c.nodes...)
	holds(t, cutTime, c.nodes...)
	c.heals(t)
	c.waitRing(t)

	f.phase("one leaves, a member is cut off from all")
	leaver, away := c.nodes[1], c.nodes[4]
	away.breaks(t, cut("*"))
	f.expectEnd(leaver)
	leaver.leave(t)
	holds(t, cutTime, c.nodes...) // it waits for the one that is away
	away.breaks(t)
	c.leaves(t, leaver)
	f.through(c.nodes...)
	c.waitRing(t)
}

// removeJoinAndReplaceUnderPartitions begins with four nodes, and ends with five.
func removeJoinAndReplaceUnderPartitions(t *testing.T, c *cluster, f *traffic) {
	f.phase("one is killed and removed, the rest is split")
	dead := c.nodes[1]
	f.expectEnd(dead)
	dead.kill(t)
	f.through(c.running()...)
	c.removes(t, c.nodes[0], dead)
	split(t, c.nodes[:1], c.nodes[1:])
	holds(t, cutTime, c.nodes...)
	c.heals(t)
	c.waitRing(t)

	f.phase("two join, the five are split 2|3")
	first, second := c.add(t), c.add(t)
	first.restart(t)
	second.restart(t)
	f.through(c.nodes...)
	split(t, []*node{c.nodes[0], first}, []*node{c.nodes[1], c.nodes[2], second})
	holds(t, cutTime, c.nodes...)
	c.heals(t)
	c.waitRing(t)

	f.phase("one loses its disk, cut off from an owner")
	wiped := c.nodes[1]
	f.expectEnd(wiped)
	wiped.kill(t)
	wiped.wipe(t)
	wiped.restart(t)
	wiped.breaks(t, cut(c.nodes[0].name))
	f.through(c.nodes...)
	holds(t, cutTime, c.nodes...)
	c.heals(t)
	c.waitRing(t)
}

// TestCutOffCoordinator cuts one member off from everybody, for the whole time in which another node joins. Its clients still reach it, as they do the others. The change waits
// for it: until it is back nothing that it could show or hide is given up. Whichever the numbers are, no read through it is stale and no write is lost.
func TestCutOffCoordinator(t *testing.T) {
	slow(t)
	t.Parallel()
	for _, row := range []struct {
		name string
		w, r int
	}{{"w=2 r=2", 2, 2}, {"w=3 r=1", 3, 1}, {"w=1 r=3", 1, 3}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3, "--allow-faults")
			held, _ := write(t, bulk(), "3", c.nodes...)
			f := newTraffic(t, row.w, row.r, c.nodes...)
			f.calmPhase("before the cut")
			holds(t, time.Second, c.nodes...)

			f.phase("cut off while another joins")
			away := c.nodes[2]
			away.breaks(t, cut("*"))
			newcomer := c.add(t)
			newcomer.restart(t)
			f.through(c.nodes...)
			holds(t, 2*cutTime, c.nodes...)
			for _, n := range []*node{c.nodes[0], newcomer} {
				if v, err := n.view(); err != nil || v.Layout.Settled && v.member(newcomer.name).Status == "member" {
					t.Errorf("%s: the change has ended without %s: %v\n%s", n.name, away.name, err, c.views())
				}
			}

			f.phase("back")
			away.breaks(t)
			c.waitRing(t)
			f.calmPhase("settled")
			holds(t, time.Second, c.nodes...)
			f.audit(t, c.nodes...)
			f.account(t)
			c.holdsAll(t, held)
			c.heldByOwnersAlone(t, held[:200])
		})
	}
}

// TestRemovedWhileCutOff cuts a member off from everybody, and has it removed by force while it runs on. The ring changes without it, and another joins. It has a layout that is buried,
// and meets nobody in it: it neither serves a strict request nor, when the cut is healed, brings anything to light or hides it. Then it finds itself removed, and ends.
func TestRemovedWhileCutOff(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 4, "--allow-faults")
	held, _ := write(t, bulk(), "3", c.nodes...)
	f := newTraffic(t, 2, 2, c.nodes...)
	f.calmPhase("before the cut")
	holds(t, time.Second, c.nodes...)

	f.phase("cut off")
	away := c.nodes[3]
	away.breaks(t, cut("*"))
	holds(t, cutTime, c.nodes...)

	f.phase("removed by force, another joins")
	c.nodes[0].remove(t, away.name, "?force=true").wants(t, http.StatusAccepted)
	c.without(away)
	newcomer := c.add(t)
	newcomer.restart(t)
	f.through(append(slices.Clone(c.nodes), away)...)
	c.waitRing(t)
	for range 20 {
		path := fresh("removed")
		c.nodes[0].put(t, path, "v").wants(t, http.StatusNoContent)
		quorumError(t, away.get(t, path+"?r=2&timeout=1s"), 2, false)
		quorumError(t, away.put(t, path+"?w=2&timeout=1s", "x"), 2, true)
	}

	f.phase("back")
	f.expectEnd(away)
	away.proc.wanted = true
	away.breaks(t)
	c.endsRemoved(t, away)
	f.through(c.nodes...)
	away.refusesToServe(t, "removed")
	c.waitRing(t)
	f.calmPhase("settled")
	holds(t, time.Second, c.nodes...)
	f.audit(t, c.nodes...)
	f.account(t)
	c.holdsAll(t, held)
	c.heldByOwnersAlone(t, held[:200])
}

// TestBornSplit starts five nodes of one --join list of which two never met the three: more than half found the cluster, and the two are not ready, rather than to found another. When
// they meet they become one.
func TestBornSplit(t *testing.T) {
	slow(t)
	t.Parallel()
	c := layOut(t, t.TempDir(), 5, "--allow-faults")
	c.endWith(t)
	two, three := c.nodes[:2], c.nodes[2:]
	for _, n := range two {
		n.start(t)
		eventually(t, startLimit, n.name+" takes faults", func() error {
			_, err := n.send(t.Context(), http.MethodGet, "/healthz", nil)
			return err
		})
	}
	split(t, two, three)
	for _, n := range three {
		n.start(t)
	}
	for _, n := range three {
		n.waitReady(t)
	}
	f := newTraffic(t, 2, 2, three...)
	f.calmPhase("the two are cut off")
	held, _ := write(t, bulk(), "3", three...)
	holds(t, cutTime, c.nodes...)
	for _, n := range two {
		notServing(t, n)
	}
	f.phase("they meet")
	for _, n := range two {
		n.breaks(t)
	}
	for _, n := range two {
		n.waitReady(t)
	}
	f.through(c.nodes...)
	c.waitRing(t)
	f.calmPhase("settled")
	holds(t, time.Second, c.nodes...)
	f.audit(t, c.nodes...)
	f.account(t)
	c.holdsAll(t, held)
	c.heldByOwnersAlone(t, held[:200])
}

// TestClustersMeet founds two clusters of one name, of two nodes and of three that have lists of their own. Each serves, and acknowledges writes of its own and to keys of both. Then one
// node is told of the other side: they become one cluster of five, without a lost write.
func TestClustersMeet(t *testing.T) {
	slow(t)
	t.Parallel()
	c := layOut(t, t.TempDir(), 5, "--allow-faults")
	c.endWith(t)
	sides := [][]*node{c.nodes[:2], c.nodes[2:]}
	for _, side := range sides {
		var join []string
		for _, n := range side {
			join = append(join, n.gossip)
		}
		for _, n := range side {
			n.join = join
			n.start(t)
		}
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	var flows []*traffic
	var held []batch
	both := make([]string, 100)
	for i := range both {
		both[i] = fresh("both")
	}
	for _, side := range sides { // the later side's values are those that stay
		flows = append(flows, newTraffic(t, 2, 2, side...))
		mine, _ := write(t, bulk()/2, "2", side...)
		held = append(held, mine)
		for _, path := range both {
			side[0].put(t, path, side[0].name).wants(t, http.StatusNoContent)
		}
	}
	for _, f := range flows {
		f.calmPhase("apart")
	}
	holds(t, 2*time.Second, c.nodes...)

	for _, f := range flows {
		f.phase("they meet")
	}
	bridge := c.nodes[0]
	flows[0].expectEnd(bridge)
	if code := bridge.stop(t); code != 0 {
		t.Errorf("SIGTERM: exit status %d", code)
	}
	bridge.join = append(bridge.join, c.nodes[4].gossip)
	bridge.restart(t)
	flows[0].through(sides[0]...)
	c.waitRing(t)

	for _, f := range flows { // before, nodes of a side may not have heard of the other
		f.calmPhase("one")
		f.through(c.nodes...)
	}
	holds(t, 2*time.Second, c.nodes...)
	for i, f := range flows {
		f.audit(t, c.nodes...)
		f.account(t)
		c.holdsAll(t, held[i])
		c.heldByOwnersAlone(t, held[i][:100])
	}
	for _, path := range both {
		for _, n := range c.nodes {
			n.get(t, path+"?r=3").wantsValue(t, sides[1][0].name)
		}
	}
}
