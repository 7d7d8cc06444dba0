package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

// TestConcurrent: writers, appliers and readers meet on few keys of one partition; then the other of two stores, which got every
// acknowledged record and every record that was read, in some order, must have the same versions. A record that was filled by a
// clock of another moment would have dropped something there, or brought something back.
func TestConcurrent(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := testOptions(fs)
	o.Partitions, o.RecordCache = 1, 4<<10
	a := mustOpen(t, o)
	o.Dir = "other"
	b := mustOpen(t, o)
	keys := make([]Key, 8)
	for i := range keys {
		keys[i] = keyOf(fmt.Sprint("k", i), 1)
	}
	f := newFacts()
	f.opened(a)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 300 {
				hammer(t, f, []*Store{a, b}, keys[r.IntN(len(keys))], r)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		ra, errA := a.Get(k)
		rb, errB := b.Get(k)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		mustApply(t, a, k, rb)
		mustApply(t, b, k, ra)
		ra, _ = a.Get(k)
		rb, _ = b.Get(k)
		if !ra.SameVersions(rb) || !ra.SameVersions(version.Merge(ra, rb)) {
			t.Fatalf("%q differs:\n%v\n%v", k.Key, ra, rb)
		}
	}
	checkStore(t, a, nil)
	checkStore(t, b, nil)
	if n := a.Stats().Pending + b.Stats().Pending; n != 0 {
		t.Fatalf("%d commits are pending in idle stores", n)
	}
	left := vfs.CrashCloneCfg{}
	crashed := testOptions(fs.CrashClone(left))
	crashed.Partitions = 1
	f.known = nil
	c := mustOpen(t, crashed)
	f.checkOpen(t, c)
	mustClose(t, c)
	mustClose(t, a)
	mustClose(t, b)
}

// hammer does one thing to one of two stores and tells the other.
func hammer(t *testing.T, f *facts, stores []*Store, k Key, r *rand.Rand) {
	here := r.IntN(2)
	s, other := stores[here], stores[1-here]
	var rec version.Record
	switch r.IntN(4) {
	case 0:
		got, err := s.Get(k)
		if err != nil {
			t.Error(err)
			return
		}
		rec = got
	case 1:
		_ = s.Clock(k.Partition)
		return
	default:
		var context *version.Vector
		if r.IntN(3) == 0 {
			context = new(version.Vector)
		}
		res, err := s.Update(k, 3, put(version.Siblings, "v", context, nil))
		if err == nil {
			err = res.Commit.Wait()
		}
		if err != nil {
			t.Error(err)
			return
		}
		rec = res.Record
	}
	if here == 0 {
		f.shown(k, rec)
	}
	res, err := other.Apply(k, rec)
	if err == nil {
		err = await(res.Commit, r.IntN(2) == 0)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestReadIsOneMoment: one key takes all dots of its partition and nothing supersedes them; so a record, filled, holds exactly the
// dots that it covers. Record and clock of different moments would differ.
func TestReadIsOneMoment(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	k := keyOf("k", 1)
	own := version.Actor{ID: s.Actor(), N: 3}
	var writer, readers sync.WaitGroup
	done := make(chan struct{})
	check := func(r version.Record) {
		if entry, _ := r.Vector.Entry(own); entry.Base != uint64(len(r.Versions)) {
			t.Errorf("%d versions, vector %v", len(r.Versions), r.Vector)
		}
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := s.Get(k)
				if err != nil {
					t.Error(err)
					return
				}
				check(r)
				if err := s.Scan(0, "b", "", "", func(_ string, r version.Record) bool { check(r); return true }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writer.Go(func() {
		for range 400 {
			if _, err := s.Update(k, 3, put(version.Siblings, "v", new(version.Vector), nil)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	writer.Wait()
	close(done)
	readers.Wait()
}
