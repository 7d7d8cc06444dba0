package transport

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/quorate/quorate/ring"
)

// Versions of the protocol that this build speaks. A release that adds one still speaks the one before, so that a cluster can be upgraded node by
// node; the acceptor picks the highest that both sides have. Before the first release there is one.
const (
	minVersion = 3 // requests carry the digest of a view; before, a layout's hash, which says too little (ring/layouts, invariant 3)
	maxVersion = 3
)

const (
	maxName      = 255
	helloMagic   = "quorate\x01" // the last byte counts layouts of the handshake itself, which versions never change
	maxHelloRest = 1024
)

// verdict is the acceptor's answer. The dialer's own hello always says accepted.
type verdict uint8

const (
	verdictAccepted verdict = iota
	verdictForeign          // another cluster
	verdictStranger         // the dialer wants another node than the one that answers
	verdictVersion          // no version in common
)

// hello is what both sides say first. Layout: magic, length of the rest (u16), and the rest: verdict, lowest and highest version (after acceptance
// both are the chosen one), own ID, wanted ID (zero: whoever answers; in the acceptor's: the dialer), largest body (u32), cluster and name, each with a length byte.
// What a later version may append to the rest is skipped.
type hello struct {
	verdict  verdict
	min, max uint8
	self     ring.ID
	want     ring.ID
	maxFrame uint32
	cluster  string
	name     string
}

func (own hello) append(dst []byte) []byte {
	rest := 3 + 2*len(ring.ID{}) + 4 + 1 + len(own.cluster) + 1 + len(own.name)
	dst = append(dst, helloMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(rest))
	dst = append(dst, byte(own.verdict), own.min, own.max)
	dst = append(dst, own.self[:]...)
	dst = append(dst, own.want[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, own.maxFrame)
	dst = append(dst, byte(len(own.cluster)))
	dst = append(dst, own.cluster...)
	dst = append(dst, byte(len(own.name)))
	return append(dst, own.name...)
}

// readHello reads one hello and not a byte more. Its error wraps ErrProtocol if the bytes are not a hello.
func readHello(r io.Reader) (hello, error) {
	var first [len(helloMagic) + 2]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return hello{}, fmt.Errorf("reading the handshake: %w", err)
	}
	if string(first[:len(helloMagic)]) != helloMagic {
		return hello{}, fmt.Errorf("%w: handshake begins with %q", ErrProtocol, first[:len(helloMagic)])
	}
	size := binary.LittleEndian.Uint16(first[len(helloMagic):])
	if size > maxHelloRest {
		return hello{}, fmt.Errorf("%w: handshake of %d bytes", ErrProtocol, size)
	}
	rest := make([]byte, size)
	if _, err := io.ReadFull(r, rest); err != nil {
		return hello{}, fmt.Errorf("reading the handshake: %w", err)
	}
	return parseHello(rest)
}

func parseHello(b []byte) (hello, error) {
	const fixed = 3 + 2*len(ring.ID{}) + 4
	if len(b) < fixed {
		return hello{}, fmt.Errorf("%w: handshake cut short", ErrProtocol)
	}
	h := hello{verdict: verdict(b[0]), min: b[1], max: b[2], self: ring.ID(b[3:19]), want: ring.ID(b[19:35]), maxFrame: binary.LittleEndian.Uint32(b[35:])}
	b = b[fixed:]
	for _, s := range []*string{&h.cluster, &h.name} {
		if len(b) == 0 || len(b)-1 < int(b[0]) {
			return hello{}, fmt.Errorf("%w: handshake cut short", ErrProtocol)
		}
		*s = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	switch {
	case h.min == 0 || h.min > h.max:
		return hello{}, fmt.Errorf("%w: versions %d to %d", ErrProtocol, h.min, h.max)
	case h.self.IsZero() || h.cluster == "" || h.name == "":
		return hello{}, fmt.Errorf("%w: handshake of nobody", ErrProtocol)
	case h.maxFrame == 0 || h.maxFrame > frameCeiling:
		return hello{}, fmt.Errorf("%w: largest body of %d bytes", ErrProtocol, h.maxFrame)
	}
	return h, nil
}

// judge is the acceptor's answer to a dialer's hello.
func (own hello) judge(theirs hello) hello {
	own.want = theirs.self
	low, high := max(own.min, theirs.min), min(own.max, theirs.max)
	switch {
	case theirs.cluster != own.cluster:
		own.verdict = verdictForeign
	case !theirs.want.IsZero() && theirs.want != own.self:
		own.verdict = verdictStranger
	case low > high:
		own.verdict = verdictVersion
	default:
		own.min, own.max = high, high
	}
	return own
}

// accept is the dialer's reading of the acceptor's answer: nil, or an error that says what each side has and wraps ErrRefused.
func (own hello) accept(theirs hello) error {
	switch {
	case theirs.cluster != own.cluster || theirs.verdict == verdictForeign:
		return fmt.Errorf("%w: cluster %q answered, this node is of %q", ErrRefused, theirs.cluster, own.cluster)
	case !own.want.IsZero() && theirs.self != own.want || theirs.verdict == verdictStranger:
		return fmt.Errorf("%w: node %v (%s) answered, %v was wanted", ErrRefused, theirs.self, theirs.name, own.want)
	case theirs.verdict == verdictVersion || theirs.min > own.max || theirs.max < own.min:
		return fmt.Errorf("%w: node %s speaks protocol versions %d to %d, this node %d to %d", ErrRefused, theirs.name, theirs.min, theirs.max, own.min, own.max)
	case theirs.verdict != verdictAccepted:
		return fmt.Errorf("%w: verdict %d of node %s", ErrRefused, theirs.verdict, theirs.name)
	case theirs.want != own.self:
		return fmt.Errorf("%w: node %s took this node for %v", ErrRefused, theirs.name, theirs.want)
	}
	return nil
}
