package layouts

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/ring"
)

// Reasons for which a change is not begun now.
var (
	ErrBusy      = errors.New("layouts: too many layouts are live")
	ErrNotMember = errors.New("layouts: only a member changes the layout")
	ErrDivided   = errors.New("layouts: changes that met are not one yet")
	ErrNobody    = errors.New("layouts: nobody would own")
)

// MayChange reports whether a join, a leave or a new weight may begin: until then a newcomer stays joining, outside all layouts.
func (v *View) MayChange() bool { return (v.top >= 0 || v.Deserted()) && len(v.live) < MaxLive }

// Deserted reports whether changes that met cannot be one: all who own in some of them leave in others. They stay beside each other, and each set is served in all of them,
// until somebody joins.
func (v *View) Deserted() bool {
	if v.top >= 0 || len(v.live) == 0 {
		return false
	}
	all, err := v.all()
	return err == nil && len(all.Owners()) == 0
}

// Propose is the state with the top layout changed by rows, for self to save and tell: a newcomer owns, a member leaves, is removed, has lost a part of its disk, or is
// replaced by another row with its name. Several changes at once are one layout. It fails with ErrNotMember, ErrFull, and ErrNobody if no owner would be left; and, for changes that can wait, unlike losses, with
// ErrDivided, and with ErrBusy if too many layouts are live. Rows that say nothing new leave the state as it is.
//
// A node that finds that it has lost something proposes that before it answers anything else.
func (v *View) Propose(self ring.ID, rows ...Row) (State, error) {
	if !v.Member(self) {
		return v.state, ErrNotMember
	}
	base, err := v.all()
	if err != nil {
		return v.state, err
	}
	change, err := NewVersion(base.partitions, rows...)
	if err != nil {
		return v.state, err
	}
	if change, err = base.Join(change); err != nil || v.top >= 0 && change.hash == base.hash {
		return v.state, err
	}
	if len(change.Owners()) == 0 {
		return v.state, ErrNobody
	}
	limit := MaxLive
	if slices.ContainsFunc(rows, func(r Row) bool {
		return r.Standing >= Removed && base.Standing(r.ID) < r.Standing || base.losses(r.ID) < r.Losses
	}) {
		limit = MaxLosses
	} else if v.top < 0 && !v.Deserted() {
		return v.state, ErrDivided
	}
	if len(v.live) >= limit {
		return v.state, fmt.Errorf("%w: %d", ErrBusy, len(v.live))
	}
	return v.state.with(change)
}

// all is the least version above all live ones: the top one, if there is one.
func (v *View) all() (all Version, err error) {
	for _, l := range v.live {
		if all, err = all.Join(l.version); err != nil {
			return Version{}, err
		}
	}
	return all, nil
}

// Unify is the state with changes that have met made one layout, for self to save and tell; ok is false if there is nothing to unify, if nobody would own
// (Deserted), or if self is no member.
func (v *View) Unify(self ring.ID) (s State, ok bool, err error) {
	if v.top >= 0 || v.Deserted() || !v.Member(self) {
		return v.state, false, nil
	}
	all, err := v.all()
	if err != nil {
		return v.state, false, err
	}
	s, err = v.state.with(all)
	return s, err == nil, err
}

// Wait is one thing that a change waits for, and whose.
type Wait struct {
	What string
	For  []ring.ID
}

// Waits are what the changes under way wait for, in words; nothing when settled.
func (v *View) Waits() []Wait {
	var waits []Wait
	add := func(what string, ids []ring.ID) {
		if len(ids) > 0 {
			waits = append(waits, Wait{what, ids})
		}
	}
	for _, id := range v.pendingRemovals() {
		for _, l := range v.live {
			if !l.maximal {
				continue
			}
			owners := l.version.Owners()
			others := slices.DeleteFunc(slices.Clone(owners), func(other ring.ID) bool { return other == id })
			if 2*len(others) <= len(owners) {
				add("an operator to force the removal of "+l.name(id)+", as the others are no majority", []ring.ID{id})
				continue
			}
			add("a majority to record that "+l.name(id)+" is removed", v.unaware(others, id))
		}
	}
	if v.top < 0 {
		if v.Deserted() {
			add("a node to join, as all members leave", v.Members())
		} else if len(v.live) > 0 {
			waits = append(waits, Wait{What: "a member to make one of the changes that met"})
		}
		return waits
	}
	if top := v.live[v.top]; !top.whole {
		add("members to record the new layout", v.Fence())
		add("owners to fetch what is theirs", v.unsynced())
		return waits
	}
	if len(v.live) > 1 {
		add("members to read in the new layout only", v.unmoved(v.top))
	}
	return waits
}

func (l layout) name(id ring.ID) string {
	if i := l.version.index(id); i >= 0 {
		return l.version.rows[i].Name
	}
	return id.Short()
}

// pendingRemovals are the incarnations whose removal does not count yet.
func (v *View) pendingRemovals() []ring.ID {
	var ids []ring.ID
	for _, l := range v.live {
		for _, r := range l.version.rows {
			if r.Standing == Removed && !slices.Contains(ids, r.ID) && !v.Lost(r.ID) {
				ids = append(ids, r.ID)
			}
		}
	}
	return ids
}

// unsynced are the owners of the top layout that have not reported everything.
func (v *View) unsynced() []ring.ID {
	top := v.live[v.top]
	var ids []ring.ID
	for i, r := range top.version.rows {
		if r.Standing == Owns && (len(top.synced) == 0 || top.synced[i].len() < top.version.partitions) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// Progress is how many reports of a partition the top layout has and how many it needs.
func (v *View) Progress() (done, of int) {
	if v.top < 0 {
		return 0, 0
	}
	top := v.live[v.top]
	of = len(top.version.Owners()) * top.version.partitions
	if top.whole {
		return of, of
	}
	for _, s := range top.synced {
		done += s.len()
	}
	return done, of
}

// String is the state, with what it waits for.
func (v *View) String() string {
	var b strings.Builder
	b.WriteString(v.state.String())
	for _, w := range v.Waits() {
		fmt.Fprintf(&b, "waits for %s:", w.What)
		for _, id := range w.For {
			fmt.Fprintf(&b, " %s", id.Short())
		}
		b.WriteByte('\n')
	}
	return b.String()
}
