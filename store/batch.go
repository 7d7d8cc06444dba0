package store

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

const (
	// batchOverhead is what a batch holds beside the record and its key, for a write that replaces one version.
	batchOverhead = 192
	// clockLag is how many counters of an actor may be told by log entries alone, before its clock is written anew: at opening, a seek
	// and at most so many entries are read per partition and actor that wrote since.
	clockLag = 256
)

// saved is what the database holds under c of one actor.
type saved struct{ base, highest uint64 }

// fill puts a change into a batch: the record, the log entries of versions that came, the removal of those that went, and clocks.
//
// A dot that came need not be written into the actor's clock at once: its log entry tells of it, and opening adds the log to the
// clocks. The clock must be written before the entry goes, or if there is none because the version was superseded on arrival.
// Overwritten versions are mostly older than the clock that is on the disk, so of four entries a write costs three.
//
// An entry is written when its version comes and removed when that goes, by turns, never written twice in a row (invariant 2). So a single delete
// removes it, which ends with the entry it meets in the next flush or compaction and does not sink to the lowest level.
func (p *partition) fill(b *pebble.Batch, l *locator, ch *change, received []version.Dot, record []byte) {
	// A batch in memory accepts everything: its errors come from Apply.
	_ = b.Set(l.enc, record, nil)
	name := l.enc[3:]
	var room [8]version.Actor
	due := room[:0]
	for i := range ch.after.Versions {
		if d := ch.after.Versions[i].Dot; !ch.before.Has(d) {
			op := b.SetDeferred(logKeyLen, 1+len(name))
			putLogKey(op.Key, l.Partition, d)
			op.Value[0] = valueFormat
			copy(op.Value[1:], name)
			_ = op.Finish()
			// A dot that was forgotten again (Options.MaxDetached) is not in the clock: writing that would change nothing.
			if d.Counter > p.saved[d.Actor].highest+clockLag && p.clock.Covers(d) {
				due = append(due, d.Actor)
			}
		}
	}
	for i := range ch.before.Versions {
		if d := ch.before.Versions[i].Dot; !ch.after.Has(d) {
			op := b.SingleDeleteDeferred(logKeyLen)
			putLogKey(op.Key, l.Partition, d)
			_ = op.Finish()
			if d.Counter > p.saved[d.Actor].base {
				due = append(due, d.Actor)
			}
		}
	}
	for _, d := range received {
		if !ch.after.Has(d) {
			due = append(due, d.Actor)
		}
	}
	for i, a := range due {
		if !slices.Contains(due[:i], a) {
			p.saveClock(b, l.Partition, a)
		}
	}
}

func (p *partition) saveClock(b *pebble.Batch, at ring.Partition, a version.Actor) {
	entry, ok := p.clock.Entry(a)
	if !ok {
		return // all it had were detached dots, and they were forgotten
	}
	var room [64]byte
	enc := appendClock(room[:0], entry)
	op := b.SetDeferred(clockKeyLen, len(enc))
	putClockKey(op.Key, at, a)
	copy(op.Value, enc)
	_ = op.Finish()
	p.saved[a] = saved{base: entry.Base, highest: entry.Highest()}
}
