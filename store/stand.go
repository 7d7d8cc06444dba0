package store

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// StandUpdate is Update for a node that owns nothing of the key and coordinates because no owner can be reached: it hands fn the hand-off
// that is held of the key, the absent record if there is none, and the next dot of (StandActor, n) in the partition, and keeps what fn returns
// for the targets: all owners of the key. Nothing of it is seen by Get, Clock, Scan or a Snapshot. ErrHandOffSpace and ErrTooLarge come before
// anything was written.
func (s *Store) StandUpdate(k Key, n uint8, targets []ring.ID, fn UpdateFunc) (Result, error) {
	if n < 1 || n > version.MaxN || len(targets) == 0 || slices.Contains(targets, ring.ID{}) {
		return Result{}, fmt.Errorf("%w: n=%d, for %d owners", ErrKey, n, len(targets))
	}
	return s.standIn(k, func(e *epoch, p *partition, l *locator) (Result, error) {
		before, err := e.loadHandOff(p, l)
		if err != nil {
			return Result{}, err
		}
		dot := version.Dot{Actor: version.Actor{ID: e.stand, N: n}}
		dot.Counter = p.issued(e, dot.Actor) + 1
		own := ownDots{dot.Actor, dot.Counter}
		if before.own.actor == dot.Actor {
			own = before.own
		}
		before.record = whole(before.record, own, dot.Counter)
		merged, err := fn(before.record, dot)
		if err != nil {
			return Result{}, err
		}
		if !merged.Covers(dot) {
			panic(fmt.Sprintf("store: a write of %q in %q in the place of its owners returned a record without its dot %v: %v", k.Key, k.Bucket, dot, merged))
		}
		after := handOff{targets: with(before.targets, targets...), own: own, record: merged}
		c, err := e.putHandOff(p, l, before, &after, []version.Dot{dot}, true)
		if err != nil {
			return Result{}, err
		}
		p.stand.issued[n] = dot.Counter
		return Result{Record: merged, Changed: true, Commit: c}, nil
	})
}

// whole fills a hand-off's vector with the own dots between its first one and next: all that this key was given are here, and what other keys
// were given means nothing to it. Without that, a key that is written in turn with another would get an interval with every write.
func whole(r version.Record, own ownDots, next uint64) version.Record {
	if own.first == next {
		return r
	}
	e := version.Entry{Actor: own.actor, Base: next - 1}
	if own.first > 1 {
		e = version.Entry{Actor: own.actor, Detached: []version.Interval{{Lo: own.first, Hi: next - 1}}}
	}
	r.Vector = r.Vector.Clone()
	r.Vector.MergeEntry(e)
	return r
}

// StandApply is Apply for a node that stands in for one owner of the key: it merges a whole, full record into the hand-off that it holds, and
// keeps it for the target. Errors as those of Apply, and ErrHandOffSpace; nothing has happened then.
func (s *Store) StandApply(k Key, incoming version.Record, target ring.ID) (Result, error) {
	if target.IsZero() {
		return Result{}, fmt.Errorf("%w: a hand-off for nobody", ErrKey)
	}
	return s.standIn(k, func(e *epoch, p *partition, l *locator) (Result, error) {
		before, err := e.loadHandOff(p, l)
		if err != nil {
			return Result{}, err
		}
		if err := version.CheckRaise(before.record, incoming); err != nil {
			return Result{Record: before.record, Commit: e.pending.get(l.hash)}, err
		}
		if incoming, err = e.trim(p, incoming); err != nil {
			return Result{}, err
		}
		ch := change{before: before.record, after: version.Merge(before.record, incoming)}
		if err := checkWhole(&ch.after); err != nil {
			return Result{}, err
		}
		res := Result{Record: ch.after, Changed: ch.changesRecord(), Commit: e.pending.get(l.hash)}
		for i := range incoming.Versions {
			if d := incoming.Versions[i].Dot; before.record.Covers(d) && !before.record.Has(d) {
				res.Old = append(res.Old, d)
			}
		}
		if ch.after.IsAbsent() || !res.Changed && before.owes(target) {
			return res, nil
		}
		after := handOff{targets: with(before.targets, target), own: before.own, record: ch.after}
		c, err := e.putHandOff(p, l, before, &after, nil, true)
		if err != nil {
			return Result{}, err
		}
		res.Commit = c
		return res, nil
	})
}

// standIn runs a change of one hand-off under the partition's lock.
func (s *Store) standIn(k Key, do func(e *epoch, p *partition, l *locator) (Result, error)) (Result, error) {
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
	l := locateHandOff(&buf, k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stand == nil {
		p.stand = newStanding()
		e.handOffs.any.Store(true)
	}
	return do(e, p, &l)
}

// StandGet returns the hand-off that is held of a key, in full form; false if there is none. It waits until what it shows is on the disk. The
// record is immutable and may be kept.
func (s *Store) StandGet(k Key) (version.Record, bool, error) {
	e, err := s.enterRead()
	if err != nil {
		return version.Record{}, false, err
	}
	defer e.leave()
	p, err := e.partition(k)
	if err != nil {
		return version.Record{}, false, err
	}
	var buf keyBuffer
	l := locateHandOff(&buf, k)
	p.mu.RLock()
	h, err := e.loadHandOff(p, &l)
	p.mu.RUnlock()
	if err != nil {
		return version.Record{}, false, err
	}
	if err := e.pending.get(l.hash).Wait(); err != nil {
		return version.Record{}, false, err
	}
	return h.record, h.size > 0, nil
}

// Issued returns the last counter that one of this store's own actors, Actor or StandActor, has used in a partition. false: the actor is
// another one's, or belongs to an earlier opening.
func (s *Store) Issued(p ring.Partition, a version.Actor) (counter uint64, own bool) {
	e, err := s.enterRead()
	if err != nil {
		return 0, false
	}
	defer e.leave()
	if int(p) >= len(e.parts) || !e.issues(a) {
		return 0, false
	}
	part := &e.parts[p]
	part.mu.RLock()
	defer part.mu.RUnlock()
	return part.issued(e, a), true
}

// HandOffs is what a store holds for others.
type HandOffs struct {
	Count, Bytes int64  // keys, and what they take on the disk before compression
	Limit        int64  // of Bytes
	Refused      uint64 // times there was no room, since Open
}

// HandOffs returns the sums, of which Count and Bytes are exact, also after a restart. It takes no lock.
func (s *Store) HandOffs() HandOffs {
	e := s.cur.Load()
	return HandOffs{Count: e.handOffs.count.Load(), Bytes: e.handOffs.bytes.Load(), Limit: int64(s.opts.MaxHandOffs), Refused: s.stats.crowded.Load()}
}
