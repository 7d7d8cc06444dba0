// Package quorum decides when a request has had enough answers, when it can no longer get them, and what a finished read must repair. It is pure: the
// coordinator moves the messages and reports what became of them; every decision is here.
//
// A request numbers the nodes that it deals with from 0 to 63 (Set). What they are to the key is given by Groups, one for each layout that counts: a write
// needs w owners in every live layout, a read r synced owners in every maximal whole one. The words "quorum" and "all" are resolved for each
// layout against the owners that exist in it; a number means itself.
//
//	          enough in every group
//	Pending ────────────────────────▶ Met      stays Met: marks are only added, and a good one outweighs a bad one
//	   │ ▲
//	   │ └── Regroup, Stand, a late answer
//	   ▼
//	 Unmet    in some group, fewer places are left than needed
//
// # Invariants
//
//  1. A met write has w acknowledgements from w different nodes in every group, and each of them is an owner or stands in for an owner that has not
//     acknowledged; without stand-ins, from w owners. No node counts twice in a group. (TestTallyAgainstModel)
//  2. A met read and a met write of the same group share a node if r + w exceeds the number of owners and no fallback stood in, also where some owners count
//     for w only: both levels are resolved against all owners. (TestMetReadsSeeMetWrites)
//  3. Unmet means that the answers still possible do not suffice; while they may, the state is not Unmet. (TestTallyAgainstModel, testdata/tally.txt)
//     A read that writes back asks of its answer no more owners than there are. (TestVerdictsAgainstOracle in coordinator, TestWriteBackIsCapped)
//  4. A literal level above the number of owners is Unmet from the start, and never weakened. (testdata/tally.txt)
//  5. Only owners that replied are repaired, each at most once, and none whose reply was the merged record (TestStale), for one cause (TestCauses).
//  6. In strict mode no fallback stands in. In sloppy mode each stands in for one owner of a request at most, and an owner's place is given on to one fallback
//     at a time. (TestStandInsAgainstModel)
//  7. That a key is absent is never concluded from stand-ins that hold nothing of it. (TestAbsenceNeedsOwners)
package quorum
