package store

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Held is what a partition has anything of.
type Held struct {
	Partition ring.Partition
	N         []uint8 // ascending
}

// Held returns, for each partition that has any, the n of which there is, or since the last Drop was, a record or an adopted clock. Hand-offs are
// not in it. It takes each partition's lock for a moment and reads no disk. Some of it may not be on the disk yet.
func (s *Store) Held() ([]Held, error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	var out []Held
	for i := range e.parts {
		if n := e.parts[i].holds(); len(n) > 0 {
			out = append(out, Held{Partition: ring.Partition(i), N: n})
		}
	}
	return out, nil
}

func (p *partition) holds() (n []uint8) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for i := uint8(1); p.held >= bit(i); i++ {
		if p.held&bit(i) != 0 {
			n = append(n, i)
		}
	}
	return n
}

// span are the n from one to another, both included.
type span struct{ from, to uint8 }

func (s span) has(n uint8) bool { return s.from <= n && n <= s.to }

func (s span) bits() (bits uint32) {
	for n := s.from; n <= s.to; n++ {
		bits |= bit(n)
	}
	return bits
}

func bit(n uint8) uint32 { return 1 << n }

// Drop forgets the sets (p, n) with from ≤ n ≤ to: the records whose N lies there when it ends, their log entries and the clocks, in one batch, and
// returns when that is on the disk. Until then, and after a crash or an error, all of it is there. It works below the floor of free space if all n
// are dropped.
//
// The caller vouches that nobody counts on what goes, and that no exchange is under way by which this store fetches one of the sets: its adoption
// would claim what is gone.
//
// Records with another n stay, and keep what they know of their past: it is written into them first, page by page, while writes go on. With those, the clocks of
// all n up to to are forgotten: also of those below from, because a record of n may have replaced versions of a lower one. A clock that says less is safe.
//
// If nothing stays its batch is five ranges. Otherwise it takes about 20 bytes beside its key, and 20 for each version, for every record that goes; and twice the key in a table
// before that.
func (s *Store) Drop(p ring.Partition, from, to uint8) error {
	if from < 1 || to < from || to > version.MaxN {
		return fmt.Errorf("%w: the sets of n=%d to %d", ErrKey, from, to)
	}
	all := from == 1 && to == version.MaxN
	enter := s.enterWrite
	if all {
		enter = s.enterForget
	}
	e, err := enter()
	if err != nil {
		return err
	}
	defer e.leave()
	if int(p) >= len(e.parts) {
		return fmt.Errorf("%w: partition %d of %d", ErrKey, p, len(e.parts))
	}
	part := &e.parts[p]
	part.drops.Lock()
	c, err := e.drop(p, newDrop(span{from, to}), all)
	part.drops.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

// drop is one Drop under way. Its tables are guarded by the partition's lock.
type drop struct {
	span
	going map[string][]version.Dot // the records that go, by their key in the database, with their live dots
	kept  map[version.Dot]struct{} // live dots, in clocks that go, of records that stay
	stays bool                     // some record stays, or did for a moment
}

func newDrop(at span) *drop {
	return &drop{span: at, going: make(map[string][]version.Dot), kept: make(map[version.Dot]struct{})}
}

// note follows a record from what it was to what it is.
func (d *drop) note(key []byte, before, after *version.Record) {
	for i := range before.Versions {
		delete(d.kept, before.Versions[i].Dot)
	}
	if !d.has(after.N) {
		delete(d.going, string(key))
		d.stays = true
		for i := range after.Versions {
			if dot := after.Versions[i].Dot; dot.Actor.N <= d.to {
				d.kept[dot] = struct{}{}
			}
		}
		return
	}
	dots := make([]version.Dot, len(after.Versions))
	for i := range after.Versions {
		dots[i] = after.Versions[i].Dot
	}
	d.going[string(key)] = dots
}

// remains is what is left of a clock, but for the live dots of records that stay.
func (d *drop) remains(clock version.Vector) version.Vector { return clock.AtLeast(d.to + 1) }

// strip makes a record what is to be stored. While sets are being dropped it leaves in what their clocks say: the record is to do without them.
func (p *partition) strip(r version.Record) version.Record {
	if p.drop == nil {
		return r.Strip(p.clock)
	}
	return r.Fill(p.clock).Strip(p.drop.remains(p.clock))
}

// drop finds out what goes and prepares what stays, unless all goes, and then forgets. The caller holds the partition's drops.
func (e *epoch) drop(p ring.Partition, d *drop, all bool) (*Commit, error) {
	part := &e.parts[p]
	if c, done := part.begin(d, all); done {
		return c, nil
	}
	if all {
		return e.forget(p, d)
	}
	defer part.end()
	next, end := []byte{prefixRecord, byte(p >> 8), byte(p)}, afterPrefix([]byte{prefixRecord, byte(p >> 8), byte(p)})
	for next != nil {
		c, err := e.survey(part, d, &next, end)
		if err == nil {
			err = c.Wait()
		}
		if err != nil {
			return nil, err
		}
	}
	return e.forget(p, d)
}

// begin reports whether there is nothing to drop, and if so what to wait for.
func (p *partition) begin(d *drop, all bool) (c *Commit, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held&d.bits() == 0 {
		return p.last, true
	}
	p.dropped |= span{1, d.to}.bits()
	if !all {
		p.drop = d
	}
	return nil, false
}

func (p *partition) end() {
	p.mu.Lock()
	p.drop = nil
	p.mu.Unlock()
}

// dropPage is how many bytes of records are looked at, or written, while writes of the partition wait.
const dropPage = 256 << 10

// survey looks at a page of records: it notes those that go, and writes into those that stay what the clocks that go say of them. next moves on, to nil at
// the end. A damaged record stays as it is.
func (e *epoch) survey(part *partition, d *drop, next *[]byte, end []byte) (c *Commit, err error) {
	part.mu.Lock()
	defer part.mu.Unlock()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: *next, UpperBound: end})
	if err != nil {
		return nil, diskError("look for what is to be dropped", err)
	}
	b := e.db.NewBatch()
	left := dropPage
	ok := it.First()
	for ; ok && left > 0; ok = it.Next() {
		k, _ := parseRecordKey(it.Key())
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, firstError(e.readError(k.clone(), err), it.Close())
		}
		left -= len(it.Key()) + len(value)
		r, err := decodeRecord(value)
		if err != nil {
			_ = e.readError(k.clone(), err)
			d.stays = true
			continue
		}
		d.note(it.Key(), &r, &r)
		if kept := part.strip(r); !d.has(r.N) && !kept.Vector.Equal(r.Vector) {
			enc := version.AppendRecord(nil, kept)
			left -= len(enc)
			_ = b.Set(it.Key(), enc, nil)
			e.cache.remove(xxhash.Sum64(it.Key()))
		}
	}
	*next = nil
	if ok {
		*next = bytes.Clone(it.Key())
	}
	if err := firstError(it.Error(), it.Close()); err != nil {
		return nil, e.readError(Key{}, err)
	}
	if b.Empty() {
		return nil, b.Close()
	}
	c = &Commit{epoch: e, batch: b}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, e.hand(part, c)
}

