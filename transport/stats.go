package transport

import (
	"errors"
	"sync/atomic"
)

// counters are what Stats shows.
type counters struct {
	calls, responses                           atomic.Uint64
	timeouts, lost, unreachable, overloaded    atomic.Uint64
	requests, requestsRefused, unknownRequests atomic.Uint64
	bytesIn, bytesOut                          atomic.Uint64
	dials, dialFailures, broken                atomic.Uint64
	handshakesRefused                          atomic.Uint64
	faultDrops, faultDelays                    atomic.Uint64
	connected                                  atomic.Int64
}

// failed counts a call that got no answer.
func (n *counters) failed(err error) {
	switch {
	case errors.Is(err, ErrTimeout):
		n.timeouts.Add(1)
	case errors.Is(err, ErrLost):
		n.lost.Add(1)
	case errors.Is(err, ErrUnreachable):
		n.unreachable.Add(1)
	case errors.Is(err, ErrOverloaded):
		n.overloaded.Add(1)
	}
}

// Stats is a snapshot; its numbers are read one after the other.
func (e *Endpoint) Stats() Stats {
	n := &e.count
	e.mu.Lock()
	accepted := e.accepted
	e.mu.Unlock()
	return Stats{
		Calls: n.calls.Load(), Responses: n.responses.Load(),
		Timeouts: n.timeouts.Load(), Lost: n.lost.Load(), Unreachable: n.unreachable.Load(), Overloaded: n.overloaded.Load(),
		Requests: n.requests.Load(), RequestsRefused: n.requestsRefused.Load(), UnknownRequests: n.unknownRequests.Load(),
		BytesIn: n.bytesIn.Load(), BytesOut: n.bytesOut.Load(),
		Dials: n.dials.Load(), DialFailures: n.dialFailures.Load(), Broken: n.broken.Load(),
		HandshakesRefused: n.handshakesRefused.Load(),
		FaultDrops:        n.faultDrops.Load(), FaultDelays: n.faultDelays.Load(),
		Running: e.load.running.Load(), HeldBytes: e.load.held.Load(), Accepted: int64(accepted), Connected: n.connected.Load(),
	}
}
