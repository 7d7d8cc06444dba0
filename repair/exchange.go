package repair

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// compare asks a peer for the clocks that differ, lets what is in flight arrive, and fetches the rest, one partition after the other.
func (x *Exchanger) compare(ctx context.Context, o *Ownership, id ring.ID) (fetched int, err error) {
	own := make(map[ring.Partition]version.Vector)
	request := compare{Layout: o.Hash}
	for _, s := range shares(o.Layout, o.Self, id) {
		clock, err := x.store.SyncedClock(s.Partition)
		if err != nil {
			return 0, err
		}
		clock = clock.AtLeast(s.Least)
		own[s.Partition] = clock
		request.Hashes = append(request.Hashes, hashed{s.Partition, clock.Hash()})
	}
	body, err := x.ask(ctx, id, KindCompare, request.append(nil))
	if err != nil {
		return 0, err
	}
	answer, err := decodeCompared(body)
	if err != nil {
		return 0, err
	}
	behind, ahead := uint64(0), false
	for _, c := range answer.Clocks {
		mine, asked := own[c.Partition]
		if !asked {
			return 0, fmt.Errorf("%w: a clock that was not asked for", errWire)
		}
		behind += c.Clock.Lacks(mine)
		ahead = ahead || judge(mine, c.Clock, o.gaining(), answer.Gaining) != nothing
	}
	x.note(id, behind)
	if !ahead {
		return 0, nil
	}
	if !sleep(ctx, x.cfg.Settle) {
		return 0, ctx.Err()
	}
	return x.fetch(ctx, o, id, &answer)
}

// task is one partition to catch up in.
type task struct {
	share  share
	act    action
	theirs version.Vector // as compared
	lacks  uint64
}

// fetch catches up in every partition that still lacks something of what the comparison showed.
func (x *Exchanger) fetch(ctx context.Context, o *Ownership, id ring.ID, answer *compared) (fetched int, err error) {
	var tasks []task
	left := uint64(0)
	for _, c := range answer.Clocks {
		s, ok := shareOf(o.Layout, c.Partition, o.Self, id)
		mine, err := x.store.SyncedClock(c.Partition)
		if err != nil {
			return 0, err
		}
		if act := judge(mine, c.Clock, o.gaining(), answer.Gaining); ok && act != nothing {
			tasks = append(tasks, task{s, act, c.Clock, mine.Lacks(c.Clock)})
			left += mine.Lacks(c.Clock)
		}
	}
	for _, t := range rotate(tasks, slices.Index(partners(o), id), len(partners(o))) {
		x.remaining(id, left)
		left -= t.lacks
		mine, err := x.store.SyncedClock(t.share.Partition)
		if err != nil {
			return fetched, err
		}
		if mine.CoversAll(t.theirs) {
			continue // it has come from another peer meanwhile
		}
		n, err := x.pull(ctx, o, id, t.share, t.act)
		fetched += n
		if err != nil {
			return fetched, fmt.Errorf("partition %d: %w", t.share.Partition, err)
		}
	}
	return fetched, nil
}

