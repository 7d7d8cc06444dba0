package repair

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/quorate/quorate/version"
)

// Clocks of many partitions are a table: a row a partition, a column an actor. After an outage two owners differ in the columns of the few
// actors that wrote meanwhile, whatever number there is of actors that write no more. So they compare hashes of columns, each of a fixed share
// of all actors, and send the entries of those that differ. What a lost message leaves is a hole in one row: so columns are compared as they
// would be without holes, and of those that are equal then the entries with holes are sent alone.

// maxColumns bounds the hashes of an open.
const (
	maxColumnBits = 8
	maxColumns    = 1 << maxColumnBits
)

// columnCount is how many columns a table is compared in: as many as it has actors, or somewhat more.
func columnCount(rows []version.Vector) int {
	actors := make(map[version.Actor]struct{})
	for _, row := range rows {
		for _, e := range row.Entries() {
			actors[e.Actor] = struct{}{}
		}
	}
	count := 1
	for count < min(len(actors), maxColumns) {
		count *= 2
	}
	return count
}

func columnOf(a version.Actor, count int) int {
	const golden = 0x9e3779b97f4a7c15 // actors are drawn at random, those of tests are not
	return int((uint64(a.ID)*golden>>32 + uint64(a.N)) % uint64(count))
}

// columnHashes hashes each column of some clocks without their holes: equal columns of tables with the same rows have equal hashes.
func columnHashes(clocks []version.Vector, count int) []uint64 {
	columns := make([][]byte, count)
	for i, row := range closed(clocks) {
		for _, e := range row.Entries() {
			b := &columns[columnOf(e.Actor, count)]
			*b = append(binary.AppendUvarint(*b, uint64(i)), e.Actor.N)
			*b = binary.LittleEndian.AppendUint64(*b, uint64(e.Actor.ID))
			*b = appendEntry(*b, e)
		}
	}
	hashes := make([]uint64, count)
	for c, b := range columns {
		hashes[c] = xxhash.Sum64(b)
	}
	return hashes
}

// closed are clocks without their holes.
func closed(rows []version.Vector) []version.Vector {
	out := make([]version.Vector, len(rows))
	for i, row := range rows {
		for _, e := range row.Entries() {
			out[i].AddBase(e.Actor, e.Highest())
		}
	}
	return out
}

// holed are the entries of a clock that have holes, outside of some columns.
func holed(clock version.Vector, columns []bool) (out []version.Entry) {
	for _, e := range clock.Entries() {
		if len(e.Detached) > 0 && !columns[columnOf(e.Actor, len(columns))] {
			out = append(out, e)
		}
	}
	return out
}

// differing says in which columns two tables differ.
func differing(mine, theirs []uint64) []bool {
	out := make([]bool, len(mine))
	for c := range mine {
		out[c] = mine[c] != theirs[c]
	}
	return out
}

// inColumns is what a clock says of the actors of some columns.
func inColumns(clock version.Vector, columns []bool) (out version.Vector) {
	for _, e := range clock.Entries() {
		if columns[columnOf(e.Actor, len(columns))] {
			out.MergeEntry(e)
		}
	}
	return out
}

// replaceColumns is clock with what other says of the actors of some columns. other must have no other actors.
func replaceColumns(clock version.Vector, columns []bool, other version.Vector) version.Vector {
	kept := make([]bool, len(columns))
	for c := range columns {
		kept[c] = !columns[c]
	}
	out := inColumns(clock, kept)
	out.Merge(other)
	return out
}

// within reports whether a clock has actors of some columns only.
func within(clock version.Vector, columns []bool) bool {
	return !slices.ContainsFunc(clock.Entries(), func(e version.Entry) bool { return !columns[columnOf(e.Actor, len(columns))] })
}

// beneath is what a clock says of the n below least.
func beneath(clock version.Vector, least uint8) (out version.Vector) {
	for _, e := range clock.Entries() {
		if e.Actor.N < least {
			out.MergeEntry(e)
		}
	}
	return out
}

// appendTable writes clocks as a table: every actor once, then a few bytes for each row and actor.
func appendTable(b []byte, rows []version.Vector) []byte {
	var actors []version.Actor
	for _, row := range rows {
		for _, e := range row.Entries() {
			actors = addActor(actors, e.Actor)
		}
	}
	b = appendActors(b, actors)
	for _, row := range rows {
		for _, a := range actors {
			e, _ := row.Entry(a) // none: an empty one
			b = appendEntry(b, e)
		}
	}
	return b
}

// lacks are the entries of a clock that do not cover those of another, also the empty ones: with the other clock they tell what the first
// has of it.
func lacks(mine, theirs version.Vector) (out []version.Entry) {
	for _, e := range theirs.Entries() {
		held, _ := mine.Entry(e.Actor)
		if !held.CoversAll(e) {
			held.Actor = e.Actor
			out = append(out, held)
		}
	}
	return out
}

