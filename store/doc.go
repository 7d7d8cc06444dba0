// Package store keeps one node's records, logs and clocks on disk, in one Pebble database.
//
// It decides what becomes of a record that meets another (by version.Merge), gives out dots, and makes everything that belongs to one
// write durable in one batch. It does not know who owns what, what a quorum is, or other nodes; placement comes in with the key.
//
// # Invariants
//
//  1. Output rule. Nothing that a method returned is missing after a crash: Get, Clock and Scan wait until what they show is synced, and
//     Commit.Wait and Commit.Then say nil only after the sync of its batch. (Result.Record is the exception: it must not leave the node before that.)
//     Argument: a write enters the table of pending commits before Pebble shows it and leaves it after its sync; a reader asks that
//     table after it has read. Commits of one key follow each other in the log, so the newest stands for all. An adopted clock alone is
//     not waited for by readers of records: a vector filled by it says what is true of every replica that holds what this one has on its disk, and a
//     crash only makes this one say less. Clock waits for it. Nor is a Drop waited for, which a crash takes back whole: then this one says more, and all of it true. What is
//     written after it follows it in the log.
//     TestCrashEverywhere, TestFailureEverywhere, TestConcurrent, TestThen, TestThenAndTheEnd.
//
//  2. One write is one batch: record, log entries, clock. So at any moment, and after any crash, a partition's log has exactly one entry
//     for each live version, and the clock covers every live version's dot, unless it forgot detached dots (Options.MaxDetached). What it forgot in this epoch
//     is kept as a bound, per actor the highest counter, so that SyncedBound covers every live version's dot at any moment; an epoch begins with the dots of all log entries.
//     checkBounds, TestDetachedBound; TestHistories, with the checker in check_test.go, which also runs after every crash. A clock on the disk may lag behind by dots
//     that have a log entry: opening adds them (partition.fill has the argument). TestClockLag.
//
//  3. A clock never over-reports: each dot it covers is of a version that is live here, or was here and is superseded, or was never
//     issued to any version; or, since Adopt, is superseded by something that is, or was, live here. It moves only by dots that came in, in the
//     batch that brings them, and by Adopt, whose caller has merged and synced all that was live at another store (package repair, 4 to 6).
//     Adopt adds nothing of this store's own actors that they have not made. TestCrashEverywhere, TestAdoptCrashes, TestExchangeHistories. What a Drop took is no part of
//     "was here" (14).
//
//  4. No dot is used twice. The counter of (actor, partition) runs without gaps under the partition's lock; an actor is drawn at each
//     opening, so that a counter which a crash took back is never used again. It is kept in memory beside the clock, which may forget. TestCrashEverywhere,
//     TestDropReusesNoDot.
//
//  5. A record leaves this package filled with the clock of the very moment it was read at. Filled with an older clock it would forget
//     what it has superseded; with a newer one, it would claim to have superseded what it does not have yet. Both are read under the
//     partition's lock, and so are a Snapshot's. TestReadIsOneMoment, TestConcurrent, TestSnapshotIsOneMoment.
//
//  6. After the log or the manifest has failed, nothing reaches the disk and no unsynced record is shown; the process lives on, no
//     goroutine leaks, and the store opens the directory anew under another actor as soon as the disk takes writes. TestFailureEverywhere,
//     TestReadOnlyDisk; the argument is at type gate.
//
//  7. Damaged or foreign data leads to ErrCorrupt or ErrFormat, never to a panic, nor to a processor that is kept busy. TestCorruptRecord, FuzzClockValue,
//     TestDamagedBlock, TestTableStatsOfADamagedTable.
//
//  8. Bounds: the record cache by bytes, detached dots by number, records by size; pending commits, and the queue of those who asked to be
//     told (Commit.Then), by Pebble, which lets 4,095 syncs be under way. Writes stop at a floor of free space, before the disk is full, and SaveMeta at a sixteenth of it. TestSpaceFloor.
//
//     Drop holds the partition's lock for 256 KiB of records at a time; its table and batch take some 100 bytes and three keys for each record that goes, and nothing to speak of if
//     all n of a partition go.
//
//     Hand-offs are bounded by their bytes (Options.MaxHandOffs): at the bound ErrHandOffSpace, before anything is written. TestHandOffSpace.
//
//  9. A Snapshot does not outlive its epoch: closing the store, or reopening it after a failure, waits for the page that is being read and ends
//     the snapshot. Pages that are asked for later fail with ErrClosed, or the failure. TestSnapshotEndsWithItsEpoch.
//
//  10. Hand-offs, what a node keeps for owners that it stood in for, are apart from what it owns: they never touch d, l and c. So should it
//     come to own the key, its clock does not cover a dot of which it holds nothing under d. Their dots come from an actor of their own, drawn at
//     each opening as the other is, of which only the counter is kept in memory. TestStandIn, TestStandRefuses.
//
//  11. A hand-off, its targets, the debt to each of them and the sums are one batch, under the partition's lock; so the sums are exact after any crash, and
//     reading them at opening costs one small entry per partition and owner, where reading the hand-offs might cost a gigabyte. checkHandOffs, in
//     every crash test. A target is forgotten only if the record is still the one that it confirmed, also below the floor of free space: a disk that
//     hand-offs have filled must be able to let them go. A damaged one keeps no other back. TestDelivery, TestForgetBelowFloor, TestCorruptHandOff.
//
//  12. OwedDots over-reports to nobody: every dot in it was made while that very incarnation was a target, its key's hand-off named the target from then until it
//     confirmed a record that has the dot, live or superseded, and no hand-off names it now. All of them were confirmed under the one opening of its store that
//     OwedDots returns with them, and that the batches keep which forget the target; AdoptUnder adopts under no other. An owner that came later in the place of another
//     starts with no dots, and Readdress drops those of the one that went. TestDelivery, TestReaddress, TestDebt,
//     TestOpeningOfDebt, TestOwedDotsNameTheOpening.
//
//  13. A hand-off's vector claims of this key only what its record went through. The fallback's own dots between the first that the entry holds and the next
//     one are filled in: those of this key are in the record, those of other keys mean nothing to it. It begins anew with every entry: what an
//     earlier one held was forgotten, and claiming it would drop it from the owners. TestHandOffVector.
//
//  14. Drop forgets records, log entries and clocks of its sets in one batch, so 2 and 3 hold at any moment and after any crash. Argument for 3: a dot of a clock that stays
//     has an n above those that were dropped, so its key was not dropped, but for one case below; and a clock that goes takes back claims only. Which dots a key
//     was given is unknown to the store, but none has a larger n than the record: so the clocks of all smaller n go too. The live dots of
//     records that stay, as a record may hold versions of a smaller n, stay in the clock.
//     The case: a write of a larger n that lost to a later stamp before it came here, so that the record has never heard of its n
//     (package repair says what clocks cannot show). Then the clock still covers that dot, which is superseded wherever the winner is.
//     TestDropHistories, TestDropCrashes, TestDropFails.
//
//  15. A record that stays when others are dropped covers what it covered: before the batch, what the clocks that go restore is written into it, and while that is being done
//     records are stripped by what will be left of the clock, and nothing of those n is adopted. A crash in between leaves records that say
//     in words what the clock says as well. TestDropHistories, TestDropBesideWriters, TestAdoptBesideDrop.
//
//  16. After a Drop, the next dot of the own actor is above all that it has made (4); the clock has it detached, until the others have come back from other owners, whom
//     Adopt now believes as to dots that this store has made. A token with such a dot is no forgery (Issued). Dots that an owner is to adopt because it
//     confirmed hand-offs under this opening are refused for the dropped n as after a reopening (12): what it confirmed may be gone. TestDropReusesNoDot.
//
//  17. Held names every n of which a partition has a record, or clock entries that no record of a larger n has brought: an entry under h comes in the
//     batch of the first such write or adoption, and goes with the Drop. checkHeld, in every test of Drop.
//
// # Locks
//
// A partition's lock comes first and is not held over a sync, but for the one that lets in one Drop at a time, which comes before it and which nobody else takes; Snapshot alone takes several, for reading and in ascending order. Inside it are taken: a commit's, the pending table's and the cache's shard
// locks, none of them together. A snapshot's lock comes before the list of snapshots. metas.write comes before metas.mu and is held over a sync; it is never taken together with a partition's.
// What Commit.Then was given is called without a lock.
//
// # What may be shared
//
// Records that are returned are immutable and may share memory with the cache and with what was handed in. What is handed in is copied
// before Update or Apply returns.
package store
