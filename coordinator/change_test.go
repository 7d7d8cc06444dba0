package coordinator

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cockroachdb/datadriven"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Changes of layouts in scenarios. Each node acts on what it knows itself; what it is told in a refusal it takes in at once, and it tells back what it knows more.
//
//	change on=n1 joins=n4 leaves=n1 loses=n2 told=(n1,n2)   n1 makes a layout; those hear of it (all, if told is not given)
//	  joins=n4 replaces=n3                                  n4 is n3 with an empty disk
//	whole told=(n1,n2)      every owner reports that it has fetched everything, and those hear of that
//	bury told=(n1,n2)       whoever must has moved; what is below the newest layout is dead
//	meet                    all nodes tell each other all
//	groups on=n1            the key's owners by layout, as n1 sees it: of maximal whole layouts, then of all live ones; (those who count for w only)

// knowledge is what one node knows of layouts.
type knowledge struct {
	mu    sync.Mutex
	state layouts.State
	rings *layouts.View
}

// places keeps placements, which all nodes compute alike.
type places struct {
	mu   sync.Mutex
	made map[layouts.Hash]*ring.Layout
}

func (p *places) of(v layouts.Version) *ring.Layout {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		p.made = map[layouts.Hash]*ring.Layout{}
	}
	if p.made[v.Hash()] == nil {
		p.made[v.Hash()] = v.Place()
	}
	return p.made[v.Hash()]
}

