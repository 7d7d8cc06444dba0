// Package history is the measuring core of the tools that judge a cluster from outside: the operations that clients did, on one monotonic clock,
// and what is to be said of them. It decides and never acts: the times come with the operations, real or virtual, and nothing here knows HTTP.
//
// An operation (Op) is a put, a delete or a get of one key by one client. Every write attempt has an identity of its own, (client, sequence number), which
// is what its value carries, so that a read tells whose write it returned. The log of a run is a Log, and NDJSON outside.
//
// # What may be concluded
//
// Only the order that clients could observe counts: A came before B if A ended before B was sent. When a write ended is
//
//   - for one that was acknowledged, or refused: when the answer came;
//   - for one of unknown outcome: when the first read that returned it had its answer; never, if none did. It may still take effect tomorrow.
//
// A read is stale if a write was acknowledged before the read was sent, and everything that the read returned had ended before that write was sent. So writes
// that ran at the same time may win in either order, and no verdict rests on the clocks of the nodes. The values are of registers in which the last
// write wins: of several concurrent values a read is as fresh as the freshest.
//
// # Invariants
//
//  1. A verdict depends on the operations alone, not on their order in the slice. (TestJudgeAgainstOracle)
//  2. A write that was not acknowledged is never missed, and one that was, only by reads sent after the acknowledgement. (TestJudgeAgainstOracle, testdata/judge)
//  3. A failed read is neither fresh nor stale, and is counted. (TestRowsAddUp)
//  4. Every write attempt has exactly one fate. (TestRowsAddUp)
//  5. What Encode writes, Decode reads back as it was; Decode takes nothing else, and never panics. (FuzzDecode)
package history
