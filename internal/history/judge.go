package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Verdict is what is to be said of one operation.
type Verdict struct {
	// Of a read that was answered and is not Local. A read is fresh if Missed is 0.
	Missed    int   // k: how many writes it missed that were acknowledged before it was sent
	Behind    int64 // t: ns from the oldest acknowledgement of these to the sending of the read
	Monotonic bool  // violated: the same client had been shown something newer before it sent this read
	OwnWrite  bool  // violated: among what it missed is a write of the same client
	Session   bool  // violated: what it returned is older than what the context that it sent had seen
	Foreign   bool  // it returned a value that no attempt wrote to this key, or that was not yet sent

	Fate      Fate // of a write attempt; 0 of a read
	Overtaken bool // of an lww-overwritten one: all that is there are attempts of unknown outcome that were given up before it was sent
}

// Fresh tells whether an answered read missed nothing.
func (v *Verdict) Fresh() bool { return v.Missed == 0 }

// never is when a write ends of which nobody knows whether it ever took effect.
const never = math.MaxInt64

// Judge says what is to be said of each operation, in the same order. It fails on operations that Validate refuses, and on identities used twice.
func Judge(ops []Op) ([]Verdict, error) {
	type place struct{ bucket, key string }
	keys := map[place]*register{}
	ids, attempts := map[uint64]bool{}, map[Value]bool{}
	for i := range ops {
		o := &ops[i]
		if err := o.Validate(); err != nil {
			return nil, fmt.Errorf("operation %d: %w", o.ID, err)
		}
		if ids[o.ID] || o.IsWrite() && attempts[o.Value()] {
			return nil, fmt.Errorf("operation %d, write attempt %v: used twice", o.ID, o.Value())
		}
		ids[o.ID] = true
		at := place{o.Bucket, o.Key}
		k := keys[at]
		if k == nil {
			k = &register{byValue: map[Value]*attempt{}}
			keys[at] = k
		}
		if o.IsWrite() {
			attempts[o.Value()] = true
			k.add(i, o)
		} else if o.Answered() {
			k.reads = append(k.reads, read{at: i, op: o})
		}
	}
	verdicts := make([]Verdict, len(ops))
	for _, k := range keys {
		k.judge(verdicts)
	}
	return verdicts, nil
}

// register is one key with all that was done to it.
type register struct {
	byValue map[Value]*attempt
	acked   []*attempt // by when they were invoked
	deletes []*attempt // those that were not refused
	reads   []read     // those that were answered, by when they were invoked
}

type attempt struct {
	at   int // in the history
	op   *Op
	end  int64 // see doc.go
	seen bool  // a read returned it; of a delete: a read that was sent after its acknowledgement found nothing
}

type read struct {
	at    int
	op    *Op
	floor int64 // whatever was sent after this is newer than all that the read returned
}

func (k *register) add(at int, o *Op) {
	a := &attempt{at: at, op: o, end: o.Returned}
	k.byValue[o.Value()] = a
	if o.Outcome == Acked {
		k.acked = append(k.acked, a)
	}
	if o.Outcome == Indeterminate {
		a.end = never
	}
	if o.Kind == Delete && o.Outcome != NotWritten {
		k.deletes = append(k.deletes, a)
	}
}

func (k *register) judge(verdicts []Verdict) {
	slices.SortFunc(k.acked, func(a, b *attempt) int { return cmp.Compare(a.op.Invoked, b.op.Invoked) })
	slices.SortFunc(k.reads, func(a, b read) int {
		return cmp.Or(cmp.Compare(a.op.Invoked, b.op.Invoked), cmp.Compare(a.op.ID, b.op.ID))
	})
	k.observe()
	sessions := map[uint32][]read{}
	for i := range k.reads {
		r := &k.reads[i]
		r.floor = k.floor(r.op)
		if r.op.Local {
			continue
		}
		v := &verdicts[r.at]
		v.Foreign = slices.ContainsFunc(r.op.Values, func(value Value) bool { return k.returned(r.op, value) == nil })
		k.missed(r, v)
		for _, value := range r.op.Saw {
			a := k.byValue[value]
			v.Session = v.Session || a != nil && a.op.Invoked > r.floor
		}
		sessions[r.op.Client] = append(sessions[r.op.Client], *r)
	}
	for _, reads := range sessions {
		k.monotonic(reads, verdicts)
	}
	k.fates(verdicts)
}

// returned is the attempt whose value a read returned; nil if there is none, or if it was sent only after the read had ended.
func (k *register) returned(o *Op, value Value) *attempt {
	a := k.byValue[value]
	if a == nil || a.op.Kind != Put || a.op.Invoked > o.Returned {
		return nil
	}
	return a
}

// observe finds what was seen, and so when writes of unknown outcome ended: what a read has returned takes effect no more.
func (k *register) observe() {
	firstSeen := map[*attempt]int64{}
	for _, r := range k.reads {
		for _, value := range r.op.Values {
			if a := k.returned(r.op, value); a != nil {
				if at, ok := firstSeen[a]; !ok || r.op.Returned < at {
					firstSeen[a] = r.op.Returned
				}
			}
		}
	}
	for a, at := range firstSeen {
		a.seen = true
		if a.op.Outcome == Indeterminate {
			a.end = max(a.op.Returned, at)
		}
	}
	lastNothing := int64(-1)
	for _, r := range k.reads {
		if r.op.Outcome == NotFound && !r.op.Local {
			lastNothing = max(lastNothing, r.op.Invoked)
		}
	}
	for _, d := range k.deletes {
		d.seen = d.op.Outcome == Acked && lastNothing > d.op.Returned
	}
}

// floor is when the last of what a read returned had ended. Nothing may be the work of any delete that had been sent by then, or the beginning.
func (k *register) floor(o *Op) int64 {
	floor := int64(-1)
	if o.Outcome == NotFound {
		for _, d := range k.deletes {
			if d.op.Invoked <= o.Returned {
				floor = max(floor, d.end)
			}
		}
	}
	for _, value := range o.Values {
		if a := k.returned(o, value); a != nil {
			floor = max(floor, a.end)
		}
	}
	return floor
}

// missed counts the acknowledged writes that a read missed. It takes as long as they are many.
func (k *register) missed(r *read, v *Verdict) {
	from, _ := slices.BinarySearchFunc(k.acked, r.floor, func(a *attempt, floor int64) int {
		if a.op.Invoked > floor {
			return 1
		}
		return -1
	})
	oldest := int64(never)
	for _, a := range k.acked[from:] {
		if a.op.Invoked >= r.op.Invoked {
			break
		}
		if a.op.Returned >= r.op.Invoked {
			continue // it was on its way
		}
		v.Missed++
		oldest = min(oldest, a.op.Returned)
		v.OwnWrite = v.OwnWrite || a.op.Client == r.op.Client
	}
	if v.Missed > 0 {
		v.Behind = r.op.Invoked - oldest
	}
}

// monotonic looks at the reads of one client, by when they were invoked.
func (k *register) monotonic(reads []read, verdicts []Verdict) {
	ended := slices.Clone(reads)
	slices.SortFunc(ended, func(a, b read) int { return cmp.Compare(a.op.Returned, b.op.Returned) })
	newest, next := int64(-1), 0 // of what the client had been shown
	for _, r := range reads {
		for ; next < len(ended) && ended[next].op.Returned < r.op.Invoked; next++ {
			for _, value := range ended[next].op.Values {
				if a := k.returned(ended[next].op, value); a != nil {
					newest = max(newest, a.op.Invoked)
				}
			}
		}
		verdicts[r.at].Monotonic = newest > r.floor
	}
}
