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
// clock covered before. Dots of this store's present actor are left out: nobody knows more of them.
func (s *Store) Adopt(p ring.Partition, clock version.Vector) error {
	e, err := s.enterWrite()
	if err != nil {
		return err
	}
	defer e.leave()
	if int(p) >= len(e.parts) {
		return fmt.Errorf("%w: partition %d of %d", ErrKey, p, len(e.parts))
	}
	c, err := e.adopt(p, clock)
	if err != nil {
		return err
	}
	return c.Wait()
}

func (e *epoch) adopt(p ring.Partition, clock version.Vector) (*Commit, error) {
	part := &e.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	var fresh version.Vector
	for _, entry := range clock.Entries() {
		known, _ := part.clock.Entry(entry.Actor)
		if entry.Actor.ID != e.actor && !known.CoversAll(entry) {
			fresh.MergeEntry(entry)
		}
	}
	if fresh.IsEmpty() {
		return part.last, nil // what it rests on may still be on its way
	}
	part.clock.Merge(fresh)
	part.clock.Limit(e.opts.MaxDetached)
	b := e.db.NewBatch()
	for _, entry := range fresh.Entries() {
		part.saveClock(b, p, entry.Actor)
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
