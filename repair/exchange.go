package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// batchVersions is how many versions the partitions of one exchange lack together, unless one lacks more: so few that a snapshot is not held
// for long, and that what comes from another peer meanwhile is hardly fetched twice; and enough that its messages do not count.
const batchVersions = 1024

// haul is what an exchange has brought so far, and the records that this node's store did not take.
type haul struct{ records, clocks, refused int }

// errRefused ends an exchange that brought everything but what this node's store did not take.
var errRefused = errors.New("repair: records cannot be stored here")

// fetch catches up in every partition that still lacks something of what the comparison showed, some partitions at a time. begun is the view that the
// comparison was begun under, nil if it does not count.
func (x *Exchanger) fetch(ctx context.Context, o *Ownership, id ring.ID, c *comparison, begun *layouts.View) (haul, error) {
	tasks, err := x.lacking(o, id, c, begun)
	if err != nil {
		return haul{}, err
	}
	peers := x.territory(o).partners(o.Rings)
	return x.batches(ctx, id, rotate(tasks, slices.Index(peers, id), len(peers)), func(some []task) (haul, error) {
		var behind []task
		for _, t := range some {
			mine, err := x.store.SyncedClock(t.share.Partition)
			if err != nil {
				return haul{}, err
			}
			if mine.CoversAll(t.theirs) { // it has come from another peer meanwhile
				x.met(begun, id, t.share.Partition)
			} else {
				behind = append(behind, t)
			}
		}
		if len(behind) == 0 {
			return haul{}, nil
		}
		return x.pull(ctx, o, id, behind, false)
	})
}

// batches does some tasks at a time, none that another round is at.
func (x *Exchanger) batches(ctx context.Context, id ring.ID, tasks []task, do func(some []task) (haul, error)) (fetched haul, err error) {
	left := uint64(0)
	for i := range tasks {
		left += tasks[i].lacks
	}
	for len(tasks) > 0 {
		x.remaining(id, left)
		some, rest, freed := x.claims.take(tasks)
		if len(some) == 0 {
			select {
			case <-freed:
			case <-ctx.Done():
				return fetched, ctx.Err()
			}
			continue
		}
		h, err := do(some)
		x.claims.release(some)
		fetched = haul{fetched.records + h.records, fetched.clocks + h.clocks, fetched.refused + h.refused}
		if err != nil {
			return fetched, fmt.Errorf("partitions %d to %d: %w", some[0].share.Partition, some[len(some)-1].share.Partition, err)
		}
		for _, t := range some {
			left -= t.lacks
		}
		tasks = rest
	}
	if fetched.refused > 0 {
		return fetched, fmt.Errorf("%w: %d", errRefused, fetched.refused)
	}
	return fetched, nil
}

// task is one partition to catch up in.
type task struct {
	share  share
	theirs version.Vector // as told in the comparison
	lacks  uint64
}

// lacking is a second look at what a comparison has shown.
func (x *Exchanger) lacking(o *Ownership, id ring.ID, c *comparison, begun *layouts.View) ([]task, error) {
	var tasks []task
	for _, d := range c.differ {
		p := d.share.Partition
		mine, err := x.store.SyncedClock(p)
		switch {
		case err != nil:
			return nil, err
		case mine.CoversAll(d.theirs):
			x.met(begun, id, p)
		case wants(mine, d.theirs, d.held, x.owes(begun, o.Self, p, id)):
			tasks = append(tasks, task{d.share, d.theirs, mine.Lacks(d.theirs)})
		}
	}
	return tasks, nil
}

// firstBatch are the first of some tasks, for one exchange, whose partitions ascend.
func firstBatch(tasks []task) []task {
	sum := uint64(0)
	for i, t := range tasks {
		if sum += t.lacks; i > 0 && (sum > batchVersions || t.share.Partition < tasks[i-1].share.Partition) {
			return tasks[:i]
		}
	}
	return tasks
}

// exchange is one exchange as the side sees it that catches up.
type exchange struct {
	peer    ring.ID
	session uint64
	begun   *layouts.View // nil if it does not count for reports
	former  bool          // the peer owns nothing of it any more
	wanted  []wanted      // whose partitions ascend
	done    int           // of them, so many are finished
	fetched haul
}

