// Package child runs a node of this machine as a process of its own: quorate serve, started with its addresses, watched for its ready line,
// asked to stop and, if need be, killed. The dev command and the bench tool's own clusters are made of it.
//
// It is not a supervisor: it restarts nothing, and what the end of a node means is for its user to say.
//
// # Invariants
//
//  1. On Linux a child does not outlive this process, however that ends. (TestChildDiesWithItsParent)
//  2. No setting of serve in our environment reaches a child: it would be the same for all. (TestStartReadyEnd)
//  3. A terminal's Ctrl-C does not reach a child: who started it decides when it ends.
package child
