package history

import "time"

// Clock turns moments into nanoseconds since the start of a run. All operations of a run are on one Clock; since Go's time.Now carries a monotonic
// reading, it neither jumps nor goes back when the machine's time is set.
type Clock struct{ start time.Time }

// NewClock starts a clock.
func NewClock(start time.Time) Clock { return Clock{start} }

// At is now on the clock.
func (c Clock) At(now time.Time) int64 { return now.Sub(c.start).Nanoseconds() }

// Time is the moment of a reading of the clock.
func (c Clock) Time(at int64) time.Time { return c.start.Add(time.Duration(at)) }
