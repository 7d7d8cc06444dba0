package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/ring"
)

// ErrCorrupt is returned for a message, or a saved value, that this package did not write.
var ErrCorrupt = errors.New("cluster: corrupt message")

// wireFormat is the first byte of every message, gossip state and saved value of this package but the table, which has its own.
const wireFormat = 1

// What a message may hold of a table; a longer one makes it corrupt.
const maxTableBytes = 8 << 20 // above what ring.MaxMembers rows take

// writer appends the parts of a message. Strings and slices are length-prefixed.
type writer struct{ b []byte }

func newWriter(kind ...byte) *writer { return &writer{b: append([]byte{wireFormat}, kind...)} }

func (w *writer) u64(v uint64)  { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) id(id ring.ID) { w.b = append(w.b, id[:]...) }

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
		return
	}
	w.b = append(w.b, 0)
}

func (w *writer) bytes(p []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(p)))
	w.b = append(w.b, p...)
}

// scanner takes a message apart. After the first failure it returns zero values, so a decoder checks once, with done.
type scanner struct {
	rest []byte
	bad  bool
}

// scan starts on a message and takes its format byte.
func scan(b []byte) *scanner {
	s := &scanner{rest: b}
	s.bad = s.byte() != wireFormat
	return s
}

func (s *scanner) take(n uint64) []byte {
	if s.bad || n > uint64(len(s.rest)) {
		s.bad = true
		return nil
	}
	out := s.rest[:n:n]
	s.rest = s.rest[n:]
	return out
}

func (s *scanner) byte() byte {
	if b := s.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (s *scanner) bool() bool {
	b := s.byte()
	s.bad = s.bad || b > 1
	return b == 1
}

func (s *scanner) u64() uint64 {
	if b := s.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (s *scanner) id() (id ring.ID) {
	copy(id[:], s.take(uint64(len(id))))
	return id
}

func (s *scanner) bytes(limit uint64) []byte {
	n, size := binary.Uvarint(s.rest)
	if size <= 0 || n > limit || size > 1 && s.rest[size-1] == 0 {
		s.bad = true
		return nil
	}
	s.take(uint64(size))
	return s.take(n)
}

// table reads an encoded table; an empty slice is the zero table.
func (s *scanner) table() ring.Table {
	t, err := decodeTable(s.bytes(maxTableBytes))
	s.bad = s.bad || err != nil
	return t
}

// done reports whether the whole message was understood.
func (s *scanner) done(what string) error {
	if s.bad || len(s.rest) > 0 {
		return fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return nil
}
