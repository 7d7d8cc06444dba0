package cluster

import (
	"errors"
	"testing"
	"time"
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

// Invariant 1: what the disk refuses is never shown.
func TestNothingIsToldThatIsNotSaved(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.start(spec{name: "n1"})
		n.disk.setFail(errors.New("no space"))
		m := w.start(spec{name: "n2", join: listOf(1, 1)})
		w.never(20*time.Second, "an unsaved row is shown", func() bool { return n.Table().Len() != 1 })
		if err := n.Learn(m.Knowledge()); err == nil && m.Table().Len() > 1 {
			t.Error("Learn hides that the disk failed")
		}
		n.disk.setFail(nil)
		w.eventually(20*time.Second, "merged when the disk is well again", func() bool { return settledOn(2, n, m) })
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
