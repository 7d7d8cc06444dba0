package quorum

import (
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// MaxNodes bounds the nodes that one request can number: as many as four layouts of 16 owners that have nothing in common, or eight of eight.
const MaxNodes = 64

// Set is a set of the nodes of one request. The coordinator numbers them from 0 to MaxNodes-1 as it likes; the numbers mean nothing outside the request.
type Set uint64

// SetOf is the set of the given nodes.
func SetOf(nodes ...int) Set {
	var s Set
	for _, node := range nodes {
		s = s.With(node)
	}
	return s
}

// With is s and node.
func (s Set) With(node int) Set { return s | bit(node) }

// Has reports whether node is in s.
func (s Set) Has(node int) bool { return s&bit(node) != 0 }

// Len is the number of nodes in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// All yields the nodes of s in ascending order.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for rest := uint64(s); rest != 0; rest &= rest - 1 {
			if !yield(bits.TrailingZeros64(rest)) {
				return
			}
		}
	}
}

// String is the nodes in braces: {0 2 5}.
func (s Set) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for node := range s.All() {
		if b.Len() > 1 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, node)
	}
	b.WriteByte('}')
	return b.String()
}

func bit(node int) Set {
	if node < 0 || node >= MaxNodes {
		panic(fmt.Sprintf("quorum: node %d of a request, of at most %d", node, MaxNodes))
	}
	return 1 << node
}
