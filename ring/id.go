package ring

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
)

// ID is an incarnation: one life of one data directory. It is drawn at random when the directory is born and kept inside it, so a node whose disk was
// lost comes back under its old name with a new ID. Owners, acknowledgements and clocks name IDs; only placement uses names.
type ID [16]byte

// NewID draws an ID from random, which must be good enough that two draws never meet (crypto/rand outside of tests).
func NewID(random io.Reader) (ID, error) {
	var id ID
	for id.IsZero() {
		if _, err := io.ReadFull(random, id[:]); err != nil {
			return ID{}, fmt.Errorf("ring: drawing an incarnation: %w", err)
		}
	}
	return id, nil
}

// ParseID reads what String wrote: 32 hexadecimal digits, not all zero.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("ring: incarnation %.40q: want %d hexadecimal digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("ring: incarnation %q: %w", s, err)
	}
	if id.IsZero() {
		return ID{}, fmt.Errorf("ring: incarnation %q is reserved for nobody", s)
	}
	return id, nil
}

// String is the whole ID in 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first eight digits of String: for logs and drawings, where a name stands beside it.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether id names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs by their bytes. The order means nothing; it only has to be the same everywhere.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText makes an ID a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
