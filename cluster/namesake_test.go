package cluster

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Of two members of one name that meet one hands over, leaves, and loses nothing by it.
func TestNamesakesThatMeet(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.start(spec{name: "n1"})
		b := w.start(spec{name: "n1", ip: ipOf(11)})
		if err := a.Learn(b.Knowledge()); err != nil {
			t.Fatal(err)
		}
		stays, goes := a, b
		if b.disk.id.Compare(a.disk.id) < 0 {
			stays, goes = b, a
		}
		w.eventually(20*time.Second, "one of them leaves", func() bool {
			return settledOn(1, a, b) && standingIn(a, goes.disk.id) == layouts.Leaves && goes.Rings().MayExit(goes.disk.id)
		})
		if owns(a.Rings(), goes.disk.id) || !owns(a.Rings(), stays.disk.id) {
			t.Errorf("the wrong one leaves:\n%v", a.Rings())
		}
	})
}

// A node that was frozen while both others lost their disks and founded anew brings the dead incarnations back, alive by its gossip alone, at the addresses of the new ones. Nobody leaves for
// them: they are replaced when gossip has given them up.
func TestNobodyLeavesForItsDeadFormerSelf(t *testing.T) {
	inWorld(t, func(w *world) {
		frozen := func(c *Config) { c.Timing.Probe = time.Hour } // it misses nobody by itself
		nodes := []*node{w.start(spec{name: "n1", join: listOf(1, 3)}), w.start(spec{name: "n2", join: listOf(1, 3)}),
			w.start(spec{name: "n3", join: listOf(1, 3), with: frozen})}
		w.eventually(10*time.Second, "founded", func() bool { return settledOn(3, nodes...) && see(nodes...) })
		w.cut(apart(ipOf(3)))
		old := slices.Clone(nodes)
		for i, n := range nodes[:2] {
			n.kill()
			d := w.newDisk()
			d.id[0] = 0xff // of two that own, placement uses the lower
			nodes[i] = w.start(spec{name: n.name, disk: d, join: listOf(1, 3)})
		}
		w.eventually(10*time.Second, "two found anew", func() bool { return settledOn(2, nodes[:2]...) })
		w.cut(nil)
		w.eventually(10*time.Second, "they meet", func() bool { return claim(nodes[0].Rings(), old[0].disk.id) == 2 })
		if nodes[0].Liveness(old[0].disk.id) == Dead {
			t.Fatal("gossip has given the dead up by then: nothing is tested")
		}
		w.never(time.Minute, "a live node wants to leave", func() bool {
			return nodes[0].Self().State != ring.Active || nodes[1].Self().State != ring.Active
		})
		if !settledOn(3, nodes...) || standingIn(nodes[2], old[0].disk.id) != layouts.Replaced || standingIn(nodes[2], old[1].disk.id) != layouts.Replaced {
			w.dump()
			t.Error("the dead have their places still")
		}
	})
}

// Two live nodes of one name that cannot call each other both stay, and the one that would have to go says so once; the first call that is answered decides.
func TestNamesakesThatCannotBeCalled(t *testing.T) {
	inWorld(t, func(w *world) {
		var log lockedBuffer
		logged := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
		a := w.start(spec{name: "n1", with: logged})
		b := w.start(spec{name: "n1", ip: ipOf(11), with: logged})
		w.loseCalls(KindTable)
		a.joinOnce(b.GossipAddr())
		w.eventually(10*time.Second, "both own", func() bool {
			return a.Rings().Settled() && a.Rings().State().Equal(b.Rings().State()) && a.Rings().Member(b.disk.id) && see(a, b)
		})
		w.never(time.Minute, "one leaves on the word of gossip", func() bool { return a.Self().State != ring.Active || b.Self().State != ring.Active })
		if got := strings.Count(log.String(), "it does not answer: this one stays"); got != 1 {
			t.Errorf("the doubt is logged %d times", got)
		}
		w.loseCalls()
		w.eventually(20*time.Second, "one of them leaves", func() bool { return settledOn(1, a, b) })
	})
}

// Two live nodes of one name that advertise one address cannot be told apart by a call: both stay, and the one that would have to go warns once.
func TestNamesakesAtOneAddress(t *testing.T) {
	inWorld(t, func(w *world) {
		var log lockedBuffer
		with := func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.Advertise.RPC = ipOf(1) + ":7947"
		}
		a := w.start(spec{name: "n1", with: with})
		b := w.start(spec{name: "n1", ip: ipOf(11), with: with})
		defer a.kill() // the second one took its place in the world's list of addresses
		if err := b.Learn(a.Knowledge()); err != nil {
			t.Fatal(err)
		}
		a.joinOnce(b.GossipAddr())
		w.eventually(20*time.Second, "a warning", func() bool { return strings.Contains(log.String(), "advertises the address of this one") })
		w.never(time.Minute, "one leaves", func() bool { return a.Self().State != ring.Active || b.Self().State != ring.Active })
		if got := strings.Count(log.String(), "advertises the address of this one"); got != 1 {
			t.Errorf("warned %d times", got)
		}
	})
}
