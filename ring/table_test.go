package ring

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawMember draws rows from a small world, so that tables share incarnations and rows of one incarnation contradict each other.
func drawMember(t *rapid.T) Member {
	text := rapid.SampledFrom([]string{"a", "b", "node-1", "x.y:1"})
	return Member{
		ID:         testID(rapid.Uint64Range(1, 6).Draw(t, "id")),
		Name:       text.Draw(t, "name"),
		Zone:       rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone"),
		Weight:     rapid.Uint32Range(1, 3).Draw(t, "weight"),
		State:      State(rapid.Uint8Range(uint8(Joining), uint8(Replaced)).Draw(t, "state")),
		Addrs:      Addrs{Gossip: text.Draw(t, "gossip"), RPC: text.Draw(t, "rpc"), HTTP: text.Draw(t, "http"), Epoch: rapid.Uint64Range(0, 3).Draw(t, "epoch")},
		ReplacedBy: rapid.SampledFrom([]ID{{}, testID(7), testID(8)}).Draw(t, "replaced by"),
	}
}

// drawTable draws a table that may know its cluster and partitions or not, of two clusters that must not mix.
func drawTable(t *rapid.T) Table {
	var table Table
	if rapid.Bool().Draw(t, "named") {
		var err error
		if table, err = NewTable(rapid.SampledFrom([]string{"c", "c", "c", "d"}).Draw(t, "cluster"), rapid.SampledFrom([]int{0, 8, 8, 16}).Draw(t, "partitions")); err != nil {
			t.Fatal(err)
		}
	}
	if founder := rapid.Uint64Range(0, 2).Draw(t, "founder"); founder > 0 {
		table = table.WithFounder(testID(founder))
	}
	for range rapid.IntRange(0, 5).Draw(t, "rows") {
		var err error
		if table, err = table.With(drawMember(t)); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// mergeAll merges from left to right. All errors count as one result, the top of the lattice: "foreign".
func mergeAll(t *rapid.T, tables ...Table) (Table, bool) {
	merged := tables[0]
	for _, table := range tables[1:] {
		var err error
		if merged, err = Merge(merged, table); err != nil {
			if !errors.Is(err, ErrForeign) {
				t.Fatal(err)
			}
			return Table{}, false
		}
	}
	return merged, true
}

func TestMergeIsALattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawTable(t), drawTable(t), drawTable(t)
		before := [...]string{string(a.Encode()), string(b.Encode()), string(c.Encode())}
		same := func(law string, x Table, xok bool, y Table, yok bool) {
			if xok != yok || !x.Equal(y) {
				t.Fatalf("%s:\n%v %v\n%v %v", law, xok, x, yok, y)
			}
		}
		ab, abOK := mergeAll(t, a, b)
		ba, baOK := mergeAll(t, b, a)
		same("commutative", ab, abOK, ba, baOK)
		left, leftOK := mergeAll(t, a, b, c)
		right, rightOK := Table{}, false
		if bc, ok := mergeAll(t, b, c); ok {
			right, rightOK = mergeAll(t, a, bc)
		}
		same("associative", left, leftOK, right, rightOK)
		aa, aaOK := mergeAll(t, a, a)
		same("idempotent", aa, aaOK, a, true)
		az, azOK := mergeAll(t, a, Table{})
		same("neutral", az, azOK, a, true)
		if abOK {
			again, ok := mergeAll(t, ab, a, b)
			same("absorbing", again, ok, ab, true)
		}
		if before != [...]string{string(a.Encode()), string(b.Encode()), string(c.Encode())} {
			t.Fatal("merging changed an argument")
		}
	})
}

func TestWithIsMergeOfOneRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, m := drawTable(t), drawMember(t)
		with, err := table.With(m)
		if err != nil {
			t.Fatal(err)
		}
		single, err := Table{}.With(m)
		if err != nil {
			t.Fatal(err)
		}
		if merged, ok := mergeAll(t, table, single); !ok || !merged.Equal(with) {
			t.Fatalf("with:\n%v\nmerged:\n%v", with, merged)
		}
		old, had := table.Get(m.ID)
		if got, found := with.Get(m.ID); !found || got.State < m.State || had && got.State < old.State {
			t.Fatalf("%v and %v became %v", old, m, got)
		}
	})
}

func TestMergeOrderOfManyRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(drawMember), 0, 12).Draw(t, "rows")
		build := func(rows []Member) (table Table) {
			for _, m := range rows {
				var err error
				if table, err = table.With(m); err != nil {
					t.Fatal(err)
				}
			}
			return table
		}
		if a, b := build(rows), build(rapid.Permutation(rows).Draw(t, "shuffled")); !a.Equal(b) {
			t.Fatalf("order matters:\n%v\n%v", a, b)
		}
	})
}

func TestByName(t *testing.T) {
	row := func(id uint64, state State) Member {
		return Member{ID: testID(id), Name: "a", Weight: 1, State: state}
	}
	for _, test := range []struct {
		name string
		rows []Member
		want uint64 // 0: none
	}{
		{"nobody", nil, 0},
		{"gone", []Member{row(1, Left), row(2, Removed), row(3, Replaced)}, 0},
		{"successor", []Member{row(1, Replaced), row(2, Active)}, 2},
		{"owner before joining", []Member{row(1, Joining), row(2, Leaving)}, 2},
		{"smaller incarnation", []Member{row(2, Active), row(1, Active)}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := tableOf(t, 8, test.rows)
			got, found := table.ByName("a")
			if found != (test.want > 0) || found && got.ID != testID(test.want) {
				t.Errorf("got %v, %v", got, found)
			}
			var want []ID
			if found && got.State.Owns() {
				want = []ID{got.ID}
			}
			if owners := NewLayout(table).Owners(3, 3); fmt.Sprint(owners) != fmt.Sprint(want) {
				t.Errorf("layout gives the place to %v, ByName to %v", owners, got)
			}
		})
	}
}

func TestTableRefuses(t *testing.T) {
	good := Member{ID: testID(1), Name: "a", Weight: 1, State: Active}
	for name, spoil := range map[string]func(*Member){
		"no incarnation": func(m *Member) { m.ID = ID{} },
		"no name":        func(m *Member) { m.Name = "" },
		"long name":      func(m *Member) { m.Name = strings.Repeat("a", MaxName+1) },
		"everyone":       func(m *Member) { m.Name = "*" },
		"space":          func(m *Member) { m.Name = "a b" },
		"zone":           func(m *Member) { m.Zone = "ä" },
		"no weight":      func(m *Member) { m.Weight = 0 },
		"weight":         func(m *Member) { m.Weight = MaxWeight + 1 },
		"no state":       func(m *Member) { m.State = 0 },
		"state":          func(m *Member) { m.State = Replaced + 1 },
		"address":        func(m *Member) { m.Addrs.RPC = "a\n" },
		"long address":   func(m *Member) { m.Addrs.HTTP = strings.Repeat("a", MaxAddr+1) },
	} {
		m := good
		spoil(&m)
		if _, err := (Table{}).With(m); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, partitions := range []int{-1, 3, 8192} {
		if _, err := NewTable("c", partitions); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d partitions: %v", partitions, err)
		}
	}
	if _, err := NewTable("", 8); !errors.Is(err, ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
}

func TestTableIsBounded(t *testing.T) {
	rows := make([]Member, MaxMembers)
	for i := range rows {
		rows[i] = Member{ID: testID(uint64(i) + 1), Name: "a", Weight: 1, State: Left}
	}
	full := Table{cluster: "c", rows: rows}
	one := Member{ID: testID(MaxMembers + 1), Name: "a", Weight: 1, State: Left}
	if _, err := full.With(one); !errors.Is(err, ErrFull) {
		t.Errorf("with: %v", err)
	}
	single, err := Table{}.With(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(full, single); !errors.Is(err, ErrFull) {
		t.Errorf("merge: %v", err)
	}
	if decoded, err := DecodeTable(full.Encode()); err != nil || !decoded.Equal(full) {
		t.Errorf("a full table does not survive the codec: %v", err)
	}
}

func TestIDText(t *testing.T) {
	id, err := NewID(bytes.NewReader(append(make([]byte, 16), []byte("0123456789abcdef")...)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := id.String(), "30313233343536373839616263646566"; got != want || id.Short() != want[:8] {
		t.Errorf("got %s, %s", got, id.Short())
	}
	if parsed, err := ParseID(id.String()); err != nil || parsed != id {
		t.Errorf("parsed %v, %v", parsed, err)
	}
	for _, bad := range []string{"", "30", strings.Repeat("0", 32), strings.Repeat("g", 32), strings.Repeat("1", 33)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken for an ID", bad)
		}
	}
	if _, err := NewID(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, and no error")
	}
}
