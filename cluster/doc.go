// Package cluster knows which nodes run and which belong: gossip, liveness, the replicated member table, how a cluster comes to be, and what a node knows of its
// layouts: founding, joining, leaving, removal, replacement. It is the only package that knows memberlist.
//
// Membership is not liveness. memberlist says who answers now; the layouts (package layouts, a lattice) say who owns data; the table (ring.Table, a lattice) has names,
// addresses and who would like to own, and repeats what the layouts say. Both are kept on disk and travel together, whole in memberlist's push/pull and in the requests of
// this package; a changed row of the table also alone. A node that dies stays an owner. The package does not decide where data lies (ring), nor what the facts
// about layouts mean (layouts), nor when a node has fetched what it owns (repair); it sends no data.
//
// # Files
//
// Decisions are pure: ballot.go (votes), found.go, standingOf in standing.go, stewardView in steward.go, replacement, leaving and removal, mirrored in knowledge.go, and
// rejoinTargets in join.go. Their drivers: founding.go, standing.go and steward.go, stepped by one membership goroutine (life.go); replace.go and leave.go. rings.go is what a
// node knows of layouts, state.go the only writer of it and of the table. gossip.go, push.go, peers.go, moved.go, carrier.go and network.go are gossip; wire.go, message.go,
// knowledge.go and request.go what is sent.
//
//	no table ──founding, or whole knowledge heard──▶ table without own row ──▶ joining ──a member proposes──▶ owns ──Leave──▶ leaves ──Left──▶ left
//	                                                      └──a silent namesake's place, given by a member──▶ owns          └▶ removed, replaced
//
// # Invariants
//
// 1. What is told or acted on is on disk. Layouts and table are published after SaveMeta returned (Rings.Change, update), a vote and a
// start's addresses before any answer or gossip shows them. The layouts are saved before the table, which only mirrors them, so a crash between the two loses nothing that
// counts. (TestRingsShowNothingUnsaved, TestNothingIsToldThatIsNotSaved, TestCrashAtEachSave)
//
// 2. A node without --join and without a table founds a cluster of one at once. One whose --join names nobody but itself waits for Timing.Recall first, from when it knows
// that, and until then proposes no founding and grants no vote: it may be the seed that all others name, with a lost disk, and who knows it joins its address again within that time, or
// pings it and is asked for what it knows. So it founds a second cluster, or helps empty nodes that name it to one, only if for that long nobody who knows the first one reaches it.
// (TestWipedSeedFoundsNoOther, TestWipedSeedWithoutItsName, TestSeedThatNobodyKnows, TestSeedThatOthersName, TestSeedWhoseNameComesLate) A node with a table resumes it and is ready at
// once, cut off or not. What counts is what was saved, not the directory: a node that crashed before it had a table or layouts starts over. A table without layouts is
// of an older version: its owners are the first layout. (TestTableWithoutLayouts)
//
// 3. Two foundings with one join list cannot both happen. The founding table is decided by single-decree Paxos: the voters are the
// members that --join names, each counted once by its incarnation. A voter keeps its vote on disk, and its ballots are
// unique because a proposer's own vote for a ballot is on disk before anyone hears of it. A phase succeeds if its voters are more than
// half of the list of every one of them, an address that never answered counting as one more member. So the promises for a higher ballot and
// the acceptances of a lower one have a voter in common, and the higher ballot takes over the lower one's table. A voter
// that has any table votes no more and answers with it. Assumed: the list names the same members everywhere,
// and no disk is lost between a vote and the founding (a lost disk is a voter that forgets).
// Lists that differ and overlap, or name each other in a circle, found one cluster as well: a ballot goes on to those that its voters name,
// and no quorum is whole without more than half of each one's list. Two groups of lists of which neither needs a voter of the other found two
// clusters, which merge when they meet (10).
// A proposer that fails leaves nothing behind that stops the next one, which any other may be after its turn.
//
// 4. A founding makes all who promised members at once, so a layout with fewer owners never exists, and nobody waits for a single founder. The first layout is a function of
// the table that was decided, so whoever hears of it begins with the same. (TestCrashWhileFounding, TestFoundedFromATable)
//
// 5. An empty node merges only whole knowledge, table and layouts, never single rows, so that it knows whether its name is taken
// before it adds itself; it adds itself as joining. A joining node coordinates, and owns nothing.
//
// 6. Only the layouts decide who owns. Any member changes them, by the functions of package layouts alone, so its invariants hold whoever proposes what and however many
// do; that they take turns, wait for others to come along (Timing.Batch) and let a change end before the next (Timing.Stuck) is politeness. Every member buries, and makes changes that met one.
// What a member says of layouts, and that it joins, all live peers are sent at once; what gets lost comes with the next push/pull. (TestProposes, TestUnifies, TestTwoJoinAtOnce,
// TestTwoFoundingsMeet, TestFactsDoNotWaitForGossip, TestJoinersDoNotWaitForGossip)
//
// 7. What a node says of itself its user has made true: Record only of the view that it was called with, so a view that came meanwhile is not recorded; Synced only for the
// present top; Left only when no live layout needs it. (TestRingsRecordWhatIsInForce, TestLeave)
//
// 8. A namesake with an empty disk takes a place only if the incarnation there is silent: dead to gossip for Timing.Silence, and no
// answer to a call; and dead to the member, too, that it asks for the place, and no answer to that one's call. An incarnation that finds itself replaced or removed
// stops serving (OnReplaced, OnRemoved), also one that was down when that happened, and does not start again once it knows, as one that has left does not. Two incarnations
// that both own under a name end as one: if both run, the one that placement does not use hands over and leaves; if one is silent, the other takes its place. Leaving is for good, so a
// node leaves for a namesake only that has itself answered a call of this node's, under its own incarnation and at an address that is not this node's: gossip alone, which
// may be of a peer that was not there when the namesake died, is no reason. Until then both are members, and the log of the one that would leave says so, once. (TestStandingOf,
// TestDoubtsTakeTurns, TestNamesakesAtOneAddress, TestReplacement, TestReplaceNeedsAMember, TestReplaceAsksForAnothersEyes, TestNamesakesThatMeet, TestNamesakesThatCannotBeCalled, TestNobodyLeavesForItsDeadFormerSelf, TestRemove)
//
// 9. A member is removed only if it answers neither gossip nor a call, unless it is forced out. The last owner is never removed and never leaves. A leaver
// says in its row that it wants to, and a member proposes it, with all others that want to at the time: changes that each leaver made for itself would be more layouts than requests count.
// (TestRemove, TestRemoveByForce, TestLeaving, TestManyLeaveAtOnce)
//
// 10. Two clusters of one name merge when they meet; the lower founder's ID is the founder then, and their layouts become one as changes that met do. Another cluster's name or
// number of partitions is refused: packets and streams by their header before memberlist sees them, knowledge by ring.ErrForeign.
//
// 11. A split heals by itself: every absent member's address, and every --join address behind which nobody is known to run, is joined again for ever; who
// has left, was removed or replaced is not looked for any more.
// Names are looked up at every try, and a peer that runs but does not answer where it said is looked for behind the name it advertises
// (moved.go): so a container may get its network back under another address.
//
// 12. Everything has a bound: inbox (messages and bytes), joins, probes, calls, pushes and streams under way, delayed packets, names remembered. At the bound
// something is dropped that gossip repeats.
//
// 13. Delegates of memberlist never block: they copy and signal. No callback of the user of this package runs under a lock.
package cluster
