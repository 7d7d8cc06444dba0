// Package cluster knows which nodes run and which belong: gossip, liveness, the replicated member table, and how a
// table comes to be: founding, admission, replacement. It is the only package that knows memberlist.
//
// Membership is not liveness. memberlist says who answers now; the table (ring.Table, a lattice) says who owns data, is kept on
// disk, and travels as rows by gossip, whole in memberlist's push/pull, and in the requests of this package. A node that dies
// stays an owner. The package does not decide where data lies (ring), and sends no data.
//
// # Files
//
// Decisions are pure: ballot.go (votes), found.go, admit.go, and rejoinTargets in join.go. Their drivers: founding.go,
// admission.go, standing.go, stepped by one membership goroutine (life.go). state.go is the table's only writer. gossip.go,
// peers.go, moved.go, carrier.go and network.go are gossip; wire.go, message.go and request.go what is sent.
//
//	no table ──founding, or a whole table heard──▶ table without own row ──standing──▶ joining ──admission──▶ member
//	                                                      └──a silent namesake's place──▶ member, gaining
//
// # Invariants
//
// 1. What is told or acted on is on disk. The table is published after SaveMeta returned (update), a vote, a promise and a
// start's addresses before any answer or gossip shows them.
//
// 2. A node without --join and without a table founds a cluster of one at once. A node with a table resumes it and is ready at
// once, cut off or not. What counts is the table, not the directory: a node that crashed before it had one starts over.
//
// 3. Two foundings with one join list cannot both happen. The founding table is decided by single-decree Paxos: the voters are the
// members that --join names, each counted once by its incarnation. A voter keeps its vote on disk, and its ballots are
// unique because a proposer's own vote for a ballot is on disk before anyone hears of it. A phase succeeds if its voters are more than
// half of the list of every one of them, an address that never answered counting as one more member. So the promises for a higher ballot and
// the acceptances of a lower one have a voter in common, and the higher ballot takes over the lower one's table. A voter
// that has any table votes no more and answers with it. Assumed: the list names the same members everywhere,
// and no disk is lost between a vote and the founding (a lost disk is a voter that forgets).
// A proposer that fails leaves nothing behind that stops the next one, which any other may be after its turn.
//
// 4. A founding makes all who promised members at once, so a layout with fewer owners never exists, and nobody waits for a single founder.
//
// 5. An empty node merges only whole tables, never single rows, so that it knows whether its name is taken
// before it adds itself; it adds itself as joining. A joining node coordinates, and owns nothing.
//
// 6. No two members serve key requests under different layouts once one of them holds data, as long as layouts change by
// admission alone. A round begins with the hash of the layout to leave. Each of its owners freezes (no key request runs), checks that it
// holds no data and has that layout, and saves a promise to serve no more before it knows the outcome. When all have promised,
// the coordinator decides by saving the new table; it can no longer abort then. So at the decision no owner of the old layout has
// data or serves, and each serves again only after it has merged the coordinator's table: after the decision, the new layout. An owner that is in two
// minds about two rounds refuses the second, so two coordinators cannot both collect all. Requests carry the sender's layout, and a
// replica refuses another one, so a node that has not heard is told. After a crash an open promise is taken up again before anything is served.
// The price: an owner waits for a coordinator that fails within those few milliseconds, for as long as it is away; status says for whom.
// If the coordinator's disk is lost in that moment, its successor's table counts.
//
// 7. A namesake with an empty disk takes a place only if the incarnation there is silent: dead to gossip for Timing.Silence, and no
// answer to a call. Then the old row is replaced, and the new one owns and is Fresh: it counts for w, not for r, until it says itself that it is Synced (MarkSynced; package repair decides when). An incarnation
// that finds itself replaced stops serving (OnReplaced). Two incarnations that both own a name end as one: the one that
// placement does not use gives way.
//
// 8. Two clusters of one name merge when they meet; the lower founder's ID is the founder then. Another cluster's name or
// number of partitions is refused: packets and streams by their header before memberlist sees them, tables by ring.ErrForeign.
//
// 9. A split heals by itself: every absent member's address, and every --join address behind which nobody is known to run, is joined again for ever.
// Names are looked up at every try, and a peer that runs but does not answer where it said is looked for behind the name it advertises
// (moved.go): so a container may get its network back under another address.
//
// 10. Everything has a bound: inbox (messages and bytes), joins, probes, calls and streams under way, delayed packets, names remembered. At the bound
// something is dropped that gossip repeats.
//
// 11. Delegates of memberlist never block: they copy and signal. No callback of the user of this package runs under a lock.
package cluster
