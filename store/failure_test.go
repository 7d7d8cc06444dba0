package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/version"
)

// ownErrors are those that a caller may meet when the disk fails.
var ownErrors = []error{ErrIO, ErrNoSpace, ErrReadOnly, ErrClosed}

func isOwn(err error) bool {
	for _, own := range ownErrors {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

// awaitWritable lets the bubble's time pass until writes are taken again.
func awaitWritable(t *testing.T, s *Store) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for range 1000 {
		if err = s.Writable(); err == nil {
			return
		}
		<-tick.C
	}
	t.Fatalf("writes do not come back: %v", err)
}

// TestFailureEverywhere fails each change of the disk in turn: that one alone, and with all after it until the disk is mended.
// Whatever was acknowledged stays, nothing is shown that the disk does not have, and the store comes back under another actor.
func TestFailureEverywhere(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		done := false
		for op := 1; !done; op++ {
			name := fmt.Sprintf("lasting=%t/op=%d", lasting, op)
			if !t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { done = !failAt(t, op, lasting) })
			}) {
				return
			}
		}
	}
}

// failAt returns false if there were fewer changes than that.
func failAt(t *testing.T, at int, lasting bool) bool {
	var armed, failed, mended atomic.Bool
	var ops atomic.Int64
	fs := vfs.NewCrashableMem()
	o := testOptions(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !armed.Load() || mended.Load() || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if n := int(ops.Add(1)); n == at || n > at && lasting {
			failed.Store(true)
			return syscall.EIO
		}
		return nil
	})))
	o.Partitions = 2
	s := mustOpen(t, o)
	f := newFacts()
	f.opened(s)
	armed.Store(true)
	workload(s, f, o.Partitions, 24)
	armed.Store(false)
	if !failed.Load() {
		mustClose(t, s)
		return false
	}
	armed.Store(true)
	// What it shows now, failed or not, it must show after a crash too.
	showAll(t, s, f, o.Partitions)
	left := o
	left.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	f.check(t, left)

	mended.Store(true)
	awaitWritable(t, s)
	f.checkOpen(t, s)
	k := keyOf("k1", o.Partitions)
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "after", nil, nil)).Commit)
	wantValues(t, s, k, "after")
	checkStore(t, s, nil)
	if st := s.Stats(); st.Pending != 0 {
		t.Fatalf("%d commits are pending in an idle store", st.Pending)
	}
	mustClose(t, s)
	return true
}

// showAll reads all keys of the workload and notes what was shown; reads may fail, with an error of ours.
func showAll(t *testing.T, s *Store, f *facts, partitions int) {
	t.Helper()
	for i := range 5 {
		for _, k := range []Key{keyOf(fmt.Sprint("k", i), partitions), {Partition: 0, Bucket: "b", Key: fmt.Sprint("foreign", i)}} {
			r, err := s.Get(k)
			if err != nil && !isOwn(err) {
				t.Fatalf("get %q: %v", k.Key, err)
			}
			if err == nil {
				f.shown(k, r)
			}
		}
	}
}

// TestReadOnlyDisk: a disk that turns read-only under the store refuses writes, answers reads, and is taken up again.
func TestReadOnlyDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readOnly atomic.Bool
		o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if readOnly.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return syscall.EROFS
			}
			return nil
		})))
		readOnly.Store(true)
		if _, err := Open(o); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("open: %v, want %v", err, ErrReadOnly)
		}
		readOnly.Store(false)
		s := mustOpen(t, o)
		defer mustClose(t, s)
		actor := s.Actor()
		kept, lost := keyOf("kept", 4), keyOf("lost", 4)
		mustWait(t, mustUpdate(t, s, kept, 3, put(version.LWW, "one", nil, nil)).Commit)
		readOnly.Store(true)
		if err := mustUpdate(t, s, lost, 3, put(version.LWW, "two", nil, nil)).Commit.Wait(); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("wait: %v, want %v", err, ErrReadOnly)
		}
		if _, err := s.Get(lost); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("get of what was not written: %v, want %v", err, ErrReadOnly)
		}
		if err := s.Writable(); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("writable: %v, want %v", err, ErrReadOnly)
		}
		if _, err := s.Update(kept, 3, put(version.LWW, "three", nil, nil)); !errors.Is(err, ErrReadOnly) {
			t.Fatalf("update: %v, want %v", err, ErrReadOnly)
		}
		wantValues(t, s, kept, "one")
		readOnly.Store(false)
		awaitWritable(t, s)
		wantValues(t, s, kept, "one")
		wantValues(t, s, lost)
		if s.Actor() == actor || s.Fresh() == false || s.Stats().Failures != 1 {
			t.Fatalf("actor %v, before %v; fresh %t; %d failures", s.Actor(), actor, s.Fresh(), s.Stats().Failures)
		}
	})
}