func (w *world) found(members int) {
	var rows []layouts.Row
	for _, n := range w.nodes[:members] {
		rows = append(rows, n.row(layouts.Owns, 0))
	}
	v, err := layouts.NewVersion(16, rows...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.layout = w.places.of(v)
	for _, n := range w.nodes {
		n.learn(layouts.Found(v))
	}
}

func (n *scenarioNode) row(s layouts.Standing, losses uint64) layouts.Row {
	return layouts.Row{ID: n.id, Standing: s, Name: n.name, Zone: n.zone, Weight: 1, Losses: losses}
}

// learn takes in what another node knows.
func (n *scenarioNode) learn(s layouts.State) {
	n.knows.mu.Lock()
	defer n.knows.mu.Unlock()
	merged, err := layouts.Merge(n.knows.state, s)
	if err != nil {
		n.world.t.Error(err)
		return
	}
	n.knows.state = merged
	n.knows.rings = layouts.NewView(merged, func(v layouts.Version) layouts.Placement { return n.world.places.of(v) })
}

func (n *scenarioNode) ringsNow() (*layouts.View, *ring.Layout) {
	n.knows.mu.Lock()
	defer n.knows.mu.Unlock()
	top, ok := n.knows.rings.Top()
	if !ok {
		top = n.knows.rings.Live()[0]
	}
	return n.knows.rings, n.world.places.of(top)
}

// Enter implements Membership, as do the methods that follow.
func (n *scenarioNode) Enter(digest uint64) Entry {
	rings, _ := n.ringsNow()
	switch {
	case n.frozen:
		return Frozen
	case rings.Digest() != digest:
		return OtherLayout
	}
	return Entered
}

func (n *scenarioNode) Table() []byte {
	rings, _ := n.ringsNow()
	return rings.State().Encode()
}

func (n *scenarioNode) Reconcile(from ring.ID, table []byte) {
	theirs, err := layouts.Decode(table)
	if err != nil {
		return // refusals that a test made up carry nothing
	}
	n.learn(theirs)
	rings, _ := n.ringsNow()
	if !theirs.Knows(rings.State()) {
		n.world.byID(from).learn(rings.State())
	}
}

func (w *world) propose(by *scenarioNode, told []*scenarioNode, rows ...layouts.Row) {
	rings, _ := by.ringsNow()
	state, err := rings.Propose(by.id, rows...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tell(state, append(told, by))
}

func (w *world) tell(s layouts.State, told []*scenarioNode) {
	for _, n := range told {
		n.learn(s)
	}
}

// all merges what the nodes know.
func (w *world) all() *layouts.View {
	var all layouts.State
	for _, n := range w.nodes {
		rings, _ := n.ringsNow()
		var err error
		if all, err = layouts.Merge(all, rings.State()); err != nil {
			w.t.Fatal(err)
		}
	}
	return layouts.NewView(all, func(v layouts.Version) layouts.Placement { return w.places.of(v) })
}

func (w *world) complete(told []*scenarioNode) {
	rings := w.all()
	top, ok := rings.Top()
	if !ok {
		w.t.Fatal("no layout is above the others")
	}
	state := rings.State()
	for _, n := range w.nodes {
		state = state.Record(n.id)
	}
	for _, id := range top.Owners() {
		for p := range ring.Partition(16) {
			state = state.Synced(id, top.Hash(), p)
		}
	}
	w.tell(state, told)
}

func (w *world) discard(told []*scenarioNode) {
	state := w.all().State()
	for _, n := range w.nodes {
		state = state.Record(n.id)
	}
	may := layouts.NewView(state, func(v layouts.Version) layouts.Placement { return w.places.of(v) }).MayBury()
	if len(may) != 1 {
		w.t.Fatalf("%d layouts may bury what is below them:\n%v", len(may), state)
	}
	w.tell(state.Bury(may[0]), told)
}

// settle ends the change under way, for everybody.
func (w *world) settle() {
	w.complete(w.nodes)
	w.discard(w.nodes)
}

func (w *world) named(d *datadriven.TestData, key string) (nodes []*scenarioNode) {
	for _, a := range d.CmdArgs {
		if a.Key != key {
			continue
		}
		for _, name := range a.Vals {
			i := 0
			if _, err := fmt.Sscanf(name, "n%d", &i); err != nil || i < 1 || i > len(w.nodes) {
				d.Fatalf(w.t, "no node %q", name)
			}
			nodes = append(nodes, w.nodes[i-1])
		}
	}
	return nodes
}

func (w *world) told(d *datadriven.TestData) []*scenarioNode {
	if d.HasArg("told") {
		return w.named(d, "told")
	}
	return w.nodes
}

func (w *world) changeLayout(d *datadriven.TestData) string {
	by := w.node(d)
	rings, _ := by.ringsNow()
	var rows []layouts.Row
	replaced := w.named(d, "replaces")
	for i, n := range w.named(d, "joins") {
		row := n.row(layouts.Owns, 0)
		if i < len(replaced) {
			row.Name = replaced[i].name
			rows = append(rows, replaced[i].row(layouts.Replaced, 0))
		}
		rows = append(rows, row)
	}
	for _, n := range w.named(d, "leaves") {
		rows = append(rows, n.row(layouts.Leaves, 0))
	}
	for _, n := range w.named(d, "loses") {
		row, _ := rings.Row(n.id)
		row.Losses++
		rows = append(rows, row)
	}
	w.propose(by, w.told(d), rows...)
	return by.groups()
}

func (w *world) whole(d *datadriven.TestData) string {
	told := w.told(d)
	w.complete(told)
	return told[0].groups()
}

func (w *world) bury(d *datadriven.TestData) string {
	told := w.told(d)
	w.discard(told)
	return told[0].groups()
}

func (n *scenarioNode) groups() string {
	rings, _ := n.ringsNow()
	p := keyOf(n.View(), "b", "k").Partition
	var out strings.Builder
	for _, kind := range []struct {
		name   string
		groups []layouts.Group
	}{{"read", rings.ReadGroups(p, 3)}, {"write", rings.WriteGroups(p, 3)}} {
		out.WriteString(kind.name)
		for i, g := range kind.groups {
			if i > 0 {
				out.WriteString(" |")
			}
			for _, id := range g.Owners {
				name := n.world.byID(id).name
				if !owns(g.Synced, id) {
					name = "(" + name + ")"
				}
				out.WriteString(" " + name)
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}
