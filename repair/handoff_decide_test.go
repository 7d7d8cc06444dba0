package repair

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

func handOffOf(p ring.Partition, key string, n uint8) store.HandOff {
	return store.HandOff{Key: store.Key{Partition: p, Bucket: "b", Key: key}, Record: version.Record{N: n}}
}

// TestDivide: a target keeps what it owns by the record's n, and everything else goes to the owners.
func TestDivide(t *testing.T) {
	v := viewOf(t, 4, 5)
	order := v.Sole().Owners(2, 5)
	page := []store.HandOff{handOffOf(2, "one", 1), handOffOf(2, "three", 3), handOffOf(2, "five", 5), handOffOf(2, "more than there are", 16)}
	for _, c := range []struct {
		target ring.ID
		stay   []string
	}{
		{order[0], []string{"one", "three", "five", "more than there are"}},
		{order[2], []string{"three", "five", "more than there are"}},
		{order[4], []string{"five", "more than there are"}},
		{ring.ID{99}, nil},
	} {
		stay, move := divide(v, page, c.target)
		var names []string
		for _, h := range stay {
			names = append(names, h.Key.Key)
		}
		if !slices.Equal(names, c.stay) || len(stay)+len(move) != len(page) {
			t.Errorf("%v: %q stay, want %q; %d move", c.target.Short(), names, c.stay, len(move))
		}
	}
	if got := ownersOf(v, &page[1]); !slices.Equal(got, order[:3]) {
		t.Errorf("owners %v, want %v", got, order[:3])
	}
}

func TestErrands(t *testing.T) {
	a, b := ring.ID{1}, ring.ID{2}
	got := errandsOf([]store.Owed{{Partition: 0, Owner: a, HandOffs: 2}, {Partition: 0, Owner: b, HandOffs: 1}, {Partition: 3, Owner: a, Dots: true}})
	if len(got) != 2 || fmt.Sprint(*got[a]) != fmt.Sprint(errand{a, []ring.Partition{0, 3}, 2}) || fmt.Sprint(*got[b]) != fmt.Sprint(errand{b, []ring.Partition{0}, 1}) {
		t.Errorf("%v, %v", got[a], got[b])
	}
}

// TestOwnersOfAllLayouts: while a layout takes another's place, what is kept goes to the owners of both, a target that owns in the older one is one still, and one that is
// lost is none.
func TestOwnersOfAllLayouts(t *testing.T) {
	settled := viewOf(t, 4, 4)
	change := func(rows ...layouts.Row) *layouts.View {
		s, err := settled.Propose(ring.ID{1}, rows...)
		if err != nil {
			t.Fatal(err)
		}
		return placed(s)
	}
	for p := range ring.Partition(4) {
		h := handOffOf(p, "k", 3)
		before := settled.Sole().Owners(p, 3)
		goes := before[1]
		leaving := change(layouts.Row{ID: goes, Standing: layouts.Leaves, Name: rowOf(int(goes[0]), 0).Name, Weight: 1})
		if got := ownersOf(leaving, &h); len(got) != 4 {
			t.Errorf("partition %d while one leaves: %v", p, got)
		}
		if stay, _ := divide(leaving, []store.HandOff{h}, goes); len(stay) != 1 {
			t.Errorf("partition %d: a leaver that still owns in the older layout is no target any more", p)
		}
		lost := change(layouts.Row{ID: goes, Standing: layouts.Forced, Name: rowOf(int(goes[0]), 0).Name, Weight: 1})
		if got := ownersOf(lost, &h); slices.Contains(got, goes) || len(got) != 3 {
			t.Errorf("partition %d when one is lost: %v", p, got)
		}
		if stay, _ := divide(lost, []store.HandOff{h}, goes); len(stay) != 0 {
			t.Errorf("partition %d: a lost one is still a target", p)
		}
	}
}

func TestReachable(t *testing.T) {
	v := viewOf(t, 4, 4)
	order := v.Sole().Owners(1, 4)
	self, up, down, gone := order[0], order[1], order[2], ring.ID{99}
	o := Ownership{Rings: v, Self: self, Peers: map[ring.ID]Peer{self: {}, up: {}, down: {Down: true}}}
	for id, want := range map[ring.ID]bool{self: true, up: true, down: false, gone: true} {
		if got := reachable(&o, &errand{owner: id, partitions: []ring.Partition{1}}); got != want {
			t.Errorf("%v: %v", id.Short(), got)
		}
	}
}

// TestErrandOrder: what the owner need not answer for comes first.
func TestErrandOrder(t *testing.T) {
	big := viewOf(t, 16, 20)
	var owned, not []ring.Partition
	for p := range ring.Partition(16) {
		if big.Least(ring.ID{1}, p) > 0 {
			owned = append(owned, p)
		} else {
			not = append(not, p)
		}
	}
	e := errand{owner: ring.ID{1}, partitions: slices.Concat(owned, not)}
	if got := e.order(big); !slices.Equal(got, slices.Concat(not, owned)) || len(not) == 0 || len(owned) == 0 {
		t.Errorf("%v, owned are %v", got, owned)
	}
}

