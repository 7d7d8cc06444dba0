package repair

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
)

// Serve takes what others kept for this node. It may block on the disk.
func (d *Deliverer) Serve(req transport.Request) {
	status, body := d.answer(&req)
	req.Reply(status, body)
}

func (d *Deliverer) answer(req *transport.Request) (transport.Status, []byte) {
	switch req.Kind {
	case KindHandOff:
		m, err := decodeHandOffs(req.Body)
		if err != nil {
			return statusBad, []byte(err.Error())
		}
		answer, err := d.take(&m)
		return d.verdict(answer.append(nil), err)
	case KindSettle:
		m, err := decodeSettle(req.Body)
		if err != nil {
			return statusBad, []byte(err.Error())
		}
		answer, err := d.adopt(&m)
		return d.verdict(answer.append(nil), err)
	}
	m, err := decodeSums(req.Body)
	if err != nil {
		return statusBad, []byte(err.Error())
	}
	if _, known := d.x.member.Ownership().Peers[req.From]; known {
		d.mu.Lock()
		d.holding[req.From] = m
		d.mu.Unlock()
	}
	return transport.StatusOK, nil
}

// The ways in which the door is shut.
var (
	errOtherView = errors.New("repair: the views differ")
	errFrozen    = errors.New("repair: starting, or the view is just being swapped")
)

// verdict is what a peer is answered.
func (d *Deliverer) verdict(body []byte, err error) (transport.Status, []byte) {
	switch {
	case err == nil:
		return transport.StatusOK, body
	case errors.Is(err, errOtherView):
		return statusLayout, d.x.member.Table()
	case errors.Is(err, errFrozen):
		return statusFrozen, nil
	case errors.Is(err, errWire):
		return statusBad, []byte(err.Error())
	}
	return statusStore, []byte(err.Error())
}

// enter lets one store operation in; the door's Leave must follow if there is no error.
func (d *Deliverer) enter(digest uint64) error {
	switch d.x.door.Enter(digest) {
	case FenceOther:
		return errOtherView
	case FenceFrozen:
		return errFrozen
	}
	return nil
}

// take merges hand-offs as a replica does, and returns when all of them are on the disk but those that it refuses. What keeps one record
// out, and nothing else, refuses that record; what fails otherwise fails all of them, and nothing is to rest on any.
func (d *Deliverer) take(m *handOffs) (taken, error) {
	answer := taken{Opening: d.dots.Actor()} // before the first merge: all of them are in this opening, or the store is in a later one already
	commits := make([]*store.Commit, 0, len(m.Records))
	merge := func() error {
		if err := d.enter(m.Digest); err != nil {
			return err
		}
		defer d.x.door.Leave()
		o := d.x.member.Ownership()
		if o.Rings == nil || o.Digest != m.Digest {
			return errFrozen // it has just changed
		}
		for i := range m.Records {
			r := &m.Records[i]
			k := store.Key{Partition: ring.PartitionOf(ring.Hash(r.Bucket, r.Key), o.Rings.Partitions()), Bucket: r.Bucket, Key: r.Key}
			if k.Partition != m.Partition || !o.Rings.Keeps(o.Self, k.Partition, int(r.Record.N)) {
				return fmt.Errorf("%w: key %q of partition %d, of which this node is no owner with n=%d", errWire, r.Key, k.Partition, r.Record.N)
			}
			res, err := d.x.store.Mend(k, r.Record)
			switch {
			case err == nil:
				commits = append(commits, res.Commit)
			case bars(err):
				reason := err.Error()
				answer.Refused = append(answer.Refused, refusal{i, reason[:min(len(reason), maxReason)]})
			default:
				return err
			}
		}
		return nil
	}
	err := merge()
	if failure := waitFor(commits); err == nil {
		err = failure
	}
	if err != nil {
		return taken{}, err
	}
	answer.Pressure = d.x.pressure()
	d.x.busy()
	d.Stats.Received.Add(int64(len(commits)))
	return answer, nil
}

// bars reports whether an error is about one record alone.
func bars(err error) bool {
	return errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrFuture) ||
		errors.Is(err, store.ErrElided) || errors.Is(err, store.ErrKey)
}

// adopt puts a fallback's dots into this node's clock, unless its store was opened anew since it confirmed what they rest on, or it has dropped some of the partition.
func (d *Deliverer) adopt(m *settle) (settled, error) {
	if err := d.enter(m.Digest); err != nil {
		return settled{}, err
	}
	defer d.x.door.Leave()
	o := d.x.member.Ownership()
	if o.Rings == nil || o.Digest != m.Digest {
		return settled{}, errFrozen // it has just changed
	}
	if int(m.Partition) >= o.Rings.Partitions() || !ownedDots(o.Rings, m.Partition, o.Self, m.Dots).Equal(m.Dots) {
		return settled{}, fmt.Errorf("%w: dots of partition %d of which this node is no owner", errWire, m.Partition)
	}
	if d.x.former.hasDropped(m.Partition) {
		return settled{}, nil // what it confirmed may have been dropped since, and the set regained
	}
	err := d.dots.AdoptUnder(m.Opening, m.Partition, m.Dots)
	if errors.Is(err, store.ErrReopened) {
		return settled{}, nil
	}
	return settled{Adopted: true}, err
}

// tell returns the members that are to be told what this node holds.
func (d *Deliverer) tell(now time.Time) []ring.ID {
	held := d.held.HandOffs()
	mine := sums{held.Count, held.Bytes}
	o := d.x.member.Ownership()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.telling) {
		return nil
	}
	d.telling = now.Add(d.cfg.Cycle)
	var out []ring.ID
	for id, p := range o.Peers {
		if id != o.Self && !p.Down && worthTelling(mine, d.told[id]) {
			out = append(out, id)
		}
	}
	gone := func(id ring.ID) bool {
		_, known := o.Peers[id]
		return !known
	}
	maps.DeleteFunc(d.told, func(id ring.ID, _ *sums) bool { return gone(id) })
	maps.DeleteFunc(d.holding, func(id ring.ID, _ sums) bool { return gone(id) })
	slices.SortFunc(out, ring.ID.Compare)
	return out
}

func (d *Deliverer) tellOne(ctx context.Context, id ring.ID) {
	held := d.held.HandOffs()
	mine := sums{held.Count, held.Bytes}
	if _, err := d.x.ask(ctx, id, KindHolding, mine.append(nil)); err != nil {
		return
	}
	d.mu.Lock()
	d.told[id] = &mine
	d.mu.Unlock()
}

// Holding is what another member last said that it holds for others; zero if it has not said anything since this node started.
func (d *Deliverer) Holding(id ring.ID) (count, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.holding[id]
	return s.Count, s.Bytes
}
