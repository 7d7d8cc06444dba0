package history

import (
	"slices"
)

// Fate is what became of a write attempt, as the final state of its key shows it: the last answered read that is marked as final. Without one, the last
// looks at single replicas prove what they can.
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
	Undetermined                   // the final state could not be read, and no replica that could be read proves more
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

// ending is the final state of a key.
type ending struct {
	read    read
	winners []*attempt // whose values are there; of nothing: the deletes that may have made it so
}

func (k *register) fates(verdicts []Verdict) {
	end, known := k.ending()
	if !known {
		end = k.partialEnding()
	}
	for _, a := range k.byValue {
		fate := k.fate(a, end)
		if !known && !provable(a, fate) {
			fate = Undetermined
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

// partialEnding is what the replicas hold that could be read by themselves after the last acknowledgement, without what others of them have replaced. It has
// no winners if none could be read, or if a delete may have been at work, of which a value that is not there says nothing.
func (k *register) partialEnding() ending {
	lastAck := int64(-1)
	for _, a := range k.acked {
		lastAck = max(lastAck, a.op.Returned)
	}
	looks := map[string]*Op{} // by node
	for _, r := range k.reads {
		if r.op.Local && r.op.Invoked > lastAck && (looks[r.op.Node] == nil || r.op.Returned >= looks[r.op.Node].Returned) {
			looks[r.op.Node] = r.op
		}
	}
	state := &Op{Kind: Get, Outcome: OK}
	var held []*attempt
	for _, look := range looks {
		for _, value := range look.Values {
			if a := k.returned(look, value); a != nil && !slices.Contains(held, a) {
				held = append(held, a)
			}
		}
	}
	if len(k.deletes) > 0 {
		held = nil
	}
	end := ending{read: read{op: state, floor: -1}}
	for _, a := range held {
		if replaced(a, ending{winners: held}) != Superseded {
			end.winners = append(end.winners, a)
			end.read.floor = max(end.read.floor, a.end)
		}
	}
	return end
}

// provable tells whether a fate holds whatever the replicas have that could not be read.
func provable(a *attempt, fate Fate) bool {
	switch fate {
	case AckedPresent, Superseded, LWWOverwritten, Recovered, Phantom:
		return true
	}
	return false
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
