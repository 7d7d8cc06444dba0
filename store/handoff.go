package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// handOff is one entry of the hand-off area: what this node keeps of a key for owners that it stood in for.
type handOff struct {
	targets []ring.ID // the owners to be served, sorted, each once; an entry without any is not there
	own     ownDots
	record  version.Record // full: the clock of the owners is not this node's
}

// ownDots are the dots of one fallback actor, from First on, of which every one that this key was given is in the entry's record, live or
// superseded. The zero value says nothing.
type ownDots struct {
	actor version.Actor
	first uint64
}

func (h *handOff) owes(target ring.ID) bool {
	_, found := slices.BinarySearchFunc(h.targets, target, ring.ID.Compare)
	return found
}

// with returns the targets with more of them. It shares no memory with what it was given.
func with(targets []ring.ID, more ...ring.ID) []ring.ID {
	out := append(slices.Clone(targets), more...)
	slices.SortFunc(out, ring.ID.Compare)
	return slices.Compact(out)
}

func without(targets []ring.ID, gone ring.ID) []ring.ID {
	return slices.DeleteFunc(slices.Clone(targets), func(id ring.ID) bool { return id == gone })
}

// appendHandOff encodes an entry: format | uvarint targets | incarnations | n of the own dots, 0 for none | [actor | uvarint first] | record.
func appendHandOff(dst []byte, h *handOff) []byte {
	dst = append(dst, valueFormat)
	dst = binary.AppendUvarint(dst, uint64(len(h.targets)))
	for i := range h.targets {
		dst = append(dst, h.targets[i][:]...)
	}
	dst = append(dst, h.own.actor.N)
	if h.own.actor.N > 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.own.actor.ID))
		dst = binary.AppendUvarint(dst, h.own.first)
	}
	return version.AppendRecord(dst, h.record)
}

// decodeHandOff is the inverse of appendHandOff. The record aliases b.
func decodeHandOff(b []byte) (handOff, error) {
	h, record, err := decodeTargets(b)
	if err == nil {
		h.record, err = decodeRecord(record)
	}
	return h, err
}

// decodeTargets decodes an entry up to its record, which it returns as it is.
func decodeTargets(b []byte) (h handOff, record []byte, err error) {
	r := varints{wire.Read(b)}
	if r.format(); r.Failed() {
		return handOff{}, nil, fmt.Errorf("%w: hand-off", ErrFormat)
	}
	for range r.Uvarint(uint64(r.Left()) / uint64(len(ring.ID{}))) {
		var id ring.ID
		copy(id[:], r.Take(uint64(len(id))))
		if n := len(h.targets); id.IsZero() || n > 0 && h.targets[n-1].Compare(id) >= 0 {
			r.Fail("bad target")
		}
		h.targets = append(h.targets, id)
	}
	if n := r.Take(1); len(n) == 1 && n[0] > 0 {
		h.own = ownDots{actor: r.actor(n[0]), first: r.Uvarint(version.MaxCounter)}
		r.Check(h.own.first != 0, "no first dot")
	}
	if r.Failed() || len(h.targets) == 0 {
		return handOff{}, nil, fmt.Errorf("%w: hand-off", ErrCorrupt)
	}
	return h, r.Rest(), nil
}

// debt is what a partition's hand-offs owe to one owner.
type debt struct {
	entries uint64   // that have the owner among their targets
	runs    []dotRun // dots of fallback actors that the owner has not adopted, the oldest first
	// opening is that of the owner's store under which it confirmed every hand-off that it has confirmed since runs was empty; 0: none.
	opening version.ActorID
}

// dotRun are consecutive dots of one fallback actor, every one made while the owner was among the targets.
type dotRun struct {
	actor    version.Actor
	from, to uint64
}

// maxRuns bounds what is kept of dots for an owner that does not come back. An opening of the store adds one for each n; when there are
// more the oldest is forgotten, and the owner's clock keeps holes that only a few bytes pay for.
const maxRuns = 256

// made adds a dot.
func (d *debt) made(dot version.Dot) {
	for i := range d.runs {
		if r := &d.runs[i]; r.actor == dot.Actor && r.to+1 == dot.Counter {
			r.to++
			return
		}
	}
	if len(d.runs) == maxRuns {
		d.runs = slices.Delete(d.runs, 0, 1)
	}
	d.runs = append(d.runs, dotRun{dot.Actor, dot.Counter, dot.Counter})
}

// dots are those of all runs.
func (d *debt) dots() version.Vector {
	var v version.Vector
	for _, r := range d.runs {
		e := version.Entry{Actor: r.actor, Base: r.to}
		if r.from > 1 {
			e = version.Entry{Actor: r.actor, Detached: []version.Interval{{Lo: r.from, Hi: r.to}}}
		}
		v.MergeEntry(e)
	}
	return v
}

