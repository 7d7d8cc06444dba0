// Package coordinator runs client requests over the replicas of their keys, and serves other coordinators as a replica.
//
// It decides nothing by itself: which owners a key has is ring's matter, when enough have answered is quorum's, what a
// record becomes is version's. What is left is moving messages and naming failures truthfully. A request is one
// fan-out: every owner is asked at once, each answer is noted under one lock by a callback that never blocks, and the
// goroutine of the request waits for the tally. Answers that come after the client's still count: for the figures of who
// is behind, and for read repair.
//
// # Life of a write
//
//	client ── PUT ─▶ any node ── not an owner: forward ─▶ an owner
//	                                                        │ record + new version, new dot, new stamp (store.Update)
//	                                                        │ sync
//	                                                        ├── whole record ─▶ owner 2 ── merge, sync ── ack
//	                                                        ├── whole record ─▶ owner 3 ── merge, sync ── ack
//	                                                        ▼
//	                                   w acks: answer.  w out of reach or time up: 504, outcome indeterminate
//
// If among the w acks one reports a higher lww stamp or a larger n than the write's, the write is made again above what
// they reported, as a new version that covers the first, and only acks of that one count. Once is enough for stamps:
// every write that was acknowledged before this one began, with w + w > n, has an owner in common with those w acks, so
// what still beats the second version runs at the same time. A refusal because the member tables differ merges them and sends
// the same version, same dot, to the owners of the newer layout.
//
// # Life of a read
//
// All owners are asked at once. This node's own copy, or the nearest owner's, comes with its value; the others leave
// out values above Config.Inline. Once r synced owners have answered the replies are merged. A value that the merge
// lacks is fetched from the replicas that have it.
//
// # Invariants
//
//  1. The coordinator's own copy is on disk before the first message about it leaves the node, and a replica answers
//     after its own sync. So nobody has seen what a crash can undo.
//  2. A write is answered with success only after w distinct owners under the layout in force have it on disk. Each
//     owner has one slot and each slot acks at most once.
//  3. not_written is answered only if no version was made, here or at any node the request was handed to. Everything
//     else that is not success is indeterminate. A request is handed on after a failure only if the one before certainly
//     did nothing: refused, or never sent.
//  4. One client write leaves at most one version alive. A version that it has to make anew covers the one before, and a
//     retry after a change of layout sends the same dot.
//  5. A read counts only owners that are not gaining, and answers with the merge of all that was replied; never with an
//     older value because the newer one could not be fetched. "Not found" of an owner is a reply like any other.
//  6. With r + w > n under one layout, a read that began after a write was acknowledged has met one of its w owners, so
//     its merge holds the version, or one that covers it or beats its stamp.
//  7. A larger n in any reply starts the request over the owners of that n.
//  8. Every request under a layout that differs from the receiver's is refused, in either direction of age; with the
//     freeze of package cluster no two layouts ever serve.
//  9. Waits are bounded by the request's deadline; what is remembered of missed writes, by Config.MaxMissed per owner.
//     Callbacks of the transport never block.
//
// 10. Input of peers is decoded with bounds, the partition is computed anew, and what does not decode is refused.
package coordinator