// wanted is a partition of an exchange, with the snapshot's clock for the n that both own.
type wanted struct {
	share   share
	clock   version.Vector
	held    bool // by the peer: its clock is adopted
	refused bool // a record of it was not stored: the clock is not adopted
}

// pull is one exchange of some partitions: all pages of one snapshot of the peer, each synced here before the next is asked for, and the clock of a
// partition after its last record.
func (x *Exchanger) pull(ctx context.Context, o *Ownership, id ring.ID, behind []task, former bool) (haul, error) {
	e := exchange{peer: id, begun: x.begin(o), former: former}
	m, belief := open{Digest: o.Digest, Hold: true, Former: former}, make([]version.Vector, len(behind))
	for i := range behind {
		m.Partitions, belief[i] = append(m.Partitions, behind[i].share.Partition), behind[i].theirs
		if former {
			m.Least = append(m.Least, behind[i].share.Least)
		}
	}
	answer, err := x.open(ctx, id, &m, belief)
	if err != nil {
		return haul{}, err
	}
	e.session = answer.Session
	request, err := x.choose(o, &e, behind, &answer)
	if err != nil || len(e.wanted) == 0 {
		x.giveUp(ctx, o, &e)
		return haul{}, err
	}
	err = x.pages(ctx, o, &e, request)
	return e.fetched, err
}

// choose decides what is wanted of an exchange that was opened, and says what is here of it.
func (x *Exchanger) choose(o *Ownership, e *exchange, behind []task, answer *opened) (*next, error) {
	request := &next{Digest: o.Digest, Session: answer.Session, First: true, Wanted: make([]bool, len(behind))}
	for i, theirs := range answer.Rows {
		w := wanted{share: behind[i].share, clock: theirs}
		p := w.share.Partition
		mine, err := x.store.SyncedClock(p)
		if err != nil {
			return nil, err
		}
		if e.former && mine.CoversAll(theirs) {
			x.finish(o, e, &w)
			continue
		}
		w.held = !e.former && holds(o, e.peer, w.share, answer.Holds[i])
		// What the snapshot's clock has forgotten it does not show: where a report rests on the exchange, the log is asked, also if the clock is covered.
		if e.former || x.owes(e.begun, o.Self, p, e.peer) || wants(mine, theirs, w.held, false) {
			e.wanted = append(e.wanted, w)
			theirs = theirs.Clone()
			theirs.Merge(behind[i].theirs)
			request.Wanted[i], request.Known = true, append(request.Known, lacks(mine, theirs))
		}
	}
	return request, nil
}

// finish notes that nothing of a partition of an exchange is missing here.
func (x *Exchanger) finish(o *Ownership, e *exchange, w *wanted) {
	if e.former {
		x.invited.took(e.peer, o.Digest, w)
	} else {
		x.met(e.begun, e.peer, w.share.Partition)
	}
}

// pages asks for one page after the other and takes them.
func (x *Exchanger) pages(ctx context.Context, o *Ownership, e *exchange, first *next) error {
	if mutation.AdoptBeforeData {
		if err := x.adopt(o, e, e.wanted); err != nil {
			return err
		}
	}
	for request := first; ; {
		request.Bytes = uint32(x.pacer.page(time.Now()))
		body, err := x.ask(ctx, e.peer, KindPage, request.append(nil))
		if err != nil {
			return err
		}
		p, err := decodePage(body)
		if err != nil {
			return err
		}
		before := e.fetched.records
		err = x.turn(o, e, &p)
		x.count(e.fetched.records-before, len(body))
		if err == nil && !x.paced(ctx, e.peer, p.Pressure, len(body)) {
			err = ctx.Err()
		}
		if p.Last {
			return err
		}
		if err != nil {
			x.giveUp(ctx, o, e)
			return err
		}
		request = &next{Digest: o.Digest, Session: e.session, At: p.At, After: p.After}
	}
}

