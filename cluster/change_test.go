package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// founded3 are three members that have founded a cluster and see each other.
func founded3(w *world) []*node {
	w.t.Helper()
	nodes := startAll(w, 3)
	w.eventually(10*time.Second, "founded", func() bool { return settledOn(3, nodes...) && see(nodes...) })
	return nodes
}

// topsOf counts the top layouts that a node sees from now on.
func topsOf(n *node) (count func() int) {
	var mu sync.Mutex
	tops := map[layouts.Hash]bool{}
	n.Watch(func() {
		top, _ := n.Rings().Top()
		mu.Lock()
		defer mu.Unlock()
		tops[top.Hash()] = true
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(tops)
	}
}

// standingIn is what an incarnation is to the top layout of a node.
func standingIn(n *node, id ring.ID) layouts.Standing {
	top, _ := n.Rings().Top()
	return top.Standing(id)
}

// Two that come together make one change: everyone records it, fetches, moves on and buries the old one, in a second or two.
func TestTwoJoinAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		var nodes []*node
		for i := 1; i <= 3; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 3), with: func(c *Config) { c.Timing.Batch = 3 * time.Second }}))
		}
		w.eventually(10*time.Second, "founded", func() bool { return settledOn(3, nodes...) && see(nodes...) })
		tops := topsOf(nodes[0])
		for i := 4; i <= 5; i++ {
			n := w.start(spec{name: nameOf(i), join: listOf(1, 3)})
			if ready, _ := n.Ready(); ready {
				t.Errorf("%s is ready before it knows anything", n.name)
			}
			nodes = append(nodes, n)
		}
		w.eventually(8*time.Second, "five own, and nothing is under way", func() bool { return settledOn(5, nodes...) })
		if got := tops(); got != 2 {
			t.Errorf("%d layouts, want the founding one and one with both newcomers", got)
		}
		for _, n := range nodes {
			if row := n.Self(); row.State != ring.Active {
				t.Errorf("%s is %v in the table", n.name, row.State)
			}
		}
	})
}

// A cluster grows by twenty at once in one change, or two, while those who came a moment later were not seen yet.
func TestManyJoinAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of CPU")
	}
	inWorld(t, func(w *world) {
		small := func(c *Config) { c.Partitions = 16 }
		nodes := []*node{w.start(spec{name: "n1", with: small})}
		tops := topsOf(nodes[0])
		for i := 2; i <= 21; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 1), with: small}))
		}
		w.eventually(30*time.Second, "all own", func() bool { return settledOn(21, nodes...) })
		if got := tops(); got > 3 {
			t.Errorf("%d layouts for it", got)
		}
	})
}

// Members that are told to leave at the same time leave together: there are never more layouts than requests count.
func TestManyLeaveAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		var nodes []*node
		for i := 1; i <= 7; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 7)}))
		}
		w.eventually(20*time.Second, "founded", func() bool { return settledOn(7, nodes...) && see(nodes...) })
		tops := topsOf(nodes[0])
		for _, n := range nodes[3:] {
			if err := n.Leave(); err != nil {
				t.Error(err)
			}
		}
		w.eventually(30*time.Second, "the others own", func() bool { return settledOn(3, nodes[:3]...) })
		if got := tops(); got > 3 {
			t.Errorf("%d layouts for it", got)
		}
	})
}

// What one member says all others hear at once, although gossip would take its time.
func TestFactsDoNotWaitForGossip(t *testing.T) {
	inWorld(t, func(w *world) {
		slow := func(c *Config) { c.Timing.PushPull = time.Hour }
		var nodes []*node
		for i := 1; i <= 5; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 5), with: slow}))
		}
		w.eventually(20*time.Second, "founded", func() bool { return settledOn(5, nodes...) && see(nodes...) })
		start := time.Now()
		if err := nodes[4].Leave(); err != nil {
			t.Fatal(err)
		}
		w.eventually(3*time.Second, "the layout without it is the only one", func() bool { return settledOn(4, nodes...) })
		t.Logf("a change among five took %v", time.Since(start))
	})
}