// TestSpaceFloor: writes stop at the floor and come back above it; reads go on. What the cluster needs saved is saved down to the last of the room,
// and refused there rather than tried, as a try that fails would end the opening.
func TestSpaceFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gib = 1 << 30
		fs := vfs.NewMem()
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 10 * gib, TotalBytes: 100 * gib})
		s := mustOpen(t, testOptions(fs))
		defer mustClose(t, s)
		k := keyOf("k", 4)
		mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, nil)).Commit)

		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 511 << 20, TotalBytes: 100 * gib})
		passSecond()
		if _, err := s.Update(k, 3, put(version.LWW, "two", nil, nil)); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("update: %v, want %v", err, ErrNoSpace)
		}
		if err := s.SaveMeta("m", []byte("saved")); err != nil {
			t.Fatalf("save below the floor: %v", err)
		}
		wantValues(t, s, k, "one")
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 31 << 20, TotalBytes: 100 * gib})
		passSecond()
		if err := s.SaveMeta("m", nil); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("save with next to no room: %v, want %v", err, ErrNoSpace)
		}
		if saved, err := s.LoadMeta("m"); string(saved) != "saved" || err != nil {
			t.Fatalf("loaded %q, %v", saved, err)
		}
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 513 << 20, TotalBytes: 100 * gib})
		passSecond()
		if err := s.Writable(); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("just above the floor: %v, want %v", err, ErrNoSpace)
		}
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: gib, TotalBytes: 100 * gib})
		awaitWritable(t, s)
		mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "three", nil, nil)).Commit)
		wantValues(t, s, k, "three")
	})
}

// passSecond lets the bubble's time pass by one probe of the disk.
func passSecond() {
	<-time.After(spaceInterval)
	synctest.Wait()
}

// TestTablesFail: while no table can be written, writes are refused before they would block, reads go on, and closing does not hang.
func TestTablesFail(t *testing.T) {
	for _, mend := range []bool{false, true} {
		t.Run(fmt.Sprint("mend=", mend), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tablesFail(t, mend) })
		})
	}
}

func tablesFail(t *testing.T, mend bool) {
	var full atomic.Bool
	mem := vfs.NewMem()
	o := testOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && !vital(op.Path) {
			return syscall.ENOSPC
		}
		return nil
	})))
	s := mustOpen(t, o)
	k := keyOf("k", 4)
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, nil)).Commit)
	full.Store(true)
	if _, err := s.cur.Load().db.AsyncFlush(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if err := s.Writable(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("writable: %v, want %v", err, ErrNoSpace)
	}
	wantValues(t, s, k, "one")
	if mend {
		full.Store(false)
		awaitWritable(t, s)
		wantValues(t, s, k, "one")
		mustClose(t, s)
	} else if err := s.Close(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("close: %v, want %v", err, ErrNoSpace)
	}
	full.Store(false)
	s = mustOpen(t, o)
	wantValues(t, s, k, "one")
	mustClose(t, s)
}

// TestOpenOnAFullDisk: a store is not opened on a disk without any room, and the error says what to do.
func TestOpenOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	o := testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	})))
	s := mustOpen(t, o)
	k := keyOf("k", 4)
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, nil)).Commit)
	mustClose(t, s)
	full.Store(true)
	if _, err := Open(o); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("open: %v, want %v and what to do", err, ErrNoSpace)
	}
	full.Store(false)
	s = mustOpen(t, o)
	defer mustClose(t, s)
	wantValues(t, s, k, "one")
}
