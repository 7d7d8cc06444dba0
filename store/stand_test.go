package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
	"pgregory.net/rapid"
)

func owner(i byte) ring.ID { return ring.ID{0: i, 15: 1} }

func mustStand(t testing.TB, s *Store, k Key, n uint8, targets []ring.ID, fn UpdateFunc) Result {
	t.Helper()
	res, err := s.StandUpdate(k, n, targets, fn)
	if err != nil {
		t.Fatalf("stand: %v", err)
	}
	mustWait(t, res.Commit)
	return res
}

// received is a write of another node's actor as it would come in.
func received(actor version.ActorID, counter uint64, mode version.Mode, value string, context version.Vector) version.Record {
	d := version.Dot{Actor: version.Actor{ID: actor, N: 3}, Counter: counter}
	return version.NewRecord(version.Write{Dot: d, Mode: mode, Value: []byte(value), Stamp: clockOf.next(actor), Context: context})
}

func wantHeld(t testing.TB, s *Store, k Key, want ...string) version.Record {
	t.Helper()
	r, ok, err := s.StandGet(k)
	if err != nil || ok != (len(want) > 0) || fmt.Sprint(values(r)) != fmt.Sprint(want) {
		t.Fatalf("hand-off of %q: %q, %v, %v; want %q", k.Key, values(r), ok, err, want)
	}
	return r
}

func allHandOffs(t testing.TB, s *Store, p ring.Partition, target ring.ID) []HandOff {
	t.Helper()
	var all []HandOff
	after := Key{}
	for {
		page, end, err := s.HandOffPage(p, target, after, 1)
		if err != nil {
			t.Fatalf("page: %v", err)
		}
		all = append(all, page...)
		if end {
			return all
		}
		after = page[len(page)-1].Key
	}
}

// TestStandIn: what a fallback keeps is seen by nothing that shows what an owner has, and by everything that is about hand-offs; also after a restart.
func TestStandIn(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	k, other := keyOf("k", 1), keyOf("other", 1)
	first := mustStand(t, s, k, 3, []ring.ID{owner(1), owner(2)}, put(version.LWW, "made here", nil, nil))
	if d := first.Record.Versions[0].Dot; d.Actor != (version.Actor{ID: s.StandActor(), N: 3}) || d.Counter != 1 {
		t.Fatalf("made under dot %v", d)
	}
	res, err := s.StandApply(other, received(77, 1, version.Siblings, "from an owner", version.Vector{}), owner(2))
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, res.Commit)
	for range 2 {
		wantHeld(t, s, k, "made here")
		wantHeld(t, s, other, "from an owner")
		wantHeld(t, s, keyOf("neither", 1))
		wantValues(t, s, k)
		if clock := s.Clock(0); !clock.IsEmpty() {
			t.Fatalf("the clock of what is owned here has %v", clock)
		}
		if got := s.HandOffs(); got.Count != 2 || got.Bytes == 0 {
			t.Fatalf("sums: %+v", got)
		}
		want := []Owed{{0, owner(1), 1, true}, {0, owner(2), 2, true}}
		if got := s.Owed(); !slices.Equal(got, want) {
			t.Fatalf("owed: %+v, want %+v", got, want)
		}
		if s.Empty() {
			t.Fatal("a store that holds hand-offs is not empty")
		}
		checkStore(t, s, nil)
		mustClose(t, s)
		s = mustOpen(t, o)
	}
	mustClose(t, s)
}

