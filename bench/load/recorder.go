package load

import (
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/quorate/quorate/bench/workload"
)

// Histograms count microseconds up to an hour, to three digits.
const (
	mostMicros = int64(time.Hour / time.Microsecond)
	digits     = 3
)

func newHistogram() *hdr.Histogram { return hdr.New(1, mostMicros, digits) }

// micros is d as histograms count it. What is out of their range counts as its end.
func micros(d time.Duration) int64 { return min(max(d.Microseconds(), 1), mostMicros) }

// maxReasons bounds the distinct reasons of one kind; all others count as one. A target could make new ones for ever.
const (
	maxReasons   = 30
	otherReasons = "other reasons"
)

// tally counts what became of the operations of one kind.
type tally struct {
	Succeeded, NotFound, Failed int64
	Reasons                     map[string]int64
	Answered                    *hdr.Histogram // latency of those that did not fail; nil before the first
	Failures                    *hdr.Histogram // of those that did
}

func (t *tally) add(result outcome, reason string, latency time.Duration) {
	if result == failed {
		t.Failed++
		t.blame(reason, 1)
		if t.Failures == nil {
			t.Failures = newHistogram()
		}
		_ = t.Failures.RecordValue(micros(latency)) // it is in range
		return
	}
	if result == notFound {
		t.NotFound++
	} else {
		t.Succeeded++
	}
	if t.Answered == nil {
		t.Answered = newHistogram()
	}
	_ = t.Answered.RecordValue(micros(latency))
}

func (t *tally) blame(reason string, count int64) {
	if t.Reasons == nil {
		t.Reasons = map[string]int64{}
	}
	if _, known := t.Reasons[reason]; !known && len(t.Reasons) >= maxReasons {
		reason = otherReasons
	}
	t.Reasons[reason] += count
}

// merge adds what another has counted.
func (t *tally) merge(from *tally) {
	t.Succeeded += from.Succeeded
	t.NotFound += from.NotFound
	t.Failed += from.Failed
	for reason, count := range from.Reasons {
		t.blame(reason, count)
	}
	mergeHistogram(&t.Answered, from.Answered)
	mergeHistogram(&t.Failures, from.Failures)
}

func mergeHistogram(into **hdr.Histogram, from *hdr.Histogram) {
	if from == nil || from.TotalCount() == 0 {
		return
	}
	if *into == nil {
		*into = newHistogram()
	}
	(*into).Merge(from)
}

// reset forgets all, and keeps the memory.
func (t *tally) reset() {
	t.Succeeded, t.NotFound, t.Failed = 0, 0, 0
	clear(t.Reasons)
	for _, h := range []*hdr.Histogram{t.Answered, t.Failures} {
		if h != nil && h.TotalCount() > 0 {
			h.Reset()
		}
	}
}

// counts is all that is counted in some time.
type counts struct {
	kinds    [workload.Kinds]tally
	siblings int64          // reads that were answered with several values
	requests []int64        // by node
	late     *hdr.Histogram // how late the load itself was: nil in a closed loop
}

func newCounts(nodes int) *counts { return &counts{requests: make([]int64, nodes)} }

func (c *counts) merge(from *counts) {
	for k := range c.kinds {
		c.kinds[k].merge(&from.kinds[k])
	}
	c.siblings += from.siblings
	for i, n := range from.requests {
		c.requests[i] += n
	}
	mergeHistogram(&c.late, from.late)
}

func (c *counts) reset() {
	for k := range c.kinds {
		c.kinds[k].reset()
	}
	c.siblings = 0
	clear(c.requests)
	if c.late != nil {
		c.late.Reset()
	}
}

// total is the sum over all kinds.
func (c *counts) total() *tally {
	var sum tally
	for k := range c.kinds {
		sum.merge(&c.kinds[k])
	}
	return &sum
}

// event is one operation that has ended.
type event struct {
	kind     workload.Kind
	result   outcome
	reason   string
	latency  time.Duration
	node     int
	requests int
	siblings int
	late     time.Duration // negative: not the load's own doing, or a closed loop
}

// shard takes the events of some of the connections. Whoever collects swaps what is counted for an empty one.
type shard struct {
	mu          sync.Mutex
	now, before *counts
	_           [64]byte // keeps the next shard's lock out of this one's cache line
}

func (s *shard) record(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.now
	c.kinds[e.kind].add(e.result, e.reason, e.latency)
	c.siblings += int64(e.siblings)
	c.requests[e.node] += int64(e.requests)
	if e.late >= 0 {
		if c.late == nil {
			c.late = newHistogram()
		}
		_ = c.late.RecordValue(micros(e.late))
	}
}

// recorder is the shards of all connections.
type recorder struct {
	nodes  int
	shards []*shard
}

func newRecorder(shards, nodes int) *recorder {
	r := &recorder{nodes: nodes}
	for range shards {
		r.shards = append(r.shards, &shard{now: newCounts(nodes), before: newCounts(nodes)})
	}
	return r
}

// of is the shard of a connection.
func (r *recorder) of(connection int) *shard { return r.shards[connection%len(r.shards)] }

// collect returns what was counted since the last call. Only one may collect at a time.
func (r *recorder) collect() *counts {
	sum := newCounts(r.nodes)
	for _, s := range r.shards {
		s.mu.Lock()
		s.now, s.before = s.before, s.now
		s.mu.Unlock()
		sum.merge(s.before)
		s.before.reset()
	}
	return sum
}
