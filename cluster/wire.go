package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
)

// ErrCorrupt is returned for a message, or a saved value, that this package did not write.
var ErrCorrupt = errors.New("cluster: corrupt message")

// wireFormat is the first byte of every message, gossip state and saved value of this package but the table and the layouts, which have their own.
const wireFormat = 2

// What a message may hold; more makes it corrupt.
const (
	maxTableBytes = 8 << 20  // above what ring.MaxMembers rows take
	maxStateBytes = 32 << 20 // above what layouts.MaxLayouts of a hundred members take, with all that is known of each
)

// writer appends the parts of a message. Strings and slices are length-prefixed.
type writer struct{ b []byte }

func newWriter(kind ...byte) *writer { return &writer{b: append([]byte{wireFormat}, kind...)} }

func (w *writer) u64(v uint64)   { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) id(id ring.ID)  { w.b = append(w.b, id[:]...) }
func (w *writer) bool(v bool)    { w.b = wire.AppendBool(w.b, v) }
func (w *writer) bytes(p []byte) { w.b = wire.AppendBytes(w.b, p) }

// scanner reads the messages of this package.
type scanner struct{ wire.Reader }

// scan starts on a message and takes its format byte.
func scan(b []byte) *scanner {
	s := &scanner{wire.Read(b)}
	s.Check(s.Byte() == wireFormat, "another format")
	return s
}

func (s *scanner) id() (id ring.ID) {
	copy(id[:], s.Take(uint64(len(id))))
	return id
}

// table reads an encoded table; an empty slice is the zero table.
func (s *scanner) table() ring.Table {
	t, err := decodeTable(s.Bytes(maxTableBytes))
	s.Check(err == nil, "bad table")
	return t
}

// done reports whether the whole message was understood.
func (s *scanner) done(what string) error {
	if err := s.End(ErrCorrupt); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