// TestDelivery: nothing is forgotten but what its owner confirmed, and only as it was confirmed; the dots go last.
func TestDelivery(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	a, b := owner(1), owner(2)
	k, other := keyOf("k", 1), keyOf("other", 1)
	mustStand(t, s, k, 3, []ring.ID{a, b}, put(version.LWW, "old", nil, nil))
	mustStand(t, s, other, 3, []ring.ID{a, b}, put(version.LWW, "other", nil, nil))
	sent := allHandOffs(t, s, 0, a)
	mustStand(t, s, k, 3, []ring.ID{a, b}, put(version.LWW, "new", nil, nil))
	if n, err := s.Delivered(a, 7, sent); n != 1 || err != nil {
		t.Fatalf("%d forgotten, %v; one of the two had changed", n, err)
	}
	if dots, _, err := s.OwedDots(0, a); !dots.IsEmpty() || err != nil {
		t.Fatalf("dots %v, %v: one hand-off is not served", dots, err)
	}
	if n, err := s.Delivered(a, 7, allHandOffs(t, s, 0, a)); n != 1 || err != nil {
		t.Fatalf("%d forgotten, %v", n, err)
	}
	wantHeld(t, s, k, "new") // for b
	dots, _, err := s.OwedDots(0, a)
	if err != nil || !dots.Covers(version.Dot{Actor: version.Actor{ID: s.StandActor(), N: 3}, Counter: 3}) {
		t.Fatalf("dots %v, %v", dots, err)
	}
	mustStand(t, s, k, 3, []ring.ID{a, b}, put(version.LWW, "newer", nil, nil))
	if err := s.AdoptedDots(0, a, dots); err != nil {
		t.Fatal(err)
	}
	checkStore(t, s, nil)
	for _, id := range []ring.ID{a, b} {
		if _, err := s.Delivered(id, 7, allHandOffs(t, s, 0, id)); err != nil {
			t.Fatal(err)
		}
	}
	left, _, err := s.OwedDots(0, a)
	if want := "{" + s.StandActor().String() + "/3:0+4}"; err != nil || left.String() != want {
		t.Fatalf("dots %v, %v; want %v: the others were adopted", left, err, want)
	}
	if got := s.HandOffs(); got.Count != 0 || got.Bytes != 0 {
		t.Fatalf("sums: %+v", got)
	}
	if st := s.Stats(); st.Pending != 0 {
		t.Errorf("%d commits are pending in an idle store", st.Pending)
	}
	checkStore(t, s, nil)
}

// TestReaddress: whoever took a lost owner's place gets what the hand-offs hold, and never the dots from before its time.
func TestReaddress(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	lost, stays, namesake := owner(1), owner(2), owner(3)
	k, kept := keyOf("k", 1), keyOf("kept", 1)
	mustStand(t, s, k, 3, []ring.ID{lost, stays}, put(version.LWW, "delivered and forgotten", nil, nil))
	for _, id := range []ring.ID{lost, stays} {
		if _, err := s.Delivered(id, 7, allHandOffs(t, s, 0, id)); err != nil {
			t.Fatal(err)
		}
	}
	mustStand(t, s, kept, 3, []ring.ID{lost, stays}, put(version.LWW, "kept", nil, nil))
	if n, err := s.Readdress(lost, allHandOffs(t, s, 0, lost), func(*HandOff) []ring.ID { return []ring.ID{namesake, stays} }); n != 1 || err != nil {
		t.Fatalf("%d readdressed, %v", n, err)
	}
	mustStand(t, s, k, 3, []ring.ID{namesake, stays}, put(version.LWW, "in its time", nil, nil))
	if n, err := s.Delivered(namesake, 7, allHandOffs(t, s, 0, namesake)); n != 2 || err != nil {
		t.Fatalf("%d forgotten, %v", n, err)
	}
	dots, _, err := s.OwedDots(0, namesake)
	if want := "{" + s.StandActor().String() + "/3:0+3}"; err != nil || dots.String() != want {
		t.Fatalf("dots %v, %v; want %v", dots, err, want)
	}
	if got := s.Owed(); len(got) != 2 || got[0].Owner != stays || got[1].Owner != namesake {
		t.Fatalf("owed: %+v", got)
	}
	if st := s.Stats(); st.Pending != 0 {
		t.Errorf("%d commits are pending in an idle store", st.Pending)
	}
	checkStore(t, s, nil)
}

// TestHandOffSpace: at the bound a fallback refuses, with nothing changed, and takes again what fits when something was delivered.
func TestHandOffSpace(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions, o.MaxHandOffs = 2, 10_000
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	big := string(bytes.Repeat([]byte("x"), 3000))
	taken := 0
	for i := range 10 {
		before := s.HandOffs()
		var dot version.Dot
		res, err := s.StandUpdate(keyOf(fmt.Sprint("k", i), 2), 3, []ring.ID{owner(1)}, put(version.Siblings, big, nil, &dot))
		if err == nil {
			mustWait(t, res.Commit)
			taken++
			continue
		}
		counter, own := s.Issued(keyOf(fmt.Sprint("k", i), 2).Partition, dot.Actor)
		after := s.HandOffs()
		before.Refused++
		if !errors.Is(err, ErrHandOffSpace) || after != before || !own || counter != dot.Counter-1 {
			t.Fatalf("%v; %+v, was %+v; %d issued, dot %v", err, s.HandOffs(), before, counter, dot)
		}
	}
	if taken != 3 {
		t.Fatalf("%d of 3,000 bytes were taken within 10,000", taken)
	}
	res, err := s.StandApply(keyOf("k0", 2), received(9, 1, version.LWW, "small", wantHeld(t, s, keyOf("k0", 2), big).Vector), owner(1))
	if err != nil {
		t.Fatalf("what makes a hand-off smaller must be taken at the bound: %v", err)
	}
	mustWait(t, res.Commit)
	mustStand(t, s, keyOf("again", 2), 3, []ring.ID{owner(1)}, put(version.LWW, big, nil, nil))
	checkStore(t, s, nil)
}

