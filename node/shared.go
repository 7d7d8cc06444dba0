package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// shared is the small state that every node holds a copy of: the properties of configured buckets, and the highest
// stamp. It is a lattice (per bucket the entry with the highest stamp wins), travels with the member table, and is on
// disk before anyone is told.
type shared struct {
	node *Node

	mu      sync.Mutex                             // one change at a time; held while it is made durable
	buckets atomic.Pointer[map[string]bucketEntry] // what is in force: a map that is never written, swapped whole
	// met: this node's copy has been on its disk, alone or joined with a peer's. A node that lost its disk takes no requests before
	// that: it would write in the default mode to a bucket that has another.
	met atomic.Bool
}

// bucketEntry is one bucket's state; a deleted one stays, so that the deletion wins over older copies.
type bucketEntry struct {
	Time       uint64          `json:"time"`
	Actor      version.ActorID `json:"actor"`
	Deleted    bool            `json:"deleted,omitempty"`
	Properties Properties      `json:"properties"`
}

func (e bucketEntry) stamp() version.Stamp { return version.Stamp{Time: e.Time, Actor: e.Actor} }

// sharedState is what travels. JSON, because it is rare, small and worth reading in a capture.
type sharedState struct {
	Format  int                    `json:"format"`
	Clock   uint64                 `json:"clock"`
	Buckets map[string]bucketEntry `json:"buckets,omitempty"`
}

const (
	sharedFormat = 1
	sharedMeta   = "node/buckets"
	// MaxBuckets bounds the buckets that ever were configured: at 200 bytes each they stay far below what travels with
	// the member table.
	MaxBuckets = 10_000
)

// ErrTooManyBuckets refuses a further bucket name: MaxBuckets are configured, or were.
var ErrTooManyBuckets = fmt.Errorf("%w: more than %d bucket names have been configured", ErrBadProperty, MaxBuckets)

func newShared(n *Node) (*shared, error) {
	s := &shared{node: n}
	s.buckets.Store(&map[string]bucketEntry{})
	b, err := n.store.LoadMeta(sharedMeta)
	if err != nil || b == nil {
		return s, err
	}
	var st sharedState
	if err := json.Unmarshal(b, &st); err != nil || st.Format != sharedFormat {
		return nil, fmt.Errorf("node: the stored bucket properties cannot be read (format %d): %w", st.Format, err)
	}
	if st.Buckets != nil {
		s.buckets.Store(&st.Buckets)
	}
	s.met.Store(true)
	n.hlc.Observe(n.cfg.World.Now(), version.Stamp{Time: st.Clock})
	return s, nil
}

// State implements cluster.Extra. A node that has still to hear of the properties itself has none to tell.
func (s *shared) State() []byte {
	if s.missing() {
		return nil
	}
	return s.encode(*s.buckets.Load())
}

// missing reports whether this node lost its disk and has not heard from anybody yet what was configured.
func (s *shared) missing() bool {
	if s.met.Load() {
		return false
	}
	v := s.node.member.View()
	return v.Layout == nil || v.Peers[v.Self].Gaining
}

func (s *shared) encode(buckets map[string]bucketEntry) []byte {
	b, err := json.Marshal(sharedState{Format: sharedFormat, Clock: s.node.hlc.Last(), Buckets: buckets})
	if err != nil {
		panic(fmt.Sprintf("node: bucket properties that were validated do not marshal: %v", err))
	}
	return b
}

// Merge implements cluster.Extra: it joins a peer's state and saves the result. A bucket that is not valid is left out.
func (s *shared) Merge(state []byte) error {
	var st sharedState
	if err := json.Unmarshal(state, &st); err != nil {
		return fmt.Errorf("node: a peer's bucket properties cannot be read: %w", err)
	}
	if st.Format != sharedFormat {
		return fmt.Errorf("node: a peer's bucket properties have format %d, this node speaks %d", st.Format, sharedFormat)
	}
	s.node.hlc.Observe(s.node.cfg.World.Now(), version.Stamp{Time: st.Clock})
	s.mu.Lock()
	defer s.mu.Unlock()
	var next map[string]bucketEntry
	now := *s.buckets.Load()
	for name, e := range st.Buckets {
		if old, ok := now[name]; ok && old.stamp().Compare(e.stamp()) >= 0 {
			continue
		}
		if !ValidBucket(name) || !e.Deleted && e.Properties.validate() != nil {
			continue
		}
		if next == nil {
			next = maps.Clone(now)
		}
		if _, known := next[name]; known || len(next) < MaxBuckets {
			next[name] = e
		}
	}
	if next == nil && s.met.Load() {
		return nil
	}
	if next == nil {
		next = now // that there is nothing else is worth keeping, too
	}
	return s.save(next)
}

