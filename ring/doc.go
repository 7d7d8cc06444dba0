// Package ring says who belongs to a cluster and who owns which keys. It is pure: values and functions of values, without goroutines, clocks, I/O or randomness of its own.
//
// A key's hash falls into one of Q equal partitions of the hash space (Hash, PartitionOf). A Table lists the incarnations that were ever part of the cluster and how
// far each has come. A Layout, computed from a table, orders the members for each partition: for a key of n replicas the first n are its owners, the
// rest its fallbacks. Whether a member answers just now is no concern of this package: one that does not is an owner all the same. Which layouts count, and from which owners, is
// package layouts' to say: it makes a table of owners for each, and the table of all members only repeats what came of it.
//
// # Invariants
//
//  1. Tables are a lattice: Merge is commutative, associative and idempotent, and With never takes knowledge back. Each part of a row is merged by an
//     operation that is all three (a maximum, a disjunction, a choice by a total order), and a table is their product. (TestMergeIsALattice)
//  2. Equal tables have equal bytes, and only Encode's bytes are decoded, and those of the format before it; nothing that a peer or a disk sends panics. (TestCodecRoundTrip,
//     TestDecodeFormat1, FuzzDecodeTable)
//  3. A layout is a function of the set of members that own, in whatever order they came, on every kind of processor: its arithmetic is on integers,
//     and on floats only by operations whose every bit IEEE 754 fixes. (TestLayoutIsAFunctionOfTheSet, TestLayoutGolden)
//  4. Names place, incarnations own: a namesake takes exactly the places of the one before it, under another layout hash. (TestNamesakesTakeTheSamePlaces)
//  5. Of a partition's first n ≤ 16 members no two share a zone while there are zones left. (checkLayout in all tests of bounds)
//  6. For n ≤ 5 no member owns more than its fair share of partitions, rounded up, plus one. Its share is in proportion to its weight, as far as owning each partition
//     only once and 5 allow; for N members of equal weight without zones, or with zones of equal size, it is Q·n/N. (TestBound…)
//
// # The method of placement
//
// The aim is 6 with as few replicas as possible that move when a member comes or goes. Without a cap nothing moves in vain if each partition ranks the members
// by a hash of both names (rendezvous hashing); with one, every correction of the balance is a move that a newcomer may cause or undo. So there should be few
// corrections, and local ones:
//
//   - A member's hashes only order the partitions; the values that compete are spread evenly, one in each of Q slices. That roughly halves the
//     scatter (standard deviation) of what a member wins.
//   - The sets of the first three are balanced first, three being the usual n. A member with too much gives up what it was least eager for: a newcomer most
//     likely wins just that. Prefixes of one and two reorder those sets, and four and five extend them.
//   - What is left over, with uneven weights and zones, is traded along alternating paths (relieve), which cannot fail where there are no zones.
//
// Measured against it, and moving more from about ten members on: a greedy cap in the order of the partitions, stable matching of members and partitions (which
// also misses the bound in small clusters), corrections by the smallest difference in eagerness, caps that shrink smoothly, and inserting the members one
// by one in a fixed order with the least theft for each.
// BenchmarkMovement prints the present figures.
package ring