// A member hears of who joins although no packet of gossip reaches it: otherwise it would propose the one of two that it has heard of, and the other after that.
func TestJoinersDoNotWaitForGossip(t *testing.T) {
	inWorld(t, func(w *world) {
		slow := func(c *Config) { c.Timing.PushPull, c.Timing.Batch = time.Hour, time.Minute }
		var nodes []*node
		for i := 1; i <= 3; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 3), with: slow}))
		}
		w.eventually(20*time.Second, "founded", func() bool { return settledOn(3, nodes...) && see(nodes...) })
		deaf := ipOf(1)
		w.net.LosePackets(func(_, to string) bool { return host(to) == deaf })
		for i := 4; i <= 5; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(2, 2), with: slow}))
		}
		w.eventually(5*time.Second, "it knows of both", func() bool { return len(nodes[0].Table().Present()) == 5 })
	})
}

// A newcomer that finds a member dead is ready after Timing.Admit all the same, and owns; the change ends when that member is back.
func TestJoinWhileAMemberIsDead(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		nodes[1].kill()
		w.eventually(20*time.Second, "dead", func() bool { return nodes[0].Liveness(nodes[1].disk.id) == Dead })
		late := w.start(spec{name: "n4", join: listOf(1, 3)})
		w.eventually(10*time.Second, "it owns in the top layout", func() bool { return agreedOn(4, nodes[0], nodes[2], late) })
		w.never(20*time.Second, "the layout is whole without the dead one", func() bool { return late.Rings().Settled() })
		if waits := late.Rings().Waits(); len(waits) == 0 || !slices.Contains(waits[0].For, nodes[1].disk.id) {
			t.Errorf("it waits for %v", waits)
		}
		later := w.start(spec{name: "n5", join: listOf(1, 3)})
		w.eventually(20*time.Second, "the next one does not wait for that", func() bool { return agreedOn(5, nodes[0], nodes[2], late, later) })
		nodes[1] = w.start(spec{name: "n2", disk: nodes[1].disk})
		w.eventually(20*time.Second, "settled", func() bool { return settledOn(5, append(nodes, late, later)...) })
	})
}

func TestLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		n := nodes[2]
		if err := n.Left(); err == nil {
			t.Error("it has left with all that it holds")
		}
		for range 2 {
			if err := n.Leave(); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually(5*time.Second, "two own", func() bool { return settledOn(2, nodes...) && n.Rings().MayExit(n.disk.id) })
		if row, _ := nodes[0].Table().Get(n.disk.id); row.State != ring.Leaving {
			t.Errorf("it is %v", row)
		}
		if err := n.Left(); err != nil {
			t.Fatal(err)
		}
		for _, other := range nodes[:2] {
			if row, _ := other.Table().Get(n.disk.id); row.State != ring.Left {
				t.Errorf("%s was not told: %v", other.name, row)
			}
		}
		if err := n.Stop(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(n.gone) > 0 {
			t.Errorf("who leaves need not be told: %s", <-n.gone)
		}
		w.eventually(2*time.Second, "seen to have gone", func() bool { return nodes[0].Liveness(n.disk.id) == Dead })
		if _, err := w.tryStart(spec{name: "n3", disk: n.disk}); err == nil || !strings.Contains(err.Error(), "empty data directory") {
			t.Errorf("what has left starts again: %v", err)
		}
		again := w.start(spec{name: "n3", join: listOf(1, 2)})
		w.eventually(10*time.Second, "under its name another one owns", func() bool { return settledOn(3, nodes[0], nodes[1], again) })
	})
}

func TestWhoCannotLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		one := w.start(spec{name: "n1"})
		if err := one.Leave(); !errors.Is(err, ErrLastMember) {
			t.Errorf("the only one: %v", err)
		}
		one.kill()
		w.start(spec{name: "n1", disk: one.disk, with: func(c *Config) { c.Timing.Batch = time.Hour }})
		two := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.eventually(10*time.Second, "ready, joining", func() bool {
			ready, _ := two.Ready()
			return ready && two.Self().State == ring.Joining
		})
		if err := two.Leave(); !errors.Is(err, ErrJoining) {
			t.Errorf("one that is joining: %v", err)
		}
	})
}

