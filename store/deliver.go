package store

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// What a deliverer needs: what is owed to whom, page by page, and ways to forget it, none of which takes more than was confirmed.

// Owed is what the hand-offs of one partition owe to one owner.
type Owed struct {
	Partition ring.Partition
	Owner     ring.ID
	HandOffs  uint64 // keys
	Dots      bool   // there are dots of fallback actors that it is to adopt, once it has been served all of these keys
}

// Owed returns all debts, in the order of partitions and owners. Some of it may not be on the disk yet.
func (s *Store) Owed() []Owed {
	e, err := s.enterRead()
	if err != nil {
		return nil
	}
	defer e.leave()
	if !e.handOffs.any.Load() {
		return nil
	}
	var out []Owed
	for i := range e.parts {
		out = e.parts[i].debts(ring.Partition(i), out)
	}
	return out
}

func (p *partition) debts(at ring.Partition, out []Owed) []Owed {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.stand == nil {
		return out
	}
	from := len(out)
	for id, d := range p.stand.owed {
		out = append(out, Owed{Partition: at, Owner: id, HandOffs: d.entries, Dots: len(d.runs) > 0})
	}
	slices.SortFunc(out[from:], func(a, b Owed) int { return a.Owner.Compare(b.Owner) })
	return out
}

// HandOff is one key that this node keeps for others.
type HandOff struct {
	Key     Key
	Targets []ring.ID // sorted
	Record  version.Record
}

// HandOffPage returns hand-offs of a partition that are owed to an owner, in the order of buckets and keys, beginning after a key (the zero
// Key: at the beginning), until they have so many bytes, at least one. end: nothing follows. It waits until what it returns is on the disk.
// Records are in full form; they may be kept.
func (s *Store) HandOffPage(p ring.Partition, owner ring.ID, after Key, bytes int) (page []HandOff, end bool, err error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, false, err
	}
	defer e.leave()
	if err := checkBucket(p, "-", len(e.parts)); err != nil {
		return nil, false, err
	}
	lower := []byte{prefixHandOff, byte(p >> 8), byte(p)}
	upper := afterPrefix(lower)
	if after.Bucket != "" {
		lower = append(appendRecordKey(nil, Key{p, after.Bucket, after.Key}), 0)
		lower[0] = prefixHandOff
	}
	part := &e.parts[p]
	part.mu.RLock()
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	last := part.last
	part.mu.RUnlock()
	if err != nil {
		return nil, false, diskError("read hand-offs", err)
	}
	if err = last.Wait(); err == nil {
		page, end, err = e.readHandOffs(it, owner, bytes)
	}
	if closeErr := it.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, false, e.readError(Key{Partition: p}, err)
	}
	return page, end, nil
}

func (e *epoch) readHandOffs(it *pebble.Iterator, owner ring.ID, bytes int) (page []HandOff, end bool, err error) {
	for ok := it.First(); ok; ok = it.Next() {
		if bytes <= 0 {
			return page, false, nil
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, false, err
		}
		h, record, err := decodeTargets(value)
		if err == nil && h.owes(owner) {
			h.record, err = decodeRecord(slices.Clone(record))
		}
		k, parsed := parseKey(prefixHandOff, it.Key())
		if err != nil || !parsed {
			_ = e.readError(k, firstError(err, ErrCorrupt)) // it is counted and logged, and stays; the others do not wait for it
			continue
		}
		if h.owes(owner) {
			page = append(page, HandOff{Key: k, Targets: h.targets, Record: h.record})
			bytes -= len(it.Key()) + len(value)
		}
	}
	return page, true, it.Error()
}

// Delivered forgets a target of hand-offs of which it has the record on its disk, and a hand-off with its last target; but nothing of one that
// has changed since it was read. opening is that of the target's store under which it has confirmed them (Actor). It returns when that is on the
// disk, and how many it served. It also does so below the floor of free space.
func (s *Store) Delivered(target ring.ID, opening version.ActorID, served []HandOff) (forgotten int, err error) {
	return s.eachHandOff(served, func(e *epoch, p *partition, l *locator, h *HandOff) (*Commit, error) {
		return e.retarget(p, l, h, target, opening, nil)
	})
}

// Readdress puts owners in the place of a target that owns the keys no more: for each hand-off those that owners returns. Those that have
// changed since they were read stay as they are. In the same batches the dots go that the target was to adopt: it was not served with all of
// them. It returns when that is on the disk, and how many have other targets now.
func (s *Store) Readdress(gone ring.ID, moved []HandOff, owners func(*HandOff) []ring.ID) (readdressed int, err error) {
	return s.eachHandOff(moved, func(e *epoch, p *partition, l *locator, h *HandOff) (*Commit, error) {
		return e.retarget(p, l, h, gone, 0, owners(h))
	})
}

