package repair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// A receiver of what a former owner shows says what it has all of, and fetches the rest from it. Clocks of former owners are not adopted: what was
// fetched is remembered as long as the view is the same, for the next time that it is shown.

// invitation is what one former owner has shown.
type invitation struct {
	at      map[ring.Partition]uint8          // to be fetched: the least n
	taken   map[ring.Partition]version.Vector // clocks of which all is here
	running bool
	due     time.Time
}

// invitations are those of all former owners, under one view. One is followed at a time.
type invitations struct {
	mu     sync.Mutex
	digest uint64
	from   map[ring.ID]*invitation
}

// under is the former owner's invitation, of the view. mu is held.
func (v *invitations) under(digest uint64, id ring.ID) *invitation {
	if v.digest != digest || v.from == nil {
		v.digest, v.from = digest, make(map[ring.ID]*invitation)
	}
	i := v.from[id]
	if i == nil {
		i = &invitation{at: make(map[ring.Partition]uint8), taken: make(map[ring.Partition]version.Vector)}
		v.from[id] = i
	}
	return i
}

// has reports whether all that was shown of a partition is here: in this node's clock, or by what it fetched from that owner. If not, it is to be fetched.
func (v *invitations) has(id ring.ID, digest uint64, s share, mine, theirs version.Vector) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := v.under(digest, id)
	both := mine.Clone()
	both.Merge(i.taken[s.Partition])
	if both.CoversAll(theirs) {
		delete(i.at, s.Partition)
		return true
	}
	i.at[s.Partition] = s.Least
	return false
}

// took notes that all of a partition was fetched from a former owner.
func (v *invitations) took(id ring.ID, digest uint64, w *wanted) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.digest != digest {
		return // another view has come: what was fetched under this one means nothing any more
	}
	i := v.under(digest, id)
	i.taken[w.share.Partition] = w.clock
	delete(i.at, w.share.Partition)
}

// next is a former owner to fetch from now, if none is being fetched from.
func (v *invitations) next(digest uint64, answers func(ring.ID) bool, now time.Time) (id ring.ID, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.digest != digest {
		return ring.ID{}, false
	}
	for other, i := range v.from {
		switch {
		case i.running:
			return ring.ID{}, false
		case len(i.at) > 0 && !i.due.After(now) && answers(other) && (!ok || other.Compare(id) < 0):
			id, ok = other, true
		}
	}
	if ok {
		v.from[id].running = true
	}
	return id, ok
}

// list is what is to be fetched from a former owner, ascending.
func (v *invitations) list(digest uint64, id ring.ID) (out []share) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.digest != digest {
		return nil
	}
	for p, least := range v.under(digest, id).at {
		out = append(out, share{p, least})
	}
	slices.SortFunc(out, func(a, b share) int { return int(a.Partition) - int(b.Partition) })
	return out
}

func (v *invitations) end(digest uint64, id ring.ID, due time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.digest == digest {
		i := v.under(digest, id)
		i.running, i.due = false, due
	}
}

func (x *Exchanger) serveShow(req *transport.Request, m *show) (transport.Status, []byte) {
	o, status, body := x.fence(req, m.Digest)
	if status != transport.StatusOK {
		return status, body
	}
	if _, known := o.Peers[req.From]; !known {
		return statusFrozen, nil // or there would be as many invitations as nodes that ever were
	}
	answer := shown{Held: make([]bool, len(m.Partitions))}
	for i, p := range m.Partitions {
		s := share{p, m.Least[i]}
		if int(p) >= o.Rings.Partitions() || !o.Rings.Keeps(o.Self, p, int(s.Least)) {
			return statusBad, []byte("what this node does not own")
		}
		mine, err := x.store.SyncedClock(p)
		if err != nil {
			return statusStore, []byte(err.Error())
		}
		answer.Held[i] = x.invited.has(req.From, o.Digest, s, mine, m.Clocks[i])
	}
	x.Changed()
	return transport.StatusOK, answer.append(nil)
}

// accept fetches what a former owner has shown.
func (x *Exchanger) accept(ctx context.Context, o *Ownership, id ring.ID) {
	fetched, err := x.fetchFormer(ctx, o, id)
	pause := x.cfg.Retry
	switch {
	case errors.Is(err, errRefused) && fetched.records == 0:
		pause = refusedCycles * x.cfg.Cycle
	case err == nil:
		pause = 0
	}
	x.log.Debug("what a former owner showed", "peer", o.Peers[id].Name, "records", fetched.records, "err", err)
	x.mu.Lock()
	delete(x.left, id)
	x.mu.Unlock()
	x.invited.end(o.Digest, id, time.Now().Add(pause))
	x.Changed()
}

func (x *Exchanger) fetchFormer(ctx context.Context, o *Ownership, id ring.ID) (haul, error) {
	list := x.invited.list(o.Digest, id)
	mine, err := x.clocks(list)
	if err != nil {
		return haul{}, err
	}
	tasks := make([]task, len(list))
	for i, s := range list {
		tasks[i] = task{share: s, theirs: mine[i], lacks: 1}
	}
	return x.batches(ctx, id, tasks, func(some []task) (haul, error) { return x.pull(ctx, o, id, some, true) })
}
