package version

import "encoding/binary"

// reader takes an encoding apart. Once something is wrong it stays bad, has no more bytes and yields zeros, so a
// decoder may go on to its end and ask once.
type reader struct {
	b   []byte
	at  int // what is read; an index, as moving b itself would cost a write barrier each time
	bad bool
}

func (r *reader) fail() { r.at, r.bad = len(r.b), true }

func (r *reader) check(ok bool) {
	if !ok {
		r.fail()
	}
}

// rest is what is not read yet.
func (r *reader) rest() []byte { return r.b[r.at:] }

func (r *reader) byte() byte {
	if r.at == len(r.b) {
		r.fail()
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) uint64() uint64 {
	if len(r.b)-r.at < 8 {
		r.fail()
		return 0
	}
	r.at += 8
	return binary.BigEndian.Uint64(r.b[r.at-8:])
}

// uvarint takes the shortest form only: a longer one would give one value two encodings.
func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 || n > 1 && r.b[r.at+n-1] == 0 {
		r.fail()
		return 0
	}
	r.at += n
	return x
}

// bytes returns the next n bytes without copying them.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)-r.at) {
		r.fail()
		return nil
	}
	from := r.at
	r.at += int(n)
	return r.b[from:r.at:r.at]
}

// count takes a number of elements of which each has at least size bytes, so that it never exceeds what was sent.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > 0 && n > uint64((len(r.b)-r.at)/size) {
		r.fail()
		return 0
	}
	return int(n)
}
