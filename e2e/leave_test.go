package e2e

import (
	"net/http"
	"slices"
	"testing"
)

// TestLeavingRefused holds the rows of what a change of the ring is refused with.
func TestLeavingRefused(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 2)
	c.nodes[0].remove(t, c.nodes[1].name, "").wantsProblem(t, http.StatusConflict, "member-alive")
	c.nodes[0].remove(t, c.nodes[0].name, "").wantsProblem(t, http.StatusConflict, "member-alive")
	c.nodes[0].remove(t, "node-9", "").wantsProblem(t, http.StatusNotFound, "unknown-member")
	c.nodes[0].remove(t, "node-9", "?force=true").wantsProblem(t, http.StatusNotFound, "unknown-member")
	c.nodes[0].remove(t, c.nodes[1].name, "?force=maybe").wantsProblem(t, http.StatusBadRequest, "")
	c.nodes[0].get(t, "/cluster/leave").wantsProblem(t, http.StatusMethodNotAllowed, "")
	path := fresh("leave")
	c.nodes[0].put(t, path+"?w=all", "v").wants(t, http.StatusNoContent)
	leaver, last := c.nodes[0], c.nodes[1]
	leaver.leave(t)
	leaver.leave(t) // again: it is on its way
	c.leaves(t, leaver)
	c.waitRing(t)
	last.do(t, http.MethodPost, "/cluster/leave", nil).wantsProblem(t, http.StatusConflict, "last-member")
	last.get(t, path+"?r=all").wantsValue(t, "v")
	last.put(t, path, "w").wants(t, http.StatusNoContent)
	last.remove(t, leaver.name, "").wantsProblem(t, http.StatusNotFound, "unknown-member")

	// Its directory is of no use any more, until it is emptied.
	leaver.refusesToServe(t, "left")
	leaver.wipe(t)
	c.gone, c.nodes = nil, append(c.nodes, leaver)
	leaver.restart(t)
	c.waitRing(t)
	leaver.get(t, path+"?r=all").wantsValue(t, "w")
}

// TestLeaverKilled kills a node again and again while it leaves. Each time it goes on where it was, and in the end it goes.
func TestLeaverKilled(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 4)
	held, _ := write(t, bulk(), "3", c.nodes...)
	f := newTraffic(t, 2, 2, c.nodes[:3]...)
	f.phase("one leaves, and is killed")
	leaver := c.nodes[3]
	leaver.leave(t)
	for range 3 {
		leaver.kill(t)
		leaver.start(t)
		leaver.proc.wanted = true
	}
	c.leaves(t, leaver)
	c.waitRing(t)
	f.audit(t, c.nodes...)
	f.account(t)
	c.holdsAll(t, held)
	c.heldByOwnersAlone(t, held[:200])
	leaver.refusesToServe(t, "left")
}

// TestReceiverKilled kills a node to which another, which leaves, hands its data. The leaver waits, serving, until it is back.
func TestReceiverKilled(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 4)
	held, _ := write(t, bulk(), "3", c.nodes...)
	f := newTraffic(t, 2, 2, c.nodes...)
	f.phase("one leaves, another is killed")
	leaver, receiver := c.nodes[3], c.nodes[1]
	f.expectEnd(leaver)
	f.expectEnd(receiver)
	receiver.kill(t)
	f.through(slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == receiver })...)
	f.expectEnd(leaver)
	leaver.leave(t)
	holds(t, cutTime, leaver)
	for _, n := range []*node{c.nodes[0], leaver} {
		v, err := n.view()
		if err != nil || v.Layout.Settled || v.member(leaver.name).Status != "leaving" || !v.waitsFor(receiver.name) {
			t.Errorf("%s does not say that %s leaves and waits for %s: %v\n%s", n.name, leaver.name, receiver.name, err, c.views())
		}
	}
	f.phase("it is back")
	receiver.restart(t)
	c.leaves(t, leaver)
	f.through(c.nodes...)
	c.waitRing(t)
	f.audit(t, c.nodes...)
	f.account(t)
	c.holdsAll(t, held)
	c.heldByOwnersAlone(t, held[:200])
}

// TestRemovedComesBack removes a dead member, and starts it again with its disk. It may be ready before it hears of its removal, meets nobody in its old layout, and ends.
func TestRemovedComesBack(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 4)
	held, _ := write(t, bulk(), "3", c.nodes...)
	f := newTraffic(t, 2, 2, c.nodes[:3]...)
	f.phase("removed")
	removed := c.nodes[3]
	removed.kill(t)
	c.removes(t, c.nodes[0], removed)
	c.waitRing(t)
	f.phase("it comes back")
	removed.start(t)
	removed.proc.wanted = true
	f.through(append(slices.Clone(c.nodes), removed)...)
	f.expectEnd(removed)
	c.endsRemoved(t, removed)
	f.through(c.nodes...)
	removed.refusesToServe(t, "removed")
	c.waitRing(t)
	f.audit(t, c.nodes...)
	f.account(t)
	c.holdsAll(t, held)
	c.heldByOwnersAlone(t, held[:200])
}
