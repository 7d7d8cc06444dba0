package repair

import (
	"slices"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// What is decided here is pure: whom to ask, what an answer calls for, and when a namesake has everything.

// Ownership is one immutable snapshot of who owns what and who answers.
type Ownership struct {
	Layout *ring.Layout // nil until this node belongs to a cluster
	Hash   uint64
	Self   ring.ID
	Peers  map[ring.ID]Peer // the members of the layout, and whoever else is known
}

// Peer is what is known of one member.
type Peer struct {
	Name    string
	Down    bool
	Gaining bool
}

func (o *Ownership) gaining() bool { return o.Peers[o.Self].Gaining }

// share is a partition that two nodes both own, for all n from Least on.
type share struct {
	Partition ring.Partition
	Least     uint8
}

// shares are the partitions that two members both own, in order.
func shares(l *ring.Layout, a, b ring.ID) []share {
	var out []share
	if l == nil || a == b {
		return nil
	}
	for p := range ring.Partition(l.Partitions()) {
		if s, ok := shareOf(l, p, a, b); ok {
			out = append(out, s)
		}
	}
	return out
}

func shareOf(l *ring.Layout, p ring.Partition, a, b ring.ID) (share, bool) {
	ra, rb := l.Rank(p, a), l.Rank(p, b)
	least := max(ra, rb) + 1
	return share{p, uint8(least)}, a != b && ra >= 0 && rb >= 0 && least <= quorum.MaxN
}

// partners are the members that share a replica set with this node, sorted by name.
func partners(o *Ownership) []ring.ID {
	if o.Layout == nil {
		return nil
	}
	shared := make(map[ring.ID]bool)
	for p := range ring.Partition(o.Layout.Partitions()) {
		owners := o.Layout.Owners(p, quorum.MaxN)
		if slices.Contains(owners, o.Self) {
			for _, id := range owners {
				shared[id] = id != o.Self
			}
		}
	}
	var out []ring.ID
	for _, m := range o.Layout.Members() {
		if shared[m.ID] {
			out = append(out, m.ID)
		}
	}
	return out
}

// action is what a difference of clocks calls for.
type action uint8

const (
	nothing action = iota // this node has all that the other has, or may not trust it yet
	take                  // fetch the records, and leave the clock
	catchUp               // fetch the records and adopt the clock
)

// judge decides about one partition of which the clocks differ.
func judge(mine, theirs version.Vector, selfGaining, peerGaining bool) action {
	switch {
	case mine.CoversAll(theirs):
		return nothing
	case !peerGaining:
		return catchUp
	case selfGaining:
		return take // it may hold an acknowledged write that no other surviving owner has
	}
	return nothing // it is still fetching, also from here; when it is synced it is compared again
}

// contact is what the schedule knows of a partner.
type contact struct {
	up      bool
	running bool
	due     time.Time // when the next round is to begin; zero: at once
}

// pick chooses whom to begin a round with now: partners that answer and are due, longest due first, within the bound of rounds at once.
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
		if c := contacts[a].due.Compare(contacts[b].due); c != 0 {
			return c
		}
		return a.Compare(b)
	})
	return due[:max(0, min(len(due), concurrent))]
}

// waitsFor are the partners with whom no whole round has been completed under the present layout.
func waitsFor(o *Ownership, done map[ring.ID]uint64) []ring.ID {
	var left []ring.ID
	for _, id := range partners(o) {
		if hash, ok := done[id]; !ok || hash != o.Hash {
			left = append(left, id)
		}
	}
	return left
}

// rotate lets each of several peers begin at another part of what is to be fetched, so that what one sends need not come from the next.
func rotate[T any](tasks []T, peer, peers int) []T {
	if peer <= 0 {
		return tasks
	}
	at := len(tasks) * peer / peers
	return append(tasks[at:len(tasks):len(tasks)], tasks[:at]...)
}
