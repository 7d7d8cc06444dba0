package check

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// write is one attempt to change a key.
type write struct {
	*Op
	index int // among the key's writes, by time of invocation
	// mayReplace are the writes that this one may legitimately replace because its client had been shown them, or what replaced them.
	mayReplace set
	shown      bool // by some answer, or some replica at the end
}

// stamp is that of an acknowledged lww write.
func (w *write) stamp() version.Stamp { return w.Token.Stamp }

// dot is that of an acknowledged write.
func (w *write) dot() version.Dot {
	if len(w.Token.Seen) != 1 {
		return version.Dot{}
	}
	return w.Token.Seen[0]
}

// set is a set of a key's writes.
type set []uint64

func (s set) has(i int) bool { return i/64 < len(s) && s[i/64]&(1<<(i%64)) != 0 }

func (s *set) add(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s *set) join(o set) {
	for len(*s) < len(o) {
		*s = append(*s, 0)
	}
	for i, word := range o {
		(*s)[i] |= word
	}
}

func (s set) len() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// history is what is known of one key.
type history struct {
	name     KeyName
	siblings bool
	writes   []*write
	reads    []*Op // that were answered
	byValue  map[string]*write
	byDot    map[version.Dot]*write
	byID     map[int]*write
	// wild is what a version may replace that cannot be attributed: the deletes that were not acknowledged, and all they may replace.
	wild set
}

// grace is how much longer than its client a write may go on.
const grace = 5 * time.Second

// Model is a run by keys, with what each write may replace.
type Model struct {
	*Run
	keys []*history
}

// NewModel sorts a run.
func NewModel(r *Run) *Model {
	m := &Model{Run: r}
	byName := map[KeyName]*history{}
	for _, o := range r.Ops {
		name := KeyName{o.Bucket, o.Key}
		h := byName[name]
		if h == nil {
			h = &history{name: name, siblings: r.Siblings[o.Bucket], byValue: map[string]*write{}, byDot: map[version.Dot]*write{}, byID: map[int]*write{}}
			byName[name] = h
			m.keys = append(m.keys, h)
		}
		h.add(o)
	}
	for _, h := range m.keys {
		slices.SortStableFunc(h.writes, func(a, b *write) int { return cmp.Compare(a.Invoked, b.Invoked) })
		for i, w := range h.writes {
			w.index = i
		}
		for _, o := range h.reads {
			h.attribute(o.Shown)
		}
		for _, rep := range r.Replicas {
			h.attribute(rep.Copies[h.name].Shown)
		}
		m.solve(h)
	}
	return m
}

func (h *history) add(o *Op) {
	if !o.IsWrite() {
		if o.Outcome == OK {
			h.reads = append(h.reads, o)
		}
		return
	}
	w := &write{Op: o}
	h.writes = append(h.writes, w)
	h.byID[o.ID] = w
	if o.Kind == Put {
		h.byValue[o.Value] = w
	}
	if o.Outcome == Acked {
		h.byDot[w.dot()] = w
	}
}

// attribute notes whose dots the shown versions have. One write may have several, if its coordinator had to make it again.
func (h *history) attribute(shown []Shown) {
	for _, s := range shown {
		w := h.byValue[s.Value]
		if s.Deleted {
			w = h.byDot[s.Dot]
		}
		if w == nil {
			continue
		}
		w.shown = true
		if s.Dot != (version.Dot{}) && h.byDot[s.Dot] == nil {
			h.byDot[s.Dot] = w
		}
	}
}

// of is the write of a shown version, nil if it cannot be attributed.
func (h *history) of(s Shown) *write {
	if !s.Deleted {
		return h.byValue[s.Value]
	}
	return h.byDot[s.Dot]
}

// solve finds what each write may replace. The sets grow until nothing changes: what a version that cannot be attributed may replace
// depends on all of them.
func (m *Model) solve(h *history) {
	for changed := true; changed; {
		changed = false
		for _, w := range h.writes {
			if w.Kind == Delete && w.Outcome == Indeterminate {
				h.wild.join(w.mayReplace)
				h.wild.add(w.index)
			}
		}
		for _, w := range h.writes {
			before := w.mayReplace.len()
			w.mayReplace.join(m.replaces(h, w))
			changed = changed || w.mayReplace.len() > before
		}
	}
}

// replaces is what w may replace, by what its client had been shown and as far as it is known by now.
func (m *Model) replaces(h *history, w *write) (s set) {
	switch {
	case w.Basis >= 0:
		return m.covered(h, m.Ops[w.Basis])
	case w.Kind == Delete && h.siblings:
		// It removes what a read at some moment while it ran showed.
		for _, o := range h.writes {
			if o != w && o.Invoked <= w.Returned+grace {
				s.add(o.index)
			}
		}
	}
	return s
}

