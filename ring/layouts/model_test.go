package layouts

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
)

// The model: up to four nodes, one write, a scenario of changes, and every order in which messages, exchanges and reports can happen. What a node may do is decided by the
// package's own functions; the model only moves messages, disks and the one write, and knows the truth about who holds what.
//
// One write is enough: versions of different keys, and concurrent ones of one key, never interact in what this package decides, so a history of several
// writes breaks a promise only if the history of one of them does.

const maxNodes = 4

// nodes is a set of the model's nodes.
type nodes uint8

func (s nodes) has(i int) bool { return s&(1<<i) != 0 }

func (s nodes) String() string {
	var b strings.Builder
	for i := range maxNodes {
		if s.has(i) {
			b.WriteByte('a' + byte(i))
		}
	}
	return b.String()
}

// scenario is one search.
type scenario struct {
	name    string
	start   nodes // the founding members
	second  nodes // a second founding, that meets the first
	n       int
	w, r    quorum.Level
	owners  map[nodes]string // the order of the partition for every set of members, "ab"; beyond n nobody owns
	changes []change
	mute    nodes // tell nobody anything
	reader  bool  // a read gathers its answers one by one, with anything in between
	lazy    bool  // reports of who has nothing to fetch, unifying and burying are steps of their own
	crash   bool  // nodes restart; all that they lose is what they had not finished, so a search without it misses nothing
	oneWay  bool
	twoStep bool // an exchange opens a snapshot, and adopts it later
}

// change is one change of the layout, by any node of by that may propose it.
type change struct {
	by      nodes
	joins   string // newcomers
	leaves  string
	removes string // lost before, unless wrong
	damages string // loses what it holds, says so, and goes on
	replace string // "bd": b's disk is lost, and d takes its place
	wrong   bool   // an operator removes who has not stopped
}

func (c change) lost() string { return c.removes + c.replace[:min(1, len(c.replace))] }

// sin is a deliberate mistake, or several.
type sin string

// model is what stays the same during a search.
type model struct {
	scenario
	sin    sin
	ids    [maxNodes]ring.ID
	facts  []*facts
	byKey  map[string]uint16
	makes  map[[3]uint16]uint16 // what Propose, and what Merge, make of what
	merges map[[2]uint16]string
	tells  [maxNodes]map[string]uint16
	views  []viewed
}

// group is a group of owners: how many there are, and whose answers count.
type group struct{ owners, counting nodes }

// viewed is what a coordinator needs to know of a view, by the number of its digest.
type viewed struct {
	digest        uint64
	writes, reads []group
	live          []Version
	bound         bool // the view is of the lineage that was written to
}

// facts is a State with what the model needs of its View, by node.
type facts struct {
	state    State
	view     *View
	seen     uint8 // the number of its digest
	top      Hash
	rows     nodes // who has a row in a live layout: others are told nothing, as they would do nothing with it
	member   nodes
	gaining  nodes
	reported nodes
	fenced   bool
	syncs    nodes // may report once they have exchanged with all their peers
	peers    [maxNodes]nodes
	keeps    nodes
	receives nodes
}

type fixed string

func (f fixed) Owners(_ ring.Partition, n int) []ring.ID {
	ids := make([]ring.ID, 0, len(f))
	for i := range min(n, len(f)) {
		ids = append(ids, nodeID(int(f[i]-'a')))
	}
	return ids
}

func nodeID(i int) ring.ID { return ring.ID{byte(i + 1)} }

func nodeRow(i int, s Standing) Row {
	return Row{ID: nodeID(i), Standing: s, Name: string(rune('a' + i)), Weight: 1}
}

// row is the node's row: a namesake has the name of whom it replaces.
func (sc *scenario) row(i int, s Standing) Row {
	r := nodeRow(i, s)
	for again := true; again; {
		again = false
		for _, c := range sc.changes {
			if c.replace != "" && r.Name == c.replace[1:] {
				r.Name, again = c.replace[:1], true
			}
		}
	}
	return r
}

func newModel(sc scenario, s sin) *model {
	m := &model{scenario: sc, sin: s, byKey: map[string]uint16{}, makes: map[[3]uint16]uint16{}, merges: map[[2]uint16]string{}}
	for i := range m.ids {
		m.ids[i], m.tells[i] = nodeID(i), map[string]uint16{}
	}
	m.intern(State{})
	return m
}

