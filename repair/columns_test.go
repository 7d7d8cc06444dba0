package repair

import (
	"testing"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/version"
	"pgregory.net/rapid"
)

func drawClock(t *rapid.T) (v version.Vector) {
	for range rapid.IntRange(0, 12).Draw(t, "dots") {
		a := version.Actor{ID: version.ActorID(rapid.Uint64Range(1, 5).Draw(t, "actor")), N: rapid.Uint8Range(1, 4).Draw(t, "n")}
		counter := rapid.Uint64Range(1, 6).Draw(t, "counter")
		if rapid.Bool().Draw(t, "base") {
			v.AddBase(a, counter)
		} else {
			v.Add(version.Dot{Actor: a, Counter: counter})
		}
	}
	return v
}

// TestColumnsFollowClocks: what differs of a table, sent in columns and put into another, makes that table; and what a side says of the
// entries that it lacks tells exactly what it has of the other's clock.
func TestColumnsFollowClocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 4).Draw(t, "rows")
		mine, theirs := make([]version.Vector, rows), make([]version.Vector, rows)
		for i := range rows {
			mine[i] = drawClock(t)
			if theirs[i] = mine[i].Clone(); rapid.Bool().Draw(t, "differs") {
				theirs[i] = drawClock(t)
			}
		}
		count := columnCount(mine)
		differ := differing(columnHashes(theirs, count), columnHashes(mine, count))
		sent, holes := make([]version.Vector, rows), make([][]version.Entry, rows)
		for i := range rows {
			sent[i], holes[i] = inColumns(theirs[i], differ), holed(theirs[i], differ)
		}
		d := decoder{wire.Read(appendSparse(appendTable(nil, sent), holes))}
		got, gotHoles := d.table(rows), d.sparse(rows)
		if err := d.End(errWire); err != nil {
			t.Fatal(err)
		}
		known := make([][]version.Entry, rows)
		for i := range rows {
			if whole := replaceColumns(overlay(closed(mine)[i], gotHoles[i]), differ, got[i]); !whole.Equal(theirs[i]) {
				t.Fatalf("of %v and %v, in columns %v: %v", mine[i], theirs[i], differ, whole)
			}
			known[i] = lacks(mine[i], theirs[i])
		}
		d = decoder{wire.Read(appendSparse(nil, known))}
		heard := d.sparse(rows)
		if err := d.End(errWire); err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			has := overlay(theirs[i], heard[i])
			for _, e := range theirs[i].Entries() {
				for c := uint64(1); c <= e.Highest(); c++ {
					dot := version.Dot{Actor: e.Actor, Counter: c}
					if theirs[i].Covers(dot) && has.Covers(dot) != mine[i].Covers(dot) {
						t.Fatalf("%v of %v, known as %v: dot %v", mine[i], theirs[i], has, dot)
					}
				}
			}
		}
	})
}

// TestClockSplits: a clock is what it says of the n that are shared, and what it says of those beneath.
func TestClockSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock, least := drawClock(t), rapid.Uint8Range(1, 5).Draw(t, "least")
		both := clock.AtLeast(least)
		both.Merge(beneath(clock, least))
		if !both.Equal(clock) {
			t.Fatalf("%v at n=%d: %v", clock, least, both)
		}
	})
}
