// Package fleet is a cluster seen from outside, for programs that measure one: real processes of this binary that it starts on free loopback
// ports and stops again, or nodes that run already and are named by their addresses.
//
// It knows nodes by their HTTP API only: who they are (/cluster), the faults between them (/faults), and what they use (/metrics, or the
// operating system for processes of its own). It sends no load.
//
// # Invariants
//
//  1. No process that Start started outlives Close, and on Linux none outlives this process, however that ends. (TestStartedNodesEnd,
//     TestStartThatFailsLeavesNothing; internal/child TestChildDiesWithItsParent)
//  2. A temporary directory goes at Close. If something failed, the logs stay, and Close says where. (TestLogsAreKeptOnFailure)
//  3. Nodes of one Fleet are distinct members of one cluster. (TestDialRefuses)
//  4. Nothing waits without a bound: not for readiness, not for an answer of a target, not for an end.
package fleet
