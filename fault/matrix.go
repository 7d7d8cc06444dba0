package fault

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Verdict is what is to happen to one message. The zero Verdict lets it pass at once.
type Verdict struct {
	Drop  bool
	Delay time.Duration // how long to hold the message back, without holding back those behind it
	// Repeat: a request is to be handled once more, later, as what a network duplicates or a sender sends again.
	Repeat bool
}

// Matrix is the set of rules of one node. The zero Matrix has none. It is safe for concurrent use; a message is judged by one complete set of rules.
type Matrix struct {
	rules atomic.Pointer[[]Rule] // nil, or a non-empty list that is never written
}

// Set replaces all rules at once; none heals the node. It fails, and changes nothing, if a rule is not valid or there are more than MaxRules.
func (m *Matrix) Set(rules []Rule) error {
	if len(rules) > MaxRules {
		return fmt.Errorf("fault: %d rules: at most %d", len(rules), MaxRules)
	}
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i, err)
		}
	}
	if len(rules) == 0 {
		m.rules.Store(nil)
		return nil
	}
	kept := slices.Clone(rules)
	m.rules.Store(&kept)
	return nil
}

// Rules are the rules in force, in the order in which they were set. The slice is the caller's.
func (m *Matrix) Rules() []Rule {
	rules := m.rules.Load()
	if rules == nil {
		return nil
	}
	return slices.Clone(*rules)
}

// Decide judges one message between this node and the named peer, going In or Out: it is dropped if any matching rule drops it, and otherwise delayed by the
// sum of what the matching rules draw. random yields numbers uniform in [0, 1); it is not called while there are no rules, and then the cost is one atomic load.
func (m *Matrix) Decide(peer string, direction Direction, kind Kind, random func() float64) Verdict {
	rules := m.rules.Load()
	if rules == nil {
		return Verdict{}
	}
	var v Verdict
	for _, r := range *rules {
		if !r.matches(peer, direction, kind) {
			continue
		}
		if r.Drop || r.Loss > 0 && random() < r.Loss {
			return Verdict{Drop: true}
		}
		v.Delay += r.delay(random)
		v.Repeat = v.Repeat || r.Repeat > 0 && random() < r.Repeat
	}
	return v
}
