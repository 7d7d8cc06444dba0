package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Both sides of a split let somebody in. Neither ends its change; when they meet all is one.
func TestChangesOnBothSidesOfASplit(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 5)
		w.eventually(10*time.Second, "founded", func() bool { return settledOn(5, nodes...) && see(nodes...) })
		w.cut(apart(ipOf(1), ipOf(2), ipOf(6)))
		// On the side of two nobody may confirm what the other suspects, and then memberlist waits for 24 s; before, each silent one that a node has probed makes it wait
		// a second longer for the next, of which there are seven at most until it comes to this one.
		w.eventually(time.Minute, "dead on both sides", func() bool {
			return nodes[0].Liveness(nodes[4].disk.id) == Dead && nodes[4].Liveness(nodes[1].disk.id) == Dead
		})
		a := w.start(spec{name: "n6", join: listOf(1, 2)})
		b := w.start(spec{name: "n7", join: listOf(3, 5)})
		w.eventually(20*time.Second, "each side has its own", func() bool {
			return a.Rings() != nil && b.Rings() != nil && owns(a.Rings(), a.disk.id) && owns(b.Rings(), b.disk.id)
		})
		w.never(20*time.Second, "a side ends its change without the other", func() bool { return a.Rings().Settled() || b.Rings().Settled() })
		w.cut(nil)
		w.eventually(30*time.Second, "one layout of seven", func() bool { return settledOn(7, append(nodes, a, b)...) })
	})
}

// chaos is a cluster to which things happen.
type chaos struct {
	*world
	random *rand.Rand
	nodes  map[string]*node // all that shall own in the end; dead ones have a nil Cluster in down
	down   map[string]*node
	next   int
	log    []string
}

func (c *chaos) pick(from map[string]*node) *node {
	var names []string
	for name := range from {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return from[names[c.random.IntN(len(names))]]
}

func (c *chaos) did(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) }

// join is whom a node is told of: everyone there is.
func (c *chaos) join() (join []string) {
	for i := 1; i < c.next; i++ {
		join = append(join, gossipOf(i))
	}
	return join
}

func (c *chaos) step() {
	switch c.random.IntN(9) {
	case 0:
		if len(c.nodes)+len(c.down) < 9 {
			name := nameOf(c.next)
			c.nodes[name] = c.start(spec{name: name, join: c.join()})
			c.next++
			c.did("%s comes", name)
		}
	case 1, 2:
		if n := c.pick(c.nodes); len(c.nodes) > 1 {
			n.kill()
			delete(c.nodes, n.name)
			c.down[n.name] = n
			c.did("%s dies", n.name)
		}
	case 3, 4:
		if n := c.pick(c.down); n != nil {
			delete(c.down, n.name)
			c.nodes[n.name] = c.start(spec{name: n.name, disk: n.disk, join: c.join()})
			c.did("%s is back", n.name)
		}
	case 5:
		var ips []string
		for i := 1; i < c.next; i++ {
			if c.random.IntN(2) == 0 {
				ips = append(ips, ipOf(i))
			}
		}
		c.cut(apart(ips...))
		c.did("cut: %v", ips)
	case 6:
		c.cut(nil)
		c.did("healed")
	case 7:
		if n := c.pick(c.nodes); n != nil && n.Rings() != nil && len(c.nodes)+len(c.down) > 4 {
			c.did("%s leaves: %v", n.name, n.Leave())
		}
	case 8:
		if n := c.pick(c.down); n != nil && c.random.IntN(3) == 0 {
			delete(c.down, n.name)
			c.nodes[n.name] = c.start(spec{name: n.name, join: c.join()}) // with an empty disk
			c.did("%s lost its disk", n.name)
		}
	}
	time.Sleep(time.Duration(c.random.IntN(8000)) * time.Millisecond)
}

// Law: whatever comes, goes, dies, loses its disk, leaves or is cut off, with everyone back and nothing cut all ends in one layout, of all who have not left.
func TestChangesSettle(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		inWorld(t, func(w *world) {
			c := &chaos{world: w, random: rand.New(rand.NewPCG(uint64(seed), 7)), nodes: map[string]*node{}, down: map[string]*node{}, next: 4}
			for _, n := range founded3(w) {
				c.nodes[n.name] = n
			}
			for range 25 {
				c.step()
			}
			c.cut(nil)
			for len(c.down) > 0 {
				n := c.pick(c.down)
				delete(c.down, n.name)
				again, err := c.tryStart(spec{name: n.name, disk: n.disk, join: c.join()})
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				c.nodes[n.name] = again
			}
			settled := func() bool {
				var all []*node
				stay := 0
				for _, n := range c.nodes {
					all = append(all, n)
					if n.Rings() != nil && standingIn(n, n.disk.id) == layouts.Owns {
						stay++
					}
				}
				for _, n := range all {
					if v := n.Rings(); v == nil || n.Self().State == ring.Joining {
						return false
					}
				}
				return settledOn(stay, all...)
			}
			for deadline := time.Now().Add(2 * time.Minute); !settled(); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					w.dump()
					t.Fatalf("seed %d does not settle after %q", seed, c.log)
				}
			}
		})
	}
}

// The disk refuses one save in three, for a while, everywhere.
func TestChangesWithDisksThatFail(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := founded3(w)
		late := w.start(spec{name: "n4", join: listOf(1, 3)})
		all := append(nodes, late)
		for range 60 {
			for _, n := range all {
				n.disk.setFail(nil)
				if w.float64() < 0.33 {
					n.disk.setFail(errors.New("input/output error"))
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, n := range all {
			n.disk.setFail(nil)
		}
		w.eventually(20*time.Second, "four own", func() bool { return settledOn(4, all...) })
	})
}
