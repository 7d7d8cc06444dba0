// Package sim runs whole clusters in virtual time, from one seed, and checks what clients and replicas saw: docs/simulation.md.
//
// A node is the node of production: its store on Pebble, on a file system in memory that can crash; its transport on pipes in memory,
// behind the fault matrix; coordinator and repair as they are. Only the membership is driven directly (members), as what memberlist does
// is tested apart, and HTTP is left out. Time is that of a testing/synctest bubble: it passes when every goroutine waits.
//
// # Invariants
//
//  1. A node that was killed has told nobody anything that is later than the copy of its disk which it wakes up with: its network is
//     cut first, then the copy is taken, and answers that its clients get after that count as lost.
//  2. No time passes in a disk while somebody holds a lock over it: only syncs of the log take time. A bubble in which a goroutine
//     sleeps under a lock that another wants never wakes up.
//  3. What a seed means (Plan) is decided before the first node starts, by the seed alone.
package sim
