package coordinator

import (
	"slices"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// roster is who a request deals with under one view, and in which layouts they count. The owners are numbered from 0: those of the maximal whole layouts first, in order
// of preference, then those of the others. The fallbacks' numbers follow. Whoever owns the key in several layouts has one number, so its answer counts in each of them.
type roster struct {
	owners    []ring.ID
	fallbacks []ring.ID // owners in no live layout
	write     groups    // of the live layouts, if all their owners are numbered
	read      groups    // of the maximal whole ones
}

// groups are the owners in each layout that counts for a request. At most quorum.MaxGroups of them differ.
type groups struct {
	all   [quorum.MaxGroups]quorum.Group
	count int
}

func (g *groups) list() []quorum.Group { return g.all[:g.count] }

// writers is the roster of a request that needs answers in every live layout. Not ok: more layouts differ in the set's owners than a tally takes.
func (v *View) writers(p ring.Partition, n int) (r roster, ok bool) {
	if v.sole(p, n, &r) {
		return r, true
	}
	return v.rosterOf(p, n, v.Rings.WriteGroups(p, n), v.Rings.ReadGroups(p, n), true)
}

// readers is the roster of a request that needs answers in the maximal whole layouts, and asks nobody else. Its write groups are empty if other layouts are live.
func (v *View) readers(p ring.Partition, n int) (r roster, ok bool) {
	if v.sole(p, n, &r) {
		return r, true
	}
	return v.rosterOf(p, n, v.Rings.WriteGroups(p, n), v.Rings.ReadGroups(p, n), false)
}

// sole makes the roster while there is one layout: what almost every request meets, so it allocates nothing.
func (v *View) sole(p ring.Partition, n int, r *roster) bool {
	place := v.Rings.Sole()
	if place == nil {
		return false
	}
	r.owners, r.fallbacks = place.Owners(p, n), v.Layout.Fallbacks(p, n)
	all := quorum.Set(1)<<len(r.owners) - 1
	r.write.all[0], r.write.count = quorum.Group{Owners: all, Synced: all}, 1
	r.read = r.write
	return true
}

func (v *View) rosterOf(p ring.Partition, n int, writes, reads []layouts.Group, everyone bool) (r roster, ok bool) {
	top := []layouts.Group{{Owners: v.Layout.Owners(p, n), Synced: v.Layout.Owners(p, n)}}
	if mutation.ServeBeforeSynced {
		reads = top
	}
	if len(reads) > quorum.MaxGroups || everyone && len(writes) > quorum.MaxGroups {
		return roster{}, false
	}
	r.number(reads)
	if everyone {
		r.number(writes)
	}
	if len(r.owners) > quorum.MaxNodes {
		return roster{}, false
	}
	if everyone {
		if mutation.QuorumOfOneLayout {
			r.write = r.groups(top)
		} else {
			r.write = r.groups(writes)
		}
	}
	r.read = r.groups(reads)
	for _, id := range v.Layout.Order(p) {
		if len(r.owners)+len(r.fallbacks) < quorum.MaxNodes && !slices.ContainsFunc(writes, func(g layouts.Group) bool { return owns(g.Owners, id) }) && !owns(r.owners, id) {
			r.fallbacks = append(r.fallbacks, id)
		}
	}
	return r, true
}

// number gives those of the groups' owners a number that have none.
func (r *roster) number(all []layouts.Group) {
	for _, g := range all {
		for _, id := range g.Owners {
			if !owns(r.owners, id) {
				r.owners = append(r.owners, id)
			}
		}
	}
}

func (r *roster) groups(all []layouts.Group) (out groups) {
	for i, g := range all {
		out.all[i] = quorum.Group{Owners: r.set(g.Owners), Synced: r.set(g.Synced)}
		if mutation.CountGaining {
			out.all[i].Synced = out.all[i].Owners
		}
	}
	out.count = len(all)
	return out
}

func (r *roster) set(ids []ring.ID) (s quorum.Set) {
	for i, id := range r.owners {
		if owns(ids, id) {
			s = s.With(i)
		}
	}
	return s
}

// up are the owners that may answer, and how many of the fallbacks may.
func (r *roster) up(v *View) (owners quorum.Set, fallbacks int) {
	for i, id := range r.owners {
		if v.mayAnswer(id) {
			owners = owners.With(i)
		}
	}
	for _, id := range r.fallbacks {
		if v.mayAnswer(id) {
			fallbacks++
		}
	}
	return owners, fallbacks
}

// mayAnswer reports whether id is not known to be down. This node is there, whatever is said of it.
func (v *View) mayAnswer(id ring.ID) bool { return id == v.Self || !v.Peers[id].Down }

// forWrites and forReads say who of a group counts.
func forWrites(g quorum.Group) quorum.Set { return g.Owners }
func forReads(g quorum.Group) quorum.Set  { return g.Owners & g.Synced }

// counting are the nodes that count in some group.
func (g *groups) counting(of func(quorum.Group) quorum.Set) (s quorum.Set) {
	for _, group := range g.list() {
		s |= of(group)
	}
	return s
}

// most is the largest number of answers that the level asks for in one layout: what results report as w and r.
func (g *groups) most(l quorum.Level) int {
	most := 0
	for _, group := range g.list() {
		most = max(most, l.Resolve(group.Owners.Len()))
	}
	return most
}

// shortage is a group in which fewer answers can be had than are needed.
type shortage struct {
	need, got int
	owners    int
}

// short is the group that lacks most answers when only the owners in up may answer, and so many fallbacks in the places of others that count. got is what can
// be had; nothing is short if that is need at least.
func (g *groups) short(l quorum.Level, p quorum.Params, of func(quorum.Group) quorum.Set, up quorum.Set, fallbacks int) (worst shortage) {
	for i, group := range g.list() {
		s := shortage{need: l.Resolve(group.Owners.Len()), owners: group.Owners.Len()}
		if s.got = (of(group) & up).Len(); s.got < s.need {
			s.got = p.Reachable(of(group).Len(), s.got, fallbacks)
		}
		if i == 0 || s.need-s.got > worst.need-worst.got {
			worst = s
		}
	}
	return worst
}

func (s shortage) short() bool { return s.got < s.need }

// owns reports whether id owns the set in some live layout, or has the place of one who did.
func (v *View) owns(id ring.ID, p ring.Partition, n int) bool {
	if place := v.Rings.Sole(); place != nil {
		return owns(place.Owners(p, n), id)
	}
	return slices.ContainsFunc(v.Rings.WriteGroups(p, n), func(g layouts.Group) bool { return owns(g.Owners, id) })
}

func owns(owners []ring.ID, id ring.ID) bool {
	for _, o := range owners {
		if o == id {
			return true
		}
	}
	return false
}
