package node

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// TestFallbackDiesAndTargetIsReplaced: a fallback that lost power before it could deliver still delivers; and since the owner came back under its name
// with an empty disk, to the one that has its place now. All that while every node says how much is kept.
func TestFallbackDiesAndTargetIsReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("a namesake waits for its predecessor to be silent: some 12 s")
	}
	nodes := startCluster(t, 5)
	view, err := nodes[0].Ring("b", "k", 3)
	if err != nil {
		t.Fatal(err)
	}
	byName := func(name string) *testNode {
		return nodes[slices.IndexFunc(nodes, func(n *testNode) bool { return n.Name() == name })]
	}
	target, fallback, other := byName(view.Owners[0]), byName(view.Fallbacks[0]), byName(view.Owners[1])
	lost := target.store.Incarnation()
	stop(t, target, vfs.NewCrashableMem())

	k := store.Key{Partition: ring.Partition(view.Partition), Bucket: "b", Key: "k"}
	var dot version.Dot
	res, err := fallback.store.StandUpdate(k, 3, []ring.ID{lost}, func(local version.Record, d version.Dot) (version.Record, error) {
		dot = d
		return version.Supersede(local, version.Write{Dot: d, Mode: version.LWW, Value: []byte("kept"), Stamp: version.Stamp{Time: 1 << 40, Actor: d.Actor.ID}})
	})
	if err == nil {
		err = res.Commit.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop(t, fallback, fallback.fs.CrashClone(vfs.CrashCloneCfg{}))
	startAll(t, []*testNode{fallback})
	held := fallback.store.HandOffs()
	if held.Count != 1 {
		t.Fatalf("after the restart it keeps %+v", held)
	}
	shows := func(at *testNode, count, bytes int64) bool {
		for _, m := range at.Cluster().Members {
			if m.Name == fallback.Name() {
				return m.Handoffs == HandoffsView{Count: count, Bytes: bytes}
			}
		}
		return false
	}
	eventually(t, "others to see what is kept", func() bool { return shows(other, 1, held.Bytes) && shows(fallback, 1, held.Bytes) })
	families, err := fallback.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]float64{}
	for _, f := range families {
		shown[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	for name, want := range map[string]float64{"quorate_handoffs": 1, "quorate_handoff_bytes": float64(held.Bytes), "quorate_handoff_limit_bytes": 1 << 30} {
		if shown[name] != want {
			t.Errorf("%s is %v, want %v", name, shown[name], want)
		}
	}

	startAll(t, []*testNode{target})
	if target.store.Incarnation() == lost {
		t.Fatal("the target did not lose its disk")
	}
	eventually(t, "the present owners to have what was kept", func() bool {
		for _, name := range view.Owners {
			r, err := byName(name).store.Get(k)
			if err != nil || !r.Has(dot) {
				return false
			}
		}
		return fallback.store.HandOffs().Count == 0 && len(fallback.store.Owed()) == 0
	})
	eventually(t, "others to see that nothing is kept any more", func() bool { return shows(other, 0, 0) && shows(target, 0, 0) })
}

// stop ends a node at once, and gives it another disk.
func stop(t *testing.T, n *testNode, disk *vfs.MemFS) {
	t.Helper()
	if err := closeNode(n.Node); err != nil {
		t.Fatal(err)
	}
	n.fs = disk
}
