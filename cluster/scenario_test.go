package cluster

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

func listOf(from, to int) []string {
	var join []string
	for i := from; i <= to; i++ {
		join = append(join, gossipOf(i))
	}
	return join
}

func startAll(w *world, n int) []*node {
	var nodes []*node
	for i := 1; i <= n; i++ {
		nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, n)}))
	}
	return nodes
}

func TestNodesWithOneListFoundOneCluster(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		inWorld(t, func(w *world) {
			nodes := startAll(w, n)
			w.eventually(10*time.Second, "all are members and agree", func() bool { return agreedOn(n, nodes...) && see(nodes...) })
		})
	}
}

func TestThirtyNodesAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of CPU")
	}
	inWorld(t, func(w *world) {
		nodes := startAll(w, 30)
		w.eventually(30*time.Second, "thirty members agree", func() bool { return agreedOn(30, nodes...) && see(nodes...) })
	})
}

// Each node names only the others: the electorates are still the same three.
func TestListsWithoutOneself(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.start(spec{name: "n1", join: listOf(2, 3)})
		b := w.start(spec{name: "n2", join: []string{gossipOf(1), gossipOf(3)}})
		w.eventually(20*time.Second, "two of three found", func() bool { return agreedOn(2, a, b) })
		c := w.start(spec{name: "n3", join: listOf(1, 2)})
		w.eventually(20*time.Second, "the third owns", func() bool { return settledOn(3, a, b, c) })
	})
}

func TestMinorityWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.start(spec{name: "n1", join: listOf(1, 4)})
		b := w.start(spec{name: "n2", join: listOf(1, 4)})
		w.never(time.Minute, "two of four are ready", func() bool {
			ra, _ := a.Ready()
			rb, _ := b.Ready()
			return ra || rb
		})
		if _, reason := a.Ready(); !strings.Contains(reason, "2 of the 4 members") {
			t.Errorf("reason %q does not say what is missing", reason)
		}
		c := w.start(spec{name: "n3", join: listOf(1, 4)})
		w.eventually(20*time.Second, "three of four found", func() bool { return agreedOn(3, a, b, c) })
	})
}

// Nodes that list {n1,n2} without being in it must not found apart from one another.
func TestOutsidersCannotFound(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cut(func(from, to string) bool { // n1+n3 | n2+n4
			side := func(a string) bool { return host(a) == ipOf(1) || host(a) == ipOf(3) }
			return side(from) != side(to)
		})
		var nodes []*node
		for i := 1; i <= 4; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 2)}))
		}
		w.never(time.Minute, "half of the list founds", func() bool {
			return slices.ContainsFunc(nodes, func(n *node) bool { return n.Table().Len() > 0 })
		})
		w.cut(nil)
		w.eventually(30*time.Second, "one cluster of four", func() bool { return agreedOn(4, nodes...) })
	})
}

func TestSeedStyle(t *testing.T) {
	inWorld(t, func(w *world) {
		one := w.start(spec{name: "n1"})
		if ready, reason := one.Ready(); !ready {
			t.Fatalf("a cluster of one is not ready at once: %s", reason)
		}
		two := w.start(spec{name: "n2", join: listOf(1, 1)})
		three := w.start(spec{name: "n3", join: listOf(1, 1)})
		w.eventually(15*time.Second, "all are members", func() bool { return settledOn(3, one, two, three) })
	})
}

// A seed that --join names alone, to itself as to the others, and that lost its disk, goes back to the cluster that knows it, however long it was away: it founds no other, in which it
// would not know what was written, and helps no empty newcomer that names it to one.
func TestWipedSeedFoundsNoOther(t *testing.T) {
	for _, newcomer := range []string{"", "n0", "n4"} { // the order of names is that of proposals
		for _, away := range []time.Duration{0, 300 * time.Millisecond, 2 * time.Second, 4 * time.Second, 6 * time.Second, 7 * time.Second, 9 * time.Second, time.Minute} {
			inWorld(t, func(w *world) {
				byChance := func(c *Config) { c.Timing.PushPull = time.Hour } // an exchange with a peer at random may come in time: nothing rests on it
				var nodes []*node
				for i := 1; i <= 3; i++ {
					nodes = append(nodes, w.start(spec{name: nameOf(i), join: listOf(1, 1), with: byChance}))
				}
				w.eventually(20*time.Second, "three own", func() bool { return settledOn(3, nodes...) && see(nodes...) })
				founder := nodes[0].Table().Founder()
				nodes[0].kill()
				if newcomer != "" {
					nodes = append(nodes, w.start(spec{name: newcomer, join: listOf(1, 1), with: byChance}))
				}
				time.Sleep(away)
				nodes[0] = w.start(spec{name: "n1", join: listOf(1, 1), with: byChance})
				w.eventually(40*time.Second, "all own again", func() bool {
					for _, n := range nodes {
						if table := n.Table(); table.Len() > 0 && table.Founder() != founder {
							w.t.Fatalf("away for %v, with newcomer %q: %s is of a second cluster", away, newcomer, n.name)
						}
					}
					return settledOn(len(nodes), nodes...)
				})
			})
		}
	}
}

