//go:build !race

package e2e

// raceEnabled says that these tests, and so the processes that they start, carry the race detector.
const raceEnabled = false
