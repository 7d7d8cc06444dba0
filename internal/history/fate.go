package history

import (
	"slices"
)

// Fate is what became of a write attempt, as the final state of its key shows it: the last answered read that is marked as final.
type Fate uint8

// The fates. Lost, Phantom and Resurrected are anomalies whatever the quorum.
const (
	AckedPresent   Fate = iota + 1 // acknowledged, and there
	Superseded                     // acknowledged, and replaced by a write that was sent afterwards, or that had seen it
	LWWOverwritten                 // acknowledged, and replaced by one that ran at the same time: the last stamp wins
	Lost                           // acknowledged, and gone, with nothing to explain it
	Recovered                      // of unknown outcome, and there or seen by a read
	Unseen                         // of unknown outcome, and never seen
	Refused                        // not written, as the answer said
	Phantom                        // not written, as the answer said, and yet there or seen by a read
	Resurrected                    // there again, although a later write was acknowledged and seen
	Undetermined                   // the final state could not be read
	fateCount
)

// Fates is a count of each fate.
type Fates [fateCount]int

var fateNames = []string{
	AckedPresent: "acked-present", Superseded: "superseded", LWWOverwritten: "lww-overwritten", Lost: "lost", Recovered: "recovered",
	Unseen: "unseen", Refused: "refused", Phantom: "phantom", Resurrected: "resurrected", Undetermined: "undetermined",
}

// AllFates lists the fates in the order of reports.
func AllFates() []Fate {
	var all []Fate
	for f := AckedPresent; f < fateCount; f++ {
		all = append(all, f)
	}
	return all
}

// String is the word of reports.
func (f Fate) String() string { return nameOf(fateNames, uint8(f)) }

// Total is the number of attempts.
func (f *Fates) Total() int {
	sum := 0
	for _, count := range f {
		sum += count
	}
	return sum
}

// ending is the final state of a key.
type ending struct {
	read    read
	winners []*attempt // whose values are there; of nothing: the deletes that may have made it so
}

func (k *register) fates(verdicts []Verdict) {
	end, known := k.ending()
	for _, a := range k.byValue {
		fate := Undetermined
		if known {
			fate = k.fate(a, end)
		}
		verdicts[a.at].Fate = fate
		verdicts[a.at].Overtaken = fate == LWWOverwritten && !slices.ContainsFunc(end.winners, func(w *attempt) bool {
			return w.op.Outcome != Indeterminate || w.op.Returned >= a.op.Invoked
		})
	}
}

func (k *register) ending() (ending, bool) {
	last := -1
	for i, r := range k.reads {
		if r.op.Final && (last < 0 || r.op.Returned >= k.reads[last].op.Returned) {
			last = i
		}
	}
	if last < 0 {
		return ending{}, false
	}
	end := ending{read: k.reads[last]}
	if end.read.op.Outcome == NotFound {
		for _, d := range k.deletes {
			if d.op.Invoked <= end.read.op.Returned {
				end.winners = append(end.winners, d)
			}
		}
	}
	for _, value := range end.read.op.Values {
		if a := k.returned(end.read.op, value); a != nil {
			end.winners = append(end.winners, a)
		}
	}
	return end, true
}

func (k *register) fate(a *attempt, end ending) Fate {
	present := k.present(a, end)
	if present && a.op.Outcome != NotWritten && k.cameBack(a, end) {
		return Resurrected
	}
	switch a.op.Outcome {
	case Indeterminate:
		if present || a.seen {
			return Recovered
		}
		return Unseen
	case NotWritten:
		if present || a.seen {
			return Phantom
		}
		return Refused
	}
	if present {
		return AckedPresent
	}
	return replaced(a, end)
}

// present tells whether the final state shows the attempt.
func (k *register) present(a *attempt, end ending) bool {
	if a.op.Kind == Put || end.read.op.Outcome != NotFound {
		return slices.Contains(end.winners, a)
	}
	switch a.op.Outcome {
	case Acked: // the last of the acknowledged deletes, or any of the last
		return !slices.ContainsFunc(k.acked, func(d *attempt) bool { return d.op.Kind == Delete && d.op.Invoked > a.end })
	case Indeterminate: // only if there was something to delete, and nothing else explains that it is gone
		for _, other := range k.byValue {
			if other.op.Kind == Delete && other.op.Outcome == Acked {
				return false
			}
		}
		for _, other := range k.byValue {
			if other.op.Kind == Put && (other.op.Outcome == Acked || other.seen) {
				return true
			}
		}
	}
	return false
}

// cameBack tells whether a write was acknowledged and seen that is newer than all that is there, or that replaced what is there.
func (k *register) cameBack(a *attempt, end ending) bool {
	return slices.ContainsFunc(k.acked, func(w *attempt) bool {
		return w.seen && (w.op.Invoked > end.read.floor || slices.Contains(w.op.Saw, a.op.Value()))
	})
}

// replaced explains why an acknowledged write is not there.
func replaced(a *attempt, end ending) Fate {
	fate := Lost
	for _, w := range end.winners {
		if w == a {
			continue
		}
		if w.op.Invoked > a.end || slices.Contains(w.op.Saw, a.op.Value()) {
			return Superseded
		}
		if w.end >= a.op.Invoked {
			fate = LWWOverwritten
		}
	}
	return fate
}
