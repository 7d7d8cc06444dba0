package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/mutation"
	"github.com/quorate/quorate/internal/ration"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/version"
)

// Retry-After of the failures that pass by themselves.
const (
	retrySoon  = time.Second
	retryLater = 5 * time.Second
)

const badToken = "the context names writes that never were"

// fail builds the Error of a write. Whether it may be seen later follows from whether a version was made.
func (c *Coordinator) fail(w *writing, code Code, detail string) *Error {
	e := &Error{Code: code, Detail: detail, Indeterminate: w.made && !mutation.ClaimNotWritten, N: w.n, Coordinator: c.cfg.Name}
	if code == QuorumTimeout {
		e.Needed, e.Got, e.Fallbacks = w.needed, w.got, w.stood
	}
	switch code {
	case NoSpace, ClockSkew:
		e.RetryAfter = retryLater
	case NotReady, Overloaded, Draining:
		e.RetryAfter = retrySoon
	}
	if f := w.sent; f != nil {
		f.mu.Lock()
		e.Replicas = f.replicas(true, time.Now())
		f.mu.Unlock()
	}
	return e
}

// unmet is the answer to a write that can no longer reach w, or not in time. What was written stays.
func (c *Coordinator) unmet(w *writing) *Error {
	f := w.sent
	f.mu.Lock()
	siblings := false
	for i := range f.slots {
		siblings = siblings || f.slots[i].detail == siblingsDetail
	}
	if f.standby != nil {
		for j := range f.standby.slots {
			siblings = siblings || f.standby.slots[j].detail == siblingsDetail
		}
	}
	f.mu.Unlock()
	if siblings {
		return c.fail(w, Siblings, "a replica holds siblings of a lower n that the context does not cover: read them, then write with that context")
	}
	return c.fail(w, QuorumTimeout, fmt.Sprintf("%d of %d acknowledgements; the write may be seen later", w.got, w.needed))
}

// inOne goes on with where the owners are, if there are several layouts to count in.
func (g *groups) inOne() string {
	if g.count == 1 {
		return ""
	}
	return fmt.Sprintf(" in one of %d layouts that count", g.count)
}

// dividedDetail says why the owners of a key are too many to count.
func (v *View) dividedDetail(p ring.Partition, n int) string {
	return fmt.Sprintf("several changes of the ring have just met: the key has other owners in each of %d layouts, and a request counts in %d at most; they become one in a moment",
		len(v.Rings.WriteGroups(p, n)), quorum.MaxGroups)
}

// orStandIns goes on with what may count beside owners.
func orStandIns(f *fanout) string {
	if f.standby == nil {
		return ""
	}
	return " or fallbacks in their places"
}

const siblingsDetail = "it holds siblings of a lower n"

// undecided is the answer to a write whose time ran out between two rounds.
func (c *Coordinator) undecided(w *writing) *Error {
	if w.made {
		return c.fail(w, QuorumTimeout, "the write had to be made again, and time or tries ran out")
	}
	return c.fail(w, QuorumUnavailable, "this node and the key's owners did not come to see the same layouts in time; nothing was written")
}

// tooLate is the answer to a write whose time was up before its version, or another one, could be made.
func (c *Coordinator) tooLate(w *writing) *Error {
	if w.made {
		return c.fail(w, QuorumTimeout, "the write had to be made again, and time ran out")
	}
	return c.fail(w, Overloaded, "the time was up before this node came to write anything")
}

// storeFailed is the answer to a write that this node's own store refused.
func (c *Coordinator) storeFailed(w *writing, err error) *Error {
	switch {
	case errors.Is(err, errUnsynced):
		c.logWrite(c.unsynced, "a write was made and could not be synced", w, err)
		return c.fail(w, QuorumTimeout, "this node's disk failed before the write was durable; it may be seen later")
	case errors.Is(err, errTooLate):
		return c.tooLate(w)
	case errors.Is(err, version.ErrSiblings):
		return c.fail(w, Siblings, "raising n would leave siblings that the context does not cover: read them, then write with that context")
	case errors.Is(err, version.ErrStamp), errors.Is(err, version.ErrDot):
		return c.fail(w, BadRequest, badToken)
	case errors.Is(err, store.ErrTooLarge):
		return c.fail(w, Siblings, "the record would be too large: read the siblings, then write one value with their context")
	case w.made:
		return c.fail(w, QuorumTimeout, "the write had to be made again, and this node's store refused that: "+err.Error())
	case errors.Is(err, store.ErrHandOffSpace):
		return c.fail(w, Overloaded, "no owner of the key can be reached, and this node's space for hand-offs is full")
	case errors.Is(err, store.ErrNoSpace):
		return c.fail(w, NoSpace, "this node's disk is full")
	case errors.Is(err, store.ErrReadOnly):
		return c.fail(w, NoSpace, "this node's disk takes no writes")
	case errors.Is(err, store.ErrClosed):
		return c.fail(w, Draining, "this node is shutting down")
	}
	c.logWrite(c.storeErrs, "a write failed in the store", w, err)
	e := c.fail(w, Overloaded, "this node's store failed and is being reopened")
	e.RetryAfter = retrySoon
	return e
}

func (c *Coordinator) logWrite(of *ration.Ration, what string, w *writing, err error) {
	if left, ok := of.Take(time.Now()); ok {
		c.log.Error(what, "bucket", w.key.Bucket, "key", w.key.Key, "err", err, "left_out", left)
	}
}
