package repair

import (
	"cmp"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/version"
)

// What is decided here is pure: what a view means for one node, whom to ask, and what an answer calls for.

// Ownership is one immutable snapshot of who owns what and who answers.
type Ownership struct {
	Rings  *layouts.View // nil until this node has founded or met a cluster
	Digest uint64        // of Rings
	Self   ring.ID
	Peers  map[ring.ID]Peer // every present member, and every owner of a live layout
}

// Peer is what is known of one member.
type Peer struct {
	Name string
	Down bool
}

// answers reports whether a peer is known and not down.
func (o *Ownership) answers(id ring.ID) bool {
	p, known := o.Peers[id]
	return known && !p.Down
}

// share is a partition that two nodes both own under live layouts, for all n from Least on.
type share struct {
	Partition ring.Partition
	Least     uint8
}

// territory is what a digest means for one node. It takes some milliseconds to compute.
type territory struct {
	digest  uint64
	shares  map[ring.ID][]share // by co-owner; partitions ascend
	gaining []uint8             // by partition: as View.Gaining
	fetches bool                // some of them are not 0
}

func territoryOf(v *layouts.View, self ring.ID) *territory {
	t := &territory{shares: make(map[ring.ID][]share)}
	if v == nil {
		return t
	}
	t.digest, t.gaining = v.Digest(), make([]uint8, v.Partitions())
	for p := range t.gaining {
		p := ring.Partition(p)
		t.gaining[p] = uint8(v.Gaining(self, p))
		t.fetches = t.fetches || t.gaining[p] > 0
		if v.Least(self, p) == 0 {
			continue
		}
		for _, id := range present(v.WriteGroups(p, quorum.MaxN)) {
			if s, ok := shareOf(v, p, self, id); ok {
				t.shares[id] = append(t.shares[id], s)
			}
		}
	}
	return t
}

// present are the owners of some groups, each once.
func present(groups []layouts.Group) (ids []ring.ID) {
	for _, g := range groups {
		for _, id := range g.Owners {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func shareOf(v *layouts.View, p ring.Partition, a, b ring.ID) (share, bool) {
	la, lb := v.Least(a, p), v.Least(b, p)
	return share{p, uint8(max(la, lb))}, a != b && la > 0 && lb > 0
}

// partners are the co-owners that are not held for lost, sorted.
func (t *territory) partners(v *layouts.View) []ring.ID {
	var out []ring.ID
	for id := range t.shares {
		if !v.Lost(id) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, ring.ID.Compare)
	return out
}

// reports reports whether an owner has still to fetch something of a partition before it reports it, as far as this view knows. What a view knows of
// reports is never more than who makes them does.
func reports(v *layouts.View, owner ring.ID, p ring.Partition) bool {
	return v.Gaining(owner, p) > 0 && !v.Reported(owner, p)
}

// wants decides whether to fetch what a peer has of a partition. Of a peer that does not hold all that it owns there (held is false) only a node does
// that must meet it before its own report (owed): the peer may have an acknowledged write that no other surviving owner has. For others it is still
// fetching, also from here; when it has reported it is compared again.
func wants(mine, theirs version.Vector, held, owed bool) bool {
	return !mine.CoversAll(theirs) && (owed || adopts(held))
}

// adopts decides whether a peer's clock of a partition is adopted after all that it is the clock of has been merged.
func adopts(held bool) bool { return held || mutation.AdoptFromGaining }

// contact is what the schedule knows of a partner.
type contact struct {
	up      bool
	running bool
	again   bool      // a round is to begin as soon as the running one has ended
	first   bool      // before those that are not: this node's reports wait for it
	due     time.Time // when the next round is to begin; zero: at once
}

// hasten makes all contacts due at once, those that are waited for first.
func hasten(contacts map[ring.ID]*contact, missing map[ring.ID]int) {
	for id, c := range contacts {
		c.due, c.again, c.first = time.Time{}, c.running, missing[id] > 0
	}
}

// ended notes the end of a round.
func (c *contact) ended(due time.Time) {
	if c.again {
		due = time.Time{}
	}
	c.running, c.again, c.due = false, false, due
}

// attend notes who is to be met and, of these, who answers (up), marks as running those to begin with now, and returns them. One that answers again is
// due at once. gone are those that are to be met no more, and are forgotten.
func attend(contacts map[ring.ID]*contact, up map[ring.ID]bool, now time.Time, concurrent int) (due, gone []ring.ID) {
	for id, answers := range up {
		c := contacts[id]
		if c == nil {
			c = &contact{}
			contacts[id] = c
		}
		if answers != c.up {
			c.up, c.due = answers, time.Time{}
		}
	}
	for id, c := range contacts {
		if _, wanted := up[id]; !wanted && !c.running {
			delete(contacts, id)
			gone = append(gone, id)
		}
	}
	due = pick(contacts, now, concurrent)
	for _, id := range due {
		contacts[id].running = true
	}
	return due, gone
}

// pick chooses whom to begin a round with now: partners that answer and are due, those that are waited for first, then longest due first, within the bound
// of rounds at once.
func pick(contacts map[ring.ID]*contact, now time.Time, concurrent int) []ring.ID {
	var due []ring.ID
	for id, c := range contacts {
		switch {
		case c.running:
			concurrent--
		case c.up && !c.due.After(now):
			due = append(due, id)
		}
	}
	slices.SortFunc(due, func(a, b ring.ID) int {
		if contacts[a].first != contacts[b].first {
			return cmpFirst(contacts[a].first)
		}
		return cmp.Or(contacts[a].due.Compare(contacts[b].due), a.Compare(b))
	})
	return due[:max(0, min(len(due), concurrent))]
}

func cmpFirst(first bool) int {
	if first {
		return -1
	}
	return 1
}

// rotate lets each of several peers begin at another part of what is to be fetched, so that what one sends need not come from the next.
func rotate[T any](tasks []T, peer, peers int) []T {
	if peer <= 0 {
		return tasks
	}
	at := len(tasks) * peer / peers
	return append(tasks[at:len(tasks):len(tasks)], tasks[:at]...)
}
