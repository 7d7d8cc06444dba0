// Package coordinator runs client requests over the replicas of their keys, and serves other coordinators as a replica.
//
// It decides nothing by itself: which layouts count and who owns a key in them is the matter of ring/layouts, when enough have answered is quorum's, what a
// record becomes is version's. What is left is moving messages and naming failures truthfully. A request is one
// fan-out: every owner is asked at once, each answer is noted under one lock by a callback that never blocks, and the
// goroutine of the request waits for the tally, once: a write's own sync is a callback of the store that sends the record
// on, and the answer that decides wakes the request. Answers that come after the client's still count: for the figures of
// who is behind, and for read repair.
//
// A replica's write has no goroutine that waits either: the handler merges, and the store's callback answers after the
// sync. The store tells of syncs in the order of its log from one goroutine of its own, where a merge that is held up by the disk
// (a flush that does not keep up) cannot run: so acks go out, and come in, while merges wait, and no two nodes can wait for each
// other.
//
// # Life of a write
//
//	client ── PUT ─▶ any node ── owner in no live layout: forward ─▶ an owner
//	                                                        │ record + new version, new dot, new stamp (store.Update)
//	                                                        │ sync
//	                                                        ├── whole record ─▶ owner 2 ── merge, sync ── ack
//	                                                        ├── whole record ─▶ owner 3 ── merge, sync ── ack
//	                                                        ▼
//	              w acks in each live layout: answer.  w out of reach in one, or time up: 504, outcome indeterminate
//
// If among the w acks one reports a higher lww stamp or a larger n than the write's, the write is made again above what
// they reported, as a new version that covers the first, and only acks of that one count. Once is enough for stamps:
// every write that was acknowledged before this one began, with w + w > n, has an owner in common with those w acks, so
// what still beats the second version runs at the same time.
//
// # Layouts
//
// Every request runs under one view (ring/layouts) and carries its digest. It numbers the nodes that it deals with once (roster): the owners in all layouts that count for it,
// those of the maximal whole ones first, then the fallbacks. An answer counts in each layout in which its sender owns the key; needed and got are those of the layout that
// lacks most, and w and r in results are the largest number that a layout asked for. While one layout is live, which is nearly always, the roster is its placement's own.
//
//	write, read that writes back   asks the owners in every live layout
//	any other read                 asks the owners in the maximal whole ones
//
// A replica whose view is another one refuses and says what it knows. The coordinator merges that, tells what it knows more, pauses, and begins a new round under the view
// that comes of it: with new owners, a new tally, and for a write the same version and dot. Its own copy is made sure of again first: the set may have been
// dropped here meanwhile. A round that had its answers nevertheless has them: they were given under its view.
//
//	                    refused by a view             the view is another one, or not
//	round under view V ─────────────────▶ merge, pause ──────────────▶ round under the view in force, nothing counted yet
//	      │ enough in each group                                            until the deadline
//	      ▼
//	    answer
//
// When sides of a split that both changed meet, a key may for a while have owners in more layouts than a tally takes. Then writes, and reads that write back, are refused
// before anything is written; so are others if as many are maximal whole.
//
// A node of this node's own zone is asked for values, and handed writes, before others that are not twice as near by recent answers.
//
// # Fallbacks
//
// In sloppy mode the nodes behind the owners in the key's order of preference stand in (standby, quorum.StandIns):
//
//	owner known to be down ────────────────┐
//	owner or stand-in failed, or is full ──┼──▶ the first fallback not asked yet is asked, in the same owner's place
//	owner or stand-in silent for patience ─┘      write: keeps the record for that owner (HandOffs), acks after its sync
//	                                              read:  says what it keeps of the key
//
// A write that no owner takes on is coordinated by a fallback, under an actor of its own, and kept by it for every owner. From there on it is a write like
// any other: to the owners, and to further fallbacks in the places that are left. Delivery to the owners is package repair's.
//
// # Life of a read
//
// All owners in the maximal whole layouts are asked at once. One of them is asked for its value whatever its size: this node's own copy, or else the nearest owner's by recent
// answers (pace.go); the others leave out values above Config.Inline. Once r synced owners have answered the replies are merged.
//
//	a value was left out   it comes from the nearest owner, or if that is later than its recent p99 for such a value, from another as well: a hedge. One that
//	                       failed, or does not hold the value, is followed by the next holder at once (pursuit).
//	it writes back         a read with a context, or with r=all, waits until r owners in each live layout hold what it answers.
//	the answer leaves
//	the rest comes in      until the deadline. Who lacks something goes to read repair: at the last reply, or settleGrace after the answer, and from then on
//	                       reply by reply. A read that failed does the same; one that goes on in another round leaves it to that.
//
// # Reads that write back
//
// A read with a context, or with r=all (the word, or a number as large as the owners are many), is answered only when r owners in each live layout (all of them, where there
// are fewer) hold, on their disks, what it answers: they said so, or have confirmed the repair. Those that replied without it are sent it at once, those that have not replied count when they do. If r
// is out of reach, or the time is up, the answer is 504 with what became of each repair; never the value with a promise that is not kept. repair=false waits for
// nothing, promises nothing, and repairs nothing.
//
// What that makes true: after such a read every read with r' > n - r, begun later, meets an owner that holds the answer, or what superseded it. (The write-back
// of Attiya, Bar-Noy and Dolev, J. ACM 1995, without which quorum reads are regular and not atomic.) With r=all that is every read, through any node, with r=1
// too. Why in each live layout: the later read may run in one that is not whole yet, because it becomes so in between, and its owners have fetched what was
// acknowledged, which this answer need not have been. Held by r owners in every live layout of one view, each of whom said so under it, the answer is where a
// write with w = r would be that was acknowledged under that view. So what invariants 8 and 9 of ring/layouts say of such writes they say of this answer: owners of layouts made later
// fetch it, and every later read with r' > n - r meets it in whatever layout it reads. In the maximal whole layouts alone it would be lost to owners of the next one that had
// exchanged with its holders before they held it. The owners that count for w only hold it like others: r is resolved against all of them, and so is r'.
//
// With a context and r=2 of 3 it is every quorum read, of any client, so what one client was shown is not taken back from another. With a context and r=1 it is one owner in
// each layout, that is no more than the context demands; and while one layout is live the owners that it needs are no more than the reply did: a session costs no availability.
// That later reads with the new context are never answered with less is the context's doing (7), not this.
//
// # Read repair
//
// An owner lacks something of a record if merging the record there would change what is kept: a version is missing or superseded, n or the highest stamp are
// higher, or the read's context demands a dot that it has not seen. Vectors are not compared beyond that: they tell of other keys too, no two owners have the
// same, and what differs in them alone is no difference to a reader; log exchange levels it. So who agrees is never repaired, and a second read after a repair
// repairs nothing.
//
// The queue looks at the owner once more before it sends: what was on its way to it when it answered the read, has arrived by then, as a rule. It then sends the
// whole record, but of the versions that the owner has just said it holds the values stay at home: should it hold one no longer, the merge there would leave a
// version without its value, and its store refuses that as a whole (store.ErrElided).
//
// # Invariants
//
//  1. The coordinator's own copy is on disk before the first message about it leaves the node, and a replica answers
//     after its own sync. So nobody has seen what a crash can undo.
//
//  2. A write is answered with success only after w distinct owners in each live layout of one view have it on disk, and said so under that view. Each
//     owner has one slot, whatever layouts it owns in, and each slot acks at most once. (TestVerdictsAgainstOracle, TestScenarios: layouts, layouts-few)
//
//  3. not_written is answered only if no version was made, here or at any node the request was handed to. Everything
//     else that is not success is indeterminate. A request is handed on after a failure only if the one before certainly
//     did nothing: refused, or never sent. A key with owners in more layouts than a tally takes is refused before a version is made. (TestScenarios: layouts-split)
//
//  4. One client write leaves at most one version alive. A version that it has to make anew covers the one before, and a
//     retry under another view sends the same dot. (TestCoordinatorLosesItsPlace, TestScenarios: layouts-change)
//
//  5. A read counts r owners in each maximal whole layout, and of them only those that have lost nothing since it was whole; who only gains the set is not asked. It answers
//     with the merge of all that was replied; never with an older value because the newer one could not be fetched. "Not found" of an owner that counts is a reply like any
//     other; a node that owns the set and does not hold it yet says of its own copy that it does not know (local=true). (TestRosterNumbers, TestScenarios: gaining, layouts, layouts-few)
//
//  6. With r + w > n, a read that began after a write was acknowledged has met one of its w owners, or an owner that has fetched from them, whatever changes of layout lie between
//     the two; so its merge holds the version, or one that covers it or beats its stamp. That is invariant 9 of ring/layouts; what it asks of requests is 2, 5 and 8 here.
//     (TestReadsSeeWritesThroughChanges; the simulator)
//
//  7. A larger n in any reply starts the request over the owners of that n.
//
//  8. Every request under a view that differs from the receiver's is refused, in either direction of age. Each round counts answers to itself alone, so all that a request counts
//     were given under one view, this node's own copy included; a round that is not met when it is refused is left. (TestLateRepliesCountForTheirRoundOnly,
//     TestOwnCopyIsMadeSureOf, TestScenarios: layouts-change)
//
//  9. Waits are bounded by the request's deadline; what is remembered of missed writes, by Config.MaxMissed per owner; reads that wait for this node's own disk, by Config.MaxOwnReads; hedges, by hedgeBurst and one in hedgeShare
//     reads of large values. Callbacks of the transport and of the store never block.
//
// 10. Input of peers is decoded with bounds, the partition is computed anew, and what does not decode is refused.
//
// 11. Every reply that arrives by the deadline is compared with the answer, and whoever lacks something is repaired, once for each state that it lacks; except
// with repair=false, and where the queue is full. (TestScenarios: repair, causes; TestRepairLooksAgain)
//
// 12. A read that writes back is answered with a value only if r owners hold it in each live layout, or all where there are fewer. A sloppy read writes nothing back.
// (TestScenarios: writeback, layouts-context, layouts-few)
//
// 13. A slow replica is not a dead one: being late, or in another zone, changes who is asked for values or handed a write first, and nothing else.
// (TestLateValueIsHedged, TestHedgesAreBounded, TestOwnZoneFirst)
//
// 14. A strict request asks no fallback and counts none (TestStrictRequestsKeepToOwners); but a read whose context is not satisfied by all owners that answer
// asks them before it says so, and counts none of them.
//
// 15. Each fallback that counts in a write owns the key in no live layout, has it on its disk for an owner that did not acknowledge, and stands in for nobody else there:
// ServeStand refuses what would put a key twice on one disk. (TestStandRefuses, TestScenarios: layouts-sloppy)
//
// 16. That a key is absent is never answered because fallbacks hold nothing of it (quorum.ReadTally.OfAbsence). A read waits for everybody it asked, and looks at every fallback that is up, before it
// gives up for that. (TestScenarios: sloppy, sloppy-late)
//
// 17. A fallback coordinates only what owners certainly did not take on: they said no hello, or refused. It is itself handed a write by another node only then,
// and hands it to nobody (one hop). One that owns in no whole layout yet, or has lost something since, never does; a joining one is in nobody's order.
//
// 18. A sloppy request asks each fallback at most once a round, and waits for a silent node at most maxPatience. (TestPatienceForSilentNodes, TestSilentOwnersCostAMoment)
package coordinator
