package repair

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// TestHandOffToARolledBackOwner: an owner whose disk is rolled back between what it confirmed and the dots does not adopt them, and takes from others what
// it lost. So it is also if only a part was confirmed before, or the fallback was opened anew since.
func TestHandOffToARolledBackOwner(t *testing.T) {
	for name, c := range map[string]struct {
		keys    int
		reopens bool // the fallback
	}{"after all": {keys: 1}, "after a part": {keys: 2}, "and the fallback opened anew": {keys: 1, reopens: true}} {
		t.Run(name, func(t *testing.T) {
			disks := [2]*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
			w := crashWorld(t, disks[0], disks[1])
			defer func() { w.close() }()
			f, owner := w.nodes[0], w.nodes[1]
			f.d.cfg.Page = 1 // one key
			dots := map[string]version.Dot{}
			records := map[string]version.Record{}
			for _, key := range w.together("k", c.keys) {
				dots[key] = w.stand(f, key, version.LWW)
				r, _, err := f.store.StandGet(w.keyOf(key))
				if err != nil {
					t.Fatal(err)
				}
				records[key] = r
			}
			older := disks[1].CrashClone(vfs.CrashCloneCfg{})
			before := owner.store.Actor()
			w.fail = func(kind transport.Kind) bool {
				if kind == KindHandOff && owner.store.Actor() == before { // the first
					owner.reopen(older)
					w.set(w.down, owner.id, c.reopens)
				}
				return false
			}
			f.d.errand(t.Context(), owner.id)
			if c.reopens {
				f.reopen(disks[0])
				w.set(w.down, owner.id, false)
				f.d.errand(t.Context(), owner.id)
			}
			for _, d := range f.store.Owed() {
				if d.Owner == owner.id {
					t.Errorf("still owed: %+v", d)
				}
			}
			for key, r := range records {
				res, err := owner.store.Mend(w.keyOf(key), r)
				if err == nil {
					err = res.Commit.Wait()
				}
				if got, getErr := owner.store.Get(w.keyOf(key)); err != nil || getErr != nil || !got.Has(dots[key]) {
					t.Errorf("key %s, after an owner brought it: %v, %v, %v; clock %v", key, got, err, getErr, owner.store.Clock(w.keyOf(key).Partition))
				}
			}
		})
	}
}

// TestHandOffSettlesLater: a fallback that is opened anew between what was confirmed and the dots still knows under which opening that was.
func TestHandOffSettlesLater(t *testing.T) {
	disks := [2]*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
	w := crashWorld(t, disks[0], disks[1])
	defer func() { w.close() }()
	f, owner := w.nodes[0], w.nodes[1]
	w.stand(f, "k", version.LWW)
	last := w.stand(f, "k", version.LWW) // the first is superseded: without the dots its place is a hole
	w.fail = func(kind transport.Kind) bool {
		w.set(w.down, owner.id, kind == KindHandOff)
		return false
	}
	f.d.errand(t.Context(), owner.id)
	f.reopen(disks[0])
	w.set(w.down, owner.id, false)
	f.d.errand(t.Context(), owner.id)
	if err := errors.Join(w.delivered(map[string]uint64{"k": w.stamp}), owner.hole()); err != nil || !owner.store.Clock(w.keyOf("k").Partition).Covers(last) {
		t.Errorf("%v; %v", err, owner.store.Clock(w.keyOf("k").Partition))
	}
}

// reopen starts a node of a crashWorld anew, on a disk that may be another.
func (n *testNode) reopen(fs vfs.FS) {
	if err := n.store.Close(); err != nil {
		n.w.t.Fatal(err)
	}
	n.open(fs, DefaultExchangeConfig())
}
