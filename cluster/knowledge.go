package cluster

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// knowledge is all that a node tells of the cluster: who belongs to it, and who owns what. The zero value knows nothing.
type knowledge struct {
	table ring.Table
	state layouts.State
}

// whole reports whether an empty node may begin with it: it has all members, and a layout.
func (k knowledge) whole() bool { return k.table.Len() > 0 && !k.state.IsZero() }

// encode is empty for a node that belongs to no cluster yet.
func (k knowledge) encode() []byte {
	if k.table.Len() == 0 {
		return nil
	}
	w := newWriter()
	w.knowledge(k)
	return w.b
}

func decodeKnowledge(b []byte) (knowledge, error) {
	if len(b) == 0 {
		return knowledge{}, nil
	}
	s := scan(b)
	k := s.knowledge()
	s.Check(k.table.Len() > 0, "a table of nobody") // is sent as nothing
	return k, s.done("table and layouts")
}

func (w *writer) knowledge(k knowledge) {
	w.table(k.table)
	if k.state.IsZero() {
		w.bytes(nil)
		return
	}
	w.bytes(k.state.Encode())
}

func (s *scanner) knowledge() knowledge {
	k := knowledge{table: s.table()}
	if b := s.Bytes(maxStateBytes); len(b) > 0 {
		var err error
		k.state, err = layouts.Decode(b)
		s.Check(err == nil && !k.state.IsZero(), "bad layouts")
	}
	return k
}

// knows is what this node knows now. The table is read first: it mirrors the state, so whoever owns in a table that is told owns in the state told with it.
func (c *Cluster) knows() knowledge {
	k := knowledge{table: c.Table()}
	if v := c.held.View(); v != nil && k.table.Len() > 0 {
		k.state = v.State()
	}
	return k
}

// Knowledge is all that this node knows of members and layouts, for others to Learn; nothing while it belongs to no cluster.
func (c *Cluster) Knowledge() []byte { return c.knows().encode() }

// Learn joins what another node knows into what this one does. When it returns nil the result is on disk. ErrCorrupt: nobody wrote that. ring.ErrForeign: it is of another
// cluster. layouts.ErrFull and ring.ErrFull: it cannot all be held. In all these cases what was known stays.
func (c *Cluster) Learn(told []byte) error {
	k, err := decodeKnowledge(told)
	if err != nil {
		return err
	}
	return c.merge(k, true)
}

// errNoTable is the answer to a merge of less than whole knowledge into none.
var errNoTable = errors.New("cluster: no member table yet")

// merge joins knowledge, or some rows of a table, into this node's. An empty node takes only what is whole: from a part it could not tell whether its name is taken.
func (c *Cluster) merge(k knowledge, whole bool) error {
	if k.table.Len() == 0 && k.state.IsZero() {
		return nil
	}
	if k.table.Cluster() != c.cfg.ClusterName || k.table.Partitions() == 0 {
		return fmt.Errorf("%w: %q with %d partitions, this is %q", ring.ErrForeign, k.table.Cluster(), k.table.Partitions(), c.cfg.ClusterName)
	}
	if q := k.state.Partitions(); q != 0 && q != k.table.Partitions() {
		return fmt.Errorf("%w: a table of %d partitions, and layouts of %d", ErrCorrupt, k.table.Partitions(), q)
	}
	return c.update(change{
		table: func(own ring.Table) (ring.Table, error) {
			if own.Len() == 0 && !(whole && k.whole()) {
				return ring.Table{}, errNoTable
			}
			return ring.Merge(own, k.table)
		},
		rings: func(*layouts.View) (layouts.State, error) { return k.state, nil },
	})
}

// mergeHeard is merge for what gossip brings: failures are logged, and the next gossip repeats it.
func (c *Cluster) mergeHeard(k knowledge, whole bool) {
	err := c.merge(k, whole)
	switch {
	case err == nil, errors.Is(err, errNoTable):
	case errors.Is(err, ring.ErrForeign), errors.Is(err, layouts.ErrForeign), errors.Is(err, ErrCorrupt):
		if c.foreignTable.allow() {
			c.log.Warn("what a peer knows of the cluster refused", "err", err)
		}
	default:
		if c.saveFailed.allow() {
			c.log.Error("what a peer knows of the cluster not merged", "err", err)
		}
	}
}

// foundingVersion is the layout that a cluster begins with: the owners of its first table, and whoever was gone by then.
func foundingVersion(t ring.Table) (layouts.Version, error) {
	var rows []layouts.Row
	for _, m := range t.Members() {
		row := layouts.Row{ID: m.ID, Name: m.Name, Zone: m.Zone, Weight: m.Weight}
		switch m.State {
		case ring.Active, ring.Leaving:
			row.Standing = layouts.Owns
		case ring.Left:
			row.Standing = layouts.Leaves
		case ring.Removed:
			row.Standing = layouts.Forced
		case ring.Replaced:
			row.Standing = layouts.Replaced
		default:
			continue
		}
		rows = append(rows, row)
	}
	return layouts.NewVersion(t.Partitions(), rows...)
}

// founded is what is known of a cluster that begins with a table. It is a function of the table, so whoever hears what was decided begins with the same layout.
func founded(t ring.Table) (knowledge, error) {
	v, err := foundingVersion(t)
	if err != nil {
		return knowledge{}, err
	}
	if len(v.Owners()) == 0 {
		return knowledge{}, errors.New("cluster: a member table in which nobody owns")
	}
	return knowledge{t, layouts.Found(v)}, nil
}

// mirrored is t with what the layouts say about each incarnation that they know. It decides nothing, but says in the table who owns, and who need not be looked for any more.
// Rows only grow, so an older view takes nothing back.
func mirrored(t ring.Table, v *layouts.View) (ring.Table, error) {
	for _, id := range known(v) {
		row, _ := v.Row(id)
		m, ok := t.Get(id)
		if !ok {
			m = ring.Member{ID: id, Name: row.Name, Zone: row.Zone, Weight: row.Weight, State: ring.Joining}
		}
		m.State = max(m.State, stateOf(row, v))
		if m.State == ring.Replaced && m.ReplacedBy.IsZero() {
			m.ReplacedBy = namesake(v, row)
		}
		var err error
		if t, err = t.With(m); err != nil {
			return ring.Table{}, err
		}
	}
	return t, nil
}

func stateOf(row layouts.Row, v *layouts.View) ring.State {
	switch row.Standing {
	case layouts.Owns:
		return ring.Active
	case layouts.Leaves:
		return ring.Leaving
	case layouts.Removed, layouts.Forced:
		if v.Lost(row.ID) {
			return ring.Removed
		}
		return ring.Active
	default:
		return ring.Replaced
	}
}

// known are all incarnations that some live layout knows, in the order in which the layouts have them.
func known(v *layouts.View) []ring.ID {
	var ids []ring.ID
	seen := make(map[ring.ID]bool)
	for _, version := range v.Live() {
		for _, row := range version.Rows() {
			if !seen[row.ID] {
				seen[row.ID] = true
				ids = append(ids, row.ID)
			}
		}
	}
	return ids
}

// namesake is who owns under the name of row instead of it, zero if nobody does.
func namesake(v *layouts.View, row layouts.Row) (by ring.ID) {
	for _, id := range known(v) {
		if other, _ := v.Row(id); other.Name == row.Name && id != row.ID && other.Standing == layouts.Owns && (by.IsZero() || id.Compare(by) < 0) {
			by = id
		}
	}
	return by
}
