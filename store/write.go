package store

import (
	"fmt"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/version"
)

// UpdateFunc turns the full record that is here into the one that is to be here. The result must cover dot, which the new version
// has. An error is passed through to the caller of Update, and nothing is written. It runs under a lock: it must be quick, and must
// not call the store. It may keep local's memory, but not change it.
type UpdateFunc func(local version.Record, dot version.Dot) (version.Record, error)

// Result is what a write led to.
type Result struct {
	// Record is the record after the write, in full form. It may share memory with what was handed in. It must not leave the
	// node before Commit.Wait has returned nil.
	Record version.Record
	// Changed: the record is not what it was before.
	Changed bool
	// Old are the dots that came in and are superseded here: they were not stored, and whoever sent them may be told.
	Old []version.Dot
	// Commit is the newest write of this key, nil if all are on the disk.
	Commit *Commit
}

// Update is the coordinator's write: it hands fn the local record and the next dot of (this store's actor, n) in the partition, and
// writes what fn returns in one batch. It does not wait for the disk.
func (s *Store) Update(k Key, n uint8, fn UpdateFunc) (Result, error) {
	e, err := s.enterWrite()
	if err != nil {
		return Result{}, err
	}
	defer e.leave()
	p, err := e.partition(k)
	if err != nil {
		return Result{}, err
	}
	if n < 1 || n > version.MaxN {
		return Result{}, fmt.Errorf("%w: n=%d", ErrKey, n)
	}
	var buf keyBuffer
	l := locate(&buf, k)
	p.mu.Lock()
	defer p.mu.Unlock()
	stored, err := e.load(&l)
	if err != nil {
		return Result{}, err
	}
	dot := version.Dot{Actor: version.Actor{ID: e.actor, N: n}, Counter: p.used(n) + 1}
	local := stored.Fill(p.clock)
	merged, err := fn(local, dot)
	if err != nil {
		return Result{}, err
	}
	if !merged.Covers(dot) {
		panic(fmt.Sprintf("store: an update of %q in %q returned a record without its dot %v: %v", k.Key, k.Bucket, dot, merged))
	}
	c, err := e.write(p, &l, &change{before: local, after: merged}, []version.Dot{dot})
	if err != nil {
		return Result{}, err
	}
	p.use(n, dot.Counter)
	return Result{Record: merged, Changed: true, Commit: c}, nil
}

// Apply is a replica's write: it merges a whole, full record into the local one. If that changes nothing, nothing is written, and
// the result's Commit is that of an earlier write still on its way to the disk, so that an acknowledgement may rest on it.
// Errors beside those of the disk: ErrSiblings, ErrFuture, ErrElided, ErrTooLarge; nothing has happened then. With ErrSiblings the
// result still has the record that is here, and its Commit, so that the coordinator can be told what beats its write.
func (s *Store) Apply(k Key, incoming version.Record) (Result, error) {
	return s.merge(k, incoming, version.CheckRaise)
}

// Mend is Apply for read repair. What owners already hold is merged whatever its n: refusing it would keep them apart for ever, and no
// value is lost by a record that holds a version of a lower n until the next write covers it.
func (s *Store) Mend(k Key, incoming version.Record) (Result, error) {
	return s.merge(k, incoming, func(_, _ version.Record) error { return nil })
}

func (s *Store) merge(k Key, incoming version.Record, check func(local, incoming version.Record) error) (Result, error) {
	e, err := s.enterWrite()
	if err != nil {
		return Result{}, err
	}
	defer e.leave()
	p, err := e.partition(k)
	if err != nil {
		return Result{}, err
	}
	var buf keyBuffer
	l := locate(&buf, k)
	p.mu.Lock()
	defer p.mu.Unlock()
	stored, err := e.load(&l)
	if err != nil {
		return Result{}, err
	}
	if after, ok := version.Overwrite(stored, incoming, p.clock, e.actor); ok && !e.issues(after.Versions[0].Dot.Actor) {
		c, err := e.write(p, &l, &change{before: stored, after: after}, []version.Dot{after.Versions[0].Dot})
		return Result{Record: after.Fill(p.clock), Changed: err == nil, Commit: c}, err
	}
	local := stored.Fill(p.clock)
	if err := check(local, incoming); err != nil {
		return Result{Record: local, Commit: e.pending.get(l.hash)}, err
	}
	ch, received, err := e.join(p, local, incoming)
	if err != nil {
		return Result{}, err
	}
	res := Result{Record: ch.after, Changed: ch.changesRecord(), Old: ch.old}
	if !res.Changed && len(received) == 0 {
		res.Commit = e.pending.get(l.hash)
		return res, nil
	}
	res.Commit, err = e.write(p, &l, ch, received)
	return res, err
}

// change is one write: a record before and after, both full under the same clock, or both as they are stored.
type change struct {
	before, after version.Record
	old           []version.Dot
}

// changesRecord reports whether there is something to store. A vector alone is not stored for a key of which nothing is left: what
// it could tell, the clock tells already, or the key would not be gone.
func (ch *change) changesRecord() bool {
	if ch.before.IsAbsent() && ch.after.IsAbsent() {
		return false
	}
	return ch.before.N != ch.after.N || ch.before.MaxLWW != ch.after.MaxLWW || !ch.before.SameVersions(ch.after) ||
		!ch.before.Vector.Equal(ch.after.Vector)
}

