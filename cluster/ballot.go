package cluster

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/quorate/quorate/ring"
)

// ballot numbers the attempts to decide the founding table (Lamport's single-decree Paxos). The zero ballot is below all.
type ballot struct {
	Round uint64
	By    ring.ID
}

func (b ballot) less(o ballot) bool {
	return cmp.Or(cmp.Compare(b.Round, o.Round), b.By.Compare(o.By)) < 0
}

// vote is what a voter must never forget: no ballot below Promised gets anything from it any more, and Value is what it
// accepted last, under Accepted. It is saved before an answer that shows it leaves.
type vote struct {
	Promised, Accepted ballot
	Value              []byte // an encoded table; empty while nothing was accepted
}

// promise returns the vote after a request to promise b, and whether it was granted.
func (v vote) promise(b ballot) (vote, bool) {
	if b.less(v.Promised) {
		return v, false
	}
	v.Promised = b
	return v, true
}

// accept returns the vote after a request to accept value under b, and whether it was granted.
func (v vote) accept(b ballot, value []byte) (vote, bool) {
	if b.less(v.Promised) {
		return v, false
	}
	return vote{Promised: b, Accepted: b, Value: bytes.Clone(value)}, true
}

// electorate is what one voter knows of the members that its --join names, itself included: how many distinct ones there
// can be at most, and who those are that it has identified.
type electorate struct {
	Size int
	IDs  []ring.ID
}

// proposal gathers the grants of one ballot in one phase. Grants may come in any order and more than once.
type proposal struct {
	ballot   ballot
	granted  map[ring.ID]electorate
	accepted ballot // the highest among the promises' accepted ballots, and
	value    []byte // what was accepted under it
}

func newProposal(b ballot) *proposal {
	return &proposal{ballot: b, granted: make(map[ring.ID]electorate)}
}

// grant counts a granted promise or acceptance of one voter, with the vote that it answered from.
func (p *proposal) grant(from ring.ID, of electorate, v vote) {
	p.granted[from] = of
	if p.accepted.less(v.Accepted) {
		p.accepted, p.value = v.Accepted, v.Value
	}
}

// quorum reports whether the grants decide: for every voter among them they are more than half of what *it* takes for the
// electorate. So whichever nodes propose, two quorums have a voter in common as soon as each holds one voter
// of the same list: both are majorities of that list.
func (p *proposal) quorum() bool {
	for _, of := range p.granted {
		votes := 0
		for _, id := range of.IDs {
			if _, ok := p.granted[id]; ok {
				votes++
			}
		}
		if 2*votes <= of.Size {
			return false
		}
	}
	return len(p.granted) > 0
}

// voters returns who granted, in the order of their IDs.
func (p *proposal) voters() []ring.ID {
	return slices.SortedFunc(maps.Keys(p.granted), ring.ID.Compare)
}
