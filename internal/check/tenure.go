package check

import (
	"slices"
	"time"
)

// Tenure is a time during which a node kept a key's replica: by its own view, some live layout made it an owner. Afterwards it may have dropped it, and
// when it owns the key again it begins from nothing.
type Tenure struct {
	From, To time.Duration
}

// Ever is the end of what has not ended.
const Ever time.Duration = 1 << 62

// kept reports whether a node kept a key's replica at all times from one to another, so that what it once knew it still knows.
func (r *Run) kept(key KeyName, node string, from, to time.Duration) bool {
	if r.Tenures == nil {
		return slices.Contains(r.Owners[key], node)
	}
	return slices.ContainsFunc(r.Tenures[key][node], func(t Tenure) bool { return t.From <= from && t.To >= to })
}

// owned reports whether a node kept a key's replica at some time since.
func (r *Run) owned(key KeyName, node string, since time.Duration) bool {
	if r.Tenures == nil {
		return slices.Contains(r.Owners[key], node)
	}
	return slices.ContainsFunc(r.Tenures[key][node], func(t Tenure) bool { return t.To >= since })
}

// apart reports whether two operations belong to clusters that had not met: nobody who was asked knew of both.
func apart(a, b *Op) bool {
	return a.Foundings != 0 && b.Foundings != 0 && a.Foundings&b.Foundings == 0
}