func (m *model) does(s sin) bool { return m.sin != "" && strings.Contains(string(m.sin), string(s)) }

func (m *model) place(v Version) Placement {
	var members nodes
	for _, id := range v.Owners() {
		members |= 1 << m.node(id)
	}
	order, ok := m.owners[members]
	if !ok {
		panic(fmt.Sprintf("scenario %s has no owners for members %v", m.name, members))
	}
	return fixed(order[:min(len(order), m.n)])
}

func (m *model) node(id ring.ID) int { return int(id[0]) - 1 }

func (m *model) set(ids []ring.ID) (s nodes) {
	for _, id := range ids {
		s |= 1 << m.node(id)
	}
	return s
}

// intern numbers a state; equal states have equal numbers.
func (m *model) intern(s State) uint16 {
	key := string(s.Encode())
	if i, ok := m.byKey[key]; ok {
		return i
	}
	v := NewView(s, m.place)
	f := &facts{state: s, view: v, seen: m.number(v), fenced: len(v.Fence()) == 0}
	if top, ok := v.Top(); ok {
		f.top = top.Hash()
	}
	for i, id := range m.ids {
		bit := nodes(1) << i
		if v.Member(id) {
			f.member |= bit
		}
		if slices.ContainsFunc(v.live, func(l live) bool { return l.version.index(id) >= 0 }) {
			f.rows |= bit
		}
		if m.fetches(v, id) {
			f.gaining |= bit
			f.peers[i] = m.set(v.Peers(id, 0))
		}
		if v.MaySync(id, 0, v.Peers(id, 0)) {
			f.syncs |= bit
		}
		if v.Reported(id, 0) {
			f.reported |= bit
		}
		if v.Keeps(id, 0, m.n) && !m.dropsEarly(v, id) {
			f.keeps |= bit
		}
	}
	f.receives = m.set(v.Receivers(0, m.n))
	m.facts = append(m.facts, f)
	number := uint16(len(m.facts) - 1)
	if int(number) != len(m.facts)-1 {
		panic("too many different states of knowledge")
	}
	m.byKey[key] = number
	return number
}

// number numbers the digests of views.
func (m *model) number(v *View) uint8 {
	digest := v.Digest()
	for i, seen := range m.views {
		if seen.digest == digest {
			return uint8(i)
		}
	}
	if len(m.views) == 255 {
		panic("too many different views")
	}
	seen := viewed{digest: digest, bound: m.bound(v), live: v.Live()}
	seen.writes, seen.reads = m.groups(v)
	m.views = append(m.views, seen)
	return uint8(len(m.views) - 1)
}

func (m *model) groups(v *View) (writes, reads []group) {
	for _, g := range v.WriteGroups(0, m.n) {
		writes = append(writes, group{m.set(g.Owners), m.set(g.Owners)})
	}
	for _, g := range v.ReadGroups(0, m.n) {
		counting := g.Synced
		if m.does("the namesake counts for r") {
			counting = slices.Concat(g.Synced, g.Owners)
		}
		reads = append(reads, group{m.set(g.Owners), m.set(counting)})
	}
	top, ok := v.Top()
	if !ok {
		return writes, reads
	}
	owners := m.set(m.place(top).Owners(0, m.n))
	newest := []group{{owners, owners}}
	switch {
	case m.does("quorum of one layout only"):
		writes = newest
	case m.does("serve before synced"):
		reads = newest
	}
	return writes, reads
}

// fetches reports whether the node has something to fetch. Only who is new to the set is what the design asked for at first.
func (m *model) fetches(v *View, id ring.ID) bool {
	if !m.does("only who is new fetches") {
		return v.Gaining(id, 0) > 0
	}
	return v.Gaining(id, 0) > 0 && slices.ContainsFunc(v.live, func(l live) bool { return l.maximal && !slices.Contains(l.place.Owners(0, m.n), id) })
}

func (m *model) dropsEarly(v *View, id ring.ID) bool {
	top, ok := v.Top()
	return ok && m.does("drop before the exchange") && !slices.Contains(m.place(top).Owners(0, m.n), id)
}

