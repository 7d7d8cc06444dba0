package quorum

import (
	"fmt"

	"github.com/quorate/quorate/internal/mutation"
)

// MaxGroups bounds the layouts of a request that differ in the key's owners: more than the four that changes keep to by themselves, as those that were made at once, and
// the layouts above some of them, are live together for a moment.
const MaxGroups = 8

// Group is the owners of a key in one layout.
type Group struct {
	Owners Set // all of them: each counts for w
	Synced Set // those of them that hold what they own: only these count for r
}

// State is where a tally stands.
type State uint8

// The states of a tally.
const (
	Pending State = iota + 1 // neither of the two others yet
	Met                      // enough nodes have answered, in every group
	Unmet                    // in some group enough can no longer answer
)

// String is the state's name in lower case.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Met:
		return "met"
	case Unmet:
		return "unmet"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// WriteTally counts acknowledgements of a write: it is met when w owners have acknowledged in each live layout. It is a value; its methods never block.
type WriteTally struct{ t tally }

// NewWrite is the tally of a write at level w over the owners in each live layout (1 to MaxGroups).
func NewWrite(w Level, groups []Group) WriteTally {
	var t WriteTally
	t.Regroup(w, groups)
	if mutation.OneAckLess {
		t.t.groups[0].needed--
	}
	return t
}

// NewWriteBack is the tally of an answer that owners are to hold before a read is answered: as many as the read asked for in each live layout, or all of them where there
// are fewer. That is enough for what it is for: reads that ask for one owner more than do not hold the answer meet it.
func NewWriteBack(r Level, groups []Group) WriteTally {
	var t WriteTally
	t.Regroup(r, groups)
	for i := range t.t.groups[:t.t.count] {
		g := &t.t.groups[i]
		g.needed = min(g.needed, max(g.owners.Len(), 1))
	}
	return t
}

// Regroup replaces level and layouts, for a request that has learnt of a further layout or a larger n. What is known of each node stays: the numbering must.
func (t *WriteTally) Regroup(w Level, groups []Group) {
	t.t.regroup(w, groups, func(g Group) Set { return g.Owners })
}

// Ack records that node has the write on its disk. It outweighs an earlier Fail: a late acknowledgement is one.
func (t *WriteTally) Ack(node int) { t.t.good |= bit(node) }

// Fail records that node will not acknowledge in time. It is ignored after an Ack.
func (t *WriteTally) Fail(node int) { t.t.bad |= bit(node) }

// Stand says that node has been asked to stand in for the owner: its Ack counts in the owner's place, unless the owner acknowledges too. See tally.stand.
func (t *WriteTally) Stand(node, owner int) { t.t.stand(node, owner) }

// State is where the write stands.
func (t *WriteTally) State() State { return t.t.state() }

// Needed is the number of acknowledgements asked for in the group that lacks most, Got how many of them there are.
func (t *WriteTally) Needed() int { return t.t.tightest().needed }

// Got is the number of acknowledgements that count in the group that lacks most.
func (t *WriteTally) Got() int { return t.t.got(t.t.tightest()) }

// Fallbacks is the number of acknowledgements that count in an owner's place.
func (t *WriteTally) Fallbacks() int { return t.t.fallbacks() }

// ReadTally counts replies to a read: it is met when r synced owners have replied in each maximal whole layout. It is a value; its methods never block.
type ReadTally struct{ t tally }

// NewRead is the tally of a read at level r over the owners in each maximal whole layout (1 to MaxGroups). Words are resolved against all owners, not only
// the synced ones: a write may have counted the others.
func NewRead(r Level, groups []Group) ReadTally {
	var t ReadTally
	t.Regroup(r, groups)
	return t
}

// Regroup replaces level and layouts, for a request that has learnt of a further layout or a larger n. What is known of each node stays: the numbering must.
func (t *ReadTally) Regroup(r Level, groups []Group) {
	t.t.regroup(r, groups, func(g Group) Set { return g.Owners & g.Synced })
}

// Reply records that node has said what it holds. It outweighs an earlier Fail.
func (t *ReadTally) Reply(node int) { t.t.good |= bit(node) }

