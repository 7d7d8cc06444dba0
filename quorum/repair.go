package quorum

import "fmt"

// Comparison is what a coordinator knows once it has merged the replies to a read.
type Comparison struct {
	Owners  Set   // in any live layout
	Replied Set   // said what they hold, be it nothing
	Equal   Set   // lack nothing of the merged record
	Same    Set   // hold its versions and no others, whatever else they lack
	Empty   Set   // hold no version
	Holders []Set // who holds it, for each version of the merged record
}

// Stale are the nodes that the merged record must be sent to: every owner, synced or not, whose reply differs from it. "Nothing" is a reply that differs.
// An owner that did not reply is not in it, because what it holds is unknown; nor is a fallback, because it is not to keep the key.
func (c Comparison) Stale() Set { return c.Owners & c.Replied &^ c.Equal }

// Cause is why a stale owner is one.
type Cause uint8

// The causes.
const (
	Older    Cause = iota // what it holds has been replaced, or added to
	Absent                // it answered that it holds nothing
	Siblings              // it lacks a version that another owner holds, which lacks one that it holds
	Vector                // it has the versions, and lacks what goes with them: n, the highest stamp, or what a context has seen
)

// Causes is the number of causes.
const Causes = 4

// String is the cause as in metrics.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

var causeNames = [Causes]string{"stale", "absent", "siblings", "vector"}

// Cause is why a node of Stale is one.
func (c Comparison) Cause(node int) Cause {
	switch {
	case c.Same.Has(node):
		return Vector
	case c.Empty.Has(node):
		return Absent
	}
	for _, held := range c.Holders {
		if !held.Has(node) {
			continue
		}
		for _, lacked := range c.Holders {
			if !lacked.Has(node) && lacked&^held != 0 {
				return Siblings
			}
		}
	}
	return Older
}

// Minority reports whether a version that the node lacks was held by fewer than half of those that replied: the overlap of two majorities did not choose it.
func (c Comparison) Minority(node int) bool {
	for _, held := range c.Holders {
		if !held.Has(node) && 2*(held&c.Replied).Len() < c.Replied.Len() {
			return true
		}
	}
	return false
}