// The first start of a cluster whose members all name one seed, which names nobody but itself: the seed waits for Timing.Recall, and then they found one cluster.
func TestSeedThatOthersName(t *testing.T) {
	for _, others := range [][]string{{"n2"}, {"n0"}, {"n0", "n2", "n3"}} {
		inWorld(t, func(w *world) {
			nodes := []*node{w.start(spec{name: "n1", join: listOf(1, 1)})}
			for _, name := range others {
				nodes = append(nodes, w.start(spec{name: name, join: listOf(1, 1)}))
			}
			timing := nodes[0].cfg.Timing
			w.never(timing.Recall-100*time.Millisecond, "one founds before the seed has waited", func() bool {
				return slices.ContainsFunc(nodes, func(n *node) bool { return n.Table().Len() > 0 })
			})
			w.eventually(timing.Turn, "all are of one cluster", func() bool {
				return !slices.ContainsFunc(nodes, func(n *node) bool {
					return n.Table().Len() == 0 || n.Table().Founder() != nodes[0].Table().Founder()
				})
			})
			w.eventually(15*time.Second, "all own", func() bool { return settledOn(len(nodes), nodes...) })
		})
	}
}

// resolveTo makes a host name one address, or none.
func (w *world) resolveTo(name string, ip string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hosts, name)
	if ip != "" {
		w.hosts[name] = []netip.Addr{netip.MustParseAddr(ip)}
	}
}

// A node learns that its --join names nobody but itself when the name resolves: from then on it waits, however long the name did not.
func TestSeedWhoseNameComesLate(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1", join: []string{"seed:7946"}})
		w.never(2*n.cfg.Timing.Recall, "it founds with a name that does not resolve", func() bool { return n.Table().Len() > 0 })
		w.resolveTo("seed", ipOf(1))
		w.never(n.cfg.Timing.Recall-100*time.Millisecond, "it founds before it has waited", func() bool { return n.Table().Len() > 0 })
		w.eventually(2*time.Second, "a cluster of one", func() bool { return settledOn(1, n) })
	})
}

// A wiped seed whose own name does not resolve asks those that ping it.
func TestWipedSeedWithoutItsName(t *testing.T) {
	inWorld(t, func(w *world) {
		waits := func(c *Config) { c.Timing.PushPull, c.Timing.Rejoin = time.Hour, time.Hour } // nobody comes to it by himself
		w.resolveTo("seed", ipOf(1))
		var nodes []*node
		for i := 1; i <= 3; i++ {
			nodes = append(nodes, w.start(spec{name: nameOf(i), join: []string{"seed:7946"}, with: waits}))
		}
		w.eventually(20*time.Second, "three own", func() bool { return settledOn(3, nodes...) && see(nodes...) })
		nodes[0].kill()
		w.resolveTo("seed", "")
		time.Sleep(time.Second) // what was being sent to it is lost
		nodes[0] = w.start(spec{name: "n1", join: []string{"seed:7946"}, with: waits})
		w.eventually(3*time.Second, "it is told of the cluster", func() bool { return nodes[0].Table().Founder() == nodes[1].Table().Founder() })
		w.eventually(40*time.Second, "three own again", func() bool { return settledOn(3, nodes...) })
	})
}

// A seed that nobody knows founds by itself, after the time in which those who do would have come.
func TestSeedThatNobodyKnows(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1", join: listOf(1, 1)})
		w.never(n.cfg.Timing.Recall-100*time.Millisecond, "it founds at once", func() bool { return n.Table().Len() > 0 })
		if _, reason := n.Ready(); !strings.Contains(reason, "members that know this node") {
			t.Errorf("reason %q", reason)
		}
		w.eventually(2*time.Second, "a cluster of one", func() bool { return settledOn(1, n) })
	})
}

