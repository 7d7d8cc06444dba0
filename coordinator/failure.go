package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/mutation"
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
		e.Needed, e.Got = w.needed, w.got
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
	f.mu.Unlock()
	if siblings {
		return c.fail(w, Siblings, "a replica holds siblings of a lower n that the context does not cover: read them, then write with that context")
	}
	return c.fail(w, QuorumTimeout, fmt.Sprintf("%d of %d acknowledgements; the write may be seen later", w.got, w.needed))
}

const siblingsDetail = "it holds siblings of a lower n"

// undecided is the answer to a write whose time ran out between two rounds.
func (c *Coordinator) undecided(w *writing) *Error {
	if w.made {
		return c.fail(w, QuorumTimeout, "the write had to be made again, and time or tries ran out")
	}
	return c.fail(w, QuorumUnavailable, "the membership did not settle in time; nothing was written")
}

// storeFailed is the answer to a write that this node's own store refused.
func (c *Coordinator) storeFailed(w *writing, err error) *Error {
	switch {
	case errors.Is(err, errUnsynced):
		c.log.Error("a write was made and could not be synced", "bucket", w.key.Bucket, "key", w.key.Key, "err", err)
		return c.fail(w, QuorumTimeout, "this node's disk failed before the write was durable; it may be seen later")
	case errors.Is(err, version.ErrSiblings):
		return c.fail(w, Siblings, "raising n would leave siblings that the context does not cover: read them, then write with that context")
	case errors.Is(err, version.ErrStamp), errors.Is(err, version.ErrDot):
		return c.fail(w, BadRequest, badToken)
	case errors.Is(err, store.ErrTooLarge):
		return c.fail(w, Siblings, "the record would be too large: read the siblings, then write one value with their context")
	case w.made:
		return c.fail(w, QuorumTimeout, "the write had to be made again, and this node's store refused that: "+err.Error())
	case errors.Is(err, store.ErrNoSpace):
		return c.fail(w, NoSpace, "this node's disk is full")
	case errors.Is(err, store.ErrReadOnly):
		return c.fail(w, NoSpace, "this node's disk takes no writes")
	case errors.Is(err, store.ErrClosed):
		return c.fail(w, Draining, "this node is shutting down")
	}
	c.log.Error("a write failed in the store", "bucket", w.key.Bucket, "key", w.key.Key, "err", err)
	e := c.fail(w, Overloaded, "this node's store failed and is being reopened")
	e.RetryAfter = retrySoon
	return e
}
