package check

import (
	"slices"
	"time"

	"github.com/quorate/quorate/version"
)

// output looks for what left a node and was not on its disk: acknowledgements and answers of a replica that it knows nothing of at the
// end, and dots of a writer that were met somewhere and that its own disk did not have when it started again.
func output(m *Model, report func(string, ...any)) {
	final := map[string]Replica{}
	for _, rep := range m.Replicas {
		final[rep.Node] = rep
	}
	for _, h := range m.keys {
		said := func(node string, d version.Dot, o *Op) {
			rep, known := final[node]
			if !known || rep.Clocks == nil || d == (version.Dot{}) || m.lostAt(node, o.Invoked, Ever) || !m.kept(h.name, node, o.Returned, Ever) {
				return
			}
			if !rep.Clocks[m.partition(h)].Covers(d) {
				report("%s vouched for %v in %v\n  and knows nothing of it at the end", node, d, o)
			}
		}
		for _, w := range h.writes {
			for _, node := range w.Acks {
				if w.Outcome == Acked {
					said(node, w.dot(), w.Op)
				}
			}
		}
		for _, read := range h.reads {
			if read.Kind == Local {
				for _, s := range read.Shown {
					said(read.Node, s.Dot, read)
				}
			}
		}
	}
	m.starts(report)
	m.vouched(report)
}

// vouched compares what each node found on its disk with what it had acknowledged and shown before it went down.
func (m *Model) vouched(report func(string, ...any)) {
	for _, start := range m.Starts {
		held := func(h *history, d version.Dot, o *Op) {
			if d != (version.Dot{}) && !m.lostAt(start.Node, o.Invoked, start.At) && m.kept(h.name, start.Node, o.Returned, start.At) && !start.Clocks[m.partition(h)].Covers(d) {
				report("%s started at %v without %v, which it had vouched for in %v", start.Node, start.At, d, o)
			}
		}
		for _, h := range m.keys {
			for _, w := range h.writes {
				if w.Outcome == Acked && w.Returned < start.At && slices.Contains(w.Acks, start.Node) {
					held(h, w.dot(), w.Op)
				}
			}
			for _, read := range h.reads {
				if read.Kind != Local || read.Node != start.Node || read.Returned >= start.At {
					continue
				}
				for _, s := range read.Shown {
					held(h, s.Dot, read)
				}
			}
		}
	}
}

// starts compares what each node found on its disk with what was met of its former actors, which write no more.
func (m *Model) starts(report func(string, ...any)) {
	type meeting struct {
		where string
		key   KeyName
		since time.Duration // it was made then or later
	}
	seen := map[version.ActorID]map[placed]meeting{}
	note := func(h *history, d version.Dot, where string) {
		if d == (version.Dot{}) {
			return
		}
		at := placed{m.partition(h), d}
		if seen[d.Actor.ID] == nil {
			seen[d.Actor.ID] = map[placed]meeting{}
		}
		if _, known := seen[d.Actor.ID][at]; !known {
			met := meeting{where: where, key: h.name}
			if w := h.byDot[d]; w != nil {
				met.since = w.Invoked
			}
			seen[d.Actor.ID][at] = met
		}
	}
	for _, h := range m.keys {
		for _, w := range h.writes {
			if w.Outcome == Acked {
				note(h, w.dot(), "the answer to "+w.String())
			}
		}
		for _, read := range h.reads {
			for _, s := range read.Shown {
				note(h, s.Dot, read.String())
			}
		}
		for _, rep := range m.Replicas {
			for _, s := range rep.Copies[h.name].Shown {
				note(h, s.Dot, "the disk of "+rep.Node)
			}
		}
	}
	for _, start := range m.Starts {
		if m.lostAt(start.Node, 0, start.At) {
			continue
		}
		for _, actor := range start.Former {
			for at, met := range seen[actor] {
				if !m.kept(met.key, start.Node, met.since, start.At) {
					continue // written as a fallback, and kept apart: handoffs; or dropped since
				}
				if !start.Clocks[at.partition].Covers(at.dot) {
					report("%s started at %v without its own %v, met in %s", start.Node, start.At, at.dot, met.where)
				}
			}
		}
	}
}