// TestStandRefuses: what an owner refuses a fallback refuses too.
func TestStandRefuses(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	k := keyOf("k", 1)
	mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.Siblings, "one", nil, nil))
	own := version.Actor{ID: s.StandActor(), N: 3}
	future := received(s.StandActor(), 2, version.LWW, "future", version.Vector{})
	for name, take := range map[string]func(version.Record) (Result, error){
		"stand in": func(r version.Record) (Result, error) { return s.StandApply(k, r, owner(1)) },
		"owner":    func(r version.Record) (Result, error) { return s.Apply(k, r) },
	} {
		if _, err := take(future); !errors.Is(err, ErrFuture) {
			t.Errorf("%s: %v, want ErrFuture", name, err)
		}
		if _, err := take(received(9, 1, version.LWW, "value", version.Vector{}).Elide(0)); !errors.Is(err, ErrElided) {
			t.Errorf("%s: %v, want ErrElided", name, err)
		}
		var beyond version.Vector
		beyond.AddBase(own, 100)
		res, err := take(received(8, 1, version.Siblings, "from a liar", beyond))
		if err != nil || res.Record.Covers(version.Dot{Actor: own, Counter: 2}) {
			t.Errorf("%s: %v, %v: covers a dot that is still to be made", name, err, res.Record)
		}
	}
	raised := received(7, 1, version.Siblings, "n=5", version.Vector{})
	raised.N, raised.Versions[0].Dot.Actor.N = 5, 5
	raised.Vector = version.Vector{}
	raised.Vector.Add(raised.Versions[0].Dot)
	if res, err := s.StandApply(k, raised, owner(1)); !errors.Is(err, ErrSiblings) || res.Record.IsAbsent() {
		t.Errorf("%v, %v: want ErrSiblings with the record", err, res.Record)
	}
	mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.Siblings, "two", nil, nil))
	if _, err := s.StandUpdate(k, 3, nil, put(version.LWW, "for nobody", nil, nil)); !errors.Is(err, ErrKey) {
		t.Errorf("%v: a hand-off for nobody", err)
	}
	checkStore(t, s, nil)
}

// TestHandOffVector: keys that are written in turn keep one interval each; and what a forgotten hand-off held is not claimed to be seen.
func TestHandOffVector(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	k, other := keyOf("k", 1), keyOf("other", 1)
	first := mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.Siblings, "first", nil, nil)).Record
	if _, err := s.Delivered(owner(1), 7, allHandOffs(t, s, 0, owner(1))); err != nil {
		t.Fatal(err)
	}
	none := version.Vector{}
	for i := range 20 {
		mustStand(t, s, other, 3, []ring.ID{owner(1)}, put(version.Siblings, fmt.Sprint(i), nil, nil))
		mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.Siblings, fmt.Sprint(i), &none, nil))
	}
	held, _, err := s.StandGet(k)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := held.Vector.Entry(version.Actor{ID: s.StandActor(), N: 3}); len(e.Detached) != 1 || e.Base != 0 {
		t.Errorf("vector %v, want one interval", held.Vector)
	}
	if merged := version.Merge(first, held); len(merged.Versions) != 21 {
		t.Errorf("%d siblings, want 21: the first was delivered, and nobody replaced it", len(merged.Versions))
	}
}

