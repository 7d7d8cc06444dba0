package ring

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// testdata/hash.txt: bucket, key (both quoted), hash, and the partition of 256.
func TestHashVectors(t *testing.T) {
	file, err := os.Open("testdata/hash.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	vectors := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var bucket, key string
		var hash uint64
		var partition Partition
		if _, err := fmt.Sscanf(lines.Text(), "%q %q %x %d", &bucket, &key, &hash, &partition); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		vectors++
		if got := Hash(bucket, key); got != hash || PartitionOf(got, 256) != partition {
			t.Errorf("%q %q: got %016x %d", bucket, key, got, PartitionOf(got, 256))
		}
	}
	if vectors == 0 {
		t.Error("no vectors")
	}
}

func TestPartitionOf(t *testing.T) {
	for _, test := range []struct {
		hash uint64
		q    int
		want Partition
	}{{^uint64(0), 1, 0}, {1 << 63, 2, 1}, {^uint64(0), 256, 255}, {1<<56 - 1, 256, 0}, {1 << 56, 256, 1}, {^uint64(0), MaxPartitions, MaxPartitions - 1}} {
		if got := PartitionOf(test.hash, test.q); got != test.want {
			t.Errorf("partition of %016x among %d: %d, want %d", test.hash, test.q, got, test.want)
		}
	}
}

// The drawing of a layout pins the method of placement: were it to change between two versions of the program, nodes that run both would disagree on owners.
func TestLayoutGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/layout.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := NewLayout(sampleTable(t)).String(); got != string(want) {
		t.Errorf("got:\n%s", got)
	}
}

func TestPreferenceLists(t *testing.T) {
	l := layoutOf(t, 16, owners(1, 5, 0, 1))
	for p := range Partition(16) {
		order := l.Order(p)
		for n := 1; n <= MaxReplicas; n++ {
			if got := slices.Concat(l.Owners(p, n), l.Fallbacks(p, n)); !slices.Equal(got, order) || len(l.Owners(p, n)) != min(n, 5) {
				t.Fatalf("partition %d, n=%d: %v and %v of %v", p, n, l.Owners(p, n), l.Fallbacks(p, n), order)
			}
		}
		for rank, id := range order {
			if l.Rank(p, id) != rank {
				t.Fatalf("partition %d: rank of %v is %d, want %d", p, id, l.Rank(p, id), rank)
			}
		}
		if l.Rank(p, testID(0)) != -1 {
			t.Fatal("a stranger has a rank")
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { _ = l.Owners(3, 3) }); allocs != 0 {
		t.Errorf("Owners allocates %v times", allocs)
	}
}

func TestLayoutWithoutOwners(t *testing.T) {
	for name, table := range map[string]Table{
		"nothing":    {},
		"no members": tableOf(t, 8, nil),
		"joining":    tableOf(t, 8, []Member{{ID: testID(1), Name: "a", Weight: 1, State: Joining}}),
	} {
		l := NewLayout(table)
		if got := l.Owners(0, 3); len(got) != 0 || len(l.Fallbacks(0, 3)) != 0 || l.Rank(0, testID(1)) != -1 {
			t.Errorf("%s: owners %v", name, got)
		}
	}
}

// Applying a difference to the old owners gives the new ones.
func TestDiffLeadsFromOneToTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := owners(rapid.Uint64().Draw(t, "seed"), 12, rapid.IntRange(0, 3).Draw(t, "zones"), 3)
		some := func(label string) *Layout {
			table, err := NewTable("c", 32)
			if err != nil {
				t.Fatal(err)
			}
			for i, in := range rapid.SliceOfN(rapid.Bool(), len(all), len(all)).Draw(t, label) {
				if in {
					if table, err = table.With(all[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			return NewLayout(table)
		}
		a, b, n := some("before"), some("after"), rapid.IntRange(1, 5).Draw(t, "n")
		moves := Diff(a, b, n)
		for p := range Partition(32) {
			have := make(map[ID]bool)
			for _, id := range a.Owners(p, n) {
				have[id] = true
			}
			for _, move := range moves {
				if move.Partition != p {
					continue
				}
				if have[move.ID] == move.Gained {
					t.Fatalf("%+v of what %v has", move, a.Owners(p, n))
				}
				if move.Gained {
					have[move.ID] = true
				} else {
					delete(have, move.ID)
				}
			}
			for _, id := range b.Owners(p, n) {
				if !have[id] {
					t.Fatalf("partition %d: %v is missing after the difference", p, id)
				}
				delete(have, id)
			}
			if len(have) != 0 {
				t.Fatalf("partition %d: %v is left", p, have)
			}
		}
		if len(Diff(a, a, n)) != 0 {
			t.Fatal("a layout differs from itself")
		}
	})
}

func TestHashCoversWhatPlaces(t *testing.T) {
	base := owners(1, 4, 2, 3)
	want := layoutOf(t, 16, base).Hash()
	for name, change := range map[string]func(*Member){
		"incarnation": func(m *Member) { m.ID = testID(77) },
		"name":        func(m *Member) { m.Name += "x" },
		"zone":        func(m *Member) { m.Zone += "x" },
		"weight":      func(m *Member) { m.Weight++ },
	} {
		members := slices.Clone(base)
		change(&members[2])
		if layoutOf(t, 16, members).Hash() == want {
			t.Errorf("another %s makes the same layout", name)
		}
	}
	if layoutOf(t, 32, base).Hash() == want {
		t.Error("another number of partitions makes the same layout")
	}
	members := slices.Clone(base)
	members[2].Addrs = Addrs{HTTP: "elsewhere", Epoch: 9}
	if layoutOf(t, 16, append(members, Member{ID: testID(50), Name: "z", Weight: 1, State: Joining})).Hash() != want {
		t.Error("an address or one that is joining makes another layout")
	}
}