// join decides what becomes of a record that another node sent. received are its dots that the clock does not have.
func (e *epoch) join(p *partition, local, incoming version.Record) (ch *change, received []version.Dot, err error) {
	if incoming, err = e.trim(p, incoming); err != nil {
		return nil, nil, err
	}
	ch = &change{before: local}
	for i := range incoming.Versions {
		d := incoming.Versions[i].Dot
		known := p.clock.Covers(d)
		if !known {
			received = append(received, d)
		}
		if (known || local.Covers(d)) && !local.Has(d) {
			ch.old = append(ch.old, d)
			if !local.Covers(d) {
				// The clock has the dot detached and nothing is left of it here: to the merge it has to look as superseded as it is.
				local.Vector = local.Vector.Clone()
				local.Vector.Add(d)
			}
		}
	}
	ch.after = version.Merge(local, incoming)
	return ch, received, checkWhole(&ch.after)
}

func checkWhole(r *version.Record) error {
	for i := range r.Versions {
		if v := &r.Versions[i]; v.Elided {
			return fmt.Errorf("%w: %v", ErrElided, v.Dot)
		}
	}
	return nil
}

// trim takes out of an incoming record what it cannot know: dots of this store's own actors beyond the last ones issued. A version with
// such a dot is refused; a vector is cut, so that a peer's nonsense cannot hide what this store is going to write.
func (e *epoch) trim(p *partition, incoming version.Record) (version.Record, error) {
	for i := range incoming.Versions {
		if d := incoming.Versions[i].Dot; e.issues(d.Actor) && d.Counter > p.issued(e, d.Actor) {
			return incoming, fmt.Errorf("%w: %v", ErrFuture, d)
		}
	}
	cut := false
	for _, entry := range incoming.Vector.Entries() {
		cut = cut || e.issues(entry.Actor) && entry.Highest() > p.issued(e, entry.Actor)
	}
	if !cut {
		return incoming, nil
	}
	var vector version.Vector
	for _, entry := range incoming.Vector.Entries() {
		if e.issues(entry.Actor) {
			entry = clip(entry, p.issued(e, entry.Actor))
		}
		vector.MergeEntry(entry)
	}
	incoming.Vector = vector
	return incoming, nil
}

// issues reports whether this store alone makes dots of an actor.
func (e *epoch) issues(a version.Actor) bool { return a.ID == e.actor || a.ID == e.stand }

// issued is the last counter that one of this store's own actors has used: it has no gaps.
func (p *partition) issued(e *epoch, own version.Actor) uint64 {
	if own.ID == e.stand {
		if p.stand == nil || own.N > version.MaxN {
			return 0
		}
		return p.stand.issued[own.N]
	}
	return p.used(own.N)
}

// clip leaves out what an entry says of counters above most.
func clip(e version.Entry, most uint64) version.Entry {
	out := version.Entry{Actor: e.Actor, Base: min(e.Base, most)}
	for _, iv := range e.Detached {
		if iv.Lo <= most {
			out.Detached = append(out.Detached, version.Interval{Lo: iv.Lo, Hi: min(iv.Hi, most)})
		}
	}
	return out
}

// write puts a change into one batch and hands it to the log. received are the dots that the clock did not have. The caller holds the
// partition's lock.
func (e *epoch) write(p *partition, l *locator, ch *change, received []version.Dot) (*Commit, error) {
	size := recordBound(&ch.after)
	if size > e.opts.MaxRecord {
		return nil, fmt.Errorf("%w: about %d bytes, at most %d", ErrTooLarge, size, e.opts.MaxRecord)
	}
	for _, d := range received {
		if mutation.PlainVector {
			p.clock.AddBase(d.Actor, d.Counter)
		}
		p.clock.Add(d)
	}
	if mutation.ClockFromContext {
		p.clock.Merge(ch.after.Vector)
	}
	p.limit(e.opts.MaxDetached)
	stored := p.strip(ch.after)
	if p.drop != nil {
		p.drop.note(l.enc, &ch.before, &ch.after)
	}
	enc := version.AppendRecord(p.scratch[:0], stored)
	if cap(enc) <= mostScratch {
		p.scratch = enc
	}

	b := e.db.NewBatchWithSize(batchOverhead + 2*len(l.enc) + len(enc))
	p.fill(b, l, ch, received, enc)
	p.hold(b, l.Partition, ch.after.N)
	c := &Commit{epoch: e, batch: b, hash: l.hash}
	// Readers look for the commit after they have seen the record, and then wait for it: so it is there first, and locked until
	// there is a sync to wait for.
	c.mu.Lock()
	defer c.mu.Unlock()
	e.pending.put(c)
	if err := e.hand(p, c); err != nil {
		return nil, err
	}
	e.cache.put(l.hash, l.enc, stored)
	e.stats.commits.Add(1)
	e.stats.written.Add(uint64(len(l.enc) + len(enc)))
	return c, nil
}

// limit bounds the clock, and notes what it forgets. The caller holds the partition's lock.
func (p *partition) limit(detached int) {
	if bound := p.clock.Limit(detached); !bound.IsEmpty() {
		p.forgot.Merge(bound)
	}
}

// mostScratch bounds what each partition keeps for the next record: 256 partitions keep 1 MiB at most.
const mostScratch = 4 << 10

// recordBound is an upper bound of the encoded size of a record.
func recordBound(r *version.Record) int {
	size := 64
	for i := range r.Versions {
		v := &r.Versions[i]
		size += 64 + len(v.ContentType) + len(v.Value)
	}
	for _, e := range r.Vector.Entries() {
		size += 24 + 20*len(e.Detached)
	}
	return size
}
