package layouts

import (
	"fmt"
	"strings"
)

// search visits every state that a scenario can reach, breadth first, so that the first broken one is reached by one of the shortest traces.
type search struct {
	*model
	index  map[world]int32
	states []visited
	depth  int
	settle map[rest]bool // for liveness: whether a fair schedule ends well from here
}

// rest is what decides whether everything settles: progress of exchanges only helps, and clients are not asked.
type rest struct {
	facts        [maxNodes]uint16
	filled, lost nodes
	changed      uint8
}

type visited struct {
	world world
	from  int32
	step  step
}

// explore returns the trace to a broken state, or "" if there is none among the first limit states. complete is whether that was all.
func explore(sc scenario, s sin, limit int) (found *search, trace string, complete bool) {
	x := &search{model: newModel(sc, s), index: map[world]int32{}, settle: map[rest]bool{}}
	x.visit(x.begin(), -1, step{})
	level := 0
	for at := 0; at < len(x.states); at++ {
		if at == level {
			x.depth++
			level = len(x.states)
		}
		w := x.states[at].world
		if broken := x.wrong(w); broken != "" {
			return x, x.trace(at) + "BROKEN: " + broken, false
		}
		if s == "" && !x.settles(w) {
			return x, x.trace(at) + "STUCK: from here nothing settles, with everyone up and told everything\n" + x.stuck(w), false
		}
		if len(x.states) > limit {
			return x, "", false
		}
		x.steps(w, func(did step, next world) { x.visit(next, int32(at), did) })
	}
	return x, "", true
}

func (x *search) visit(w world, from int32, did step) {
	w = x.exchanged(w)
	if _, known := x.index[w]; known {
		return
	}
	x.index[w] = int32(len(x.states))
	x.states = append(x.states, visited{w, from, did})
}

// trace tells how a state came to be, a step a line, with what each step changed.
func (x *search) trace(at int) string {
	var path []int
	for ; at >= 0; at = int(x.states[at].from) {
		path = append(path, at)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: founding members %v, n=%d, w=%v, r=%v\n", x.name, x.start|x.second, x.n, x.w, x.r)
	for i, c := range x.changes {
		fmt.Fprintf(&b, "change %d: %v\n", i+1, c)
	}
	for i := len(path) - 2; i >= 0; i-- {
		v := x.states[path[i]]
		fmt.Fprintf(&b, "%3d. %v", len(path)-1-i, v.step)
		if j := int(v.step.i); v.step.kind == tells {
			x.explain(&b, v.world, int(v.step.j))
		} else if v.step.kind == proposes || v.step.kind == reports || v.step.kind == unifies || v.step.kind == buries {
			x.explain(&b, v.world, j)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// explain says what a node knows: the members of each live layout, "*" for a maximal whole one, "+" for one that is whole.
func (x *search) explain(b *strings.Builder, w world, i int) {
	b.WriteString("; it knows")
	for _, l := range x.know(w, i).view.live {
		fmt.Fprintf(b, " {%v", x.set(l.version.Owners()))
		switch {
		case l.maximal:
			b.WriteByte('*')
		case l.whole:
			b.WriteByte('+')
		}
		fmt.Fprintf(b, " owners %s}", x.place(l.version))
	}
}

func (x *search) stuck(w world) string {
	var b strings.Builder
	for i := range maxNodes {
		if w.facts[i] != 0 {
			fmt.Fprintf(&b, "%c:\n%v", 'a'+i, x.know(w, i).view)
		}
	}
	return b.String()
}

// settles reports whether a fair schedule of what remains ends with one whole layout that everyone knows. Clients and faults are left out of it; operators
// do what the scenario lets them do about lost nodes.
func (x *search) settles(w world) bool {
	w = x.exchanged(world{facts: w.facts, filled: w.filled, lost: w.lost, changed: w.changed})
	var path []rest
	for {
		key := rest{w.facts, w.filled, w.lost, w.changed}
		if len(path) == 0 || path[len(path)-1] != key {
			if ok, known := x.settle[key]; known {
				return x.note(path, ok)
			}
			x.settle[key] = false // a schedule that comes back to where it was never ends
			path = append(path, key)
		}
		next, more := x.fair(w)
		if !more {
			return x.note(path, x.settled(w))
		}
		w = x.exchanged(next)
	}
}

func (x *search) note(path []rest, ok bool) bool {
	for _, key := range path {
		x.settle[key] = ok
	}
	return ok
}

// fair picks the next step: whatever moves things forward, talk first.
func (x *search) fair(w world) (next world, more bool) {
	mute := x.mute
	x.mute = 0
	defer func() { x.mute = mute }()
	best := step{kind: 255}
	x.steps(w, func(did step, to world) {
		useful := did.kind < learns && (did.kind != loses) || did.kind > stores && did.kind < crashes
		if useful && did.kind < best.kind {
			best, next, more = did, to, true
		}
	})
	next.data = 0
	return next, more
}

func (x *search) settled(w world) bool {
	var last uint16
	for i := range maxNodes {
		if w.lost.has(i) || w.facts[i] == 0 {
			continue
		}
		if !x.know(w, i).view.Settled() || last != 0 && w.facts[i] != last {
			return false
		}
		last = w.facts[i]
	}
	return true
}
