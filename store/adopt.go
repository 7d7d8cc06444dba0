package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Adopt puts the dots of another store's clock into a partition's clock, in one batch, and returns when that is on the disk. The
// caller vouches that each of them is superseded by what this store has on its disk, or is there: that it has merged, and waited
// for, every version that was live at the other store when its clock was this one, but for those whose dots this store's synced
// clock covered before. Dots of this store's own actors that it has not made are left out.
func (s *Store) Adopt(p ring.Partition, clock version.Vector) error { return s.adopt(p, clock, 0) }

// AdoptUnder is Adopt of dots that rest on what was synced here under one opening, of which Actor was the name. If the store was opened anew
// since, perhaps on an older copy of its disk, or has dropped a set that the dots are of (Drop), it is ErrReopened.
func (s *Store) AdoptUnder(opening version.ActorID, p ring.Partition, dots version.Vector) error {
	if opening == 0 {
		return ErrReopened
	}
	return s.adopt(p, dots, opening)
}

// adopt does both. opening 0 is any. The epoch that is compared is the one that is written to: it cannot end in between.
func (s *Store) adopt(p ring.Partition, clock version.Vector, opening version.ActorID) error {
	e, err := s.enterWrite()
	if err != nil {
		return err
	}
	defer e.leave()
	if opening != 0 && opening != e.actor {
		return ErrReopened
	}
	if int(p) >= len(e.parts) {
		return fmt.Errorf("%w: partition %d of %d", ErrKey, p, len(e.parts))
	}
	c, err := e.adopt(p, clock, opening != 0)
	if err != nil {
		return err
	}
	return c.Wait()
}

// adopt refuses dots of sets that were dropped under this opening if they rest on what was synced under it.
func (e *epoch) adopt(p ring.Partition, clock version.Vector, under bool) (*Commit, error) {
	part := &e.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	var fresh version.Vector
	for _, entry := range clock.Entries() {
		n := entry.Actor.N
		if under && part.dropped&bit(n) != 0 {
			return nil, ErrReopened
		}
		known, _ := part.clock.Entry(entry.Actor)
		if e.issues(entry.Actor) {
			entry = clip(entry, part.issued(e, entry.Actor))
		}
		if going := part.drop != nil && n <= part.drop.to; !going && !known.CoversAll(entry) {
			fresh.MergeEntry(entry)
		}
	}
	if fresh.IsEmpty() {
		return part.last, nil // what it rests on may still be on its way
	}
	part.clock.Merge(fresh)
	part.limit(e.opts.MaxDetached)
	b := e.db.NewBatch()
	for _, entry := range fresh.Entries() {
		part.saveClock(b, p, entry.Actor)
		part.hold(b, p, entry.Actor.N)
	}
	c := &Commit{epoch: e, batch: b}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, e.hand(part, c)
}

// hand gives a batch to the log. The caller holds the locks of the partition and of the commit.
func (e *epoch) hand(p *partition, c *Commit) error {
	c.synced.Add(1)
	if err := e.db.ApplyNoSyncWait(c.batch, pebble.Sync); err != nil {
		// The clock is ahead of the database now: only opening it anew mends that.
		e.gate.trip(diskError("write", err), true)
		c.settle(e.gate.err())
		return c.err
	}
	p.last = c
	e.pending.unsynced.Add(1)
	return nil
}