// save makes next durable and then current. The caller holds s.mu.
func (s *shared) save(next map[string]bucketEntry) error {
	if err := s.node.store.SaveMeta(sharedMeta, s.encode(next)); err != nil {
		return fmt.Errorf("node: saving bucket properties: %w", err)
	}
	s.buckets.Store(&next)
	s.met.Store(true)
	return nil
}

// set records one bucket's new entry, above any it had.
func (s *shared) set(name string, e bucketEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := *s.buckets.Load()
	old, known := now[name]
	if !known && len(now) >= MaxBuckets {
		return ErrTooManyBuckets
	}
	st := s.node.hlc.Next(s.node.cfg.World.Now(), old.stamp(), s.node.store.Actor())
	e.Time, e.Actor = st.Time, st.Actor
	next := maps.Clone(now)
	next[name] = e
	return s.save(next)
}

func (s *shared) get(name string) (Properties, bool) {
	e, ok := (*s.buckets.Load())[name]
	return e.Properties, ok && !e.Deleted
}

// Defaults are the properties of a bucket that was never configured.
func (n *Node) Defaults() Properties {
	return Properties{N: n.cfg.N, W: n.cfg.W, R: n.cfg.R, Conflict: conflictLWW}
}

// Bucket returns the properties in force for a bucket, and whether they were configured.
func (n *Node) Bucket(name string) (Properties, bool) {
	if p, ok := n.shared.get(name); ok {
		return p, true
	}
	return n.Defaults(), false
}

// Buckets lists the configured buckets by name.
func (n *Node) Buckets() []NamedBucket {
	now := *n.shared.buckets.Load()
	out := make([]NamedBucket, 0, len(now))
	for name, e := range now {
		if !e.Deleted {
			out = append(out, NamedBucket{Name: name, Properties: e.Properties})
		}
	}
	slices.SortFunc(out, func(a, b NamedBucket) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// SetBucket configures a bucket. When it returns, the properties are on this node's disk and every peer that answers
// has been told; the others learn by gossip. Errors wrap ErrBadProperty, or the disk's.
func (n *Node) SetBucket(ctx context.Context, name string, p Properties) (Properties, error) {
	if err := p.validate(); err != nil {
		return p, err
	}
	if err := n.shared.set(name, bucketEntry{Properties: p}); err != nil {
		return p, n.diskError(err)
	}
	n.tell(ctx)
	return p, nil
}

// diskError says that a disk is full in the words of the client API.
func (n *Node) diskError(err error) error {
	if errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrReadOnly) {
		e := n.refuse(coordinator.NoSpace, "this node's disk takes no writes")
		e.RetryAfter = retryNoSpace
		return e
	}
	return err
}

const retryNoSpace = 5 * time.Second

// DeleteBucket puts a bucket back to the defaults; its keys stay. Deleting one that is not configured does nothing.
func (n *Node) DeleteBucket(ctx context.Context, name string) error {
	old, configured := n.shared.get(name)
	if !configured {
		return nil
	}
	// A deleted entry keeps its last properties: they are valid, so it reads back like any other.
	if err := n.shared.set(name, bucketEntry{Deleted: true, Properties: old}); err != nil {
		return n.diskError(err)
	}
	n.tell(ctx)
	return nil
}

// tell sends the shared state to every peer that is up, and waits for those that answer soon.
func (n *Node) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	state := n.shared.State()
	deadline, _ := ctx.Deadline()
	v := n.member.View()
	done := make(chan struct{}, len(v.Peers))
	asked := 0
	for id, p := range v.Peers {
		if id != v.Self && !p.Down {
			n.rpc.Go(id, kindShared, state, deadline, func(transport.Response) { done <- struct{}{} })
			asked++
		}
	}
	n.cluster.Push()
	for range asked {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

const (
	conflictLWW      = "lww"
	conflictSiblings = "siblings"
)

func (p Properties) validate() error {
	if p.Conflict != conflictLWW && p.Conflict != conflictSiblings {
		return fmt.Errorf("%w: conflict %q: want lww or siblings", ErrBadProperty, p.Conflict)
	}
	if err := (quorum.Params{N: p.N, W: p.W, R: p.R}).Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadProperty, err)
	}
	return nil
}

func (p Properties) mode() version.Mode {
	if p.Conflict == conflictSiblings {
		return version.Siblings
	}
	return version.LWW
}

// ValidBucket reports whether a name can name a bucket: 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot or dash.
func ValidBucket(name string) bool {
	if len(name) < 1 || len(name) > 64 || name[0] == '.' || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

var _ cluster.Extra = (*shared)(nil)
