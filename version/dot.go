package version

import (
	"cmp"
	"fmt"
)

// MaxN is the largest number of replicas a key can be written with. Every n inside a dot lies in 1..MaxN.
const MaxN = 16

// MaxCounter is the largest counter the codec accepts: one bit below the type's range, so that counter+1
// and gaps between counters never overflow.
const MaxCounter = 1<<63 - 1

// ActorID names one opening of one node's store. It is random and never zero. A new one is drawn at every
// opening, so that a crash, a rolled-back disk or a restored backup cannot issue a dot twice.
type ActorID uint64

// String writes the id as 16 hexadecimal digits.
func (id ActorID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Actor is the writer of a sequence of dots: an opening of a node, for keys of one n. Counters of an actor run
// per partition, so an actor is only meaningful beside a partition (or a key, which implies one).
type Actor struct {
	ID ActorID
	N  uint8 // replicas of the keys this sequence belongs to, 1..MaxN
}

// Compare orders actors by id, then n: the order of vectors and of the codec.
func (a Actor) Compare(b Actor) int {
	if a.ID != b.ID {
		return cmp.Compare(a.ID, b.ID)
	}
	return int(a.N) - int(b.N)
}

func (a Actor) valid() bool { return a.ID != 0 && a.N >= 1 && a.N <= MaxN }

// String writes the actor as id/n.
func (a Actor) String() string { return fmt.Sprintf("%s/%d", a.ID, a.N) }

// Dot names one write for ever. Counter starts at 1 and has no gaps for an actor within a partition.
type Dot struct {
	Actor   Actor
	Counter uint64
}

// Compare orders dots by actor, then counter. The order has no causal meaning.
func (d Dot) Compare(e Dot) int {
	if c := d.Actor.Compare(e.Actor); c != 0 {
		return c
	}
	return cmp.Compare(d.Counter, e.Counter)
}

// String writes the dot as id/n:counter.
func (d Dot) String() string { return fmt.Sprintf("%s:%d", d.Actor, d.Counter) }
