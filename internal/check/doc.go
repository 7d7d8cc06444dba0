// Package check says what a recorded history and the final state of every replica must be like. Each checker is a pure function in a
// file of its own; it gets a Run and returns what is wrong with it. The simulator and the tests on real processes record the same.
//
// What the checkers know of the truth comes from the clients alone: which write was attempted when, how it was answered, and which
// answers its client had seen. That a context covers a value is believed only if the client was shown that value, or one that a client
// who was shown it replaced: Model. So a product that forges contexts, drops values or forgets what it acknowledged contradicts
// somebody.
//
// Linearizable is no checker: it counts which keys were more than Quorate promises.
//
// # What is not held against the product
//
// A disk that was lost (wiped, rolled back, bits flipped) takes with it what it held. A write acknowledged by w owners is owed as long as
// fewer than w of its owners lost their disks since it began. A disk that was rolled back, which nothing detects yet, answers reads
// from its past: a read is owed a write if r + w - (owners rolled back since) > n.
//
// # Invariants
//
//  1. A checker never reports what a correct product may do. Where a dot cannot be attributed to a write, as the tombstone of a delete
//     whose answer was lost, the checker assumes the best.
//  2. Every checker has a mutation of the product that it catches: internal/sim, TestMutations.
package check