func FuzzHandOffValue(f *testing.F) {
	rec := received(1, 2, version.LWW, "v", version.Vector{})
	f.Add(appendHandOff(nil, &handOff{targets: []ring.ID{owner(1), owner(2)}, record: rec}))
	f.Add(appendHandOff(nil, &handOff{targets: []ring.ID{owner(1)}, own: ownDots{version.Actor{ID: 5, N: 3}, 7}, record: rec}))
	f.Add(appendDebt(nil, &debt{entries: 3, runs: []dotRun{{version.Actor{ID: 5, N: 3}, 7, 9}}, opening: 6}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHandOff(bytes.Clone(b)); err == nil {
			if again := appendHandOff(nil, &h); !bytes.Equal(again, b) {
				t.Fatalf("%x decodes to %+v, which encodes to %x", b, h, again)
			}
		} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Fatalf("%x: %v", b, err)
		}
		if d, err := decodeDebt(b); err == nil && b[0] == debtFormat {
			if again := appendDebt(nil, &d); !bytes.Equal(again, b) {
				t.Fatalf("%x decodes to %+v, which encodes to %x", b, d, again)
			}
		} else if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

// TestDebt: runs hold the dots that were made and not confirmed, and nothing else.
func TestDebt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d debt
		var want version.Vector
		actors := []version.Actor{{ID: 1, N: 3}, {ID: 1, N: 5}, {ID: 2, N: 3}}
		counters := make([]uint64, len(actors))
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			i := rapid.IntRange(0, len(actors)-1).Draw(t, "actor")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // somebody else's dot
				counters[i]++
			case 1:
				dots := d.dots()
				d.confirmed(dots)
				want = version.Vector{}
			default:
				counters[i]++
				dot := version.Dot{Actor: actors[i], Counter: counters[i]}
				before := d.dots()
				d.made(dot)
				want.Add(dot)
				if rapid.Bool().Draw(t, "an older confirmation") {
					d.confirmed(before)
					want = version.Vector{}
					want.Add(dot)
				}
			}
			if got := d.dots(); !got.Equal(want) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	})
}

// TestOpeningOfDebt: dots stay owed as long as everything since the first of them was confirmed under one opening of the owner's store.
func TestOpeningOfDebt(t *testing.T) {
	dot := func(c uint64) version.Dot { return version.Dot{Actor: version.Actor{ID: 5, N: 3}, Counter: c} }
	for name, c := range map[string]struct {
		steps []version.ActorID // 1: a dot is made; otherwise the opening under which a hand-off is confirmed, 0 for none
		want  debt
	}{
		"one opening":           {[]version.ActorID{1, 1, 7, 7}, debt{runs: []dotRun{{dot(1).Actor, 1, 2}}, opening: 7}},
		"dots in between":       {[]version.ActorID{1, 7, 1, 7}, debt{runs: []dotRun{{dot(1).Actor, 1, 2}}, opening: 7}},
		"two openings":          {[]version.ActorID{1, 1, 7, 8}, debt{}},
		"not confirmed":         {[]version.ActorID{1, 1, 7, 0}, debt{}},
		"before the first dot":  {[]version.ActorID{7, 1, 8}, debt{runs: []dotRun{{dot(1).Actor, 1, 1}}, opening: 8}},
		"since they were mixed": {[]version.ActorID{1, 7, 8, 1, 8}, debt{runs: []dotRun{{dot(1).Actor, 2, 2}}, opening: 8}},
	} {
		var d debt
		counter := uint64(0)
		for _, step := range c.steps {
			if step == 1 {
				counter++
				d.made(dot(counter))
			} else {
				d.served(step)
			}
		}
		if d.opening != c.want.opening || !slices.Equal(d.runs, c.want.runs) {
			t.Errorf("%s: %+v, want %+v", name, d, c.want)
		}
		if d.confirmed(d.dots()); d.opening != 0 || len(d.runs) > 0 {
			t.Errorf("%s: adopted: %+v", name, d)
		}
	}
}

// TestDebtWithoutOpening: of a debt in the format that did not name openings only the hand-offs count, whoever confirmed what.
func TestDebtWithoutOpening(t *testing.T) {
	run := append([]byte{1, 3, 0, 0, 0, 0, 0, 0, 0, 5}, 7, 2) // one, of n=3, actor 5, from 7 to 9
	for entries, bytes := range map[uint64][]byte{3: append([]byte{1, 3}, run...), 0: append([]byte{1, 0}, run...)} {
		if d, err := decodeDebt(bytes); err != nil || d.entries != entries || len(d.runs) > 0 || d.opening != 0 {
			t.Errorf("%d: %+v, %v", entries, d, err)
		}
	}
}

// TestOwedDotsNameTheOpening: under which opening an owner confirmed what its dots rest on is known after a restart, and the owner adopts them under no other.
func TestOwedDotsNameTheOpening(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	k := keyOf("k", 1)
	mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.LWW, "v", nil, nil))
	if _, err := s.Delivered(owner(1), 7, allHandOffs(t, s, 0, owner(1))); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	defer func() { mustClose(t, s) }()
	dots, opening, err := s.OwedDots(0, owner(1))
	if err != nil || dots.IsEmpty() || opening != 7 {
		t.Fatalf("%v under opening %v, %v", dots, opening, err)
	}
	for _, opening := range []version.ActorID{0, s.Actor() + 1} {
		if err := s.AdoptUnder(opening, 0, dots); !errors.Is(err, ErrReopened) || !s.Clock(0).IsEmpty() {
			t.Errorf("under opening %v: %v, clock %v", opening, err, s.Clock(0))
		}
	}
	if err := s.AdoptUnder(s.Actor(), 0, dots); err != nil || !s.Clock(0).Equal(dots) {
		t.Errorf("%v, clock %v", err, s.Clock(0))
	}
}

