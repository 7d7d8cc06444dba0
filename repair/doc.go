// Package repair brings owners that lack something up to date: a read that found owners to be stale hands their repair to a Queue (read
// repair), an Exchanger compares clocks with every co-owner and fetches, from the others' logs, what this node has missed (log exchange), and a Deliverer
// hands over what this node keeps for owners that it stood in for (hand-offs).
//
// Nothing is ever decided here about which version wins: the merge of package version does that, at the receiver, as for any write. The package
// does not know clients, and who owns what comes in as a view of the live layouts (package layouts, whose rules it carries out: an owner of the newest layout reports what it
// has fetched, a former owner shows what it holds and drops it).
//
// # Read repair
//
//  1. A repair only ever adds knowledge: what is sent is a merge of what owners answered, in full form, so the receiver
//     may merge it in any order and any number of times.
//  2. No version is ever stored without its value. A record is sent with all values but those of versions that the receiver has just said it holds, and a merge that would
//     leave one without its value is refused there as a whole (store.ErrElided).
//  3. The queue is bounded in repairs, in bytes of values and in workers. At the bound a repair is dropped and counted: the next read of
//     the key finds it again. Requests never wait for the queue: repairs that a read awaits go past it, at most one for each owner of its key.
//
// What is sent to whom, and when a read awaits it, is decided in package coordinator (its doc.go).
//
// # Log exchange
//
// X catches up from Y. Each side does its own catching up; nobody is pushed to.
//
//	X                                                    Y
//	 | compare: digest, one hash of all shared clocks     |
//	 |--------------------------------------------------->| fence; synced clocks
//	 |               equal: that was it; or they differ   |
//	 |<---------------------------------------------------|
//	 | compare: a hash of the clock per partition         |
//	 |--------------------------------------------------->|
//	 |                        the partitions that differ  |
//	 |<---------------------------------------------------|
//	 | open: these, hashes of their clocks' columns       |
//	 |--------------------------------------------------->|
//	 |            what of Y's clocks differs from X's,    |
//	 |            and of which partitions Y holds all     |
//	 |<---------------------------------------------------|
//	 |  (a moment: what was in flight arrives by itself)  |
//	 | open, hold: partitions that lack some 1,000        |
//	 | versions, hashes of what Y's clocks are taken for  |
//	 |--------------------------------------------------->| one synced snapshot: data, logs, clocks
//	 |     the session; what of the snapshot's clocks     |
//	 |     is otherwise                                   |
//	 |<---------------------------------------------------|
//	 | page: what is wanted, what X has of it             |
//	 |--------------------------------------------------->| log entries that X's clocks lack, in log order
//	 |            … records, cursor                       |
//	 |<---------------------------------------------------|
//	 | merge, sync; adopt the clocks of the partitions    |
//	 | that are finished, each in one batch; page: cursor |
//	 |--------------------------------------------------->|
//	 |              … records, last page                  |
//	 |<---------------------------------------------------|
//	 | merge, sync; adopt the others                      |
//
// One exchange covers all n that both own in a partition, each in some live layout: those from the larger of both least n on (View.Least).
//
//  4. Adopting Y's clock C of a partition claims: of each dot in C this node holds the version, or something that supersedes it. That is so if, and only
//     if, every version that is live in a state of Y whose clock is C has been merged here, or its dot was covered here before. Argument: a dot of C that is
//     not live in that state was superseded at Y; what superseded it is live there, or superseded in turn, and so on to something live, which has
//     come, or whose dot was covered here, and whose record covers the dot (vectors are causally closed: package version, 4) or beats its stamp
//     (stamps never invert causality, so in an lww key the highest beats the whole chain).
//     So a merge that later drops the live copy of such a dot elsewhere loses nothing.
//
//  5. All pages of an exchange show one synced snapshot of Y. A page read later than the clock could miss a dot that was live when the clock was
//     read and overwritten before its page: the clock would cover a dot of which this node saw neither the version nor its successor, and a merge
//     would then drop the last live copy, or a read with r = 1 be told that it is superseded by nothing. And what Y's disk could still forget is shown to nobody.
//     TestSnapshotIsOneMoment and TestExchangeHistories (store).
//
//  6. A clock is adopted after the last record of its partition, in one batch, after every merged record is on this node's disk, and never as part of what
//     arrived: a prefix of a log is not a prefix of what Y has seen. What this node says it has, with the first page, is of its synced clock; so a failure of its
//     disk in between, which opens the store anew without an unsynced suffix, cannot make it skip what it then lacks, and an error of any sync ends the
//     exchange before the adoption. TestAdoptCrashes (store), TestExchangeStopsAtAFailure.
//
//  7. A clock of a partition is adopted only from an owner that holds it (View.Holds, for the least n that is shared and so for all), by this node's view and by the
//     owner's own word; of others the records are taken, the clock is not. And only who must meet such an owner before its own report fetches from it, once.
//     Records are merged and clocks adopted behind the door, under the digest that the exchange began with. So nothing is adopted for a set that was dropped in
//     between: digests do not come back, and a drop needs another one, past its fence (27). TestGainingClockIsNotAdopted, TestRegained.
//
//  8. Either side may crash at any point. X's merges are ordinary writes, and without the adoption its clock says no more than they do: it starts
//     again, and is not sent what they brought; partitions that were finished stay so. Y's sessions are gone with its process; a session that it does not know,
//     has forgotten (idle, or one too many) or whose store was reopened makes X start again with a new snapshot.
//
//  9. Fence. A request under another view is refused, by its digest; what both know is merged, and the next round is of the same view. Before Y answers the first
//     request under a view, it has recorded what the view is of and every store operation that was let in under an older one has ended. So a write that Y
//     acknowledged under a view without X is in the snapshot, and one that it acknowledges afterwards was also sent to X, as to every owner.
//
//  10. Who must fetch before it may report, and from whom, is the layouts' word (View.Gaining, Peers, MaySync): see Reports. If one of them is down it waits, and Progress
//     says for whom. Should all owners have lost their disks, each meets those that the older layouts name, also those that have not reported.
//     TestNamesakeWaitsForEverybody, TestAllGaining.
//
//  11. A round is complete for a partition if X's clock covers Y's, as compared, or an exchange has ended. In-flight writes are not differences: what a
//     comparison showed is looked at again, after Config.Settle, before anything is opened. What one round fetches no other does at the same time: it is claimed, and the
//     second round looks again afterwards. So a joiner fetches each record about once. TestJoin, TestFetchesFromTwoAtOnce (at most 1.1 times).
//     A record that X's store refuses by itself, because it is too large with what X has, or X's is damaged, keeps nothing else back: the clock of its partition is not
//     adopted, the round is not complete, and it is tried again at longer intervals. TestExchangeTooLarge.
//
//  12. Bounds: one round per peer and Config.Concurrent in all; Y keeps Config.Sessions snapshots, each for Config.Idle, one per peer; a page has
//     Config.Page bytes or one record; a comparison has as many entries as there are partitions, an open as many clocks. Converged and idle, a pair
//     exchanges one hash a cycle.
//
//  13. Pace. The bytes a second that X fetches are a closed loop on the latency of client requests at both nodes, and begin at a floor (pace.go);
//     without such requests there is no limit after two seconds.
//
//  14. What X takes for Y's clock is Y's clock: what differs is sent, and what is equal is known by hashes of 8 bytes, of columns of the table of clocks
//     (columns.go), on which alone an adoption rests. Records are sent stripped by the snapshot's clock and filled by it at X, to what they were at Y
//     (package version, 8). In a partition's row X says which of Y's dots it has: per actor of which it lacks some, its own entry. TestColumnsFollowClocks.
//     Only the hash by which partitions are picked is shorter, 3 bytes: a difference that it hides comes to light a cycle later, with another salt. A node
//     whose report rests on one comparison compares 8.
//
// Which partitions an owner that was away has missed writes of, a coordinator need not remember for this: when the owner answers again, a
// comparison begins at once on either side, and names them all.
//
// # Reports
//
// An owner of the top layout reports partitions synced, in which it holds all that the layout gives it (Membership.Synced).
//
//	heard of the layout ──▶ rounds with all at once: fetches, but nothing counts
//	                              │ the fence falls: all members of older layouts have recorded it
//	                              ▼
//	                        rounds with all at once, those that reports wait for first
//	                              │ for each partition and peer: nothing lacking, or clock adopted, or all records merged ──▶ ledger
//	                              ▼
//	                        the last peer of a partition ──▶ reported, with what else is due, each second and at the end of each round
//
// Until then the node serves in the older layouts that it owns sets in.
//
//  22. An exchange counts for a partition if it was begun, by its comparison or its opening, under a view with this top layout and nobody left in its fence (View.Fence). Y's answers
//     are under the same digest, hence the same layouts, and after the fence whatever Y knows of it. So of each write that an operation under a view
//     without the layout brought to Y's disk, X has the version or a successor when the exchange is complete. TestLedger. Mutation skip-the-fence.
//  23. Complete is what shows that nothing of Y is lacking here: X's synced clock covers what Y told of its own (argument 4; by hashes only if they have 8 bytes), or all records of Y's
//     snapshot that X's clock lacks are merged and on X's disk. A clock may have forgotten dots of live versions (Vector.Limit). So where X has still to report, Y tells in a comparison,
//     of each actor of which its clock forgot some, all dots up to the highest of them (store.SyncedBound): who covers these lacks nothing that is live at Y. Who does not asks Y's log, which
//     has an entry for each live version, even if it covers the snapshot's clock; and that clock alone is adopted. Y knows by its own view that X has still to report: the digests are the
//     same, and nobody knows of more reports of X than X does. Nothing waits for Y's clock, which may never be whole again: the exchange counts. TestReportsNothingThatAClockForgot. While X
//     waits for others before it reports, it opens an exchange with such a Y each cycle in vain: what Y tells is never covered. That Y's clock is adopted is not asked for: it is not if Y does not hold the partition itself. A refused record makes
//     the partition incomplete. What is complete counts at once: a round that fails later takes nothing back. TestAllGaining, TestJoinCrashes.
//  24. The ledger is of one top layout. It begins anew when the top is another one, and when a layout is live that was not known when it began: what was exchanged then
//     may have passed by writes under that. It is kept in memory; reports are on the disk before others hear of them, and after a crash everything else is compared
//     again. TestLedger, TestJoinCrashes.
//  25. What there is nothing to fetch for is reported in one batch as soon as the layout is seen. Rounds begin at once when the digest changes, and when the fence falls. TestJoin.
//
// # Show and drop
//
// F holds sets (p, n) that no live layout gives it. It shows them to their owners and drops them. The least n that it owns bounds them: all n below it go, or all.
//
//	F                                                    R, a receiver (View.Receivers)
//	 | show: digest, F's clocks of these sets             |
//	 |--------------------------------------------------->| fence; R's synced clocks
//	 |              of which partitions R has all         |
//	 |<---------------------------------------------------|
//	 |          open (former), pages: as log exchange, without adoption, for what R lacks
//	 |<---------------------------------------------------|
//	 | show, again                                        |
//	 |--------------------------------------------------->|
//	 |   … all receivers have all: alone with the view, F drops
//
// Any of it may be said again at any time.
//
//  26. A set is dropped only when every receiver has said, under the present digest, that it has all of F's clock: by its own clock, or because it has fetched all that F
//     has, up to that clock, under this digest. F's clock is taken after F's fence, when no operation can add to the set any more. Whoever cannot take a record never says so,
//     and the drop waits; so it does for a receiver that is down, not for one that is lost. An F that is down keeps what it has, and nobody waits for it.
//     F's clock is told with the dots of live versions that it forgot (Vector.Limit), to the receiver's look and as what the exchange is of. TestShowBeforeDrop,
//     TestShowsWhatTheClockForgot, TestLeave. Mutation drop-before-exchange.
//  27. Decided and dropped under one view: Door.Alone holds off another view until the drop is on the disk, and under this one nobody writes to the set. A clock that has
//     grown since it was shown, what it has forgotten included, stops the drop. So what is regained under a newer view cannot be dropped for an older one's sake; it is dropped before, wholly, and fetched anew: the
//     clock goes with the data. Enter would not do: under the newer view writes may be let in while the older one's last operation still runs.
//     TestDropUnderAnotherView, TestRegained, TestDropsNothingThatAClockForgot.
//  28. What rests on a record that was here outlives no drop. Exchanges end with their digest (7); what was fetched of a former owner is forgotten with it; and of a partition of which
//     something was dropped since this process began, no dots of fallbacks are adopted (17): what this node confirmed to the fallback may be gone. TestDropUnderAnotherView.
//  29. Hand-offs stay: they are the Deliverer's, and go to the owners of the live layouts. A member that leaves may go when Dropped says so and Deliverer.Kept is 0.
//  30. Bounds: one message of some 4,096 entries of clocks to one receiver at a time; R fetches from one former owner at a time, with the claims, batches and pace of log exchange; F
//     looks once for each digest, and every Config.Retry while something is left; every 60 of them if what it has to read for that is damaged. TestDamageIsNotTriedAtOnce.
//
// # Hand-offs
//
// A fallback F that stood in for owners keeps what it took for them (package store, 10 to 13), and its Deliverer hands it over. F pushes: an owner does not
// know who stood in for it.
//
//	F                                                    T, an owner
//	 | hand-off: digest, partition, records               |
//	 |--------------------------------------------------->| merge, sync
//	 |   the opening of its store; what it refuses        |
//	 |<---------------------------------------------------|
//	 | forget T as a target of what has not changed       |
//	 |     … when F keeps nothing for T in the partition  |
//	 | settle: dots of F's fallback actors, the opening   |
//	 |--------------------------------------------------->| if it still is that: adopt, sync
//	 |   whether it is                                    |
//	 |<---------------------------------------------------|
//	 | forget these dots                                  |
//
// Any of it may be sent again at any time.
//
//  15. A target is forgotten only after it has confirmed, from its disk, the very record that is forgotten; if more has come to it meanwhile, under the store's
//     lock, it stays. So at any moment, and after a crash of either side at any point, every write that F acknowledged in the place of T is on F's disk
//     with T among its targets, or on T's disk, or T's place was lost to another incarnation. A hand-off that is sent twice is merged twice: that changes nothing.
//     TestHandOffs, TestHandOffCrashes; store TestDelivery. Mutation forget-hand-off-before-confirmation.
//  16. T is served as long as it is an owner of the key in some live layout, by the n of its record, and not lost. Otherwise all present owners, those of all live
//     layouts, become targets in its place, in one batch: the one that T's place went to among them, and F itself if it is an owner now, which then hands over to itself.
//     For that T need not answer. TestReplacedTarget, TestDivide, TestOwnersOfAllLayouts.
//  17. T adopts a dot of F's fallback actor only if F made it while this incarnation of T was a target, T has confirmed every hand-off of the partition that F keeps
//     for it, all since the first of these dots under one opening of T's store, which is its present one, T still is an owner for the dot's n, and it has dropped nothing of the partition (28). Argument for (4) in package
//     store's sense: a dot d of key k was put on F's disk in k's hand-off
//     with T as its target; T stays one until it confirms a record of k, and a hand-off's record never forgets: so T has merged a record in which d is live or superseded.
//     T still has it: within one opening, which the actor names that is drawn for it, nothing goes that was synced. At the next one the disk may be an older copy of itself without
//     anybody's notice. F keeps the opening in the batch that forgets the target; T reads it before it merges, and compares it with that of the epoch in which it adopts. If openings
//     differ F forgets the dots: whether anything was lost nobody knows, and a hole in T's clock hides nothing.
//     A namesake in T's place was a target of none of the dots that were made before it, whatever T had confirmed; it learns them from the clocks of the other owners.
//     TestHandOffs, TestReplacedTarget, TestHandOffToARolledBackOwner, TestHandOffSettlesLater; store TestReaddress, TestOwedDotsNameTheOpening.
//  18. F's fallback actors are in the clock of no fallback. What is known of them is in clocks of owners, by records that came and by (17), so that log exchange carries
//     them on as any other's, and clocks have no holes when everything is delivered, but for owners that were opened anew meanwhile: theirs are
//     filled by log exchange with one that was not, or stay. TestHandOffs.
//  19. A delivery is a store operation under a view: T takes it through the same door as a write, and refuses another view; then what both know is merged, and the next
//     errand asks again. So (9) holds for what T confirmed to F. TestHandOffRefusals.
//  20. What T can never take, a record that is too large with what T has, it refuses by itself, and the rest goes on. It is kept, counted, logged, and tried again at
//     longer intervals. A partition that F cannot read keeps no other back. TestHandOffTooLarge; store TestCorruptHandOff.
//  21. Bounds: one errand per owner and DeliverConfig.Concurrent in all, one message of DeliverConfig.Page bytes or one record each; the bytes on the disk are the
//     store's. An owner that does not answer costs nothing but its debts; others are served meanwhile. The pace is that of (13), of one loop with it.
//     Members are told how much F keeps in a cycle while it keeps something, and once when it does no more, or has just started: an idle cluster says nothing.
//
// What clocks cannot show: a live version whose dot this node's clock forgot, because a partition's keeps 1,024 detached intervals (comparisons that reports rest on, 23, and a
// former owner's show, 26, miss none; others do, until another owner's clock brings the dot back or the store is opened anew); a record's n, or its highest stamp, that no live version carries any more; and, in a key that was written both as lww and
// as siblings, a sibling that was replaced by an lww version which then lost by its stamp: the winner's record need not cover it. Replicas that
// differ in no more than that have equal clocks. Read repair levels them.
package repair
