package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/store"
)

func someProperties() Properties {
	return Properties{N: 3, W: quorum.Quorum, R: quorum.Quorum, Conflict: conflictSiblings}
}

// TestDeleteOfWhatWasNotHeardOf deletes a bucket through a node that was cut off when it was configured, once while it still
// is and once when it can ask: in both cases it is gone everywhere, whoever meets whom.
func TestDeleteOfWhatWasNotHeardOf(t *testing.T) {
	nodes := startCluster(t, 3)
	cutOff := nodes[2]
	if err := cutOff.Faults().Set([]fault.Rule{{Peer: "*", Drop: true}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		if _, err := nodes[0].SetBucket(t.Context(), name, someProperties()); err != nil {
			t.Fatal(err)
		}
	}
	if err := cutOff.DeleteBucket(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if err := cutOff.Faults().Set(nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, "every node to reach the others", func() bool {
			v := n.member.View()
			for id, p := range v.Peers {
				if id != v.Self && (p.Down || !n.rpc.Health(id).Up) {
					return false
				}
			}
			return true
		})
	}
	if err := cutOff.DeleteBucket(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, "both buckets to be gone", func() bool { return len(n.Buckets()) == 0 })
	}
	if err := nodes[0].DeleteBucket(t.Context(), "never"); err != nil {
		t.Fatal(err)
	}
	if _, known := (*nodes[0].shared.buckets.Load())["never"]; known {
		t.Error("a bucket that nobody ever configured leaves something behind, though all were asked")
	}
}

// TestTooManyBuckets fills two nodes with different names up to the bound, apart from each other: both refuse more, and when
// they meet nothing is lost. What a peer sends beyond any bound is cut down to the same names on both.
func TestTooManyBuckets(t *testing.T) {
	nodes := startCluster(t, 2)
	state := func(prefix string, count int) []byte {
		st := sharedState{Format: sharedFormat, Buckets: map[string]bucketEntry{}}
		for i := range count {
			st.Buckets[fmt.Sprintf("%s-%06d", prefix, i)] = bucketEntry{Time: uint64(i + 1), Actor: 1, Properties: someProperties()}
		}
		b, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := nodes[0].shared
	for _, part := range []string{"a", "b"} {
		if err := s.Merge(state(part, MaxBuckets)); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[0].SetBucket(t.Context(), "more", someProperties()); !errors.Is(err, ErrTooManyBuckets) {
			t.Fatalf("got %v, want ErrTooManyBuckets", err)
		}
	}
	if got := len(*s.buckets.Load()); got != 2*MaxBuckets {
		t.Errorf("%d buckets after two sides met, want both sides'", got)
	}
	if err := nodes[0].DeleteBucket(t.Context(), "a-000000"); err != nil {
		t.Errorf("one that is configured cannot be deleted: %v", err)
	}
	for _, order := range [][]string{{"x", "c"}, {"c", "x"}} {
		for _, part := range order {
			if err := s.Merge(state(part, MaxBuckets)); err != nil {
				t.Fatal(err)
			}
		}
		now := *s.buckets.Load()
		_, smallest := now["c-000000"]
		if _, largest := now["x-000000"]; len(now) != mostBuckets || !smallest || largest {
			t.Errorf("merged %v: %d buckets, c is kept: %v, x is kept: %v", order, len(now), smallest, largest)
		}
	}
}

// TestBucketsBelowFloor: below the floor of free space a node takes no bucket properties from its own clients, but those that others have set.
func TestBucketsBelowFloor(t *testing.T) {
	nodes := startCluster(t, 3)
	full := nodes[2]
	full.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 100 << 20, TotalBytes: 100 << 30})
	eventually(t, "writes to be refused", func() bool { return errors.Is(full.store.Writable(), store.ErrNoSpace) })
	var refused *coordinator.Error
	if _, err := full.SetBucket(t.Context(), "b", someProperties()); !errors.As(err, &refused) || refused.Code != coordinator.NoSpace {
		t.Errorf("set at the full node: %v", err)
	}
	if _, err := nodes[0].SetBucket(t.Context(), "b", someProperties()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the full node to hear of it", func() bool { _, ok := full.shared.get("b"); return ok })
}
