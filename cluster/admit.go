package cluster

import (
	"time"

	"github.com/quorate/quorate/ring"
)

// founderOf returns who admits new members: the founder, or the incarnation that took its place; if that one is
// gone, the member with the lowest ID. Nodes may disagree for a while; that delays admissions, and is safe (see doc.go).
func founderOf(t ring.Table) (ring.ID, bool) {
	m, ok := successor(t, t.Founder())
	return m.ID, ok
}

// successor returns the incarnation that holds the place of id now, or, if there is none, the owner with the lowest ID.
func successor(t ring.Table, id ring.ID) (ring.Member, bool) {
	m, ok := t.Get(id)
	for range t.Len() {
		if !ok || m.State != ring.Replaced {
			break
		}
		m, ok = t.Get(m.ReplacedBy)
	}
	if ok && m.State.Owns() {
		return m, true
	}
	for _, m := range t.Members() { // sorted by ID
		if m.State.Owns() {
			return m, true
		}
	}
	return ring.Member{}, false
}

// admitView is all that the decision to start an admission round depends on.
type admitView struct {
	self    ring.ID
	table   ring.Table
	live    func(ring.ID) Liveness
	hasData bool      // this node holds data, or a member said that it does: never again
	retry   time.Time // no round before this
	now     time.Time
}

// admissible returns the nodes to admit in one round now: all that wait and are alive, provided that this node is the one who
// admits and every owner is alive to agree.
func admissible(v admitView) []ring.Member {
	if founder, ok := founderOf(v.table); !ok || founder != v.self || v.hasData || v.now.Before(v.retry) {
		return nil
	}
	var joiners []ring.Member
	for _, m := range v.table.Present() {
		chosen, _ := v.table.ByName(m.Name)
		switch {
		case m.State.Owns() && v.live(m.ID) != Alive:
			return nil
		case m.State == ring.Joining && chosen.ID == m.ID && v.live(m.ID) == Alive:
			joiners = append(joiners, m)
		}
	}
	return joiners
}

// attemptID names one admission round.
type attemptID = ring.ID

// promise is a member's durable word that it serves no key request before it knows the outcome of an attempt. The zero
// promise is none.
type promise struct {
	Attempt     attemptID
	Coordinator ring.ID
}

func (p promise) open() bool { return !p.Attempt.IsZero() }

// verdict is a member's answer to a prepare.
type verdict uint8

const (
	refused   verdict = iota // not now: another attempt is open, or the layouts differ
	holdsData                // never: the member holds data
	agreed
)

// considerPrepare decides a member's answer to a prepare of an attempt to leave the layout base. Only agreed, after a successful
// freeze with no data under it, makes a promise. own is the hash of the member's layout now.
func considerPrepare(held promise, attempt attemptID, base, own uint64, hasData bool) verdict {
	switch {
	case held.open() && held.Attempt != attempt:
		return refused
	case held.open():
		return agreed
	case base != own:
		return refused
	case hasData:
		return holdsData
	}
	return agreed
}

// standing is what a node's row and its namesakes' call for.
type standing uint8

const (
	standsFirm    standing = iota // nothing to do
	standsGone                    // the row says that this incarnation is out: stop
	standsNew                     // no row: add one, joining
	standsContend                 // a present namesake is in the way: take its place if it does not answer
	standsAside                   // both own, and the other is the one that placement uses: give way
)

// standingOf decides what this node does about its own row. other is the row that the decision is about.
func standingOf(t ring.Table, self ring.Member, live func(ring.ID) Liveness) (s standing, other ring.Member) {
	row, known := t.Get(self.ID)
	if known && row.State.Gone() {
		return standsGone, row
	}
	chosen, _ := t.ByName(self.Name)
	for _, m := range t.Present() {
		if m.Name != self.Name || m.ID == self.ID {
			continue
		}
		mine := known && chosen.ID == self.ID
		switch {
		case mine && (!m.State.Owns() || live(m.ID) != Dead):
			// The namesake gives way, or never owned anything.
		case known && row.State.Owns() && live(m.ID) != Dead:
			return standsAside, m
		default:
			return standsContend, m
		}
	}
	if !known {
		return standsNew, ring.Member{}
	}
	return standsFirm, ring.Member{}
}

// takeOver is the table after self took the place of other, whose disk is held for lost. Where other owned data, self owns it without
// having it: Fresh, so it counts for w and not for r.
func takeOver(t ring.Table, self, other ring.Member) (ring.Table, error) {
	if row, known := t.Get(self.ID); known {
		self.State, self.Fresh = row.State, row.Fresh
	}
	if other.State.Owns() && !self.State.Owns() {
		self.State, self.Fresh = ring.Active, true
	}
	other.State, other.ReplacedBy = ring.Replaced, self.ID
	t, err := t.With(other)
	if err != nil {
		return ring.Table{}, err
	}
	return t.With(self)
}

// resumed is the row of a member that starts again: its addresses are new, but what places data (zone and weight) stays as it
// is once it owns some, because nothing moves data yet. kept says that such a wish was not granted.
func resumed(row, wanted ring.Member) (m ring.Member, kept bool) {
	wanted.State, wanted.Fresh, wanted.Synced, wanted.ReplacedBy = row.State, row.Fresh, row.Synced, row.ReplacedBy
	if !row.State.Owns() || row.Zone == wanted.Zone && row.Weight == wanted.Weight {
		return wanted, false
	}
	wanted.Zone, wanted.Weight = row.Zone, row.Weight
	return wanted, true
}
