package transport

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A frame is a fixed head and a body. All numbers are little-endian:
//
//	bytes 0..3    length of all that follows these four
//	byte  4       frame type
//	byte  5       request: kind; response: status; otherwise 0
//	bytes 6..13   number of the call, from 1; pings and pongs 0
//	bytes 14..17  request: its deadline, in milliseconds since the dialer began the handshake, modulo 2³²; otherwise 0
//	bytes 18..    body; pings and pongs have none
//
// The handshake gives both sides an instant from which each counts with a clock of its own that only runs forward. So a deadline is the same
// moment on both, later at the acceptor by the way of the hello at most, and a request that lay in the buffers of a stopped process comes
// out of them with its time up.
const (
	headSize     = 18
	frameCeiling = 1 << 30 // of a body, whatever the configuration says
)

type frameType uint8

const (
	frameRequest frameType = iota + 1
	frameResponse
	framePing
	framePong
)

type head struct {
	typ  frameType
	code uint8
	call uint64
	due  uint32 // see above
	body int    // bytes
}

func (h head) put(b *[headSize]byte) {
	binary.LittleEndian.PutUint32(b[0:], uint32(h.body+headSize-4))
	b[4] = byte(h.typ)
	b[5] = h.code
	binary.LittleEndian.PutUint64(b[6:], h.call)
	binary.LittleEndian.PutUint32(b[14:], h.due)
}

// parseHead reads the head of a frame whose body may have maxBody bytes. b has headSize bytes. Whatever put did not write is ErrProtocol.
func parseHead(b []byte, maxBody int) (head, error) {
	length := binary.LittleEndian.Uint32(b)
	h := head{typ: frameType(b[4]), code: b[5], call: binary.LittleEndian.Uint64(b[6:]), due: binary.LittleEndian.Uint32(b[14:])}
	if length < headSize-4 || length-(headSize-4) > uint32(maxBody) {
		return head{}, fmt.Errorf("%w: frame of %d bytes, at most %d", ErrProtocol, length, maxBody+headSize-4)
	}
	h.body = int(length) - (headSize - 4)
	switch h.typ {
	case frameRequest:
		if h.call == 0 {
			return head{}, fmt.Errorf("%w: request without a number", ErrProtocol)
		}
	case frameResponse:
		if h.call == 0 || h.due != 0 {
			return head{}, fmt.Errorf("%w: response to call %d with a deadline", ErrProtocol, h.call)
		}
	case framePing, framePong:
		if h.code != 0 || h.call != 0 || h.due != 0 || h.body != 0 {
			return head{}, fmt.Errorf("%w: ping or pong that carries something", ErrProtocol)
		}
	default:
		return head{}, fmt.Errorf("%w: frame type %d", ErrProtocol, h.typ)
	}
	return h, nil
}

// dues translates deadlines for one connection.
type dues struct {
	epoch time.Time // when the handshake began
}

// put is a deadline as a head carries it.
func (d dues) put(deadline time.Time) uint32 {
	return uint32((deadline.Sub(d.epoch) + time.Millisecond - 1) / time.Millisecond)
}

// read is the deadline that a head carries which was read at now: within 24 days of now, before or after.
func (d dues) read(due uint32, now time.Time) time.Time {
	passed := now.Sub(d.epoch) / time.Millisecond
	return d.epoch.Add((passed + time.Duration(int32(due-uint32(passed)))) * time.Millisecond)
}
