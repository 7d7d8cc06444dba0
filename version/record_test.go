package version

import (
	"errors"
	"slices"
	"testing"
)

func TestSupersedeRefuses(t *testing.T) {
	at := func(id ActorID, n uint8, counter, time uint64, mode Mode) Write {
		return Write{Dot: Dot{Actor{id, n}, counter}, Stamp: Stamp{time, id}, Mode: mode}
	}
	with := func(w Write, context ...Dot) Write {
		for _, d := range context {
			w.Context.Add(d)
		}
		return w
	}
	first := at(1, 3, 1, 10, Siblings)
	local := NewRecord(first)
	cases := []struct {
		name  string
		write Write
		want  error
	}{
		{"sibling of the same n", at(1, 3, 2, 11, Siblings), nil},
		{"raised n beside an unseen sibling", at(1, 5, 1, 11, Siblings), ErrSiblings},
		{"raised n that replaces all", with(at(1, 5, 1, 11, Siblings), first.Dot), nil},
		{"raised n in lww", at(1, 5, 1, 11, LWW), nil},
		{"lower n", at(1, 2, 1, 11, LWW), ErrLowerN},
		{"older stamp", at(1, 3, 2, 9, LWW), ErrStamp},
		{"same stamp", at(1, 3, 2, 10, Siblings), ErrStamp},
		{"dot used before", at(1, 3, 1, 11, LWW), ErrDot},
		{"dot in the context", with(at(2, 3, 1, 11, LWW), Dot{Actor{2, 3}, 1}), ErrDot},
	}
	for _, c := range cases {
		got, err := Supersede(local, c.write)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil && (!got.Covers(c.write.Dot) || !slices.Contains(dots(got), c.write.Dot)) {
			t.Errorf("%s: the write is not alive in\n%v", c.name, got)
		}
	}
}

// A replica refuses a raise when it holds a version that the coordinator did not see, and takes it again and again
// once it has taken it.
func TestCheckRaise(t *testing.T) {
	local := NewRecord(Write{Dot: Dot{Actor{1, 3}, 1}, Stamp: Stamp{10, 1}, Mode: Siblings})
	unseen := NewRecord(Write{Dot: Dot{Actor{2, 5}, 1}, Stamp: Stamp{11, 2}, Mode: Siblings})
	if err := CheckRaise(local, unseen); !errors.Is(err, ErrSiblings) {
		t.Fatal(err)
	}
	seen := NewRecord(Write{Dot: Dot{Actor{2, 5}, 1}, Stamp: Stamp{11, 2}, Mode: Siblings, Context: local.Vector})
	if err := CheckRaise(local, seen); err != nil {
		t.Fatal(err)
	}
	if err := CheckRaise(Merge(local, seen), seen); err != nil {
		t.Fatal(err)
	}
	if err := CheckRaise(Record{}, unseen); err != nil {
		t.Fatal(err)
	}
}

func TestElide(t *testing.T) {
	write := func(counter uint64, value string, deleted bool) Record {
		return NewRecord(Write{Dot: Dot{Actor{1, 3}, counter}, Stamp: Stamp{counter, 1}, Mode: Siblings, Value: []byte(value), Deleted: deleted})
	}
	full := Merge(Merge(write(1, "four", false), write(2, "", false)), Merge(write(3, "", true), write(4, "sixsix", false)))
	if got := full.Elide(10); !got.Equal(full) {
		t.Fatalf("10 bytes do not fit into 10:\n%v", got)
	}
	got := full.Elide(9)
	for i, want := range []struct {
		size   uint32
		elided bool
	}{{4, true}, {0, false}, {0, false}, {6, true}} {
		if v := got.Versions[i]; v.Size != want.size || v.Elided != want.elided || len(v.Value) > 0 {
			t.Errorf("version %d: %v", i, v)
		}
	}
	if !Merge(got, full).Equal(full) || !Merge(full, got).Equal(full) {
		t.Fatal("a value that one side has is lost")
	}
	live := slices.Collect(full.Live())
	if len(live) != 3 || full.IsDeleted() || full.IsAbsent() || !(Record{}).IsAbsent() || (Record{}).IsDeleted() {
		t.Fatalf("live: %v", live)
	}
	for range full.Live() {
		break
	}
}