// pull is one exchange: all pages of one snapshot of the peer, each synced here before the next, and its clock at the very end.
func (x *Exchanger) pull(ctx context.Context, o *Ownership, id ring.ID, s share, act action) (fetched int, err error) {
	known, err := x.store.SyncedClock(s.Partition)
	if err != nil {
		return 0, err
	}
	request := open{Layout: o.Hash, Partition: s.Partition, Clock: known.AtLeast(s.Least)}
	body, err := x.ask(ctx, id, KindOpen, request.append(nil))
	if err != nil {
		return 0, err
	}
	p, err := decodePage(body)
	if err != nil {
		return 0, err
	}
	clock := p.Clock.AtLeast(s.Least)
	for {
		n, err := x.take(o, s.Partition, p.Records)
		fetched += n
		if err != nil {
			x.giveUp(ctx, o, id, &p)
			return fetched, err
		}
		x.count(n, len(body))
		if p.Gaining {
			act = take // it has lost its disk meanwhile, or this node's view was old
		}
		pause := x.pacer.pause(time.Now(), max(p.Pressure, x.pressure()), len(body))
		if p.Last {
			sleep(ctx, pause)
			break
		}
		if !sleep(ctx, pause) {
			x.giveUp(ctx, o, id, &p)
			return fetched, ctx.Err()
		}
		request := next{Layout: o.Hash, Session: p.Session, After: p.After}
		if body, err = x.ask(ctx, id, KindPage, request.append(nil)); err != nil {
			return fetched, err
		}
		if p, err = decodePage(body); err != nil {
			return fetched, err
		}
	}
	if act != catchUp {
		return fetched, nil
	}
	if now := x.member.Ownership(); now.Hash != o.Hash {
		return fetched, fmt.Errorf("%w: the layout changed", errAgain)
	}
	if err := x.store.Adopt(s.Partition, clock); err != nil {
		return fetched, err
	}
	x.Stats.Adopted.Add(1)
	return fetched, nil
}

// take merges a page and returns when all of it is on the disk. An error means that some of it may not be: nothing may rest on it.
func (x *Exchanger) take(o *Ownership, p ring.Partition, records []logged) (int, error) {
	commits := make([]*store.Commit, 0, len(records))
	for i := range records {
		r := &records[i]
		k := store.Key{Partition: ring.PartitionOf(ring.Hash(r.Bucket, r.Key), o.Layout.Partitions()), Bucket: r.Bucket, Key: r.Key}
		if k.Partition != p {
			return i, fmt.Errorf("%w: a record of partition %d in an exchange of %d", errWire, k.Partition, p)
		}
		res, err := x.store.Mend(k, r.Record)
		if err != nil {
			return i, err
		}
		commits = append(commits, res.Commit)
	}
	for _, c := range commits {
		if err := c.Wait(); err != nil {
			return 0, err
		}
	}
	return len(records), nil
}

// giveUp lets the peer's snapshot go at once; what is lost of that, its time ends.
func (x *Exchanger) giveUp(ctx context.Context, o *Ownership, id ring.ID, p *page) {
	if p.Last {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	end := next{Layout: o.Hash, Session: p.Session}
	_, _ = x.ask(ctx, id, KindEnd, end.append(nil))
}

const endPatience = 200 * time.Millisecond

// note remembers how far a peer was behind, and tells whoever wants to know.
func (x *Exchanger) note(id ring.ID, behind uint64) {
	x.mu.Lock()
	l := x.lag[id]
	if behind == 0 {
		l.since = time.Time{}
	} else if l.versions == 0 {
		l.since = time.Now()
	}
	l.versions = behind
	x.lag[id] = l
	x.mu.Unlock()
	if x.caughtUp != nil {
		x.caughtUp(id)
	}
}

func (x *Exchanger) remaining(id ring.ID, versions uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left[id] = versions
}

func (x *Exchanger) count(records, bytes int) {
	x.Stats.Records.Add(int64(records))
	x.Stats.Bytes.Add(int64(bytes))
	x.busy()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rate.add(records, time.Now())
}

// rate is records a second over the last two spans.
type rate struct {
	begun     time.Time
	now, last int
}

const rateSpan = 2 * time.Second

func (r *rate) roll(now time.Time) {
	switch age := now.Sub(r.begun); {
	case age >= 2*rateSpan:
		r.last, r.now, r.begun = 0, 0, now
	case age >= rateSpan:
		r.last, r.now, r.begun = r.now, 0, r.begun.Add(rateSpan)
	}
}

func (r *rate) add(n int, now time.Time) {
	r.roll(now)
	r.now += n
}

func (r *rate) read(now time.Time) float64 {
	r.roll(now)
	return float64(r.last+r.now) / (rateSpan + now.Sub(r.begun)).Seconds()
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
