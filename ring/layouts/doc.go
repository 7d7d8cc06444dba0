// Package layouts is the protocol by which the ring changes while it serves: which layouts count, who must answer in each, who has still to fetch what, and when an
// old layout is dead. It is pure, a state and functions of it; nothing in it sends, stores or waits.
//
// Package cluster keeps the state on disk, tells it, and proposes; node swaps views, sees what an older one let in to its end, and records; coordinator counts
// answers under views; repair fetches, reports, shows and drops.
//
// It does not decide where data lies (package ring does, for each layout alone), when requests have had enough answers (quorum), or what an exchange moves (repair).
//
// # What is known
//
// A State is all that a node knows: a few facts about each live layout. A node keeps it on disk, tells it whole, and merges what it is told. A layout is named by its
// Version: every incarnation that ever owned, with its standing, so versions are ordered as tables are.
//
//	          proposed                whole                      buried
//	             │                      │                          │
//	nothing ─────┼── recorded, synced ──┼──────── moved ───────────┼──── a layout above it is buried ──▶ forgotten
//	             │                      │                          │
//	writes need w acks in it            │  reads need r answers in it, while it is a maximal whole one
//	             │   every owner has reported every partition      │  below it everything is dead
//	             │   synced (the founding layout: at once)         │  every unremoved member of it and of what is below
//	             │                                                 │  starts and answers no read below it
//
// Each fact belongs to one stage and is forgotten in the next, so a settled cluster's state is one version and two bits.
//
// Whoever owns a set (p, n) in the newest layout goes through this once for each layout, unless the set has the same owners in all live ones and none has
// lost a part of its disk in between:
//
//	hears of the layout ── saves it, ends what runs under the old view, says so (recorded)
//	       │
//	       │ the fence: every unremoved member of the older live layouts has recorded the layout
//	       ▼
//	exchanges the partition, both ways, with every unremoved owner of the set in every older live layout
//	       │ while it does, it goes on serving in the older layouts that it owns the set in
//	       ▼
//	reports the partition synced ──▶ the layout is whole when the last owner has ──▶ moved ──▶ buried ──▶ former owners show and drop
//
// # What requests carry
//
// Every request between nodes, a write, a read or an exchange, carries the digest of its sender's view: which layouts are live, and which of them are maximal whole
// ones. A replica serves its own digest only. It answers another with its state; the sender merges it, and if it knew more says so, then begins anew: the same version
// and dot under the new view. A node acts under one view at a time, that of the state on its disk.
//
// # Invariants
//
// Argued here; searched for mistakes by TestProtocol, and each rule left out by TestSins, whose traces are the reason for the rule.
//
//  1. States are a lattice, and so are versions: order and repetition of messages change nothing. What a buried layout has left behind stays forgotten, because the layout
//     above it knows it to be below. (TestMergeIsALattice, TestVersionsAreALattice)
//  2. No layout comes back. A version names those who are gone too, and counts changes of weight and zone: a member that came and went leaves the owners as they were, and
//     acknowledgements of the first layout must not count for the third. (TestNoLayoutComesBack)
//  3. An answer counts only under the view that it was given under, which was the replica's own. So all answers that a request counts were given by nodes that knew the same
//     layouts and the same of them whole. A request whose coordinator learns something starts its tally again. It is not enough that a replica refuses who lacks a layout: a
//     coordinator that no tracker asks, because it is joining, may know all layouts, and not that one is whole, and would read in the older one what nobody writes there
//     any more. Nor do old answers outlive their view: an owner that dropped a set and regained it has acknowledged what it no longer holds.
//  4. What is told is on disk, and is true: whoever says that it recorded a layout lets nothing in under a view without it, and nothing that it had let in still runs.
//     State travels whole, so whoever hears of a fact hears of all that its author knew when it said so. The arguments below rest on that.
//  5. A write needs w acknowledgements in every live layout, a read r answers in every maximal whole one, of owners that have lost nothing since. Words are resolved for each
//     layout by all its owners. In an older layout, the place of an incarnation that was replaced is its namesake's for w, for as long as the layout lives; for r it is nobody's, as
//     nobody has what was there. Without that, w=all would fail until the namesake has refilled, and one more owner down would stop writes. The namesake keeps what
//     it acknowledged so even if the newest layout gives it no place in the set (Keeps), shows it and drops it when the older layout is dead. (TestNamesakeCountsForWrites,
//     TestNamesakesTakeOnePlace)
//  6. Every owner of the newest layout fetches, not only who is new to the set. Two owners that each stand on what they held may stand on different older layouts, of which
//     one was whole and the other was not known to be: a write with enough acknowledgements in each has too few among the owners of the newest. And where a
//     set has fewer owners than before, those who stay need not have met the acknowledgements that were given by who goes. It costs comparisons of clocks: an owner that
//     stays lacks what is in flight.
//  7. An owner syncs for the top layout only, the one above all it knows; so all others are below it, and none beside it is forgotten. While changes that met are not one yet,
//     nobody syncs. Any member makes them one (Unify), unless
//     nobody would own: if all leave at once, on sides that have not heard of each other, their changes stay beside each other until somebody joins (Deserted). Only members propose: whoever makes a layout is among those whose word its fence and burials wait for.
//  8. When a layout k is whole, each of its owners that had to fetch the set holds every write that was acknowledged under a view without k; and if one did not have to, the
//     acknowledgements are among k's own owners. Argument. Take an owner o, A the view in which it reported, and the write's view B, which lacks k and has not
//     buried it. A layout l that is whole or was is live in both: take the newest that was live in the past of both, the founding one if no other. If B has
//     buried it by j, then all its members had recorded that j is whole, and before they recorded k, or B would know k; A has heard them record k (the fence), so it knows
//     j, which is newer: a contradiction. The same if A has, or both. So the write has its w acknowledgements in l, of members that had not recorded k; o exchanged with
//     each unremoved owner of the set in l after it had, and got the write. If o had nothing to fetch, then l gives the set to the owners that k does.
//     If some of the acknowledgements in l were by namesakes, of whom o fetches nothing in the name of l: B knows of the replacement, so it has a layout above l in which the
//     namesake owns, and a newest such layout t, in which nobody is replaced; the write has w acknowledgements there too, all by t's own owners. If A has t live, o exchanged with
//     them: t is older than k. If A has buried it, then by a layout that the write's view does not have and that was whole, and each owner of that one held the write, by this
//     same argument. If A does not know t, none of l's members that A waited for had recorded t before k, or its word would have brought t; nor after k, or B would have k.
//     So whoever proposed t, and every own owner of l that acknowledged, is lost in A; and A has not heard that the replaced one was replaced, so its word was
//     waited for, unless an operator removed it: while its namesake was serving, cut off with the lost from a majority that knew nothing of it. The disks of all those places are lost
//     then, the replaced ones and those that acknowledged, w at least, and nothing is promised any more (ARCHITECTURE.md, 3, counts a disk that was replaced as lost). So a
//     removal by name says of the namesakes, too, that they have stopped.
//  9. So a read meets every write acknowledged before it began, with r + w above the number of owners. Take a maximal whole layout k of the reader's view. If the write's view had
//     k live, they share an owner in k, and owners of a live layout keep what they hold; it is one that counts for r, so no namesake in another's place: r answers come from k's own
//     owners that have lost nothing, and w and r of the same places always meet in one of them. If it did not know k, 8. If it had buried k by j, then every unremoved owner
//     of k had recorded j to be whole before the write began, and refuses the reader's view. That is the third tracker, and why owners must report it, not only coordinators.
//  10. A layout is buried by whoever sees that it is whole and that every unremoved member of it and of the layouts below has moved. A member that is down or cut
//     off keeps the older layouts alive: until it is back or removed nothing is lost, nothing is dropped, and Waits names it.
//  11. A former owner drops a set when no live layout gives it the set, and after an exchange under that view has shown every unremoved owner in the maximal whole layouts to hold
//     all that it does. Acknowledged writes are with them by 8; this is for those that were not acknowledged, which some read may have shown.
//  12. A removal counts for fences and burials once a majority of each maximal whole layout has recorded it, or an operator forces it; so two sides of a split cannot remove each
//     other. It says that the node has stopped. A replaced incarnation, whose disk is lost, counts at once.
//  13. From every state, with everyone up and everything told, all this ends in one whole layout, unless all members leave (7). Nobody waits for who waits for it: recording waits for nobody, fetching
//     for who has recorded, reports for who has fetched, burial for reports.
//  14. Everything has a bound: MaxLive layouts for changes that can wait (newcomers stay joining, outside all layouts), MaxLosses with removals and replacements, MaxLayouts
//     when sides of a split meet; a layout has at most ring.MaxMembers rows, and a bit for each of them and of an owner's partitions.
//     Equal states have equal bytes, only those are decoded, and nothing that a peer or a disk sends panics. (TestCodecRoundTrip, FuzzDecode)
//
// # What goes wrong, and what then
//
// A crash loses what was not said: exchanges, and whose exchanges are done. They start again, and fetch what is still missing. Reports survive.
//
// Delay or loss of gossip only delays: a fact that has not come is a reason to wait or to be refused.
//
// A coordinator that is cut off keeps an old view. While it is a member its word is missing, so the older layouts live on and it is served in them by whoever is cut off with it; whoever
// has heard more refuses it, with what it has missed. When it comes back it has hidden nothing: what it acknowledged has its acknowledgements in layouts that every newer
// owner has fetched from, or was going to.
//
// A split with changes on both sides: neither side can end its change, because the fence and the burial wait for the other. When they meet, all layouts of both
// are live, one above them is made, and it alone is synced for. Should a set then have more groups of owners than a tally takes (quorum.MaxGroups), its requests are refused until
// some layouts have died.
//
// Two clusters of one name that meet are two founding layouts, both maximal whole: reads ask both. What holds within one lineage holds across both once the layout above them
// is whole.
//
// A member that loses a part of what it held and goes on says so before it answers anything else: a row with one loss more makes a layout with the same owners, in which all
// owners of its sets fetch. So an acknowledgement that it gave before is worth nothing afterwards (3), and every other owner has recorded the loss before it is synced again (the
// fence). What it cannot notice is that its disk went back in time together with this state: whoever finds that out must make it come back as another incarnation.
//
// # The search
//
// model_test.go has up to four nodes, one partition, one write, and one read; what they may do is asked of this package's own functions. explore_test.go visits every order of
// messages, changes, losses, reports, burials and answers, breadth first. In every state: a write that was acknowledged is returned by any read that could run now, and by one
// whose answers come one by one; it is on a disk; nobody answers from emptiness or drops what a present owner lacks; and a fair schedule from there settles.
// Three simplifications make it finite, each with its reason beside it: one write stands for all; coordinators are no nodes but views, cut off from all news and getting through to
// everyone; and an exchange is done at the first moment that it may be, which fetches least. Searched without the last, and with more, by make layouts.
// A write counts as lost in vain only once as many disks as it needed acknowledgements were lost with it on them, which is more than is promised. Writes that were
// acknowledged by a namesake in the older layout are among those searched (TestNamesakesAcknowledge). Four nodes are too few for a majority that removes a replaced member unheard.
package layouts
