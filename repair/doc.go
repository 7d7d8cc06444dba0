// Package repair brings owners that lack something up to date.
//
// For now it is read repair alone: a read that found owners to be stale hands the merged record to a Queue, which sends
// it to each of them through the ordinary merge. Nothing is ever decided here about which version wins: the merge of
// package version does that, at the receiver, as for any write. What a replica missed without being read is not found
// by this package.
//
// # Invariants
//
//  1. A repair only ever adds knowledge: what is sent is a merge of what owners answered, in full form, so the receiver
//     may merge it in any order and any number of times.
//  2. A record is sent only with all its values.
//  3. The queue is bounded in records, in bytes of values and in workers. At the bound a repair is dropped and counted: the next read of
//     the key finds it again. Requests never wait for a repair.
package repair
