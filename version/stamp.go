package version

import (
	"cmp"
	"fmt"
	"math"
	"sync"
	"time"
)

// MaxSkew is how far ahead of a node's own time a stamp may be and still be adopted as the node's clock. Clocks
// kept by NTP differ by milliseconds; a clock that is further off must not drag every other with it.
const MaxSkew = 500 * time.Millisecond

// logicalBits is the width of a stamp's counter below the microsecond: 4,096 stamps before it borrows from the
// next microsecond. What is left for microseconds lasts until the year 2112.
const logicalBits = 12

// Stamp is a hybrid logical time (Kulkarni et al. 2014): it follows the wall clock and never inverts causality.
// The zero value lies before every issued stamp.
type Stamp struct {
	Time  uint64  // microseconds since the Unix epoch << 12 | logical counter
	Actor ActorID // who issued it; settles ties between nodes
}

// Compare is the total order of stamps: by time, then actor. No two versions of a key have one stamp.
func (s Stamp) Compare(o Stamp) int {
	if c := cmp.Compare(s.Time, o.Time); c != 0 {
		return c
	}
	return cmp.Compare(s.Actor, o.Actor)
}

// IsZero reports whether s is the zero stamp, which is never issued.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// Wall is the stamp's time of day, in UTC and to the microsecond.
func (s Stamp) Wall() time.Time { return time.UnixMicro(int64(s.Time >> logicalBits)).UTC() }

// String writes the stamp as microseconds.logical@actor.
func (s Stamp) String() string {
	return fmt.Sprintf("%d.%d@%s", s.Time>>logicalBits, s.Time&(1<<logicalBits-1), s.Actor)
}

// Later is the higher of two stamps.
func Later(a, b Stamp) Stamp {
	if a.Compare(b) >= 0 {
		return a
	}
	return b
}

// micros is the stamp time of an instant; one before 1970 or after 2112 counts as the nearest that there is.
func micros(t time.Time) uint64 {
	return min(uint64(max(t.UnixMicro(), 0)), math.MaxUint64>>logicalBits) << logicalBits
}

// HLC is a node's stamp clock. The zero value is ready for use, by any number of goroutines.
type HLC struct {
	mu   sync.Mutex
	last uint64 // highest time issued or adopted; guarded by mu
}

// Next issues a stamp greater than after, and greater than everything this clock issued before or adopted.
//
// There is one exception to the second half. If after is more than MaxSkew ahead of now (a version that a node
// with a bad clock wrote, or a token that somebody made up), the stamp is just above after and the clock does not
// follow, or one key would drag every key and every node into the future. Then the stamp is distinct among those
// of the same key only, which needs what Supersede checks: after is at least every stamp the key's record holds.
// Next never issues a stamp at or below a value that Last returned before.
//
// At the end of the range of time Next returns a stamp that does not exceed after; Supersede refuses it.
func (h *HLC) Next(now time.Time, after Stamp, actor ActorID) Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after.Time > h.last && after.Time > micros(now.Add(MaxSkew)) {
		return Stamp{Time: after.Time + min(1, math.MaxUint64-after.Time), Actor: actor}
	}
	h.last = max(micros(now), h.last+1, after.Time+1)
	return Stamp{Time: h.last, Actor: actor}
}

// Observe adopts a stamp of another node, so that everything issued later exceeds it. It reports false, and adopts
// nothing, if the stamp is more than MaxSkew ahead of now and ahead of this clock.
func (h *HLC) Observe(now time.Time, s Stamp) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.Time <= h.last {
		return true
	}
	if s.Time > micros(now.Add(MaxSkew)) {
		return false
	}
	h.last = s.Time
	return true
}

// Last is the highest stamp time that this clock issued or adopted: every later stamp lies above it.
func (h *HLC) Last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}
