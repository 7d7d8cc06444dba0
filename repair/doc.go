// Package repair brings owners that lack something up to date: a read that found owners to be stale hands the merged record to a Queue (read
// repair), and an Exchanger compares clocks with every co-owner and fetches, from the others' logs, what this node has missed (log exchange).
//
// Nothing is ever decided here about which version wins: the merge of package version does that, at the receiver, as for any write. The package
// does not know clients, and who owns what comes in as a layout.
//
// # Read repair
//
//  1. A repair only ever adds knowledge: what is sent is a merge of what owners answered, in full form, so the receiver
//     may merge it in any order and any number of times.
//  2. A record is sent only with all its values.
//  3. The queue is bounded in records, in bytes of values and in workers. At the bound a repair is dropped and counted: the next read of
//     the key finds it again. Requests never wait for a repair.
//
// # Log exchange
//
// X catches up from Y. Each side does its own catching up; nobody is pushed to.
//
//	X                                                    Y
//	 | compare: layout, per shared partition a clock hash |
//	 |--------------------------------------------------->| fence; synced clocks
//	 |       the clocks of the partitions that differ     |
//	 |<---------------------------------------------------|
//	 |  (a moment: what was in flight arrives by itself)  |
//	 | open: layout, partition, X's synced clock          |
//	 |--------------------------------------------------->| one synced snapshot: data, log, clock
//	 |    the snapshot's clock, first page of records     |
//	 |<---------------------------------------------------|
//	 | merge, sync; page: cursor                          |
//	 |--------------------------------------------------->| log entries that X's clock lacks, in log order
//	 |              … records, last page                  |
//	 |<---------------------------------------------------|
//	 | merge, sync; adopt the snapshot's clock, one batch |
//
// One exchange covers all n that both own in a partition: those above both ranks in its order.
//
//  4. Adopting Y's clock C claims: of each dot in C this node holds the version, or something that supersedes it. That is so if, and only if, every
//     version that is live in a state of Y whose clock is C has been merged here, or its dot was covered here before. Argument: a dot of C that is not live
//     in that state was superseded at Y; what superseded it is live there, or superseded in turn, and so on to something live, which has
//     come, or whose dot was covered here, and whose record covers the dot (vectors are causally closed: package version, 4) or beats its stamp
//     (stamps never invert causality, so in an lww key the highest beats the whole chain).
//     So a merge that later drops the live copy of such a dot elsewhere loses nothing.
//  5. All pages of an exchange show one synced snapshot of Y. A page read later than the clock could miss a dot that was live when the clock was
//     read and overwritten before its page: the clock would cover a dot of which this node saw neither the version nor its successor, and a merge
//     would then drop the last live copy, or a read with r = 1 be told that it is superseded by nothing. And what Y's disk could still forget is shown to nobody.
//     TestSnapshotIsOneMoment and TestExchangeHistories (store).
//  6. The clock is adopted at the very end, in one batch, after every merged record is on this node's disk, and never as part of what
//     arrived: a prefix of a log is not a prefix of what Y has seen. What this node says it knows at the opening is its synced clock; so a failure of its
//     disk in between, which opens the store anew without an unsynced suffix, cannot make it skip what it then lacks, and an error of any sync ends the
//     exchange before the adoption. TestAdoptCrashes (store), TestExchangeStopsAtAFailure.
//  7. A clock is adopted only from an owner that says, in the answer, that it is not gaining. A gaining owner has not yet earned what its place is
//     believed to know; its records are taken, its clock is not.
//  8. Either side may crash at any point. X's merges are ordinary writes, and without the adoption its clock says no more than they do: it starts
//     again, and is not sent what they brought. Y's sessions are gone with its process; a session that it does not know, has forgotten (idle, or one
//     too many) or whose store was reopened makes X start again with a new snapshot.
//  9. Fence. A request under another layout is refused. Before Y answers the first request under a layout, it has recorded that layout's table and
//     every store operation that was let in under an older one has ended. So a write that Y acknowledged under a layout without X is in the snapshot,
//     and one that it acknowledges afterwards was also sent to X, as to every owner.
//  10. A namesake with an empty disk (gaining) says that it is synced only after a whole round, begun under a layout that contains it, with every other member
//     that shares a replica set with it, the gaining ones included: any of them may hold an acknowledged write that no other surviving owner does. (9) makes that enough:
//     of each write that was acknowledged by an owner whose disk still exists it then has the version or a successor. If one of them is down it waits,
//     and status says for whom. Should all owners have lost their disks, each does the same with all others.
//  11. A round is complete for a partition if its clock covers Y's, as compared, or an exchange has ended. In-flight writes are not differences: what a
//     comparison showed is looked at again, after Config.Settle, before anything is opened.
//  12. Bounds: one round per peer and Config.Concurrent in all; Y keeps Config.Sessions snapshots, each for Config.Idle, one per peer; a page has
//     Config.Page bytes or one record; a comparison has as many entries as there are partitions. Converged and idle, a pair exchanges one comparison a cycle.
//  13. Pace. The bytes a second that X fetches are a closed loop on the latency of client requests at both nodes (pace.go); without such requests there is no limit.
//
// What clocks cannot show: a record's n, or its highest stamp, that no live version carries any more; and, in a key that was written both as lww and
// as siblings, a sibling that was replaced by an lww version which then lost by its stamp: the winner's record need not cover it. Replicas that
// differ in no more than that have equal clocks. Read repair levels them.
package repair
