package check

import (
	"slices"

	"github.com/quorate/quorate/version"
)

// equal looks for owners that differ after everything has settled.
func equal(m *Model, report func(string, ...any)) {
	for _, h := range m.keys {
		if m.Unsettled[h.name] {
			continue
		}
		first, node := Copy{}, ""
		for _, rep := range m.Replicas {
			if rep.Damaged[h.name] || !slices.Contains(m.Owners[h.name], rep.Node) {
				continue
			}
			held := rep.Copies[h.name]
			if node == "" {
				first, node = held, rep.Node
				continue
			}
			if !slices.EqualFunc(held.Shown, first.Shown, func(a, b Shown) bool { return a.Dot == b.Dot }) ||
				h.siblings && held.N != first.N || !h.siblings && held.MaxLWW != first.MaxLWW {
				report("%v: %s holds %v, %s holds %v", h.name, node, describe(first), rep.Node, describe(held))
				break
			}
		}
	}
}

func describe(c Copy) (out []string) {
	for _, s := range c.Shown {
		what := s.Value
		if s.Deleted {
			what = "deleted"
		}
		out = append(out, what+" "+s.Dot.String())
	}
	if c.MaxLWW != (version.Stamp{}) {
		out = append(out, "lww "+c.MaxLWW.String())
	}
	return out
}
