// Package mutation names the sins that the simulator's checkers must see: each is one deliberate change of the product, in one
// place, that breaks one promise.
//
// They exist only in binaries built with -tags mutate, which only the simulator's own tests are. Without the tag every name below is
// the constant false, so the compiler leaves nothing of the branch that it guards, and the product carries no trace of it.
//
// # Invariants
//
//  1. Without the tag no name here is a variable. TestOrdinaryBuild in internal/sim.
//  2. With the tag all are false until Set, which is called before the first node runs. At most one is true.
package mutation