// turn takes a page: its records, and then the clocks of the partitions that are finished with it.
func (x *Exchanger) turn(o *Ownership, e *exchange, p *page) error {
	for i := range p.Sections {
		s := &p.Sections[i]
		at := slices.IndexFunc(e.wanted[e.done:], func(c wanted) bool { return c.share.Partition == s.Partition })
		if at < 0 {
			return fmt.Errorf("%w: records of partition %d, which are not wanted", errWire, s.Partition)
		}
		w := &e.wanted[e.done+at]
		n, refused, err := x.take(o, s, w.clock)
		e.fetched.records, e.fetched.refused = e.fetched.records+n, e.fetched.refused+refused
		w.refused = w.refused || refused > 0
		if err != nil {
			return err
		}
	}
	finished := e.done
	for finished < len(e.wanted) && (p.Last || e.wanted[finished].share.Partition < p.At) {
		finished++
	}
	some := e.wanted[e.done:finished]
	e.done = finished
	if err := x.adopt(o, e, some); err != nil {
		return err
	}
	for i := range some {
		if !some[i].refused {
			x.finish(o, e, &some[i])
		}
	}
	return nil
}

// adopt takes over the clocks of finished partitions, as far as the peer holds what they are clocks of. It does so behind the door: after a change of the view this
// node may have dropped what was merged.
func (x *Exchanger) adopt(o *Ownership, e *exchange, finished []wanted) error {
	if err := x.enter(o.Digest); err != nil {
		return err
	}
	defer x.door.Leave()
	for i := range finished {
		w := &finished[i]
		if w.refused || !adopts(w.held) {
			continue
		}
		if err := x.store.Adopt(w.share.Partition, w.clock); err != nil {
			return err
		}
		e.fetched.clocks++
		x.Stats.Adopted.Add(1)
	}
	return nil
}

// enter lets a store operation of an exchange in; door.Leave must follow if there is no error.
func (x *Exchanger) enter(digest uint64) error {
	if x.door.Enter(digest) != FenceHeld {
		return fmt.Errorf("%w: the view changed", errAgain)
	}
	return nil
}

// take merges records of a partition, behind the door, and returns when all of them are on the disk, but for those that the store refuses by themselves. An
// error means that more may be missing: nothing may rest on it.
func (x *Exchanger) take(o *Ownership, s *section, clock version.Vector) (taken, refused int, _ error) {
	if !s.Beneath.IsEmpty() {
		clock = clock.Clone()
		clock.Merge(s.Beneath)
	}
	commits := make([]*store.Commit, 0, len(s.Records))
	merge := func(r *logged) error {
		k := store.Key{Partition: ring.PartitionOf(ring.Hash(r.Bucket, r.Key), o.Rings.Partitions()), Bucket: r.Bucket, Key: r.Key}
		if k.Partition != s.Partition {
			return fmt.Errorf("%w: a record of partition %d among those of %d", errWire, k.Partition, s.Partition)
		}
		res, err := x.store.Mend(k, r.Record.Fill(clock))
		switch {
		case err == nil:
			commits = append(commits, res.Commit)
		case bars(err):
			refused++
			x.log.Warn("a record of another owner cannot be stored", "bucket", r.Bucket, "key", r.Key, "err", err)
			return nil
		}
		return err
	}
	err := x.enter(o.Digest)
	if err == nil {
		for i := 0; i < len(s.Records) && err == nil; i++ {
			err = merge(&s.Records[i])
		}
		x.door.Leave()
	}
	if failure := waitFor(commits); err == nil {
		err = failure
	}
	return len(commits), refused, err
}

// waitFor waits for all commits, which their maker owes to each, also after one has failed, and returns the first failure.
func waitFor(commits []*store.Commit) (err error) {
	for _, c := range commits {
		if failure := c.Wait(); err == nil {
			err = failure
		}
	}
	return err
}

// giveUp lets the peer's snapshot go at once; what is lost of that, its time ends.
func (x *Exchanger) giveUp(ctx context.Context, o *Ownership, e *exchange) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	end := next{Digest: o.Digest, Session: e.session}
	_, _ = x.ask(ctx, e.peer, KindEnd, end.append(nil))
}

const endPatience = 200 * time.Millisecond

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