// Fail records that node will not reply in time. It is ignored after a Reply.
func (t *ReadTally) Fail(node int) { t.t.bad |= bit(node) }

// Stand says that node has been asked in place of the owner, as for a WriteTally. In the place of an owner that is not synced it counts for nothing.
func (t *ReadTally) Stand(node, owner int) { t.t.stand(node, owner) }

// State is where the read stands.
func (t *ReadTally) State() State { return t.t.state() }

// OfAbsence is the tally of a read that has found nothing. A stand-in that holds nothing of the key, as those in empty said, cannot tell that there is
// nothing, because it was never to have all that the owner has: it counts as failed. What the owners say counts as ever.
func (t ReadTally) OfAbsence(empty Set) ReadTally {
	empty &= t.t.standIns
	t.t.good &^= empty
	t.t.bad |= empty
	return t
}

// Needed is the number of replies asked for in the group that lacks most.
func (t *ReadTally) Needed() int { return t.t.tightest().needed }

// Got is the number of replies that count in the group that lacks most.
func (t *ReadTally) Got() int { return t.t.got(t.t.tightest()) }

// Fallbacks is the number of replies that count in an owner's place.
func (t *ReadTally) Fallbacks() int { return t.t.fallbacks() }

// tally is what both kinds share: marks per node, and per group how many of which nodes are needed.
type tally struct {
	good, bad Set // what is known of each node; good outweighs bad
	standIns  Set // nodes with an entry in standsFor
	standsFor [MaxNodes]uint8
	groups    [MaxGroups]groupTally
	count     int
}

type groupTally struct {
	owners   Set // every owner: none of them is a stand-in in this group
	counting Set // the owners whose answers count
	needed   int
}

func (t *tally) regroup(level Level, groups []Group, counting func(Group) Set) {
	if len(groups) < 1 || len(groups) > MaxGroups {
		panic(fmt.Sprintf("quorum: tally over %d layouts, of at most %d", len(groups), MaxGroups))
	}
	for i, g := range groups {
		t.groups[i] = groupTally{owners: g.Owners, counting: counting(g), needed: level.Resolve(g.Owners.Len())}
	}
	t.count = len(groups)
}

// stand notes that node stands in for owner. A node stands in for one owner only, or one disk would count twice. It must be called before State is asked
// again after the owner's failure, or the tally may already be unmet.
func (t *tally) stand(node, owner int) {
	mark := bit(owner)
	if t.standIns.Has(node) && t.standsFor[node] != uint8(owner) || bit(node) == mark {
		panic(fmt.Sprintf("quorum: node %d is to stand in for %d, and already does for %d", node, owner, t.standsFor[node]))
	}
	t.standIns |= bit(node)
	t.standsFor[node] = uint8(owner)
}

func (t *tally) state() State {
	met := true
	for _, g := range t.groups[:t.count] {
		if g.places(t, t.good|^t.bad) < g.needed {
			return Unmet
		}
		met = met && t.got(g) >= g.needed
	}
	if met {
		return Met
	}
	return Pending
}

func (t *tally) got(g groupTally) int { return g.places(t, t.good) }

// places counts the owners' places in g that are held by a node of the set: by the owner itself or by a stand-in. Each place counts once, and an owner of
// this group stands in for nobody in it, because its one disk counts already.
func (g groupTally) places(t *tally, nodes Set) int {
	held := g.counting & nodes
	for node := range (t.standIns & nodes &^ g.owners).All() {
		held |= g.counting & bit(int(t.standsFor[node]))
	}
	return held.Len()
}

// tightest is the group that lacks most answers, the first among equals.
func (t *tally) tightest() groupTally {
	tightest := t.groups[0]
	for _, g := range t.groups[1:t.count] {
		if g.needed-t.got(g) > tightest.needed-t.got(tightest) {
			tightest = g
		}
	}
	return tightest
}

func (t *tally) fallbacks() int {
	var counted Set
	for _, g := range t.groups[:t.count] {
		for node := range (t.standIns & t.good &^ g.owners).All() {
			if owner := bit(int(t.standsFor[node])); owner&g.counting != 0 && owner&t.good == 0 {
				counted |= owner
			}
		}
	}
	return counted.Len()
}
