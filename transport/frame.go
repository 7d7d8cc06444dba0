package transport

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A frame is a fixed head and a body. All numbers are little-endian:
//
//	bytes 0..3    length of all that follows these four
//	byte  4       frame type
//	byte  5       request: kind; response: status; otherwise 0
//	bytes 6..13   number of the call, from 1; pings and pongs 0
//	bytes 14..17  request: microseconds that are left until its deadline; otherwise 0
//	bytes 18..    body; pings and pongs have none
//
// Deadlines travel as what is left of them because clocks differ.
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
	left uint32 // microseconds
	body int    // bytes
}

func (h head) put(b *[headSize]byte) {
	binary.LittleEndian.PutUint32(b[0:], uint32(h.body+headSize-4))
	b[4] = byte(h.typ)
	b[5] = h.code
	binary.LittleEndian.PutUint64(b[6:], h.call)
	binary.LittleEndian.PutUint32(b[14:], h.left)
}

// parseHead reads the head of a frame whose body may have maxBody bytes. b has headSize bytes. Whatever put did not write is ErrProtocol.
func parseHead(b []byte, maxBody int) (head, error) {
	length := binary.LittleEndian.Uint32(b)
	h := head{typ: frameType(b[4]), code: b[5], call: binary.LittleEndian.Uint64(b[6:]), left: binary.LittleEndian.Uint32(b[14:])}
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
		if h.call == 0 || h.left != 0 {
			return head{}, fmt.Errorf("%w: response to call %d with %d µs left", ErrProtocol, h.call, h.left)
		}
	case framePing, framePong:
		if h.code != 0 || h.call != 0 || h.left != 0 || h.body != 0 {
			return head{}, fmt.Errorf("%w: ping or pong that carries something", ErrProtocol)
		}
	default:
		return head{}, fmt.Errorf("%w: frame type %d", ErrProtocol, h.typ)
	}
	return h, nil
}

// microseconds is d as a head carries it: at least 1, and at most 71 minutes, which is beyond the longest time-out of a request.
func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 1), math.MaxUint32))
}
