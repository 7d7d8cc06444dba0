package layouts

import (
	"fmt"
	"slices"
	"strings"
)

// step is one thing that happens: what, and to whom.
type step struct {
	kind stepKind
	i, j uint8
}

type stepKind uint8

const (
	tells stepKind = iota // i tells j all that it knows
	proposes
	loses
	unifies
	buries
	learns
	stores
	opens
	adopts
	reports
	shows
	drops
	crashes
	replies
)

func (s step) String() string {
	i, j := string(rune('a'+s.i)), string(rune('a'+s.j))
	switch s.kind {
	case tells:
		return i + " tells " + j + " all it knows"
	case proposes:
		return fmt.Sprintf("%s makes change %d", i, s.j+1)
	case loses:
		return i + " is lost, with its disk"
	case unifies:
		return i + " makes one of the changes that met"
	case buries:
		return i + " buries the older layouts"
	case learns:
		return "the writer learns what " + i + " knows, and keeps its acknowledgements"
	case stores:
		return i + " has the write on its disk and acknowledges"
	case opens:
		return i + " opens an exchange with " + j
	case adopts:
		return i + " ends its exchange"
	case reports:
		return i + " reports itself synced"
	case shows:
		return i + ", no owner any more, shows " + j + " what it holds"
	case drops:
		return i + " drops what it holds"
	case crashes:
		return i + " restarts"
	case replies:
		return i + " answers the read, without the write"
	}
	panic("a step without a name")
}

// steps calls do with everything that may happen next.
func (m *model) steps(w world, do func(step, world)) {
	for i := range maxNodes {
		m.talk(w, i, do)
		m.choose(w, i, do)
		if !w.lost.has(i) && w.facts[i] != 0 {
			m.client(w, i, do)
			m.move(w, i, do)
		}
	}
}

func (m *model) talk(w world, i int, do func(step, world)) {
	if w.lost.has(i) || w.facts[i] == 0 || m.mute.has(i) {
		return
	}
	for j := range maxNodes {
		if j == i || w.lost.has(j) || w.facts[j] == w.facts[i] || m.second == 0 && !m.know(w, i).rows.has(j) {
			continue
		}
		to := m.told(j, w.facts[j], w.facts[i])
		if m.oneWay || m.mute.has(j) {
			if to != w.facts[j] {
				do(step{tells, uint8(i), uint8(j)}, m.learn(w, j, to))
			}
			continue
		}
		if j < i && w.facts[j] != 0 && (m.second != 0 || m.know(w, j).rows.has(i)) {
			continue // the same as the other way round
		}
		from := w.facts[i]
		for from != to {
			from = m.told(i, from, to)
			to = m.told(j, to, from)
		}
		do(step{tells, uint8(i), uint8(j)}, m.learn(m.learn(w, j, to), i, from))
	}
}

// told is what node j knows once it has merged what it is told.
func (m *model) told(j int, has, gets uint16) uint16 {
	pair := [2]uint16{min(has, gets), max(has, gets)}
	both, ok := m.merges[pair]
	if !ok {
		s, err := Merge(m.facts[has].state, m.facts[gets].state)
		if err != nil {
			panic(err)
		}
		both = string(s.Encode())
		m.merges[pair] = both
	}
	to, ok := m.tells[j][both]
	if !ok {
		s, err := Decode([]byte(both))
		if err != nil {
			panic(err)
		}
		to = m.settle(j, s)
		m.tells[j][both] = to
	}
	return to
}

// choose is what operators, disks and the node's own initiative do.
func (m *model) choose(w world, i int, do func(step, world)) {
	for c, ch := range m.changes {
		if w.changed&(1<<c) == 0 && strings.ContainsRune(ch.lost(), rune('a'+i)) && !w.lost.has(i) && !ch.wrong {
			do(step{loses, uint8(i), 0}, m.lose(w, i))
		}
	}
	if w.lost.has(i) || w.facts[i] == 0 {
		return
	}
	for c, ch := range m.changes {
		if w.changed&(1<<c) != 0 || !ch.by.has(i) || !m.ready(w, ch) {
			continue
		}
		if to := m.proposed(i, c, w.facts[i]); to != w.facts[i] {
			next := w
			if ch.damages != "" {
				next.burnt |= next.data & (1 << i)
				next.data &^= 1 << i
				next.filled &^= 1 << i
			}
			next.changed |= 1 << c
			do(step{proposes, uint8(i), uint8(c)}, m.learn(next, i, to))
		}
	}
	if !m.lazy {
		return
	}
	f := m.know(w, i)
	for kind, s := range map[stepKind]State{unifies: m.unified(i, f.state), buries: m.buried(f.state)} {
		if !s.Equal(f.state) {
			do(step{kind, uint8(i), 0}, m.learn(w, i, m.settle(i, s)))
		}
	}
}