// world is one state of the model: what is on the disks, what runs, and what is true. It is comparable, and is its own key in the table of visited states.
type world struct {
	facts   [maxNodes]uint16
	data    nodes // hold the write
	filled  nodes // hold what they ought to: founders, and whoever fetched it; the truth, which no node knows
	lost    nodes // disk and process are gone
	changed uint8 // which changes were made
	done    [maxNodes]nodes
	open    [maxNodes]uint8 // 0, or 1 + the peer of an open exchange, and bit 7 if its snapshot has the write
	shown   [maxNodes]nodes
	burnt   nodes // lost their disk, or a part, with the write on it
	phase   phase
	writer  uint8 // the view under which the write runs
	acks    nodes
	reader  uint8 // 1 + the view under which the read runs, 0 while there is none
	replies nodes // answered the read without the write
	hasty   bool  // somebody dropped what a present owner does not have
}

type phase uint8

const (
	unwritten phase = iota
	writing
	acked
)

func (m *model) begin() world {
	var w world
	for _, founders := range []nodes{m.start, m.second} {
		var rows []Row
		for i := range maxNodes {
			if founders.has(i) {
				rows = append(rows, m.row(i, Owns))
			}
		}
		if len(rows) == 0 {
			continue
		}
		v, err := NewVersion(1, rows...)
		if err != nil {
			panic(err)
		}
		for i := range maxNodes {
			if founders.has(i) {
				w.facts[i] = m.settle(i, Found(v))
				if slices.Contains(m.place(v).Owners(0, m.n), nodeID(i)) {
					w.filled |= 1 << i
				}
			}
		}
	}
	return w
}

// settle is what a node does at once with what it has saved: it says what it may, unifies and buries.
func (m *model) settle(i int, s State) uint16 {
	for {
		next := s.Record(m.ids[i])
		if !m.lazy {
			next = m.buried(m.unified(i, m.vouched(i, next)))
		}
		if next.Equal(s) {
			return m.intern(s)
		}
		s = next
	}
}

// vouched is s with the report of an owner that has nothing to fetch.
func (m *model) vouched(i int, s State) State {
	v := NewView(s, m.place)
	top, ok := v.Top()
	if ok && !m.fetches(v, m.ids[i]) && (v.MaySync(m.ids[i], 0, nil) || m.does("only who is new fetches") && top.Standing(m.ids[i]) == Owns) {
		return s.Synced(m.ids[i], top.Hash(), 0)
	}
	return s
}

func (m *model) unified(i int, s State) State {
	next, ok, err := NewView(s, m.place).Unify(m.ids[i])
	if err != nil {
		panic(err)
	}
	if ok {
		return next
	}
	return s
}

func (m *model) buried(s State) State {
	v := NewView(s, m.place)
	for _, h := range v.MayBury() {
		s = s.Bury(h)
	}
	if m.does("no third tracker") {
		for _, l := range v.live {
			if l.maximal && l.version.hash != 0 {
				s = s.Bury(l.version.hash)
			}
		}
	}
	return s
}

func (m *model) know(w world, i int) *facts { return m.facts[w.facts[i]] }

// admits reports whether node i serves a request that carries the numbered view.
func (m *model) admits(w world, seen uint8, i int) bool {
	if w.lost.has(i) || w.facts[i] == 0 {
		return false
	}
	mine := m.know(w, i).seen
	if m.does("refuse only who lacks a layout") { // which is what the design asked for at first
		theirs := m.views[seen].live
		return !slices.ContainsFunc(m.views[mine].live, func(v Version) bool {
			return !slices.ContainsFunc(theirs, func(t Version) bool { return t.hash == v.hash })
		})
	}
	return mine == seen
}

// learn gives node i new knowledge, and takes back what it has under way under the old.
func (m *model) learn(w world, i int, to uint16) world {
	before, after := m.know(w, i), m.facts[to]
	w.facts[i] = to
	if before.top != after.top {
		w.done[i], w.open[i] = 0, 0
	}
	if before.seen != after.seen {
		w.shown[i] = 0
	}
	return w
}

func (m *model) met(groups []group, level quorum.Level, answered nodes) bool {
	for _, g := range groups {
		if bits.OnesCount8(uint8(g.counting&answered)) < level.Resolve(bits.OnesCount8(uint8(g.owners))) {
			return false
		}
	}
	return len(groups) > 0
}
