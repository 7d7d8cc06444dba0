// Package staleness measures how stale the reads of a cluster are, and what becomes of its writes, while a part of it is cut off. It talks to the
// nodes over HTTP alone, and judges what it saw with package history.
//
// Each node has one client, which writes its share of the probe keys and reads all of them, always through that node. Operations arrive in an open loop:
// when each is due is drawn before anything runs, and no arrival waits for an answer. So a cluster that stalls is asked as often as one that does not,
// and times count from when an operation was due (no coordinated omission). All quorums are measured at the same time, under the same cut, on keys of their own.
//
// # Invariants
//
//  1. Every arrival is in the log: one that meets the bound of requests under way is recorded as failed. (TestBoundIsUnavailability)
//  2. Faults that were set are removed, however the run ends. (TestHealsWhenInterrupted)
//  3. What is reported follows from the log alone. (TestSaved, e2e TestStalenessUnderIsolation)
//  4. A node that answers old values, or acknowledges what it does not keep, is found out. (TestLiarsAreExposed, e2e TestStalenessExposesLiars)
package staleness
