package version

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// format is the first byte of an encoded record and of a token.
const format = 1

// ErrCorrupt is returned for input that no encoder of this package writes.
var ErrCorrupt = errors.New("version: corrupt encoding")

// Bits of a version's flag byte; the lowest two are its Mode.
const (
	flagMode    = 3
	flagDeleted = 1 << 2
	flagElided  = 1 << 3
	flagIssuer  = 1 << 4 // the stamp's actor differs from the dot's and is written out
	flagsKnown  = flagMode | flagDeleted | flagElided | flagIssuer
)

// The fewest bytes that one element takes: what bounds a count by the bytes that are left.
const (
	minVersion  = 8 + 1 + 1 + 1 + 8 // dot, flags, stamp time
	minEntry    = 8 + 1 + 1 + 1     // actor, base, number of intervals
	minInterval = 1 + 1
	minDot      = 8 + 1 + 1
)

// AppendRecord appends the one encoding of a record to dst. It allocates only if dst has too little room.
// It panics if the stamp of an LWW version is not MaxLWW, which NewRecord, Merge and Supersede rule out.
func AppendRecord(dst []byte, r Record) []byte {
	dst = append(dst, format, r.N)
	dst = binary.AppendUvarint(dst, uint64(len(r.Versions)))
	implied := false
	for i := range r.Versions {
		v := &r.Versions[i]
		dst = appendVersion(dst, v)
		if v.Mode == LWW {
			if v.Stamp != r.MaxLWW {
				panic(fmt.Sprintf("version: lww version %v in a record with highest stamp %v", *v, r.MaxLWW))
			}
			implied = true
		}
	}
	if !implied {
		dst = appendStamp(dst, r.MaxLWW)
	}
	return AppendVector(dst, r.Vector)
}

func appendVersion(dst []byte, v *Version) []byte {
	dst = appendDot(dst, v.Dot)
	flags := byte(v.Mode)
	if v.Deleted {
		flags |= flagDeleted
	}
	if v.Elided {
		flags |= flagElided
	}
	if v.Stamp.Actor != v.Dot.Actor.ID {
		flags |= flagIssuer
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, v.Stamp.Time)
	if flags&flagIssuer != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.Stamp.Actor))
	}
	if v.Deleted {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.ContentType)))
	dst = append(dst, v.ContentType...)
	if v.Elided {
		return binary.AppendUvarint(dst, uint64(v.Size))
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.Value)))
	return append(dst, v.Value...)
}

func appendDot(dst []byte, d Dot) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Actor.ID))
	dst = append(dst, d.Actor.N)
	return binary.AppendUvarint(dst, d.Counter)
}

// appendStamp writes a zero stamp as one byte, any other as 1, time, actor.
func appendStamp(dst []byte, s Stamp) []byte {
	if s.IsZero() {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = binary.BigEndian.AppendUint64(dst, s.Time)
	return binary.BigEndian.AppendUint64(dst, uint64(s.Actor))
}

// AppendVector appends the one encoding of a vector to dst, for use inside another encoding: it has no format version of
// its own. It allocates only if dst has too little room.
func AppendVector(dst []byte, v Vector) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v.entries)))
	for i := range v.entries {
		e := &v.entries[i]
		dst = appendDot(dst, Dot{e.Actor, e.Base})
		dst = binary.AppendUvarint(dst, uint64(len(e.Detached)))
		prev := e.Base
		for _, iv := range e.Detached {
			dst = binary.AppendUvarint(dst, iv.Lo-prev-2) // normal form leaves a hole of one or more
			dst = binary.AppendUvarint(dst, iv.Hi-iv.Lo)
			prev = iv.Hi
		}
	}
	return dst
}