func TestSplitHealsByItself(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		w.cut(apart(ipOf(1)))
		w.eventually(30*time.Second, "dead on both sides", func() bool {
			return nodes[0].Liveness(nodes[1].disk.id) == Dead && nodes[2].Liveness(nodes[0].disk.id) == Dead
		})
		time.Sleep(60 * time.Second)
		if !agreedOn(3, nodes...) {
			t.Error("a split changed the table or readiness")
		}
		w.cut(nil)
		w.eventually(10*time.Second, "healed", func() bool { return see(nodes...) })
	})
}

// A kill is suspected in seconds, and the return under another address is known everywhere.
func TestKillAndReturnElsewhere(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		gone := nodes[2]
		gone.kill()
		w.eventually(4*time.Second, "suspected", func() bool { return nodes[0].Liveness(gone.disk.id) != Alive })
		w.eventually(20*time.Second, "dead", func() bool { return nodes[0].Liveness(gone.disk.id) == Dead })
		if got := nodes[0].Layout().Members(); len(got) != 3 {
			t.Errorf("a dead member lost its ownership: %v", got)
		}
		// No --join any more: the saved table is enough.
		nodes[2] = w.start(spec{name: "n3", ip: ipOf(33), disk: gone.disk})
		if ready, reason := nodes[2].Ready(); !ready {
			t.Errorf("a member with its table is not ready at once: %s", reason)
		}
		w.eventually(15*time.Second, "back, at the new address", func() bool {
			row, _ := nodes[0].Table().Get(gone.disk.id)
			return agreedOn(3, nodes...) && see(nodes...) && row.Addrs.RPC == ipOf(33)+":7947"
		})
	})
}

func TestResumeCutOff(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) })
		nodes[0].kill()
		w.cut(apart(ipOf(1)))
		again := w.start(spec{name: "n1", join: listOf(1, 3), disk: nodes[0].disk})
		if ready, reason := again.Ready(); !ready || len(again.Layout().Members()) != 3 {
			t.Errorf("not ready with its table: %s", reason)
		}
	})
}

func TestNamesakeWithEmptyDisk(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) })
		for _, n := range nodes {
			n.disk.write()
		}
		old := nodes[1]
		order := slices.Clone(nodes[0].Layout().Order(7))
		old.kill()
		fresh := w.start(spec{name: "n2", join: listOf(1, 3)})
		w.eventually(30*time.Second, "the new incarnation is a member", func() bool { return settledOn(3, nodes[0], fresh, nodes[2]) })
		if row, _ := nodes[0].Table().Get(old.disk.id); row.State != ring.Replaced || row.ReplacedBy != fresh.disk.id {
			t.Errorf("the old incarnation is %v", row)
		}
		i := slices.Index(order, old.disk.id)
		if got := nodes[0].Layout().Order(7)[i]; got != fresh.disk.id {
			t.Errorf("the place of %v went to %v", old.disk.id.Short(), got.Short())
		}
		// The disk turns up again.
		back := w.start(spec{name: "n2", ip: ipOf(22), join: listOf(1, 3), disk: old.disk})
		w.eventually(15*time.Second, "the old incarnation is told", func() bool {
			ready, _ := back.Ready()
			return !ready && len(back.out) == 1
		})
		if by := <-back.out; by != fresh.disk.id {
			t.Errorf("replaced by %s", by.Short())
		}
	})
}

func TestNamesakeOfALiveNodeIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) })
		twin := w.start(spec{name: "n2", ip: ipOf(22), join: listOf(1, 3)})
		w.never(time.Minute, "the twin is ready or the first one replaced", func() bool {
			ready, _ := twin.Ready()
			return ready || nodes[1].Self().State != ring.Active
		})
		if _, reason := twin.Ready(); !strings.Contains(reason, "another node named n2 is alive at "+ipOf(2)) {
			t.Errorf("reason %q", reason)
		}
	})
}

func TestLostPackets(t *testing.T) {
	inWorld(t, func(w *world) {
		w.net.Block(func(string, string) bool { return w.float64() < 0.3 })
		nodes := startAll(w, 5)
		w.eventually(60*time.Second, "five members agree", func() bool { return agreedOn(5, nodes...) })
	})
}

func TestForeignClusterIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.start(spec{name: "n1"})
		b := w.start(spec{name: "n2", join: listOf(1, 1), cluster: "other"})
		w.never(time.Minute, "clusters mix", func() bool {
			return a.Table().Len() != 1 || b.Table().Len() != 0 || a.Liveness(b.disk.id) != Dead
		})
		foreign, err := foundingTable("other", 256, []ring.Member{b.Self()})
		if err != nil {
			t.Fatal(err)
		}
		known, err := founded(foreign)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Learn(known.encode()); !errors.Is(err, ring.ErrForeign) {
			t.Errorf("learning of a foreign cluster: %v", err)
		}
	})
}

func TestOtherPartitionsAreRefusedOrTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		q := func(n int) func(*Config) { return func(c *Config) { c.Partitions = n } }
		a := w.start(spec{name: "n1", with: q(64)})
		b := w.start(spec{name: "n2", join: listOf(1, 1), with: q(128)})
		w.eventually(15*time.Second, "the newcomer takes the cluster's", func() bool { return settledOn(2, a, b) && b.Layout().Partitions() == 64 })
		c := w.start(spec{name: "n3", with: q(128)})
		c.cfg.Join = listOf(1, 1)
		before := c.Knowledge()
		if err := c.Learn(a.Knowledge()); !errors.Is(err, ring.ErrForeign) {
			t.Errorf("learning of another number of partitions: %v", err)
		}
		if !bytes.Equal(c.Knowledge(), before) {
			t.Error("what was refused changed something")
		}
	})
}

func TestTwoClustersOfOneNameMerge(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.start(spec{name: "n1"}), w.start(spec{name: "n2"})
		if err := a.Learn(b.Knowledge()); err != nil {
			t.Fatal(err)
		}
		w.eventually(15*time.Second, "one cluster", func() bool { return settledOn(2, a, b) && see(a, b) })
		low := a.disk.id
		if b.disk.id.Compare(low) < 0 {
			low = b.disk.id
		}
		if a.Table().Founder() != low {
			t.Errorf("founder %s, want %s", a.Table().Founder().Short(), low.Short())
		}
	})
}

// The fault matrix knows peers by name, in both directions, before and after they are known.
func TestFaultMatrixOnGossip(t *testing.T) {
	for _, way := range []fault.Direction{fault.Both, fault.In, fault.Out} {
		inWorld(t, func(w *world) {
			nodes := startAll(w, 3)
			w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
			rules := []fault.Rule{{Peer: "n2", Direction: way, Kind: fault.Gossip, Drop: true}, {Peer: "n3", Direction: way, Kind: fault.Gossip, Drop: true}}
			if err := nodes[0].matrix.Set(rules); err != nil {
				t.Fatal(err)
			}
			w.eventually(60*time.Second, "n1 is cut off", func() bool {
				return nodes[0].Liveness(nodes[1].disk.id) != Alive && nodes[0].Liveness(nodes[2].disk.id) != Alive
			})
			if nodes[1].Liveness(nodes[2].disk.id) != Alive {
				t.Error("a rule on n1 touched n2 and n3")
			}
			if err := nodes[0].matrix.Set(nil); err != nil {
				t.Fatal(err)
			}
			w.eventually(20*time.Second, "healed", func() bool { return see(nodes...) })
		})
	}
}

// A delay below the probe's time-out makes nobody suspect.
func TestDelayedGossipStaysAlive(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		if err := nodes[0].matrix.Set([]fault.Rule{{Peer: fault.Everyone, Kind: fault.Gossip, Delay: 200 * time.Millisecond}}); err != nil {
			t.Fatal(err)
		}
		w.never(30*time.Second, "a slow node is suspected", func() bool { return !see(nodes...) })
	})
}

func TestJoinByName(t *testing.T) {
	inWorld(t, func(w *world) {
		join := []string{"a.example:7946", "b.example:7946"}
		a := w.start(spec{name: "n1", join: join})
		b := w.start(spec{name: "n2", join: join})
		w.never(10*time.Second, "names that do not resolve found", func() bool { return a.Table().Len()+b.Table().Len() > 0 })
		w.mu.Lock()
		w.hosts["a.example"] = []netip.Addr{netip.MustParseAddr(ipOf(1))}
		w.hosts["b.example"] = []netip.Addr{netip.MustParseAddr(ipOf(2))}
		w.mu.Unlock()
		w.eventually(15*time.Second, "founded", func() bool { return agreedOn(2, a, b) })
	})
}