// eachHandOff changes hand-offs one by one and waits for all of them, also if one fails. It counts those that it got a commit for.
func (s *Store) eachHandOff(all []HandOff, change func(*epoch, *partition, *locator, *HandOff) (*Commit, error)) (changed int, err error) {
	e, err := s.enterForget()
	if err != nil {
		return 0, err
	}
	defer e.leave()
	commits := make([]*Commit, 0, len(all))
	for i := range all {
		var c *Commit
		c, err = e.withHandOff(all[i].Key, func(p *partition, l *locator) (*Commit, error) { return change(e, p, l, &all[i]) })
		if err != nil {
			break
		}
		if c != nil {
			commits = append(commits, c)
		}
	}
	for _, c := range commits {
		err = firstError(err, c.Wait())
	}
	return len(commits), err
}

func (e *epoch) withHandOff(k Key, do func(*partition, *locator) (*Commit, error)) (*Commit, error) {
	p, err := e.partition(k)
	if err != nil {
		return nil, err
	}
	var buf keyBuffer
	l := locateHandOff(&buf, k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stand == nil {
		return nil, nil
	}
	return do(p, &l)
}

// retarget takes a target off a hand-off, which it has confirmed under an opening or, if that is 0, has not, and puts others on it. No commit: the
// hand-off has changed since it was read.
func (e *epoch) retarget(p *partition, l *locator, h *HandOff, gone ring.ID, opening version.ActorID, more []ring.ID) (*Commit, error) {
	before, err := e.loadHandOff(p, l)
	if err != nil || !before.owes(gone) || !before.record.Equal(h.Record) {
		return nil, err
	}
	after := before.handOff
	after.targets = with(without(before.targets, gone), more...)
	p.stand.debt(gone).served(opening)
	return e.putHandOff(p, l, before, &after, nil, false)
}

// enterForget lets in what makes hand-offs fewer: it needs no more space than the floor keeps free for such, and a disk that they have filled would
// never take a write again if they could not go.
func (s *Store) enterForget() (*epoch, error) {
	e, err := s.enterRead()
	if err != nil {
		return nil, err
	}
	if err := firstError(e.gate.err(), s.space.tablesFail()); err != nil {
		e.leave()
		return nil, err
	}
	return e, nil
}

// OwedDots returns the dots of fallback actors that an owner may adopt now (AdoptUnder): none as long as a hand-off of the partition is owed to it.
// Each was made while it was an owner; so of every one of them it has been served a record that has the version, or what superseded it, and all of
// these under the opening of its store that is returned. It waits until they are on the disk.
func (s *Store) OwedDots(p ring.Partition, owner ring.ID) (dots version.Vector, opening version.ActorID, err error) {
	e, err := s.enterRead()
	if err != nil {
		return version.Vector{}, 0, err
	}
	defer e.leave()
	if err := checkBucket(p, "-", len(e.parts)); err != nil {
		return version.Vector{}, 0, err
	}
	part := &e.parts[p]
	part.mu.RLock()
	if part.stand != nil {
		if d := part.stand.owed[owner]; d != nil && d.entries == 0 {
			dots, opening = d.dots(), d.opening
		}
	}
	last := part.last
	part.mu.RUnlock()
	return dots, opening, last.Wait()
}

// AdoptedDots forgets dots that OwedDots returned, and that the owner has adopted, or never will: it is an owner no more, or its store was opened
// anew. It returns when that is on the disk.
func (s *Store) AdoptedDots(p ring.Partition, owner ring.ID, dots version.Vector) error {
	e, err := s.enterForget()
	if err != nil {
		return err
	}
	defer e.leave()
	if err := checkBucket(p, "-", len(e.parts)); err != nil {
		return err
	}
	c, err := e.adoptedDots(p, owner, dots)
	if err != nil {
		return err
	}
	return c.Wait()
}

func (e *epoch) adoptedDots(p ring.Partition, owner ring.ID, dots version.Vector) (*Commit, error) {
	part := &e.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.stand == nil || part.stand.owed[owner] == nil {
		return part.last, nil
	}
	part.stand.debt(owner).confirmed(dots)
	b := e.db.NewBatch()
	part.stand.save(b, p, owner)
	c := &Commit{epoch: e, batch: b}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, e.hand(part, c)
}