// A crash in the middle of a leave is no way back, and none is needed.
func TestLeaveThroughACrash(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		n := nodes[2]
		if err := n.Leave(); err != nil {
			t.Fatal(err)
		}
		n.kill()
		n = w.start(spec{name: "n3", disk: n.disk})
		w.eventually(20*time.Second, "two own", func() bool { return settledOn(2, nodes[0], nodes[1], n) && n.Rings().MayExit(n.disk.id) })
	})
}

func TestRemove(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		ctx := w.t.Context()
		if err := nodes[0].Remove(ctx, "nobody", false); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("unknown: %v", err)
		}
		for _, name := range []string{"n1", "n3"} {
			if err := nodes[0].Remove(ctx, name, false); !errors.Is(err, ErrMemberAlive) {
				t.Errorf("%s, which answers: %v", name, err)
			}
		}
		dead := nodes[2]
		dead.kill()
		w.eventually(4*time.Second, "suspected", func() bool { return nodes[0].Liveness(dead.disk.id) != Alive })
		for range 2 {
			if err := nodes[0].Remove(ctx, "n3", false); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually(5*time.Second, "two own, on the word of two of three", func() bool { return settledOn(2, nodes[0], nodes[1]) })
		if row, _ := nodes[1].Table().Get(dead.disk.id); row.State != ring.Removed {
			t.Errorf("it is %v", row)
		}
		back := w.start(spec{name: "n3", disk: dead.disk})
		w.eventually(10*time.Second, "who was removed is told when it returns", func() bool {
			ready, _ := back.Ready()
			return !ready && len(back.gone) == 1
		})
		if why := <-back.gone; !strings.Contains(why, "was removed") {
			t.Errorf("told %q", why)
		}
		back.kill()
		if _, err := w.tryStart(spec{name: "n3", disk: dead.disk}); err == nil || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("what was removed starts again: %v", err)
		}
	})
}

// One of two is no majority; by force it goes, also one that answers.
func TestRemoveByForce(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 2)
		w.eventually(10*time.Second, "founded", func() bool { return settledOn(2, nodes...) && see(nodes...) })
		nodes[1].kill()
		w.eventually(20*time.Second, "dead", func() bool { return nodes[0].Liveness(nodes[1].disk.id) == Dead })
		if err := nodes[0].Remove(w.t.Context(), "n2", false); err != nil {
			t.Fatal(err)
		}
		w.never(20*time.Second, "one removes the other on its own word", func() bool { return nodes[0].Rings().Lost(nodes[1].disk.id) })
		if err := nodes[0].Remove(w.t.Context(), "n2", true); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "one owns", func() bool { return settledOn(1, nodes[0]) })
		if err := nodes[0].Remove(w.t.Context(), "n1", true); !errors.Is(err, ErrMemberAlive) {
			t.Errorf("a node removes itself: %v", err)
		}
		again := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.eventually(10*time.Second, "two own", func() bool { return settledOn(2, nodes[0], again) })
		if err := nodes[0].Remove(w.t.Context(), "n2", true); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "one that runs is told that it was forced out", func() bool { return len(again.gone) == 1 && settledOn(1, nodes[0]) })
	})
}

// A node that was only joining is removed from the table, and no layout changes.
func TestRemoveOneThatJoins(t *testing.T) {
	inWorld(t, func(w *world) {
		patient := func(c *Config) { c.Timing.Batch = time.Hour }
		one := w.start(spec{name: "n1", with: patient})
		two := w.start(spec{name: "n2", join: listOf(1, 1), with: patient})
		w.eventually(10*time.Second, "joining", func() bool { return one.Table().Len() == 2 })
		two.kill()
		w.eventually(20*time.Second, "dead", func() bool { return one.Liveness(two.disk.id) == Dead })
		if err := one.Remove(w.t.Context(), "n2", false); err != nil {
			t.Fatal(err)
		}
		if row, _ := one.Table().Get(two.disk.id); row.State != ring.Removed || len(one.Rings().Live()) != 1 {
			t.Errorf("%v\n%v", row, one.Rings())
		}
		if err := one.Remove(w.t.Context(), "n2", false); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("again: %v", err)
		}
	})
}