// covered are the writes that an answer's context may cover.
func (m *Model) covered(h *history, o *Op) (s set) {
	cover := func(w *write) {
		s.join(w.mayReplace)
		s.add(w.index)
	}
	if o.IsWrite() {
		if w := h.byID[o.ID]; w != nil {
			cover(w)
		}
		return s
	}
	for _, shown := range o.Shown {
		if w := h.of(shown); w != nil {
			cover(w)
		}
	}
	for _, d := range o.Token.Seen {
		if w := h.byDot[d]; w != nil {
			cover(w)
		} else {
			s.join(h.wild)
		}
	}
	return s
}

// replaced reports whether some write that began before a time may have replaced w.
func (m *Model) replaced(h *history, w *write, before Op) bool {
	for _, v := range h.writes {
		if v != w && v.Outcome != NotWritten && v.Invoked <= before.Returned && v.mayReplace.has(w.index) {
			return true
		}
	}
	return false
}

// sent reports whether a write was given a context that covers a shown version: then that version is gone where the write is.
func (m *Model) sent(w *write, s Shown) bool {
	return w.Basis >= 0 && s.Dot != (version.Dot{}) && m.Ops[w.Basis].Token.Vector.Covers(s.Dot)
}

// shows reports whether the versions of an answer do justice to w: they show it, or what beat or replaced it. why says what is wrong.
func (m *Model) shows(h *history, w *write, seen Op) (ok bool, why string) {
	if h.siblings {
		for _, s := range seen.Shown {
			if h.of(s) == w {
				return true, ""
			}
		}
		if slices.Contains(seen.Token.Seen, w.dot()) || m.replaced(h, w, seen) { // a tombstone is not shown beside values
			return true, ""
		}
		return false, "it is not there, and nobody who had seen it replaced it"
	}
	if seen.Token.Stamp.Compare(w.stamp()) < 0 {
		return false, "nothing with its stamp or a higher one is there"
	}
	if len(seen.Shown) == 0 && len(seen.Token.Seen) == 0 {
		return false, "there is no version at all"
	}
	for _, s := range seen.Shown {
		if m.sent(w, s) {
			return false, fmt.Sprintf("what it replaced is there: %+v", s)
		}
	}
	return true, ""
}

// final is the merge of what all replicas of a key hold at the end.
func (m *Model) final(h *history) Op {
	out := Op{ID: -1, Kind: Get, Bucket: h.name.Bucket, Key: h.name.Key, Node: "all replicas", Outcome: OK, Returned: 1 << 62, Basis: -1}
	var all []Shown
	for _, rep := range m.Replicas {
		c, ok := rep.Copies[h.name]
		if !ok || !slices.Contains(m.Owners[h.name], rep.Node) {
			continue
		}
		out.Token.Vector.Merge(c.Vector)
		out.Token.Stamp = version.Later(out.Token.Stamp, c.MaxLWW)
		for _, s := range c.Shown {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	for _, s := range all {
		lives := h.siblings || s.Stamp.Compare(out.Token.Stamp) >= 0
		for _, rep := range m.Replicas {
			c, held := rep.Copies[h.name]
			if held && slices.Contains(m.Owners[h.name], rep.Node) && s.Dot != (version.Dot{}) && c.Vector.Covers(s.Dot) && !holds(c.Shown, s.Dot) && !slices.Contains(c.Hidden, s.Dot) {
				lives = false
			}
		}
		if lives {
			out.Shown = append(out.Shown, s)
			out.Token.Seen = append(out.Token.Seen, s.Dot)
		}
	}
	out.Token.Seen = append(out.Token.Seen, m.hidden(h)...)
	return out
}

// hidden are the dots that replicas hold without telling of what, as far as no other replica knows them to be replaced.
func (m *Model) hidden(h *history) (live []version.Dot) {
	for _, rep := range m.Replicas {
		for _, d := range rep.Copies[h.name].Hidden {
			gone := slices.ContainsFunc(m.Replicas, func(other Replica) bool {
				c, held := other.Copies[h.name]
				return held && c.Vector.Covers(d) && !slices.Contains(c.Hidden, d) && !holds(c.Shown, d)
			})
			if !gone {
				live = append(live, d)
			}
		}
	}
	return live
}

// partition of a key, where it is known.
func (m *Model) partition(h *history) ring.Partition { return m.Partitions[h.name] }
