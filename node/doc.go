// Package node puts one member of a cluster together: the store, the node-to-node endpoint, the membership, the
// coordinator, read repair and log exchange. It holds what they share: the snapshots of who owns what, the properties of buckets, the
// metrics. It knows nothing of HTTP.
//
// # Start and stop
//
//	New ── store open, incarnation known, node-to-node port open ──▶ Start ── gossip, founding or joining ──▶ Ready
//	Drain ── new requests are refused ──▶ Close ── leave gossip, end background work, close the port, close the store
//
// Stopping never gives up ownership.
//
// # Lock order
//
// membership.refreshing, which is no lock but a channel of one place and may be held over one drop of the store, before the cluster's own locks; shared.mu before the store's. membership.mu is read-locked around
// single store operations only, and nothing else is locked under it except by the store. No lock is held while waiting
// for another node.
//
// # Invariants
//
//  1. A view is immutable and replaced whole, and no older view ever replaces a newer one.
//  2. An operation touches the store only between Enter and Leave, under the view in force. When a fence of a view has ended, nothing runs any more that an older
//     one let in; only then is the view recorded. Under load that ends, too. (TestFenceUnderLoad, TestFencedByAPeerIsRecorded)
//  3. Bucket properties are a map of entries that only grow in stamp. They are on disk before they are in force, and in
//     force before anybody is told.
//  4. A node that was replaced by a namesake or removed, or is draining, refuses every key request.
package node
