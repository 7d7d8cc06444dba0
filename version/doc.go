// Package version holds the causal types of Quorate: dots, vectors (sets of dots), stamps, versions, records, tokens, and the one
// binary codec for them. Everything is a value and every function is pure; the stamp clock (HLC) alone has state, and takes the
// time as an argument. The package knows no bucket, no partition, no disk and no peer.
//
// # The model
//
// A dot (actor, counter) names one write for ever. Call a set of dots the past of a write if it holds what the write replaces:
// its context and, for an LWW write, all that its coordinator held. A record is a join of writes. To a record, each dot of
// its key is in one of three states:
//
//	unseen      the vector does not cover the dot
//	live        the vector covers it and the version is there
//	superseded  the vector covers it and the version is not there
//
// and a dot only ever moves down that list. Vectors are sets with an exact representation (runs of counters, no approximation),
// as counters run per partition: having seen B:7 of some key says nothing of B:5 of this one.
//
// # Invariants
//
//  1. Merge is commutative, associative, idempotent and pure. Argument: per dot, Merge of full records takes the lower state of
//     the list above, which is a maximum over three ordered values; n and MaxLWW are maxima. That is a join in a product of
//     lattices. Then LWW versions below MaxLWW become superseded. This step is monotone (a larger state has a larger MaxLWW and
//     no fewer superseded dots), only ever moves down, and repeating it changes nothing: a closure. Joining and then closing is
//     associative, as closing before joining changes nothing of what closing afterwards gives. Test: TestMergeLaws.
//  2. A version vanishes in a merge only if the other side's vector covers it or, being LWW, if an LWW version with a higher
//     stamp was merged. Argument: read Merge. Tests: TestMergeLaws, TestReplicasFollowModel.
//  3. A superseded version never comes back. Argument: no function that makes a record takes a dot out of its vector
//     (PutToken does, and makes a token), so the state of a dot never moves up. Test: TestReplicasFollowModel.
//  4. Vectors are causally closed: who covers a write's dot covers the write's past. Argument: a dot enters a vector together
//     with the context of its write; contexts are tokens; a ReadToken is a whole vector; a PutToken lacks only live dots, and a
//     live dot is in the past of nothing that its record covers, or it would be superseded. A clock receives a dot with its
//     record. Therefore a token demands (Seen) only the tips. Tests: TestReplicasFollowModel, TestSessionSeesItsPast.
//  5. A PUT's token covers no live version that the request did not cover, own write excepted. So a client cannot replace a
//     sibling that it never saw by using the token of its own PUT. Tests: TestReplicasFollowModel, TestPutTokenHidesSiblings.
//  6. A client that uses the token of its last answer has at most one live version in any record, so siblings are bounded by
//     clients and never by writes. Argument: its token covers its own dot (5), so its next write does. Test: TestNoSiblingExplosion.
//  7. Stamps never invert causality: a write's stamp exceeds that of everything in its past. Argument: a token's Stamp and a
//     record's MaxStamp are no lower than any stamp that they cover, because the stamp of what superseded a version is higher, by
//     induction, and MaxLWW outlives versions; the coordinator passes both to HLC.Next, and Supersede refuses a stamp that is not
//     above the record's. Tests: TestReplicasFollowModel, TestHLC*.
//  8. Fill(Strip(r, c), d) = Fill(r, d) for every clock d whose bases are no lower than c's, whatever detached dots came
//     or were forgotten. Argument: Strip takes out only dots up to a base of c. Test: TestStripFill.
//  9. No version changes its dot. A write that raises n leaves nothing of the lower n alive in a record whose holder took it
//     through Supersede or asked CheckRaise. Tests: TestReplicasFollowModel, TestSupersedeRefuses.
//  10. A value has one encoding, and Encode(Decode(b)) = b for every b that decodes. Decoders never panic and allocate at most a
//     small multiple of their input. Argument: intervals are written as gaps, so normal form has one spelling; integers have
//     their shortest form; MaxLWW is written only where no LWW version implies it. Tests: Fuzz*, TestGoldenVectors.
//
// # What callers must keep
//
// Only full records are merged. A clock of a replica set holds a dot only after the record that came with it was merged and
// stored, and never holds the dot of a write that Supersede has yet to make. Dots are never used twice. Supersede, Fill and
// Strip are called under the lock of the replica set. A record that spans several n is filled with, and stripped by, the clocks
// of the same replica sets together.
package version
