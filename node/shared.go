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
	// MaxBuckets bounds the buckets that were ever configured, as far as a node knows. Its own requests do not go beyond.
	MaxBuckets = 10_000
	// mostBuckets bounds what several sides of a split have configured apart from each other. At 240 bytes each it is what may travel with
	// the member table (cluster.MaxExtra). Beyond it the first by name stay, on every node the same.
	mostBuckets = 3 * MaxBuckets
)

// ErrTooManyBuckets refuses a further bucket name.
var ErrTooManyBuckets = fmt.Errorf("%d bucket names have been configured, and no more can be; those that exist can be changed and deleted", MaxBuckets)

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

// missing reports whether this node is new, or lost its disk, and has not heard from anybody yet what was configured. Whoever founded the cluster has nothing to hear.
func (s *shared) missing() bool {
	if s.met.Load() {
		return false
	}
	v := s.node.member.View()
	return v.Rings == nil || !v.Rings.Serves(v.Self)
}

func (s *shared) encode(buckets map[string]bucketEntry) []byte {
	b, err := json.Marshal(sharedState{Format: sharedFormat, Clock: s.node.hlc.Last(), Buckets: buckets})
	if err != nil {
		panic(fmt.Sprintf("node: bucket properties that were validated do not marshal: %v", err))
	}
	return b
}

// Merge implements cluster.Extra.
func (s *shared) Merge(state []byte) error {
	_, err := s.join(state)
	return err
}

// join merges a peer's state and saves the result. It returns what the peer lacks, nil if that is nothing. A bucket that is not valid is left
// out.
func (s *shared) join(state []byte) (news []byte, _ error) {
	var st sharedState
	if err := json.Unmarshal(state, &st); err != nil {
		return nil, fmt.Errorf("node: a peer's bucket properties cannot be read: %w", err)
	}
	if st.Format != sharedFormat {
		return nil, fmt.Errorf("node: a peer's bucket properties have format %d, this node speaks %d", st.Format, sharedFormat)
	}
	s.node.hlc.Observe(s.node.cfg.World.Now(), version.Stamp{Time: st.Clock})
	s.mu.Lock()
	defer s.mu.Unlock()
	now := *s.buckets.Load()
	next := maps.Clone(now)
	for name, e := range st.Buckets {
		if old, ok := now[name]; ok && old.stamp().Compare(e.stamp()) >= 0 {
			continue
		}
		if ValidBucket(name) && (e.Deleted || e.Properties.validate() == nil) {
			next[name] = e
		}
	}
	if tooMany := len(next) - mostBuckets; tooMany > 0 {
		names := slices.Sorted(maps.Keys(next))
		for _, name := range names[mostBuckets:] {
			delete(next, name)
		}
		s.node.log.Error("too many buckets have been configured: the properties of the last by name are lost", "lost", tooMany, "first", names[mostBuckets])
	}
	if !s.met.Load() || !maps.Equal(now, next) { // that there is nothing else is worth keeping, too
		if err := s.save(next); err != nil {
			return nil, err
		}
	}
	better := make(map[string]bucketEntry)
	for name, e := range next {
		if theirs, ok := st.Buckets[name]; !ok || e.stamp().Compare(theirs.stamp()) > 0 {
			better[name] = e
		}
	}
	if len(better) == 0 {
		return nil, nil
	}
	return s.encode(better), nil
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

// set records one bucket's new entry, above any it had. It is a client's write, for which the floor of free space is.
func (s *shared) set(name string, e bucketEntry) error {
	if err := s.node.store.Writable(); err != nil {
		return err
	}
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
	e, ok := s.entry(name)
	return e.Properties, ok && !e.Deleted
}

func (s *shared) entry(name string) (bucketEntry, bool) {
	e, ok := (*s.buckets.Load())[name]
	return e, ok
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

// DeleteBucket puts a bucket back to the defaults; its keys stay. It wins over what any node holds, also one that does not answer now: only if
// all members do, and none has ever heard of the bucket, there is nothing to do. Errors are ErrTooManyBuckets, or the disk's.
func (n *Node) DeleteBucket(ctx context.Context, name string) error {
	old, known := n.shared.entry(name)
	if !known {
		all := n.tell(ctx)
		if old, known = n.shared.entry(name); !known && all {
			return nil
		}
	}
	if !known {
		old.Properties = n.Defaults()
	}
	// A deleted entry keeps its last properties: they are valid, so it reads back like any other.
	if err := n.shared.set(name, bucketEntry{Deleted: true, Properties: old.Properties}); err != nil {
		return n.diskError(err)
	}
	n.tell(ctx)
	return nil
}

// tell sends the shared state to every peer that is up, waits for those that answer soon, and takes what they know better. It reports
// whether that was every other member.
func (n *Node) tell(ctx context.Context) (all bool) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	state := n.shared.State()
	deadline, _ := ctx.Deadline()
	v := n.member.View()
	answers := make(chan transport.Response, len(v.Peers))
	asked := 0
	for id, p := range v.Peers {
		if id != v.Self && !p.Down {
			n.rpc.Go(id, kindShared, state, deadline, func(r transport.Response) { answers <- r })
			asked++
		}
	}
	n.cluster.Push()
	all = asked == len(v.Peers)-1
	for range asked {
		select {
		case r := <-answers:
			all = n.learn(&r) && all
		case <-ctx.Done():
			return false
		}
	}
	return all
}

// learn takes a peer's answer to the shared state; false: there is none.
func (n *Node) learn(r *transport.Response) bool {
	if r.Err != nil || r.Status != transport.StatusOK {
		return false
	}
	if len(r.Body) == 0 {
		return true
	}
	if err := n.shared.Merge(r.Body); err != nil {
		n.log.Warn("what a peer knows of the buckets was not merged", "err", err)
		return false
	}
	return true
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
