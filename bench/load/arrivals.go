package load

import (
	"sync"
	"time"

	"github.com/quorate/quorate/bench/workload"
)

// arrivals is the schedule of an open loop, shared by all connections: whoever is free takes the next arrival and waits for its time. So no
// arrival waits while a connection is free, and those that wait need no queue. It is safe for concurrent use.
type arrivals struct {
	frontier *workload.Frontier
	gap      float64 // mean, in nanoseconds

	mu     sync.Mutex
	stream *workload.Stream
	at     float64 // of the last arrival, in nanoseconds since the beginning
}

func newArrivals(cfg Config, frontier *workload.Frontier) *arrivals {
	const stream = 1 << 63 // no connection's number
	return &arrivals{frontier: frontier, gap: float64(time.Second) / cfg.Rate, stream: workload.NewStream(cfg.Workload, stream)}
}

// next returns the next arrival, as time since the beginning.
func (a *arrivals) next() (time.Duration, workload.Op) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at += a.gap * a.stream.Exp()
	return time.Duration(a.at), a.stream.Next(a.frontier.Exist())
}