// DecodeRecord decodes all of b. Values of the result alias b, which must not change as long as they are used.
// AppendRecord of the result is b again. Anything else is ErrCorrupt.
func DecodeRecord(b []byte) (Record, error) {
	r := reader{b: b}
	if f := r.byte(); f != format {
		return Record{}, fmt.Errorf("%w: record format %d", ErrCorrupt, f)
	}
	out := Record{N: r.byte()}
	if n := r.count(minVersion); n > 0 {
		out.Versions = make([]Version, n)
	}
	implied := false
	for i := range out.Versions {
		v := &out.Versions[i]
		r.version(v)
		r.check(v.Dot.Actor.N <= out.N && (i == 0 || out.Versions[i-1].Dot.Compare(v.Dot) < 0))
		if v.Mode == LWW {
			r.check(!implied || v.Stamp == out.MaxLWW)
			implied, out.MaxLWW = true, v.Stamp
		}
	}
	if !implied {
		out.MaxLWW = r.stamp()
	}
	r.vector(&out.Vector)
	r.check(out.N <= MaxN && len(r.rest()) == 0)
	if r.bad {
		return Record{}, fmt.Errorf("%w: record of %d bytes", ErrCorrupt, len(b))
	}
	return out, nil
}

// DecodeVector decodes a vector at the start of b and returns what follows it. The vector does not alias b.
func DecodeVector(b []byte) (v Vector, rest []byte, err error) {
	r := reader{b: b}
	r.vector(&v)
	if r.bad {
		return Vector{}, nil, fmt.Errorf("%w: vector in %d bytes", ErrCorrupt, len(b))
	}
	return v, r.rest(), nil
}

func (r *reader) version(v *Version) {
	v.Dot = r.dot()
	r.check(v.Dot.Counter > 0)
	flags := r.byte()
	v.Mode = Mode(flags & flagMode)
	v.Deleted, v.Elided = flags&flagDeleted != 0, flags&flagElided != 0
	r.check(flags&^flagsKnown == 0 && (v.Mode == LWW || v.Mode == Siblings) && !(v.Deleted && v.Elided))
	v.Stamp = Stamp{Time: r.uint64(), Actor: v.Dot.Actor.ID}
	if flags&flagIssuer != 0 {
		v.Stamp.Actor = ActorID(r.uint64())
		r.check(v.Stamp.Actor != v.Dot.Actor.ID)
	}
	if v.Deleted {
		return
	}
	v.ContentType = string(r.bytes(r.uvarint()))
	size := r.uvarint()
	r.check(size <= math.MaxUint32 && (size > 0 || !v.Elided))
	v.Size = uint32(size)
	if !v.Elided && size > 0 {
		v.Value = r.bytes(size)
	}
}

// dot reads a dot, whose counter may be 0 where a base stands.
func (r *reader) dot() Dot {
	d := Dot{Actor: Actor{ID: ActorID(r.uint64()), N: r.byte()}, Counter: r.uvarint()}
	r.check(d.Actor.valid() && d.Counter <= MaxCounter)
	return d
}

func (r *reader) stamp() Stamp {
	switch r.byte() {
	case 0:
		return Stamp{}
	case 1:
		s := Stamp{Time: r.uint64(), Actor: ActorID(r.uint64())}
		r.check(!s.IsZero())
		return s
	}
	r.fail()
	return Stamp{}
}

func (r *reader) vector(v *Vector) {
	n := r.count(minEntry)
	if n == 0 {
		return
	}
	v.entries = make([]Entry, n)
	for i := range v.entries {
		e := &v.entries[i]
		d := r.dot()
		e.Actor, e.Base = d.Actor, d.Counter
		r.check(i == 0 || v.entries[i-1].Actor.Compare(e.Actor) < 0)
		if m := r.count(minInterval); m > 0 {
			e.Detached = make([]Interval, m)
		}
		prev := e.Base
		for k := range e.Detached {
			gap, length := r.uvarint(), r.uvarint()
			r.check(gap <= MaxCounter && length <= MaxCounter) // so the sums below stay within 64 bits, or wrap visibly
			lo := prev + 2 + gap
			hi := lo + length
			r.check(lo > prev && lo <= MaxCounter && hi >= lo && hi <= MaxCounter)
			e.Detached[k] = Interval{lo, hi}
			prev = hi
		}
		r.check(!e.isEmpty())
		if r.bad {
			return
		}
	}
}
