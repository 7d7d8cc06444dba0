package store

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// testOptions are the product's, but for the file system, the directory and a source of chance that never repeats.
func testOptions(fs vfs.FS) Options {
	o := DefaultOptions()
	o.FS, o.Dir, o.Partitions = fs, "data", 4
	return o
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func keyOf(name string, partitions int) Key {
	return Key{Partition: ring.PartitionOf(ring.Hash("b", name), partitions), Bucket: "b", Key: name}
}

// stamps issues ever larger stamps.
type stamps struct {
	mu sync.Mutex
	n  uint64
}

func (s *stamps) next(a version.ActorID) version.Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return version.Stamp{Time: s.n << 12, Actor: a}
}

// clockOf hands out stamps for all tests: only their order within a key matters.
var clockOf stamps

// put makes an UpdateFunc that writes value. A nil context is that of a client that has read what is here.
func put(mode version.Mode, value string, context *version.Vector, dot *version.Dot) UpdateFunc {
	return func(local version.Record, d version.Dot) (version.Record, error) {
		if dot != nil {
			*dot = d
		}
		w := version.Write{Dot: d, Mode: mode, Value: []byte(value), Stamp: clockOf.next(d.Actor.ID)}
		if context == nil {
			w.Context = local.Vector
		} else {
			w.Context = *context
		}
		return version.Supersede(local, w)
	}
}

func mustUpdate(t testing.TB, s *Store, k Key, n uint8, fn UpdateFunc) Result {
	t.Helper()
	res, err := s.Update(k, n, fn)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return res
}

func mustWait(t testing.TB, c *Commit) {
	t.Helper()
	if err := c.Wait(); err != nil {
		t.Fatalf("wait: %v", err)
	}
}

func values(r version.Record) (out []string) {
	for v := range r.Live() {
		out = append(out, string(v.Value))
	}
	return out
}

func wantValues(t testing.TB, s *Store, k Key, want ...string) version.Record {
	t.Helper()
	r, err := s.Get(k)
	if err != nil {
		t.Fatalf("get %q: %v", k.Key, err)
	}
	if got := values(r); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("get %q: %q, want %q", k.Key, got, want)
	}
	return r
}