// proposed is what node i knows once it has made the change, or has if it may not.
func (m *model) proposed(i, c int, has uint16) uint16 {
	key := [3]uint16{uint16(i), uint16(c), has}
	if to, ok := m.makes[key]; ok {
		return to
	}
	to := has
	if old := m.changes[c].replace; old != "" && !m.facts[has].rows.has(int(old[0]-'a')) {
		return has // nobody takes the place of who never was
	}
	if s, err := m.facts[has].view.Propose(nodeID(i), m.rows(m.changes[c])...); err == nil {
		to = m.settle(i, s)
	}
	m.makes[key] = to
	return to
}

// ready reports whether those who are to be removed or replaced have stopped.
func (m *model) ready(w world, ch change) bool {
	for _, c := range ch.lost() {
		if !ch.wrong && !w.lost.has(int(c-'a')) {
			return false
		}
	}
	return true
}

func (m *model) lose(w world, i int) world {
	bit := nodes(1) << i
	w.lost |= bit
	w.burnt |= w.data & bit
	w.data &^= bit
	w.filled &^= bit
	w.done[i], w.open[i], w.shown[i], w.facts[i] = 0, 0, 0, 0
	return w
}

func (m *model) rows(ch change) (rows []Row) {
	for _, c := range ch.joins {
		rows = append(rows, m.row(int(c-'a'), Owns))
	}
	for _, c := range ch.leaves {
		rows = append(rows, m.row(int(c-'a'), Leaves))
	}
	for _, c := range ch.removes {
		rows = append(rows, m.row(int(c-'a'), Removed))
	}
	if ch.wrong && m.does("one node's word removes") {
		for i := range rows {
			rows[i].Standing = Forced
		}
	}
	for _, c := range ch.damages {
		r := m.row(int(c-'a'), Owns)
		if r.Losses = 1; m.does("a loss is no change") {
			r.Losses, r.Placed = 0, 1
		}
		rows = append(rows, r)
	}
	if ch.replace != "" {
		old, new := m.row(int(ch.replace[0]-'a'), Replaced), m.row(int(ch.replace[1]-'a'), Owns)
		rows = append(rows, old, new)
	}
	return rows
}

// client is the one write, and one read that comes after it. Their coordinators are no nodes of the model: each has a view that some node had at some time, hears nothing
// more, and gets through to everyone. So it is a node that is cut off from all news, member or not, and the worst of its kind. It begins with its first answer.
// A coordinator that learns something begins anew, which is another write or read here.
func (m *model) client(w world, i int, do func(step, world)) {
	switch {
	case w.phase == unwritten:
		if seen := m.know(w, i).seen; m.views[seen].bound {
			m.store(w, seen, i, do)
		}
	case w.phase == writing:
		m.store(w, w.writer, i, do)
		if seen := m.know(w, i).seen; m.does("answers outlive their view") && m.follows(w.writer, seen) {
			next := w
			next.writer = seen
			do(step{learns, uint8(i), 0}, m.finish(next))
		}
	case w.data.has(i) || w.replies.has(i) || !m.reader:
	case w.reader == 0:
		m.reply(w, m.know(w, i).seen, i, do)
	default:
		m.reply(w, w.reader-1, i, do)
	}
}

func (m *model) store(w world, seen uint8, i int, do func(step, world)) {
	if w.acks.has(i) || !union(m.views[seen].writes).has(i) || !m.admits(w, seen, i) {
		return
	}
	w.phase, w.writer = writing, seen
	w.acks |= 1 << i
	w.data |= 1 << i
	do(step{stores, uint8(i), 0}, m.finish(w))
}

// finish acknowledges the write if its tally says so.
func (m *model) finish(w world) world {
	if m.met(m.views[w.writer].writes, m.w, w.acks) {
		w.phase, w.acks, w.writer = acked, 0, 0
	}
	return w
}

// follows reports whether a coordinator with the view old may come to have the view new.
func (m *model) follows(old, new uint8) bool {
	return old != new && !slices.ContainsFunc(m.views[old].live, func(v Version) bool {
		return !slices.ContainsFunc(m.views[new].live, func(above Version) bool { return above.Covers(v) })
	})
}