// confirmed takes dots out that the owner has adopted: the beginnings of runs that dots returned earlier.
func (d *debt) confirmed(dots version.Vector) {
	d.runs = slices.DeleteFunc(d.runs, func(r dotRun) bool {
		known, _ := dots.Entry(r.actor)
		return runEnd(known, r.from) >= r.to
	})
	for i := range d.runs {
		r := &d.runs[i]
		if known, _ := dots.Entry(r.actor); runEnd(known, r.from) >= r.from {
			r.from = runEnd(known, r.from) + 1
		}
	}
	if len(d.runs) == 0 {
		d.opening = 0
	}
}

// served notes that the owner has confirmed a hand-off under an opening of its store, 0 for one that is not known. The owner adopts dots under the
// opening alone under which it confirmed everything; so if this is another one, all dots are forgotten, which leaves a hole.
func (d *debt) served(opening version.ActorID) {
	switch {
	case len(d.runs) == 0:
	case opening == 0 || d.opening != 0 && d.opening != opening:
		d.runs, d.opening = nil, 0
	default:
		d.opening = opening
	}
}

func (d *debt) isEmpty() bool { return d.entries == 0 && len(d.runs) == 0 }

// debtFormat 2 has the opening; 1 had not, so what it says of dots is forgotten.
const debtFormat = 2

// appendDebt encodes what is owed to one owner: format | uvarint entries | uvarint runs | per run its n, actor, first dot and how many follow |
// the opening, if there are runs.
func appendDebt(dst []byte, d *debt) []byte {
	dst = append(dst, debtFormat)
	dst = binary.AppendUvarint(dst, d.entries)
	dst = binary.AppendUvarint(dst, uint64(len(d.runs)))
	for _, r := range d.runs {
		dst = append(dst, r.actor.N)
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.actor.ID))
		dst = binary.AppendUvarint(dst, r.from)
		dst = binary.AppendUvarint(dst, r.to-r.from)
	}
	if len(d.runs) > 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.opening))
	}
	return dst
}

func decodeDebt(b []byte) (debt, error) {
	if len(b) == 0 || b[0] != 1 && b[0] != debtFormat {
		return debt{}, fmt.Errorf("%w: what is owed to an owner", ErrFormat)
	}
	r := varints{wire.Read(b[1:])}
	d := debt{entries: r.Uvarint(version.MaxCounter)}
	for range r.Uvarint(min(maxRuns, uint64(r.Left()))) {
		n := r.Take(1)
		if len(n) == 0 {
			break
		}
		run := dotRun{actor: r.actor(n[0]), from: r.Uvarint(version.MaxCounter)}
		run.to = run.from + r.Uvarint(version.MaxCounter-min(run.from, version.MaxCounter))
		r.Check(run.from != 0, "no dot")
		d.runs = append(d.runs, run)
	}
	if b[0] == debtFormat && len(d.runs) > 0 {
		if id := r.Take(8); id != nil {
			d.opening = version.ActorID(binary.BigEndian.Uint64(id))
		}
	}
	if r.Failed() || r.Left() > 0 || d.isEmpty() {
		return debt{}, fmt.Errorf("%w: what is owed to an owner", ErrCorrupt)
	}
	if b[0] != debtFormat {
		d.runs = nil
	}
	return d, nil
}

// standing is what a partition's hand-offs add up to: the sums on the disk are written in the batch of every change, so that opening the
// store need not read the hand-offs themselves, of which there may be a gigabyte. Guarded by the partition's lock.
type standing struct {
	count, bytes uint64 // entries, and what their keys and values take
	owed         map[ring.ID]*debt
	issued       [version.MaxN + 1]uint64 // by n: the last counter of the present fallback actor
}

func (st *standing) debt(owner ring.ID) *debt {
	d := st.owed[owner]
	if d == nil {
		d = new(debt)
		st.owed[owner] = d
	}
	return d
}

func newStanding() *standing { return &standing{owed: make(map[ring.ID]*debt)} }

// loadHandOffs restores the sums of all partitions.
func (e *epoch) loadHandOffs() error {
	return scanPrefix(e.db, prefixOwed, func(key, value []byte) error {
		p, owner, ok := parseOwedKey(key)
		if !ok || int(p) >= len(e.parts) {
			return fmt.Errorf("%w: key %x", ErrCorrupt, key)
		}
		if e.parts[p].stand == nil {
			e.parts[p].stand = newStanding()
			e.handOffs.any.Store(true)
		}
		st := e.parts[p].stand
		if !owner.IsZero() {
			d, err := decodeDebt(value)
			if !d.isEmpty() {
				st.owed[owner] = &d
			}
			return err
		}
		r := varints{wire.Read(value)}
		r.format()
		st.count, st.bytes = r.Uvarint(version.MaxCounter), r.Uvarint(version.MaxCounter)
		if r.Failed() || r.Left() > 0 {
			return fmt.Errorf("%w: sums of the hand-offs of partition %d", ErrCorrupt, p)
		}
		e.handOffs.count.Add(int64(st.count))
		e.handOffs.bytes.Add(int64(st.bytes))
		return nil
	})
}

// held is an entry as it was found, with what it takes on the disk; size 0: there is none.
type held struct {
	handOff
	size int
}