// A namesake of a dead joiner takes its name in the table, and no layout knows of it.
func TestReplaceOneThatJoined(t *testing.T) {
	inWorld(t, func(w *world) {
		one := w.start(spec{name: "n1", with: func(c *Config) { c.Timing.Batch = time.Minute }})
		two := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.eventually(10*time.Second, "joining", func() bool { return one.Table().Len() == 2 })
		two.kill()
		fresh := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.eventually(40*time.Second, "its name is taken", func() bool {
			row, _ := one.Table().Get(two.disk.id)
			m, _ := one.Table().ByName("n2")
			return row.State == ring.Replaced && row.ReplacedBy == fresh.disk.id && m.ID == fresh.disk.id
		})
		if standing := standingIn(one, two.disk.id); standing != 0 || len(one.Rings().Live()) != 1 {
			t.Errorf("the layouts know one that never owned: %v", standing)
		}
		w.eventually(2*time.Minute, "who took it owns", func() bool { return settledOn(2, one, fresh) })
	})
}

// A namesake of a dead owner asks a member for its place; the others need not be up.
func TestReplaceNeedsAMember(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		nodes[1].kill()
		nodes[2].kill()
		fresh := w.start(spec{name: "n2", join: listOf(1, 3)})
		w.eventually(30*time.Second, "it owns in the top layout", func() bool { return agreedOn(3, nodes[0], fresh) && owns(fresh.Rings(), fresh.disk.id) })
		if got := standingIn(nodes[0], nodes[1].disk.id); got != layouts.Replaced {
			t.Errorf("the old one %v", got)
		}
		nodes[2] = w.start(spec{name: "n3", disk: nodes[2].disk})
		w.eventually(20*time.Second, "settled", func() bool { return settledOn(3, nodes[0], fresh, nodes[2]) })
	})
}

// The member that is asked sees for itself: one that is cut off from the newcomer alone keeps its place.
func TestReplaceAsksForAnothersEyes(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		apart := func(a, b string) bool {
			return host(a) == ipOf(2) && host(b) == ipOf(22) || host(a) == ipOf(22) && host(b) == ipOf(2)
		}
		w.cut(apart)
		twin := w.start(spec{name: "n2", ip: ipOf(22), join: []string{gossipOf(1), gossipOf(3)}})
		w.never(time.Minute, "the twin owns", func() bool { return standingIn(nodes[0], nodes[1].disk.id) != layouts.Owns })
		old, row := nodes[1].disk.id, twinRow(t, twin)
		for _, n := range []*node{nodes[0], nodes[1]} {
			r, err := n.handleChange(twin.disk.id, changeRequest{Old: old, Row: row})
			if err != nil || r.Why == "" {
				t.Errorf("%s gives the place of one that answers: %v", n.name, err)
			}
		}
		if _, err := nodes[0].handleChange(nodes[2].disk.id, changeRequest{Old: old, Row: row}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("one asks for another: %v", err)
		}
	})
}

func twinRow(t *testing.T, n *node) ring.Table {
	t.Helper()
	row, err := ring.NewTable("test", n.Table().Partitions())
	if err == nil {
		row, err = row.With(n.cfg.member())
	}
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// Two foundings that could not know of each other, 2 | 3 nodes, become one settled layout when they meet.
func TestTwoFoundingsMeet(t *testing.T) {
	inWorld(t, func(w *world) {
		var nodes []*node
		for i := 1; i <= 5; i++ {
			join := listOf(1, 2)
			if i > 2 {
				join = listOf(3, 5)
			}
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: join}))
		}
		w.eventually(10*time.Second, "two clusters", func() bool { return settledOn(2, nodes[:2]...) && settledOn(3, nodes[2:]...) })
		if err := nodes[0].Learn(nodes[4].Knowledge()); err != nil {
			t.Fatal(err)
		}
		w.eventually(20*time.Second, "one layout of five", func() bool { return settledOn(5, nodes...) && see(nodes...) })
	})
}

