package transport

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/ring"
)

// Kind tells requests apart. The layers above number their own; see Endpoint.Handle.
type Kind uint8

// Class says which of the fault matrix's trips a kind's request and response are.
type Class uint8

const (
	ClassOther Class = iota // neither read nor write: only rules for any kind meet it
	ClassWrite              // request "write", response "ack"
	ClassRead               // request "read", response "response"
)

// Status is the remote side's verdict on a request that it received.
type Status uint8

const (
	StatusOK          Status = 0
	StatusOverloaded  Status = 1 // the request met a bound of the remote side, and no handler ran
	StatusUnknownKind Status = 2 // the remote side has no handler for the kind, and did nothing
	StatusTooLarge    Status = 3 // the handler ran, and its response was larger than a frame may be
	StatusLost        Status = 4 // the handler ran, and its response met a bound of the remote side

	// StatusApp is the first status that the layers above may give a meaning of their own.
	StatusApp Status = 16
)

// String names the status as logs and error details show it.
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusOverloaded:
		return "overloaded"
	case StatusUnknownKind:
		return "unknown kind"
	case StatusTooLarge:
		return "response too large"
	case StatusLost:
		return "response lost"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// What keeps a call from being answered. Response.Err and the errors in Health wrap one of these.
var (
	ErrUnreachable = errors.New("transport: peer unreachable")     // no connection, or not in the address book; never sent
	ErrTimeout     = errors.New("transport: deadline passed")      // no response in time
	ErrLost        = errors.New("transport: connection lost")      // it broke with the call pending
	ErrOverloaded  = errors.New("transport: too much in flight")   // a bound of this node; never sent
	ErrTooLarge    = errors.New("transport: request too large")    // larger than this or the remote node's frames may be; never sent
	ErrClosed      = errors.New("transport: endpoint not open")    // before Open or after Close
	ErrRefused     = errors.New("transport: handshake refused")    // wrapped together with ErrUnreachable; says that retrying will not help by itself
	ErrProtocol    = errors.New("transport: protocol violation")   // the remote side sent what is not a frame
	errSilent      = errors.New("transport: peer has gone silent") // wrapped together with ErrLost
)

// Response is the outcome of a call. With Err nil the remote side answered, and Status says what.
type Response struct {
	Status Status
	Body   []byte // belongs to the caller
	Err    error
	Sent   bool      // false: the request certainly never left this node, and never will
	At     time.Time // when the outcome was known: for an answer, when the bytes that it came with were read
}

// Request is what a Handler gets.
type Request struct {
	From     ring.ID
	Kind     Kind
	Body     []byte // belongs to the handler
	Deadline time.Time

	to replier
}

// replier is where an answer goes.
type replier interface {
	reply(status Status, body []byte)
}

type replyFunc func(Status, []byte)

func (f replyFunc) reply(status Status, body []byte) { f(status, body) }

// NewRequest makes a request that did not come over a connection. reply gets its answer.
func NewRequest(from ring.ID, kind Kind, body []byte, deadline time.Time, reply func(Status, []byte)) Request {
	return Request{From: from, Kind: kind, Body: body, Deadline: deadline, to: replyFunc(reply)}
}

// Reply answers the request. It must be called exactly once (a second time panics), from any goroutine, before or after the handler
// returns; it copies body, does not block, and does nothing once the endpoint or the connection is closed. Until then the request counts
// against the bounds.
func (r *Request) Reply(status Status, body []byte) { r.to.reply(status, body) }

// Handler serves requests of one kind. It may block, and holds up no other by that; one that never does costs less, since it shares a goroutine.
type Handler func(Request)

// Peer is one line of the address book.
type Peer struct {
	Name string // by which fault rules know it
	Addr string // host:port
}

// Health is how calls to a peer have been going. The zero value is a peer never called.
type Health struct {
	Up       bool          // a connection stands
	Failures int           // calls and dials that failed since the last response
	LastOK   time.Time     // of the last response
	LastErr  error         // of the last failure since then; nil if none
	RTT      time.Duration // smoothed time from call to response, the handler's included; 0 before the first
	Slow     time.Duration // a response later than this is unusual (RTT + 4 deviations, RFC 6298); 0 before the first
}

// Stats counts since the endpoint was made, except the last four, which are gauges.
type Stats struct {
	Calls, Responses                           uint64 // calls handed to a connection or its wait, and answers that found theirs
	Timeouts, Lost, Unreachable, Overloaded    uint64 // calls that failed so
	Requests, RequestsRefused, UnknownRequests uint64 // received, met a bound here, of an unknown kind
	BytesIn, BytesOut                          uint64
	Dials, DialFailures, Broken                uint64 // connections tried, not made, and broken later
	HandshakesRefused                          uint64 // by this side, of those who dialled it
	FaultDrops, FaultDelays                    uint64 // messages that the fault matrix took or held

	Running, HeldBytes, Accepted, Connected int64 // handlers' requests not replied to, their bodies, connections in, connections out
}
