// Package ration bounds how often a thing that may happen with every request is written to the log.
package ration

import (
	"sync"
	"time"
)

// Ration lets one event through in every interval and counts those that it holds back. One Ration is for one kind of event. It is safe for concurrent use; the
// zero Ration lets all through.
type Ration struct {
	every time.Duration
	mu    sync.Mutex
	last  time.Time
	held  uint64
}

// New returns a Ration of one event in an interval.
func New(every time.Duration) *Ration { return &Ration{every: every} }

// Take reports whether an event is let through, and then how many were held back since the last one that was.
func (r *Ration) Take(now time.Time) (held uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < r.every {
		r.held++
		return 0, false
	}
	held, r.held, r.last = r.held, 0, now
	return held, true
}
