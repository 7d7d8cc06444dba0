package layouts

import "math/bits"

// set is a set of small numbers: rows of a version, or partitions. It is immutable; what looks like a change returns a new one.
type set []byte

func fullSet(size int) set {
	s := make(set, (size+7)/8)
	for i := range size {
		s[i/8] |= 1 << (i % 8)
	}
	return s
}

func (s set) has(i int) bool { return i >= 0 && i/8 < len(s) && s[i/8]&(1<<(i%8)) != 0 }

// with is s and i, which must be below the size that s was made for.
func (s set) with(i, size int) set {
	if s.has(i) {
		return s
	}
	out := make(set, (size+7)/8)
	copy(out, s)
	out[i/8] |= 1 << (i % 8)
	return out
}

func (s set) union(other set) set {
	if len(s) < len(other) {
		s, other = other, s
	}
	out := s
	for i, b := range other {
		if b&^out[i] == 0 {
			continue
		}
		if &out[0] == &s[0] {
			out = append(set(nil), s...)
		}
		out[i] |= b
	}
	return out
}

func (s set) len() int {
	n := 0
	for _, b := range s {
		n += bits.OnesCount8(b)
	}
	return n
}
