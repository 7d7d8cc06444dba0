package store

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/version"
)

// heldLog is a disk whose log is not synced before release is closed; fails: it is not synced even then.
type heldLog struct {
	armed, fails atomic.Bool
	release      chan struct{}
}

func (h *heldLog) store(t *testing.T) *Store {
	h.release = make(chan struct{})
	return mustOpen(t, testOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !h.armed.Load() || !vital(op.Path) || op.Kind != errorfs.OpFileSyncData && op.Kind != errorfs.OpFileSync {
			return nil
		}
		<-h.release
		if h.fails.Load() {
			return syscall.EIO
		}
		return nil
	}))))
}

// told makes some writes, each of another key, and asks to be told of their syncs.
func told(t *testing.T, s *Store, n int, tell func(i int, err error)) (commits []*Commit) {
	for i := range n {
		res := mustUpdate(t, s, keyOf(fmt.Sprint("k", i), 1), 3, put(version.LWW, "v", nil, nil))
		commits = append(commits, res.Commit)
		res.Commit.Then(func(err error) { tell(i, err) })
	}
	return commits
}

// TestThen: whoever asks is told once, after the sync and not before it, in the order of asking, whatever others do with the commits.
func TestThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk heldLog
		s := disk.store(t)
		disk.armed.Store(true)
		const n = 50
		order := make(chan int, 2*n)
		commits := told(t, s, n, func(i int, err error) {
			if err != nil {
				t.Error(err)
			}
			order <- i
		})
		waited := make(chan error, n)
		for _, c := range commits {
			go func() { waited <- c.Wait() }()
		}
		synctest.Wait()
		if len(order) != 0 || len(waited) != 0 {
			t.Fatalf("%d of %d writes were told of, and %d waits ended, before the sync", len(order), n, len(waited))
		}
		close(disk.release)
		for i := range n {
			if got := <-order; got != i {
				t.Fatalf("told of %d, want %d", got, i)
			}
			if err := <-waited; err != nil {
				t.Fatal(err)
			}
		}
		late := 0
		for _, c := range append(commits, nil) {
			c.Then(func(err error) {
				if late++; err != nil {
					t.Error(err)
				}
			})
		}
		if late != n+1 || len(order) != 0 {
			t.Fatalf("of %d commits on the disk %d were told at once, and %d twice", n+1, late, len(order))
		}
		mustClose(t, s)
	})
}

// TestThenAndTheEnd: a store that is closed, or whose log fails, leaves nobody without an answer, and gives no wrong one.
func TestThenAndTheEnd(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails=%t", fails), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var disk heldLog
				s := disk.store(t)
				synctest.Wait() // Pebble's look at its tables takes the lock under which Close will wait for the log, and a lock is not waited for in virtual time
				disk.armed.Store(true)
				disk.fails.Store(fails)
				const n = 20
				answers := make([]int, n)
				commits := told(t, s, n, func(i int, err error) {
					answers[i]++
					if fails != errors.Is(err, ErrIO) || !fails && err != nil {
						t.Errorf("write %d: %v", i, err)
					}
				})
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				synctest.Wait()
				close(disk.release)
				if err := <-closed; fails == (err == nil) {
					t.Errorf("close: %v", err)
				}
				if want := slices.Repeat([]int{1}, n); !slices.Equal(answers, want) {
					t.Errorf("answers when the store was closed: %v", answers)
				}
				commits[0].Then(func(err error) {
					if fails == (err == nil) {
						t.Errorf("after the end: %v", err)
					}
				})
			})
		})
	}
}