// standWorkload stands in, as a coordinator and for another, delivers and readdresses, and notes what was acknowledged.
func standWorkload(s *Store, f *facts, partitions int, r *rand.Rand) {
	k := keyOf(fmt.Sprint("h", r.IntN(4)), partitions)
	targets := []ring.ID{owner(1), owner(2)}
	var res Result
	var err error
	if r.IntN(2) == 0 {
		res, err = s.StandUpdate(k, 3, targets[:1+r.IntN(2)], func(local version.Record, d version.Dot) (version.Record, error) {
			f.note(func() { f.known.add(k.Partition, d) })
			return put(version.Siblings, "stood in", nil, nil)(local, d)
		})
	} else {
		res, err = s.StandApply(k, received(66, uint64(1+r.IntN(1000)), version.LWW, "for one", version.Vector{}), owner(1))
	}
	if err == nil && r.IntN(3) > 0 && res.Commit.Wait() == nil {
		f.note(func() { f.standing(k, res.Record) })
	}
	if held, ok, err := s.StandGet(k); err == nil && ok {
		f.note(func() { f.standing(k, held) })
	}
	target := targets[r.IntN(2)]
	page, _, err := s.HandOffPage(k.Partition, target, Key{}, 1)
	if err != nil || len(page) == 0 {
		return
	}
	switch r.IntN(3) {
	case 0:
		f.note(func() { f.delivering(page) })
		if n, err := s.Delivered(target, 7, page); err == nil && n > 0 {
			if dots, _, err := s.OwedDots(k.Partition, target); err == nil {
				_ = s.AdoptedDots(k.Partition, target, dots)
			}
		}
	case 1:
		_, _ = s.Readdress(target, page, func(*HandOff) []ring.ID { return []ring.ID{owner(3)} })
	}
}

// TestForgetBelowFloor: a disk that hand-offs have filled refuses more of them, and lets those go that were delivered.
func TestForgetBelowFloor(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	defer mustClose(t, s)
	k := keyOf("k", 4)
	mustStand(t, s, k, 3, []ring.ID{owner(1)}, put(version.LWW, "kept", nil, nil))
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 20, TotalBytes: 1 << 40})
	s.checkSpace()
	if _, err := s.StandApply(k, received(9, 1, version.LWW, "more", version.Vector{}), owner(1)); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("below the floor: %v, want %v", err, ErrNoSpace)
	}
	if n, err := s.Delivered(owner(1), 7, allHandOffs(t, s, k.Partition, owner(1))); n != 1 || err != nil {
		t.Fatalf("%d forgotten, %v", n, err)
	}
	dots, _, err := s.OwedDots(k.Partition, owner(1))
	if err == nil {
		err = s.AdoptedDots(k.Partition, owner(1), dots)
	}
	if got := s.Owed(); len(got) > 0 || err != nil {
		t.Fatalf("owed: %+v, %v", got, err)
	}
}

// TestCorruptHandOff: a damaged hand-off is an error to whoever asks for it, and keeps no other one back.
func TestCorruptHandOff(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	defer mustClose(t, s)
	for _, name := range []string{"a", "b", "c"} {
		mustStand(t, s, keyOf(name, 1), 3, []ring.ID{owner(1)}, put(version.LWW, name, nil, nil))
	}
	var buf keyBuffer
	if err := s.cur.Load().db.Set(locateHandOff(&buf, keyOf("b", 1)).enc, []byte{valueFormat, 1, 2, 3}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.StandGet(keyOf("b", 1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want %v", err, ErrCorrupt)
	}
	got := allHandOffs(t, s, 0, owner(1))
	if len(got) != 2 || got[0].Key.Key != "a" || got[1].Key.Key != "c" || s.Stats().Corrupt == 0 {
		t.Errorf("%d hand-offs; %d damaged ones counted", len(got), s.Stats().Corrupt)
	}
	if n, err := s.Delivered(owner(1), 7, got); n != 2 || err != nil {
		t.Errorf("%d forgotten, %v", n, err)
	}
	if dots, _, err := s.OwedDots(0, owner(1)); !dots.IsEmpty() || err != nil {
		t.Errorf("dots %v, %v: one hand-off was never served", dots, err)
	}
}
