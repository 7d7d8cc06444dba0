package check

import (
	"slices"
	"time"

	"github.com/quorate/quorate/version"
)

// resurrection looks for values that come back: at a replica that had seen them go, and beside or after the delete that removed them.
func resurrection(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		for _, node := range m.Owners[h.name] {
			m.comesBack(h, node, report)
		}
		if h.siblings {
			continue
		}
		end := m.final(h)
		for _, w := range h.writes {
			if w.Kind != Delete || w.Outcome != Acked || m.gone(w, h.name) {
				continue
			}
			for _, read := range append(slices.Clone(h.reads), &end) {
				if read.Kind != Get || read.Token.Stamp.Compare(w.stamp()) < 0 {
					continue // it has not seen the delete: the business of others
				}
				for _, s := range read.Shown {
					if !s.Deleted && !s.Stamp.IsZero() && s.Stamp.Compare(w.stamp()) < 0 {
						report("%v\n  is older than the delete that the same answer has seen: %v\n  %v", s, w, read)
					}
				}
			}
		}
	}
}

// moment is what one replica alone held at one time.
type moment struct {
	at     time.Duration
	vector version.Vector
	shown  []Shown
}

// comesBack looks for versions that a replica shows after it knew them and did not show them.
func (m *Model) comesBack(h *history, node string, report func(string, ...any)) {
	var moments []moment
	for _, read := range h.reads {
		if read.Kind == Local && read.Node == node {
			moments = append(moments, moment{read.Invoked, read.Token.Vector, read.Shown})
		}
	}
	for _, rep := range m.Replicas {
		if c, ok := rep.Copies[h.name]; ok && rep.Node == node {
			moments = append(moments, moment{1 << 62, c.Vector, c.Shown})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return int((a.at - b.at) / max(1, (a.at-b.at).Abs())) })
	for i, later := range moments {
		for _, s := range later.shown {
			for _, earlier := range moments[:i] {
				if s.Dot != (version.Dot{}) && earlier.vector.Covers(s.Dot) && !holds(earlier.shown, s.Dot) && !m.lostAt(node, earlier.at, later.at) &&
					m.kept(h.name, node, earlier.at, later.at) {
					report("%s of %v is back at %s, which knew at %v that it was replaced", s.Value, h.name, node, earlier.at)
					return
				}
			}
		}
	}
}

func holds(shown []Shown, d version.Dot) bool {
	return slices.ContainsFunc(shown, func(s Shown) bool { return s.Dot == d })
}
