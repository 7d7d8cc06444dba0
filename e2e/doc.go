// Package e2e tests Quorate from the outside: clusters of real `quorate serve` processes on loopback
// addresses, spoken to over HTTP and by signals, exactly as a user, a script or an operator would.
//
// It imports nothing of the product but the checkers of histories (internal/check), so that what it asserts is the contract and not the code. It needs a
// Unix system, the go command and nothing else; a test that needs more (root to mount a file system, network
// namespaces) says so and is skipped, unless QUORATE_REQUIRE names what it needs: then it fails.
//
// How the tests are kept honest:
//
//  1. The binary is built once per run, the way it is shipped, or with the race detector if the tests are.
//  2. A process is only ever signalled by the pid that this run started, and dies with it.
//  3. Waiting means polling a condition with a deadline. Deadlines are bounds on "at all", never on speed.
//  4. A node that exits when nobody asked it to, panics or reports a data race fails the test, whatever the
//     test itself looked at. The end of its log is printed.
//  5. Rows of the contract are read-only for the cluster and share one; every test that breaks something has
//     its own.
//  6. A test that mostly waits runs beside others (t.Parallel), after those that want the machine for themselves: that load it, or judge how slow an
//     answer is.
//  7. The judge of the strict traffic that runs while the ring changes (traffic, register) is itself judged, by servers that tell one kind of lie each.
package e2e
