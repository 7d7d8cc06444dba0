package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// lostKinds are the kinds of calls that the world loses.
type lostKinds map[uint8]bool

// loseCalls loses all calls of these kinds between any nodes from now on.
func (w *world) loseCalls(kinds ...uint8) {
	lost := lostKinds{}
	for _, k := range kinds {
		lost[k] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = lost
}

// The founder dies after all have promised: they serve nothing until it is back, also through their own crash, and then go on.
func TestFounderDiesBetweenPromiseAndOutcome(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		founder, member := byRole(nodes)
		founder.disk.setFail(errors.New("the disk hangs at the decision"))
		late := w.start(spec{name: "n4", join: listOf(1, 3)})
		// The founder cannot even promise: nobody is admitted, nobody stays frozen for long.
		time.Sleep(5 * time.Second)
		w.eventually(5*time.Second, "nobody is frozen", func() bool { return !member.gate.isFrozen() })

		founder.disk.setFail(nil)
		founder.disk.setFailAfterPromise(true)
		w.eventually(20*time.Second, "all promised, and the decision cannot be saved", func() bool {
			return member.gate.isFrozen() && founder.gate.isFrozen()
		})
		w.never(5*time.Second, "a promise is forgotten", func() bool { return !member.gate.isFrozen() })
		member.kill()
		again := w.start(spec{name: member.name, disk: member.disk})
		if ready, _ := again.Ready(); ready || !again.gate.isFrozen() {
			t.Fatal("a restart forgot the promise")
		}
		founder.kill()
		w.never(10*time.Second, "it serves without an answer", func() bool { return !again.gate.isFrozen() })
		founder.disk.setFailAfterPromise(false)
		back := w.start(spec{name: founder.name, disk: founder.disk})
		w.eventually(10*time.Second, "the promise ends", func() bool {
			ready, _ := again.Ready()
			return ready && !again.gate.isFrozen() && !back.gate.isFrozen()
		})
		all := []*node{back, again, late}
		for _, n := range nodes {
			if n != founder && n != member {
				all = append(all, n)
			}
		}
		w.eventually(30*time.Second, "the newcomer is admitted after all", func() bool { return agreedOn(4, all...) })
	})
}

// byRole returns the founder, and one that is not.
func byRole(nodes []*node) (founder, member *node) {
	id, _ := founderOf(nodes[0].Table())
	for _, n := range nodes {
		if n.disk.id == id {
			founder = n
		} else {
			member = n
		}
	}
	return founder, member
}

// Lost outcomes are asked for.
func TestLostOutcome(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		w.loseCalls(KindOutcome)
		late := w.start(spec{name: "n4", join: listOf(1, 3)})
		all := append(nodes, late)
		w.eventually(15*time.Second, "admitted, and nobody frozen", func() bool {
			for _, n := range all {
				if n.gate.isFrozen() {
					return false
				}
			}
			return agreedOn(4, all...)
		})
	})
}

// A member whose key requests do not end stops an admission; nobody stays frozen, and it is tried again.
func TestBusyMember(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.eventually(10*time.Second, "founded", func() bool { return agreedOn(3, nodes...) && see(nodes...) })
		_, member := byRole(nodes)
		member.gate.setBusy(true)
		late := w.start(spec{name: "n4", join: listOf(1, 3)})
		w.eventually(10*time.Second, "ready, joining", func() bool { return agreedOn(3, append(nodes, late)...) })
		w.never(10*time.Second, "admitted", func() bool { return late.Self().State != ring.Joining })
		member.gate.setBusy(false)
		w.eventually(30*time.Second, "admitted", func() bool { return agreedOn(4, append(nodes, late)...) })
	})
}

// Invariant 1: what the disk refuses is never shown.
func TestNothingIsToldThatIsNotSaved(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1"})
		n.disk.setFail(errors.New("no space"))
		m := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.never(20*time.Second, "an unsaved row is shown", func() bool { return n.Table().Len() != 1 })
		if err := n.MergeTable(m.Table()); err == nil && m.Table().Len() > 1 {
			t.Error("MergeTable hides that the disk failed")
		}
		n.disk.setFail(nil)
		w.eventually(20*time.Second, "merged when the disk is well again", func() bool { return agreedOn(2, n, m) })
	})
}

// A founding goes on although proposers and voters crash in the middle of it.
func TestFoundingThroughCrashes(t *testing.T) {
	inWorld(t, func(w *world) {
		nodes := startAll(w, 3)
		w.loseCalls(KindAccept)
		time.Sleep(5 * time.Second) // promises are given, nothing is accepted by others
		for i, n := range nodes {
			if n.Table().Len() > 0 {
				t.Fatal("founded without acceptances")
			}
			n.kill()
			nodes[i] = w.start(spec{name: n.name, disk: n.disk, join: listOf(1, 3)})
		}
		w.loseCalls(KindTable) // and the decision is not told, but gossiped
		w.eventually(20*time.Second, "founded", func() bool { return agreedOn(3, nodes...) })
	})
}

func TestStartRefusesForeignData(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1"})
		n.kill()
		if _, err := w.tryStart(spec{name: "n1", disk: n.disk, cluster: "other"}); err == nil {
			t.Error("another cluster's data accepted")
		}
		if _, err := w.tryStart(spec{name: "n2", disk: n.disk}); err == nil {
			t.Error("another node's data accepted")
		}
		n.disk.meta = map[string][]byte{}
		n.disk.write()
		if _, err := w.tryStart(spec{name: "n1", disk: n.disk}); err == nil {
			t.Error("data without a table accepted")
		}
	})
}

// Zone and weight of an owner stay; of a joining node they change.
func TestResumeKeepsPlacement(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1"})
		n.kill()
		again := w.start(spec{name: "n1", disk: n.disk, with: func(c *Config) { c.Zone, c.Weight = "z2", 7 }})
		if row := again.Self(); row.Zone != "" || row.Weight != 1 {
			t.Errorf("an owner moved its data by a flag: %v", row)
		}
	})
}
