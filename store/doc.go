// Package store keeps one node's records, logs and clocks on disk, in one Pebble database.
//
// It decides what becomes of a record that meets another (by version.Merge), gives out dots, and makes everything that belongs to one
// write durable in one batch. It does not know who owns what, what a quorum is, or other nodes; placement comes in with the key.
//
// # Invariants
//
//  1. Output rule. Nothing that a method returned is missing after a crash: Get, Clock and Scan wait until what they show is synced, and
//     Commit.Wait returns nil only after the sync of its batch. (Result.Record is the exception: it must not leave the node before Wait.)
//     Argument: a write enters the table of pending commits before Pebble shows it and leaves it after its sync; a reader asks that
//     table after it has read. Commits of one key follow each other in the log, so the newest stands for all. An adopted clock alone is
//     not waited for by readers of records: a vector filled by it says what is true of every replica that holds what this one has on its disk, and a
//     crash only makes this one say less. Clock waits for it.
//     TestCrashEverywhere, TestFailureEverywhere, TestConcurrent.
//
//  2. One write is one batch: record, log entries, clock. So at any moment, and after any crash, a partition's log has exactly one entry
//     for each live version, and the clock covers every live version's dot, unless it forgot detached dots (Options.MaxDetached).
//     TestHistories, with the checker in check_test.go, which also runs after every crash. A clock on the disk may lag behind by dots
//     that have a log entry: opening adds them (partition.fill has the argument). TestClockLag.
//
//  3. A clock never over-reports: each dot it covers is of a version that is live here, or was here and is superseded, or was never
//     issued to any version; or, since Adopt, is superseded by something that is, or was, live here. It moves only by dots that came in, in the
//     batch that brings them, and by Adopt, whose caller has merged and synced all that was live at another store (package repair, 4 to 6).
//     Adopt adds nothing of this store's own actor. TestCrashEverywhere, TestAdoptCrashes, TestExchangeHistories.
//
//  4. No dot is used twice. The counter of (actor, partition) runs without gaps under the partition's lock; an actor is drawn at each
//     opening, so that a counter which a crash took back is never used again. TestCrashEverywhere.
//
//  5. A record leaves this package filled with the clock of the very moment it was read at. Filled with an older clock it would forget
//     what it has superseded; with a newer one, it would claim to have superseded what it does not have yet. Both are read under the
//     partition's lock, and so are a Snapshot's. TestReadIsOneMoment, TestConcurrent, TestSnapshotIsOneMoment.
//
//  6. After the log or the manifest has failed, nothing reaches the disk and no unsynced record is shown; the process lives on, no
//     goroutine leaks, and the store opens the directory anew under another actor as soon as the disk takes writes. TestFailureEverywhere,
//     TestReadOnlyDisk; the argument is at type gate.
//
//  7. Damaged or foreign data leads to ErrCorrupt or ErrFormat, never to a panic. TestCorruptRecord, FuzzClockValue.
//
//  8. Bounds: the record cache by bytes, detached dots by number, records by size; pending commits by the callers, who each wait for
//     theirs. Writes stop at a floor of free space, before the disk is full. TestSpaceFloor.
//
//  9. A Snapshot does not outlive its epoch: closing the store, or reopening it after a failure, waits for the page that is being read and ends
//     the snapshot. Pages that are asked for later fail with ErrClosed, or the failure. TestSnapshotEndsWithItsEpoch.
//
// # Locks
//
// A partition's lock comes first and is not held over a sync. Inside it are taken: a commit's, the pending table's and the cache's shard
// locks, none of them together. A snapshot's lock comes before the list of snapshots. metas.write comes before metas.mu and is held over a sync; it is never taken together with a partition's.
//
// # What may be shared
//
// Records that are returned are immutable and may share memory with the cache and with what was handed in. What is handed in is copied
// before Update or Apply returns.
package store
