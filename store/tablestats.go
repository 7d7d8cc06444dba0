package store

import (
	"runtime"
	"strings"
	"time"
)

// statsPause is how long Pebble waits before it tries again to read the statistics of a table that it cannot read, and to compact. Closing waits for it.
const statsPause = time.Second

// pauseCompaction slows compactions down after one has failed: one that drops what a range deletion covers is begun again at once and for ever, if a block of what it reads is
// damaged. A compaction reports that it has created a table from its own goroutine, with no lock held, and waits for that to return.
func pauseCompaction(reason string, failed time.Time) {
	if wait := time.Until(failed.Add(statsPause)); reason == "compacting" && wait > 0 {
		time.Sleep(wait)
	}
}

// pauseTableStats slows Pebble's collection of table statistics down after an error: it tries again at once and for ever, and would keep a
// processor busy, and fill the log, for as long as one block of one table is damaged. There is nothing to set for that; but it reports each
// error through a listener, from its own goroutine and with no lock held, and waits for that to return.
func pauseTableStats() {
	if inTableStats() {
		time.Sleep(statsPause)
	}
}

// inTableStats reports whether Pebble's collection of table statistics has called.
func inTableStats() bool { return calledBy(".(*DB).collectTableStats") }

// calledBy reports whether a function whose full name ends so is among the last to have called.
func calledBy(name string) bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}