// TestOwnedDots: an owner is told of dots with an n that makes it one.
func TestOwnedDots(t *testing.T) {
	v := viewOf(t, 4, 4)
	var dots version.Vector
	dots.AddBase(version.Actor{ID: 1, N: 1}, 5)
	dots.AddBase(version.Actor{ID: 1, N: 3}, 5)
	for rank, want := range []int{2, 1, 1, 0} {
		if got := ownedDots(v, 1, v.Sole().Owners(1, 4)[rank], dots); got.Len() != want {
			t.Errorf("rank %d: %v", rank, got)
		}
	}
	if got := ownedDots(v, 1, ring.ID{99}, dots); !got.IsEmpty() {
		t.Errorf("no member: %v", got)
	}
}

func TestServed(t *testing.T) {
	batch := []store.HandOff{handOffOf(0, "0", 1), handOffOf(0, "1", 1), handOffOf(0, "2", 1)}
	for _, c := range []struct {
		refused []refusal
		want    string
	}{{nil, "012"}, {[]refusal{{0, ""}}, "12"}, {[]refusal{{1, ""}, {2, ""}}, "0"}, {[]refusal{{0, ""}, {1, ""}, {2, ""}}, ""}} {
		got := ""
		for _, h := range served(batch, c.refused) {
			got += h.Key.Key
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.refused, got, c.want)
		}
	}
}

func TestWorthTelling(t *testing.T) {
	for _, c := range []struct {
		now  sums
		told *sums
		want bool
	}{
		{sums{}, &sums{}, false},
		{sums{}, nil, true}, // it may have been told something before this node started
		{sums{1, 10}, nil, true},
		{sums{1, 10}, &sums{}, true},
		{sums{1, 10}, &sums{1, 10}, true}, // whoever has started anew does not know
		{sums{}, &sums{1, 10}, true},
	} {
		if got := worthTelling(c.now, c.told); got != c.want {
			t.Errorf("%v after %v: %v", c.now, c.told, got)
		}
	}
}

func sampleHandOffMessages() map[byte][]byte {
	rec := version.NewRecord(version.Write{Dot: version.Dot{Actor: alice, Counter: 7}, Mode: version.LWW, Value: []byte("v"), Stamp: version.Stamp{Time: 5, Actor: 1}})
	return map[byte][]byte{
		0: (&handOffs{Digest: 5, Partition: 200, Records: []handed{{"b", "k", rec}, {"b", "\x00", rec}}}).append(nil),
		1: (&taken{Pressure: 120, Opening: 9, Refused: []refusal{{0, "too large"}, {6, ""}}}).append(nil),
		2: (&settle{Digest: 5, Partition: 3, Opening: 9, Dots: bases(3, 9)}).append(nil),
		3: (&sums{Count: 1 << 40, Bytes: 1 << 50}).append(nil),
		4: (&settled{Adopted: true}).append(nil),
	}
}

func decodeAndAppendHandOff(kind byte, b []byte) ([]byte, error) {
	switch kind {
	case 0:
		m, err := decodeHandOffs(b)
		return m.append(nil), err
	case 1:
		m, err := decodeTaken(b, 7)
		return m.append(nil), err
	case 2:
		m, err := decodeSettle(b)
		return m.append(nil), err
	case 4:
		m, err := decodeSettled(b)
		return m.append(nil), err
	}
	m, err := decodeSums(b)
	return m.append(nil), err
}

func TestHandOffMessages(t *testing.T) {
	for kind, b := range sampleHandOffMessages() {
		got, err := decodeAndAppendHandOff(kind, b)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("message %d: %x, %v; want %x", kind, got, err, b)
		}
		for cut := range b {
			if _, err := decodeAndAppendHandOff(kind, b[:cut]); !errors.Is(err, errWire) {
				t.Errorf("message %d cut to %d bytes: %v", kind, cut, err)
			}
		}
		if _, err := decodeAndAppendHandOff(kind, append(bytes.Clone(b), 0)); !errors.Is(err, errWire) {
			t.Errorf("message %d with a byte too many: %v", kind, err)
		}
	}
	if _, err := decodeTaken((&taken{Refused: []refusal{{7, ""}}}).append(nil), 7); !errors.Is(err, errWire) {
		t.Errorf("a refusal of what was not sent: %v", err)
	}
}

// FuzzHandOffMessages: no bytes of a peer panic, and what decodes means the same when it is written again.
func FuzzHandOffMessages(f *testing.F) {
	for kind, b := range sampleHandOffMessages() {
		f.Add(kind, b)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		once, err := decodeAndAppendHandOff(kind%5, b)
		if err != nil {
			return
		}
		twice, err := decodeAndAppendHandOff(kind%5, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("message %d: %x, then %x, %v", kind%5, once, twice, err)
		}
	})
}