// Zone and weight of an owner change with its next start, once, as a change of the layout.
func TestNewZoneAndWeight(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		nodes[1].kill()
		nodes[1] = w.start(spec{name: "n2", disk: nodes[1].disk, with: func(c *Config) { c.Zone, c.Weight = "z2", 7 }})
		w.eventually(20*time.Second, "placed anew", func() bool {
			row, _ := nodes[0].Rings().Row(nodes[1].disk.id)
			return settledOn(3, nodes...) && row.Zone == "z2" && row.Weight == 7 && row.Placed == 1
		})
		digest := nodes[0].Rings().Digest()
		w.never(20*time.Second, "it goes on", func() bool { return nodes[0].Rings().Digest() != digest })
	})
}

// What a node that founded before it knew of layouts has on its disk is a table: its owners are the first layout.
func TestTableWithoutLayouts(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		state := nodes[0].Rings().State()
		for i, n := range nodes {
			n.kill()
			delete(n.disk.meta, metaLayouts)
			n.disk.meta[metaVote] = []byte{1, 2, 3} // of an older version, and needed no more
			nodes[i] = w.start(spec{name: n.name, disk: n.disk})
			if !nodes[i].Rings().State().Equal(state) {
				t.Errorf("%s begins with\n%v", n.name, nodes[i].Rings())
			}
		}
	})
}

// Crashes at each save of a change, before and after the disk has it: whoever comes back goes on, and all ends in one layout.
func TestCrashAtEachSave(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for save := 1; save <= 12; save++ {
			inWorld(t, func(w *world) {
				nodes := founded3(w)
				victim := nodes[0]
				for _, n := range nodes {
					if n.disk.id.Compare(victim.disk.id) < 0 {
						victim = n // the lowest proposes
					}
				}
				i := slices.Index(nodes, victim)
				victim.disk.crashAt(save, torn)
				late := w.start(spec{name: "n4", join: listOf(1, 3)})
				for deadline := time.Now().Add(20 * time.Second); !victim.disk.crashed() && time.Now().Before(deadline); {
					time.Sleep(10 * time.Millisecond)
				}
				if !victim.disk.crashed() && save <= 4 {
					t.Errorf("no save %d", save)
				}
				victim.kill()
				victim.disk.crashAt(0, false)
				victim.disk.setFail(nil)
				nodes[i] = w.start(spec{name: victim.name, disk: victim.disk, join: listOf(1, 3)})
				w.eventually(40*time.Second, "four own", func() bool { return settledOn(4, append(nodes, late)...) })
			})
		}
	}
}

// A founding through crashes at each save of one voter.
func TestCrashWhileFounding(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for save := 1; save <= 6; save++ {
			inWorld(t, func(w *world) {
				victim := w.newDisk()
				victim.crashAt(save, torn)
				nodes := []*node{w.start(spec{name: "n1", join: listOf(1, 3), disk: victim})}
				for i := 2; i <= 3; i++ {
					nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 3)}))
				}
				time.Sleep(8 * time.Second)
				nodes[0].kill()
				victim.crashAt(0, false)
				victim.setFail(nil)
				nodes[0] = w.start(spec{name: "n1", join: listOf(1, 3), disk: victim})
				w.eventually(40*time.Second, "three own", func() bool { return settledOn(3, nodes...) && see(nodes...) })
			})
		}
	}
}

// A member that has just died is removed by one call, though gossip does not miss it yet.
func TestRemoveOneThatHasJustDied(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		dead := nodes[2]
		dead.kill()
		if nodes[0].Liveness(dead.disk.id) != Alive {
			t.Fatal("gossip misses it already")
		}
		if err := nodes[0].Remove(w.t.Context(), "n3", false); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "two own", func() bool { return settledOn(2, nodes[0], nodes[1]) })
	})
}

// Nothing waits in Remove beyond its context.
func TestRemoveEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		nodes[2].kill()
		w.eventually(4*time.Second, "suspected", func() bool { return nodes[0].Liveness(nodes[2].disk.id) != Alive })
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		if err := nodes[0].Remove(ctx, "n3", false); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if !nodes[0].Rings().Settled() {
			t.Error("it changed something")
		}
	})
}
