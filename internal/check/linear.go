package check

import (
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// Linear counts the lww keys of a run by whether what was written and read could have happened to one register, each operation at a
// moment between its call and its answer. That is more than the product promises, so it is reported, and no Checker.
type Linear struct {
	Yes, No int
	Unknown int // given up on after maxSteps: neither
}

// Add sums up.
func (l *Linear) Add(o Linear) {
	l.Yes += o.Yes
	l.No += o.No
	l.Unknown += o.Unknown
}

// String is one line.
func (l Linear) String() string {
	return fmt.Sprintf("linearizable (reported, not promised): %d keys yes, %d no, %d unknown", l.Yes, l.No, l.Unknown)
}

// Linearizable judges the lww keys of a run that have a write and a read that count. Disks that were lost excuse nothing here.
func Linearizable(r *Run) (sum Linear) {
	for _, h := range NewModel(r).keys {
		if h.siblings {
			continue
		}
		ops, judged := h.register()
		if !judged {
			continue
		}
		switch linearizable(ops, maxSteps) {
		case porcupine.Ok:
			sum.Yes++
		case porcupine.Illegal:
			sum.No++
		default:
			sum.Unknown++
		}
	}
	return sum
}

// What a register holds beside the ID of the PUT that wrote it.
const (
	absent  = -1 // nothing yet, or deleted
	foreign = -2 // what no attempt wrote, or several versions: no register ever holds it
)

// input is what porcupine's operations ask for; a read's output is what it showed.
type input struct {
	write bool
	value int
}

// forever is when an operation returns that nobody knows the end of.
const forever = math.MaxInt64

// register makes a register's operations of a key's history, by the largest n in its answers. Reads from half of n or fewer, or
// with fallbacks, are left out: they may show anything old. Writes likewise that were acknowledged may come into sight at any time, as may those
// without an answer: they return never. One of these that no read showed is left out, as it could as well come after everything: a search
// tries each of them at every place. judged is false without a write and a read.
func (h *history) register() (ops []porcupine.Operation, judged bool) {
	n := h.largestN()
	read := map[int]bool{}
	for _, o := range h.reads {
		if o.Kind != Get || o.Fallbacks > 0 || 2*o.R <= n {
			continue
		}
		value := h.valueOf(o.Shown)
		read[value] = true
		ops = append(ops, porcupine.Operation{ClientId: o.Client, Input: input{}, Output: value, Call: int64(o.Invoked), Return: int64(o.Returned)})
	}
	reads := len(ops)
	for _, w := range h.writes {
		value, until := absent, int64(w.Returned)
		if w.Kind == Put {
			value = w.ID
		}
		if w.Outcome != Acked || w.Fallbacks > 0 || 2*w.W <= n {
			until = forever
		}
		if w.Outcome == NotWritten || until == forever && !read[value] {
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: w.Client, Input: input{true, value}, Call: int64(w.Invoked), Return: until})
	}
	return ops, reads > 0 && len(ops) > reads
}

func (h *history) largestN() (n int) {
	for _, w := range h.writes {
		n = max(n, w.N)
	}
	for _, o := range h.reads {
		n = max(n, o.N)
	}
	return n
}

// valueOf is what a register would hold that showed this.
func (h *history) valueOf(shown []Shown) int {
	if len(shown) == 0 || len(shown) == 1 && shown[0].Deleted {
		return absent
	}
	if len(shown) > 1 {
		return foreign
	}
	if w := h.of(shown[0]); w != nil {
		return w.ID
	}
	return foreign
}

// maxSteps bounds the search for an order, which may else take time exponential in the operations that run at once. It counts steps and
// not time, so that a history gets the same verdict on every machine. It is some hundred times what a key of the simulation needs.
const maxSteps = 100_000

// linearizable looks for an order in which a register does all of ops. At the bound no step is possible any more, so the search ends; an
// order that it has found by then is one, and none says nothing.
func linearizable(ops []porcupine.Operation, bound int) porcupine.CheckResult {
	steps := 0
	model := porcupine.Model{
		Init: func() any { return absent },
		Step: func(state, in, out any) (bool, any) {
			if steps++; steps > bound {
				return false, state
			}
			if in := in.(input); in.write {
				return true, in.value
			}
			return out == state, state
		},
		Hash: func(state any) uint64 { return uint64(state.(int)) },
	}
	found := porcupine.CheckOperations(model, ops)
	switch {
	case found:
		return porcupine.Ok
	case steps > bound:
		return porcupine.Unknown
	}
	return porcupine.Illegal
}
