// Package load puts a load on a cluster and measures what it gets: throughput, latency by kind of operation, failures by their reason, and the
// CPU and memory that the nodes and the load itself use.
//
//	preload   every key is put once
//	warm-up   the load runs; nothing of it counts
//	window    the load runs; each operation that begins in it counts, however late it ends
//
// In a closed loop every connection sends its next request when the last one is answered: the load is as large as the cluster lets it be, and
// latency counts from the sending. A slow cluster is then asked less often, so that bad moments are sampled too rarely (coordinated omission):
// such latencies compare programs, and promise nothing to a user.
//
// In an open loop arrivals come at random (a Poisson process) at a rate, whatever the cluster does, and each is for one node. One that finds all connections
// to its node busy waits, and its latency counts from when it was to be sent. What was not sent at the end of the window counts as failed.
//
// # Invariants
//
//  1. Every operation that begins in the window is counted once, under its kind: as succeeded, not found, or failed for a reason.
//     (TestEveryOperationIsCounted, TestOpenLoopCountsFromTheArrival)
//  2. An open loop's latency begins at the intended arrival, and a node that stalls is asked as often as the others. (TestOpenLoopCountsFromTheArrival,
//     TestOpenLoopDoesNotAvoidANode)
//  3. Nothing waits without a bound: an answer has its time, a target that is gone is tried again after a pause, the end of ctx ends
//     everything at once. (TestHostileTargets, TestNodeDiesMidway, TestEndOfContext)
//  4. Memory does not grow with the length of a run, but for one line a second. Reasons of failures are bounded. (TestReasonsAreBounded)
//  5. The load's own CPU is at most three times that of wrk for the same requests: docs/decisions/0010.
package load