// A node that runs on gets another address, as a container does whose network is taken away and given back, and another
// node gets its old one. Who advertises a name is found behind it.
func TestAddressChangesUnderARunningNode(t *testing.T) {
	inWorld(t, func(w *world) {
		point := func(i, at int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.hosts[nameOf(i)+".example"] = []netip.Addr{netip.MustParseAddr(ipOf(at))}
		}
		var join []string
		for i := 1; i <= 4; i++ {
			point(i, i)
			join = append(join, nameOf(i)+".example:7946")
		}
		start := func(i, at int) *node {
			return w.start(spec{name: nameOf(i), ip: ipOf(at), join: join, with: func(cfg *Config) {
				cfg.Advertise.Gossip = nameOf(i) + ".example:7946"
				cfg.Advertise.RPC = ipOf(100+i) + ":7947" // what calls are dialled by is not what this is about
			}})
		}
		nodes := []*node{start(1, 1), start(2, 2), start(3, 3), start(4, 4)}
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(4, nodes...) && see(nodes...) })

		for _, away := range []time.Duration{time.Second, time.Minute} {
			from, to := ipOf(3), ipOf(33)
			if away == time.Minute {
				from, to = to, ipOf(34)
			}
			w.cut(apart(from))
			time.Sleep(away)
			if err := w.net.Move(from+":7946", to+":7946"); err != nil {
				t.Fatal(err)
			}
			w.cut(nil)
			point(3, netipIndex(to))
			time.Sleep(20 * time.Second) // of virtual time: until what the cut left behind has been noticed and mended
			w.never(time.Minute, "one loses sight of it again", func() bool { return !see(nodes...) })
		}

		point(5, 3)
		nodes = append(nodes, start(5, 3))
		w.eventually(20*time.Second, "a newcomer at the old address owns", func() bool { return settledOn(5, nodes...) })
		time.Sleep(20 * time.Second) // it was told the old address, and finds out that it is its own
		w.never(time.Minute, "one loses sight of another", func() bool { return !see(nodes...) })
	})
}

// netipIndex is the inverse of ipOf.
func netipIndex(ip string) int { return int(netip.MustParseAddr(ip).As4()[3]) - 1 }

func TestExtraReachesAll(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		nodes[0].extra.set[7] = true
		nodes[0].Push()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		for _, n := range nodes {
			if string(n.extra.State()) != "\x07" {
				t.Errorf("%s has %v after a push", n.name, n.extra.State())
			}
		}
	})
}

func TestClockOffset(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(20*time.Second, "two peers measured", func() bool {
			_, n := nodes[0].ClockOffset()
			return n == 2
		})
		if off, _ := nodes[0].ClockOffset(); off.Abs() > 5*time.Millisecond {
			t.Errorf("offset %v between nodes of one clock", off)
		}
	})
}

func TestStopIsNotALeave(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		if err := nodes[2].Stop(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		w.eventually(2*time.Second, "seen to have gone", func() bool { return nodes[0].Liveness(nodes[2].disk.id) == Dead })
		if !agreedOn(3, nodes[0], nodes[1]) {
			t.Error("a stop changed the table")
		}
	})
}

func TestWatch(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1"})
		calls := make(chan int, 100)
		n.Watch(func() { calls <- n.Table().Len() })
		if got := <-calls; got != 1 {
			t.Fatalf("first call saw %d rows", got)
		}
		m := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.eventually(15*time.Second, "joined", func() bool { return settledOn(2, n, m) })
		synctest.Wait()
		last := 0
		for len(calls) > 0 {
			last = <-calls
		}
		if last != 2 {
			t.Errorf("the last call saw %d rows", last)
		}
	})
}

// Lists that name one other each, in a circle, or overlap in part: nobody's list is everybody's, and all of them together are
// one cluster. A circle that is not whole waits.
func TestListsInACircle(t *testing.T) {
	for name, lists := range map[string][][]int{
		"two":     {{2}, {1}},
		"three":   {{2}, {3}, {1}},
		"five":    {{2}, {3}, {4}, {5}, {1}},
		"overlap": {{1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {4, 5, 1}, {5, 1, 2}},
		"a tail":  {{2}, {3}, {2}, {1}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				start := func(i int) *node {
					var join []string
					for _, other := range lists[i] {
						join = append(join, gossipOf(other))
					}
					return w.start(spec{name: nameOf(i + 1), join: join})
				}
				var nodes []*node
				for i := range lists[1:] {
					nodes = append(nodes, start(i))
				}
				if name == "three" || name == "five" {
					w.never(time.Minute, "part of a circle founds", func() bool {
						return slices.ContainsFunc(nodes, func(n *node) bool { return n.Table().Len() > 0 })
					})
				}
				nodes = append(nodes, start(len(lists)-1))
				w.eventually(time.Minute, "one cluster", func() bool { return agreedOn(len(nodes), nodes...) })
			})
		})
	}
}