func (m *model) reply(w world, seen uint8, i int, do func(step, world)) {
	if m.views[seen].bound && union(m.views[seen].reads).has(i) && m.admits(w, seen, i) {
		w.reader = seen + 1
		w.replies |= 1 << i
		do(step{replies, uint8(i), 0}, w)
	}
}

func union(groups []group) (s nodes) {
	for _, g := range groups {
		s |= g.counting
	}
	return s
}

// move is all that moves data from older owners to newer ones.
func (m *model) move(w world, i int, do func(step, world)) {
	f := m.know(w, i)
	if m.twoStep && w.open[i] == 0 {
		for j := range maxNodes {
			if m.mayOpen(w, i, j) {
				do(step{opens, uint8(i), uint8(j)}, m.open(w, i, j))
			}
		}
	}
	if m.crash && (w.done[i]|w.shown[i] != 0 || w.open[i] > 0) {
		next := w
		next.done[i], next.open[i], next.shown[i] = 0, 0, 0
		do(step{crashes, uint8(i), 0}, next)
	}
	if w.open[i] > 0 {
		do(step{adopts, uint8(i), 0}, m.adopt(w, i))
	}
	if !f.reported.has(i) && m.maySync(w, i) {
		next := w
		if f.gaining.has(i) {
			next.filled |= 1 << i
		}
		next.done[i], next.open[i] = 0, 0
		do(step{reports, uint8(i), 0}, m.learn(next, i, m.settle(i, f.state.Synced(nodeID(i), f.top, 0))))
	}
	if (w.filled | w.data).has(i) && !f.keeps.has(i) {
		m.former(w, i, do)
	}
}

// mayOpen reports whether node i may open an exchange with node j that counts.
func (m *model) mayOpen(w world, i, j int) bool {
	f := m.know(w, i)
	if !f.gaining.has(i) || f.reported.has(i) || !f.peers[i].has(j) || w.done[i].has(j) {
		return false
	}
	if m.does("skip the fence") {
		return !w.lost.has(j)
	}
	return f.fenced && m.admits(w, f.seen, j)
}

// exchanged is w after all exchanges that may be done now, unless they are steps of their own. To do them at the first moment is the worst that can happen: later ones fetch
// more, and nothing is refused to a node for having exchanged already.
func (m *model) exchanged(w world) world {
	if m.twoStep {
		return w
	}
	for i := range maxNodes {
		if w.lost.has(i) || w.facts[i] == 0 || !m.know(w, i).gaining.has(i) {
			continue
		}
		for j := range maxNodes {
			if m.mayOpen(w, i, j) {
				w = m.adopt(m.open(w, i, j), i)
			}
		}
	}
	return w
}

func (m *model) open(w world, i, j int) world {
	w.open[i] = uint8(1 + j)
	if w.data.has(j) {
		w.open[i] |= 1 << 7
	}
	return w
}

func (m *model) adopt(w world, i int) world {
	if w.open[i]&(1<<7) != 0 {
		w.data |= 1 << i
	}
	w.done[i] |= 1 << (w.open[i]&^(1<<7) - 1)
	w.open[i] = 0
	return w
}

func (m *model) maySync(w world, i int) bool {
	f := m.know(w, i)
	switch {
	case !f.gaining.has(i):
		return m.lazy && !m.vouched(i, f.state).Equal(f.state)
	case m.does("skip the fence"):
		return f.peers[i]&^w.done[i] == 0
	}
	return f.syncs.has(i) && f.peers[i]&^w.done[i] == 0
}

// former is the end of a former owner.
func (m *model) former(w world, i int, do func(step, world)) {
	f := m.know(w, i)
	for j := range maxNodes {
		if f.receives.has(j) && j != i && !w.shown[i].has(j) && m.admits(w, f.seen, j) && !m.does("drop without showing") {
			next := w
			next.shown[i] |= 1 << j
			if w.data.has(i) {
				next.data |= 1 << j
			}
			do(step{shows, uint8(i), uint8(j)}, next)
		}
	}
	if f.receives&^w.shown[i] == 0 && f.receives != 0 || m.does("drop without showing") || m.does("drop before the exchange") {
		next := w
		next.hasty = w.data.has(i) && m.lacking(w, f.receives) && !m.does("answers outlive")
		next.data &^= 1 << i
		next.filled &^= 1 << i
		next.shown[i] = 0
		do(step{drops, uint8(i), 0}, next)
	}
}