// forget is the batch that all the rest is for.
//
// Range deletions and the single deletes of log entries go together: between two deletions of whatever kind there is at most one entry, which is what
// Pebble asks for. TestDropHistories.
func (e *epoch) forget(p ring.Partition, d *drop) (*Commit, error) {
	part := &e.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	b := e.db.NewBatch()
	if d.stays {
		for key, dots := range d.going {
			_ = b.Delete([]byte(key), nil)
			for _, dot := range dots {
				op := b.SingleDeleteDeferred(logKeyLen)
				putLogKey(op.Key, p, dot)
				_ = op.Finish()
			}
			e.cache.remove(xxhash.Sum64String(key))
		}
	} else {
		for _, prefix := range []byte{prefixRecord, prefixLog} {
			whole := []byte{prefix, byte(p >> 8), byte(p)}
			_ = b.DeleteRange(whole, afterPrefix(whole), nil)
		}
		e.cache.removePartition(p)
	}
	_ = b.DeleteRange(setKey(prefixClock, p, 1), setKey(prefixClock, p, d.to+1), nil)
	for _, prefix := range []byte{prefixDigest, prefixHeld} {
		_ = b.DeleteRange(setKey(prefix, p, d.from), setKey(prefix, p, d.to+1), nil)
	}
	part.clock, part.forgot = d.remains(part.clock), d.remains(part.forgot)
	for a := range part.saved {
		if a.N <= d.to {
			delete(part.saved, a)
		}
	}
	for dot := range d.kept {
		part.clock.Add(dot) // its log entry tells of it, as of any dot that came
	}
	part.limit(e.opts.MaxDetached)
	part.held &^= d.bits()
	c := &Commit{epoch: e, batch: b}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, e.hand(part, c)
}

// hold notes, in the batch that brings it, that there is something of n.
func (p *partition) hold(b *pebble.Batch, at ring.Partition, n uint8) {
	if n >= 1 && n <= version.MaxN && p.held&bit(n) == 0 {
		p.held |= bit(n)
		_ = b.Set(setKey(prefixHeld, at, n), []byte{valueFormat}, nil)
	}
}

// loadHeld restores of which n the partitions have something.
func (e *epoch) loadHeld() error {
	return scanPrefix(e.db, prefixHeld, func(key, value []byte) error {
		p, n, ok := parseSetKey(key)
		if !ok || int(p) >= len(e.parts) {
			return fmt.Errorf("%w: key %x", ErrCorrupt, key)
		}
		if len(value) != 1 || value[0] != valueFormat {
			return fmt.Errorf("%w: entry %x → %x", ErrFormat, key, value)
		}
		e.parts[p].held |= bit(n)
		return nil
	})
}

// lastUsed are the last counters of an actor, by n.
type lastUsed [version.MaxN + 1]uint64

// dropping is what a partition keeps for the sake of Drop. All but drops is guarded by the partition's lock.
type dropping struct {
	drops sync.Mutex // held during a Drop
	drop  *drop      // the one under way, nil while there is none or it takes a moment
	// held has a bit for each n of which there is something; what the database has under h.
	held uint32
	// dropped has a bit for each n of which clocks were forgotten in this epoch.
	dropped uint32
	// own is what the epoch's actor has used; nil: nothing. Until a Drop, the clock says the same.
	own *lastUsed
}

// use notes the counter of a dot that the epoch's actor has given to a version.
func (d *dropping) use(n uint8, counter uint64) {
	if d.own == nil {
		d.own = new(lastUsed)
	}
	d.own[n] = counter
}

func (d *dropping) used(n uint8) uint64 {
	if d.own == nil || int(n) >= len(d.own) {
		return 0
	}
	return d.own[n]
}
