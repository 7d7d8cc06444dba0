package load

import (
	"sync"
	"time"

	"github.com/quorate/quorate/bench/workload"
)

// arrivals is the schedule of an open loop for one node, shared by all connections to it: whoever is free takes the next arrival and waits for its
// time. So no arrival waits while a connection to its node is free, and those that wait need no queue. A node that stalls gets as many arrivals as
// the others: if these took its share, it would be sampled too rarely. It is safe for concurrent use.
type arrivals struct {
	frontier *workload.Frontier
	gap      float64 // mean, in nanoseconds

	mu     sync.Mutex
	stream *workload.Stream
	at     float64 // of the last arrival, in nanoseconds since the beginning
}

// newArrivals is node i's part of the rate, which so many nodes share alike.
func newArrivals(cfg Config, frontier *workload.Frontier, i, nodes int) *arrivals {
	const stream = 1 << 63 // from here on they are no connection's numbers
	return &arrivals{frontier: frontier, gap: float64(nodes) * float64(time.Second) / cfg.Rate, stream: workload.NewStream(cfg.Workload, stream+uint64(i))}
}

// next returns the next arrival, as time since the beginning.
func (a *arrivals) next() (time.Duration, workload.Op) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at += a.gap * a.stream.Exp()
	return time.Duration(a.at), a.stream.Next(a.frontier.Exist())
}
