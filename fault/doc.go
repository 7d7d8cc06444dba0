// Package fault is the fault matrix: which messages between nodes are to be lost or held back. The transport and the membership layer ask it about each
// message, at the sender and at the receiver; tests, the simulator and the /faults endpoint set it. It is pure: it decides, and whoever asked drops or waits.
//
// # Invariants
//
//  1. A message is judged by one complete set of rules: Set swaps the whole list, and a list that is not valid changes nothing. (TestSetIsAtomic)
//  2. Without rules nothing is dropped or delayed, and a decision is one atomic load. (TestNoRules, BenchmarkDecide)
//  3. Any matching rule that drops, drops; delays of matching rules add up. The order of rules does not matter to either. (TestDecide)
//  4. Rules that were read are rules that can be written and read again; whatever else is sent is an error and never a panic. (FuzzDecodeRules)
package fault