// overlay is a clock with some entries in the place of its own.
func overlay(clock version.Vector, entries []version.Entry) (out version.Vector) {
	for _, e := range clock.Entries() {
		if i := slices.IndexFunc(entries, func(o version.Entry) bool { return o.Actor == e.Actor }); i >= 0 {
			e = entries[i]
		}
		out.MergeEntry(e)
	}
	return out
}

// appendSparse writes rows of a few entries each, in the order of actors: every actor once, then for each row the numbers of its actors.
func appendSparse(b []byte, rows [][]version.Entry) []byte {
	var actors []version.Actor
	for _, row := range rows {
		for _, e := range row {
			actors = addActor(actors, e.Actor)
		}
	}
	b = appendActors(b, actors)
	for _, row := range rows {
		b = binary.AppendUvarint(b, uint64(len(row)))
		for _, e := range row {
			at, _ := slices.BinarySearchFunc(actors, e.Actor, version.Actor.Compare)
			b = appendEntry(binary.AppendUvarint(b, uint64(at)), e)
		}
	}
	return b
}

// sparse reads a number of rows.
func (d *decoder) sparse(rows int) [][]version.Entry {
	actors := d.actors()
	if rows > d.Left() {
		d.Fail("cut short")
		return nil
	}
	out := make([][]version.Entry, rows)
	for i := range out {
		for range d.Uvarint(uint64(len(actors))) {
			at := d.Uvarint(uint64(max(len(actors), 1) - 1))
			if d.Failed() {
				return nil
			}
			e := d.entry(actors[at])
			if n := len(out[i]); n > 0 && out[i][n-1].Actor.Compare(e.Actor) >= 0 {
				d.Fail("actors out of order")
			}
			out[i] = append(out[i], e)
		}
	}
	return out
}

func addActor(actors []version.Actor, a version.Actor) []version.Actor {
	if at, known := slices.BinarySearchFunc(actors, a, version.Actor.Compare); !known {
		return slices.Insert(actors, at, a)
	}
	return actors
}

func appendActors(b []byte, actors []version.Actor) []byte {
	b = binary.AppendUvarint(b, uint64(len(actors)))
	for _, a := range actors {
		b = binary.LittleEndian.AppendUint64(append(b, a.N), uint64(a.ID))
	}
	return b
}

// appendEntry writes counters: twice the base, plus one if detached intervals follow, each as the gap before it and its length.
func appendEntry(b []byte, e version.Entry) []byte {
	if len(e.Detached) == 0 {
		return binary.AppendUvarint(b, e.Base<<1)
	}
	b = binary.AppendUvarint(b, e.Base<<1|1)
	b = binary.AppendUvarint(b, uint64(len(e.Detached)))
	last := e.Base
	for _, iv := range e.Detached {
		b = binary.AppendUvarint(b, iv.Lo-last-2)
		b = binary.AppendUvarint(b, iv.Hi-iv.Lo)
		last = iv.Hi
	}
	return b
}

// table reads a number of clocks.
func (d *decoder) table(rows int) []version.Vector {
	actors := d.actors()
	if d.Failed() || rows*len(actors) > d.Left() {
		d.Fail("cut short")
		return nil
	}
	out := make([]version.Vector, rows)
	for i := range out {
		for _, a := range actors {
			out[i].MergeEntry(d.entry(a))
		}
	}
	return out
}

const actorSize = 9

func (d *decoder) actors() []version.Actor {
	count := d.Uvarint(uint64(d.Left()) / actorSize)
	actors := make([]version.Actor, 0, count)
	for range count {
		a := version.Actor{N: d.Byte(), ID: version.ActorID(d.U64())}
		if a.N < 1 || a.N > version.MaxN || a.ID == 0 || len(actors) > 0 && actors[len(actors)-1].Compare(a) >= 0 {
			d.Fail("bad actor")
		}
		actors = append(actors, a)
	}
	return actors
}

func (d *decoder) entry(a version.Actor) version.Entry {
	head := d.Uvarint(math.MaxUint64)
	e := version.Entry{Actor: a, Base: head >> 1}
	if head&1 == 0 {
		return e
	}
	last := e.Base
	for range d.Uvarint(uint64(d.Left()) / 2) {
		gap, length := d.Uvarint(version.MaxCounter), d.Uvarint(version.MaxCounter) // so the sums below stay within 64 bits, or wrap visibly
		iv := version.Interval{Lo: last + 2 + gap}
		iv.Hi = iv.Lo + length
		if iv.Lo <= last || iv.Lo > version.MaxCounter || iv.Hi < iv.Lo || iv.Hi > version.MaxCounter {
			d.Fail("bad interval")
		}
		if d.Failed() {
			break
		}
		e.Detached = append(e.Detached, iv)
		last = iv.Hi
	}
	if len(e.Detached) == 0 {
		d.Fail("no interval")
		return version.Entry{Actor: a}
	}
	return e
}
