package version

import "github.com/cespare/xxhash/v2"

// What two replicas need to compare their clocks.

// AtLeast returns the dots of v whose actor's n is n or more. It shares no memory with v.
func (v Vector) AtLeast(n uint8) Vector {
	var out Vector
	for i := range v.entries {
		if e := &v.entries[i]; e.Actor.N >= n {
			out.entries = append(out.entries, e.clone())
		}
	}
	return out
}

// Lacks counts the dots of o that are not in v.
func (v Vector) Lacks(o Vector) uint64 {
	missing := uint64(0)
	for i := range o.entries {
		theirs := &o.entries[i]
		mine, _ := v.Entry(theirs.Actor)
		both := mine.clone()
		both.merge(theirs)
		missing += both.size() - mine.size()
	}
	return missing
}

// size is the number of counters that the entry covers.
func (e *Entry) size() uint64 {
	n := e.Base
	for _, iv := range e.Detached {
		n += iv.Hi - iv.Lo + 1
	}
	return n
}

// Hash is 64 bits of the set: equal sets have equal hashes. It is no defence against a peer that makes vectors up.
func (v Vector) Hash() uint64 {
	var room [256]byte
	return xxhash.Sum64(AppendVector(room[:0], v))
}
