package quorum

import (
	"fmt"

	"github.com/quorate/quorate/internal/mutation"
)

// StandIns decides which fallback stands in for which owner of one request. The owners have the numbers below count, in order of preference, and
// the fallbacks those from count on, likewise. In strict mode there are none. It is a value; its methods never block.
//
// An owner that is not waited for any longer, because it is down, has failed or is silent, is replaced by the first fallback that was not asked yet;
// so is a fallback that stands in. Who was replaced may still answer, and counts then. Each fallback is asked once, for one owner: a request
// asks at most as many as there are.
type StandIns struct {
	count    int
	free     Set // fallbacks that may be asked and were not
	asked    Set
	replaced Set // nodes whose place was given on
	owner    [MaxNodes]uint8
}

// NewStandIns prepares for a request over count owners. Only fallbacks in up are ever asked.
func NewStandIns(p Params, count int, up Set) StandIns {
	s := StandIns{count: count}
	if p.FallbacksCount() {
		s.free = up &^ (1<<count - 1)
	}
	return s
}

// Omit says that nobody need stand in for some owners: those that do not count.
func (s *StandIns) Omit(owners Set) { s.replaced |= owners }

// FallbacksCount reports whether a fallback may count in an owner's place.
func (p Params) FallbacksCount() bool { return p.Sloppy || mutation.CountStandInStrict }

// Replace says that node is not waited for any longer. It returns the fallback to ask now, and the owner that it is to stand in for; ok is false if
// node's place was given on before, or none is left.
func (s *StandIns) Replace(node int) (fallback, owner int, ok bool) {
	if s.replaced.Has(node) || s.free == 0 {
		return 0, 0, false
	}
	owner = s.Owner(node)
	for first := range s.free.All() {
		fallback = first
		break
	}
	s.replaced = s.replaced.With(node)
	s.assign(fallback, owner)
	return fallback, owner, true
}

// Take makes a fallback, one that coordinates a write, stand in for an owner. The first owner in down is taken, as that one will not answer, or else the
// first of all.
func (s *StandIns) Take(fallback int, down Set) (owner int) {
	for first := range (down & (1<<s.count - 1)).All() {
		owner = first
		break
	}
	if !s.free.Has(fallback) {
		panic(fmt.Sprintf("quorum: fallback %d is not among %v, which may be asked", fallback, s.free))
	}
	s.replaced = s.replaced.With(owner)
	s.assign(fallback, owner)
	return owner
}

func (s *StandIns) assign(fallback, owner int) {
	s.free &^= bit(fallback)
	s.asked = s.asked.With(fallback)
	s.owner[fallback] = uint8(owner)
}

// Owner is the owner whose place node has: its own, or the one that it stands in for.
func (s *StandIns) Owner(node int) int {
	if node < s.count {
		return node
	}
	if !s.asked.Has(node) {
		panic(fmt.Sprintf("quorum: fallback %d stands in for nobody", node))
	}
	return int(s.owner[node])
}

// Asked are the fallbacks that stand in.
func (s *StandIns) Asked() Set { return s.asked }

// Waited reports whether node's place has not been given on.
func (s *StandIns) Waited(node int) bool { return !s.replaced.Has(node) }

// Reachable is the most answers that can be hoped for of owners of whom up may answer, when so many fallbacks may: each owner that is missing has
// one stand-in at most.
func (p Params) Reachable(owners, up, fallbacks int) int {
	if !p.FallbacksCount() {
		return up
	}
	return min(owners, up+fallbacks)
}