func locateHandOff(buf *keyBuffer, k Key) locator {
	enc := appendRecordKey(buf[:0], k)
	enc[0] = prefixHandOff
	return locator{Key: k, enc: enc, hash: xxhash.Sum64(enc)}
}

// loadHandOff reads an entry. The caller holds the partition's lock. What it returns is immutable and may be kept.
func (e *epoch) loadHandOff(p *partition, l *locator) (held, error) {
	if p.stand == nil || p.stand.count == 0 {
		return held{}, nil
	}
	value, closer, err := e.db.Get(bytes.Clone(l.enc))
	if errors.Is(err, pebble.ErrNotFound) {
		return held{}, nil
	}
	if err != nil {
		return held{}, e.readError(l.Key.clone(), err)
	}
	value = bytes.Clone(value)
	if err := closer.Close(); err != nil {
		return held{}, e.readError(l.Key.clone(), err)
	}
	h, err := decodeHandOff(value)
	if err != nil {
		return held{}, e.readError(l.Key.clone(), err)
	}
	return held{h, len(l.enc) + len(value)}, nil
}

// putHandOff makes an entry what after says, in one batch with the sums and the debts that change with it; without targets it goes. made are the
// dots that the change has used. bounded refuses what is too large, or would not fit; nothing has happened then. The caller holds the partition's lock.
func (e *epoch) putHandOff(p *partition, l *locator, before held, after *handOff, made []version.Dot, bounded bool) (*Commit, error) {
	var enc []byte
	size := 0
	if len(after.targets) > 0 {
		if bound := recordBound(&after.record); bounded && bound > e.opts.MaxRecord {
			return nil, fmt.Errorf("%w: about %d bytes, at most %d", ErrTooLarge, bound, e.opts.MaxRecord)
		}
		enc = appendHandOff(make([]byte, 0, 64+16*len(after.targets)+recordBound(&after.record)), after)
		size = len(l.enc) + len(enc)
	}
	if err := e.reserve(int64(size-before.size), bounded); err != nil {
		return nil, err
	}
	b := e.db.NewBatchWithSize(batchOverhead + 2*len(l.enc) + len(enc))
	st := p.stand
	if size > 0 {
		_ = b.Set(l.enc, enc, nil)
	} else {
		_ = b.Delete(l.enc, nil)
	}
	st.bytes += uint64(size - before.size)
	switch {
	case size > 0 && before.size == 0:
		st.count++
		e.handOffs.count.Add(1)
	case size == 0 && before.size > 0:
		st.count--
		e.handOffs.count.Add(-1)
	}
	st.change(b, l.Partition, before.targets, after.targets, made)
	c := &Commit{epoch: e, batch: b, hash: l.hash}
	c.mu.Lock() // as in write
	defer c.mu.Unlock()
	e.pending.put(c)
	if err := e.hand(p, c); err != nil {
		return nil, err
	}
	e.stats.commits.Add(1)
	e.stats.written.Add(uint64(len(l.enc) + len(enc)))
	return c, nil
}

// reserve counts bytes that are about to be taken, or given back.
func (e *epoch) reserve(growth int64, bounded bool) error {
	held := e.handOffs.bytes.Add(growth)
	if bounded && growth > 0 && held > int64(e.opts.MaxHandOffs) {
		e.handOffs.bytes.Add(-growth)
		e.stats.crowded.Add(1)
		return fmt.Errorf("%w: %d bytes are held, %d more are wanted, the bound is %d", ErrHandOffSpace, held-growth, growth, e.opts.MaxHandOffs)
	}
	return nil
}

// change moves the debts of those that stopped or began to be targets, and of those that dots were made for, and writes the sums.
func (st *standing) change(b *pebble.Batch, p ring.Partition, before, after []ring.ID, made []version.Dot) {
	for _, id := range before {
		if !slices.Contains(after, id) {
			st.debt(id).entries--
			st.save(b, p, id)
		}
	}
	for _, id := range after {
		began := !slices.Contains(before, id)
		if began {
			st.debt(id).entries++
		}
		for _, dot := range made {
			st.debt(id).made(dot)
		}
		if began || len(made) > 0 {
			st.save(b, p, id)
		}
	}
	sums := binary.AppendUvarint([]byte{valueFormat}, st.count)
	_ = b.Set(owedKey(p, ring.ID{}), binary.AppendUvarint(sums, st.bytes), nil)
}

// save writes what is owed to one owner.
func (st *standing) save(b *pebble.Batch, p ring.Partition, owner ring.ID) {
	d := st.debt(owner)
	if d.isEmpty() {
		delete(st.owed, owner)
		_ = b.Delete(owedKey(p, owner), nil)
		return
	}
	_ = b.Set(owedKey(p, owner), appendDebt(nil, d), nil)
}

// knows reports whether an actor made dots that somebody is still to be told of.
func (st *standing) knows(id version.ActorID) bool {
	for _, d := range st.owed {
		for _, r := range d.runs {
			if r.actor.ID == id {
				return true
			}
		}
	}
	return false
}
