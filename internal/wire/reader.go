// Package wire reads what another node, or a disk, has written: front to back, within bounds, without a panic, and only in the form that an encoder writes.
// It is the part that all decoders share; what the bytes mean is each package's own matter.
package wire

import (
	"encoding/binary"
	"fmt"
)

// Reader takes a message apart. The first fault sticks: from then on every read returns zero, so a decoder looks once, at the end. What it returns aliases the
// message. The zero Reader reads the empty message.
type Reader struct {
	rest []byte
	why  string // of the first fault, "" before
}

// Read starts on a message.
func Read(b []byte) Reader { return Reader{rest: b} }

// Fail notes a fault, in words that follow "corrupt: ".
func (r *Reader) Fail(why string) {
	if r.why == "" {
		r.why = why
	}
	r.rest = nil
}

// Check fails for those words unless ok.
func (r *Reader) Check(ok bool, why string) {
	if !ok {
		r.Fail(why)
	}
}

// Failed reports whether there was a fault. A loop over a number that the message gave must look.
func (r *Reader) Failed() bool { return r.why != "" }

// Left is the number of bytes that are still to be read.
func (r *Reader) Left() int { return len(r.rest) }

// Rest takes all that is left.
func (r *Reader) Rest() []byte { return r.Take(uint64(len(r.rest))) }

// Take returns the next n bytes, nil if there are fewer.
func (r *Reader) Take(n uint64) []byte {
	if r.why != "" || n > uint64(len(r.rest)) {
		r.Fail("cut short")
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Bool reads a byte of 0 or 1.
func (r *Reader) Bool() bool {
	b := r.Byte()
	r.Check(b <= 1, "bad flag")
	return b == 1
}

// U64 reads eight bytes, the lowest first.
func (r *Reader) U64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Uvarint reads a number of at most limit, in its shortest form.
func (r *Reader) Uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	// A last byte of zero beyond the first says that fewer bytes would have done.
	if n <= 0 || v > limit || n > 1 && r.rest[n-1] == 0 {
		r.Fail("bad number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Bytes reads a uvarint, of at most limit, and as many bytes.
func (r *Reader) Bytes(limit uint64) []byte { return r.Take(r.Uvarint(limit)) }

// Text is Bytes as a string, which aliases nothing.
func (r *Reader) Text(limit uint64) string { return string(r.Bytes(limit)) }

// End is nil if the whole message was read without a fault, and wraps corrupt if not.
func (r *Reader) End(corrupt error) error {
	if len(r.rest) > 0 {
		r.Fail(fmt.Sprintf("%d bytes too many", len(r.rest)))
	}
	return r.Err(corrupt)
}

// Err is End for a message of which more is to be read.
func (r *Reader) Err(corrupt error) error {
	if r.why == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", corrupt, r.why)
}

// AppendBytes writes what Bytes reads.
func AppendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// AppendText writes what Text reads.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBool writes what Bool reads.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Part lets fn read the next part, from all that is left: fn returns what follows it.
func (r *Reader) Part(fn func(b []byte) (rest []byte, err error)) {
	if r.why != "" {
		return
	}
	rest, err := fn(r.rest)
	if err != nil {
		r.Fail(err.Error())
		return
	}
	r.rest = rest
}
