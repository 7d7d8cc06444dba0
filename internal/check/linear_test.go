package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// put, remove and get are operations at n=3 from one second to another; w and r are 2 until changed.
func put(value string, from, to int) *Op {
	return &Op{Kind: Put, Value: value, Invoked: seconds(from), Returned: seconds(to), Outcome: Acked, N: 3, W: 2}
}

func remove(from, to int) *Op {
	o := put("", from, to)
	o.Kind = Delete
	return o
}

func get(value string, from, to int) *Op {
	o := &Op{Kind: Get, Invoked: seconds(from), Returned: seconds(to), Outcome: OK, N: 3, R: 2}
	if value != "" {
		o.Shown = []Shown{{Value: value}}
	}
	return o
}

func (o *Op) with(outcome Outcome) *Op { o.Outcome = outcome; return o }
func (o *Op) at(n, w, r int) *Op       { o.N, o.W, o.R = n, w, r; return o }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// historyOf is the run of one key.
func historyOf(ops ...*Op) *Run {
	for i, o := range ops {
		o.ID, o.Client, o.Basis, o.Bucket, o.Key = i, i, -1, "b", "k"
	}
	return &Run{Ops: ops, Siblings: map[string]bool{}}
}

func TestLinearizable(t *testing.T) {
	yes, no, not := Linear{Yes: 1}, Linear{No: 1}, Linear{}
	deleted := get("", 7, 8)
	deleted.Shown = []Shown{{Deleted: true}}
	two := get("a", 3, 4)
	two.Shown = append(two.Shown, Shown{Value: "b"})
	for name, c := range map[string]struct {
		run  *Run
		want Linear
	}{
		"one after the other":                                  {historyOf(get("", 0, 1), put("a", 1, 2), get("a", 3, 4), remove(5, 6), deleted, put("b", 9, 10), get("b", 11, 12)), yes},
		"old, then new, during a write":                        {historyOf(put("a", 0, 1), put("b", 2, 9), get("a", 3, 4), get("b", 5, 6)), yes},
		"new, then old, during a write, which is regular":      {historyOf(put("a", 0, 1), put("b", 2, 9), get("b", 3, 4), get("a", 5, 6)), no},
		"new and old at once, during a write":                  {historyOf(put("a", 0, 1), put("b", 2, 9), get("b", 3, 5), get("a", 4, 6)), yes},
		"an answer at the moment of the next call":             {historyOf(put("a", 0, 1), put("b", 2, 3), get("a", 3, 4)), yes},
		"an old value after an acknowledgement":                {historyOf(put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)), no},
		"a write without an answer, seen much later":           {historyOf(put("a", 0, 1), put("b", 2, 3).with(Indeterminate), get("a", 4, 5), get("b", 90, 91)), yes},
		"a write without an answer, seen and gone again":       {historyOf(put("a", 0, 1), put("b", 2, 3).with(Indeterminate), get("b", 4, 5), get("a", 90, 91)), no},
		"a write without an answer, never seen":                {historyOf(put("a", 0, 1), put("b", 2, 3).with(Indeterminate), get("a", 90, 91)), yes},
		"a delete without an answer, seen much later":          {historyOf(put("a", 0, 1), remove(2, 3).with(Indeterminate), get("a", 4, 5), get("", 90, 91)), yes},
		"not written, and seen":                                {historyOf(put("a", 0, 1), put("b", 2, 3).with(NotWritten), get("b", 4, 5)), no},
		"a value that nobody wrote":                            {historyOf(put("a", 0, 1), get("z", 4, 5)), no},
		"two values":                                           {historyOf(put("a", 0, 1), put("b", 0, 1), two), no},
		"an old value from one replica":                        {historyOf(put("a", 0, 1), put("b", 2, 3), get("a", 4, 5).at(3, 0, 1), get("b", 6, 7)), yes},
		"an old value after an acknowledgement of one replica": {historyOf(put("a", 0, 1), put("b", 2, 3).at(3, 1, 0), get("a", 4, 5)), yes},
		"an old value by the larger of two n":                  {historyOf(put("a", 0, 1), put("b", 2, 3), get("a", 4, 5).at(5, 0, 3)), yes},
		"a read that failed":                                   {historyOf(put("a", 0, 1), get("z", 2, 3).with(Unavailable), get("a", 4, 5)), yes},
		"nothing read":                                         {historyOf(put("a", 0, 1), put("b", 2, 3)), not},
		"nothing written":                                      {historyOf(get("", 0, 1)), not},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Linearizable(c.run); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestLinearizableOnlyLWW(t *testing.T) {
	r := historyOf(put("a", 0, 1), get("a", 2, 3))
	r.Siblings["b"] = true
	if got := Linearizable(r); got != (Linear{}) {
		t.Errorf("%v of a siblings bucket", got)
	}
}

// TestLinearizableGivesUp searches for an order of many writes at once, all seen, and of a value read twice that cannot be.
func TestLinearizableGivesUp(t *testing.T) {
	var ops []*Op
	for i := range 24 {
		ops = append(ops, put(fmt.Sprint(i), 0, 9), get(fmt.Sprint(i), 1, 9))
	}
	ops = append(ops, get("0", 10, 11), get("1", 12, 13))
	r := historyOf(ops...)
	if got, want := Linearizable(r), (Linear{Unknown: 1}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	few, _ := NewModel(historyOf(put("a", 0, 1), get("a", 2, 3))).keys[0].register()
	if got := linearizable(few, 1); got != porcupine.Unknown {
		t.Errorf("%v after one step", got)
	}
}
