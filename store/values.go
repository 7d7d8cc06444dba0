package store

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/version"
)

// appendClock encodes what a clock says of one actor: format | base | intervals | per interval its distance from what comes before
// it and its length, all as varints.
func appendClock(dst []byte, e version.Entry) []byte {
	dst = append(dst, valueFormat)
	dst = binary.AppendUvarint(dst, e.Base)
	dst = binary.AppendUvarint(dst, uint64(len(e.Detached)))
	end := e.Base
	for _, iv := range e.Detached {
		dst = binary.AppendUvarint(dst, iv.Lo-end)
		dst = binary.AppendUvarint(dst, iv.Hi-iv.Lo)
		end = iv.Hi
	}
	return dst
}

// decodeClock is the inverse of appendClock. It accepts only what appendClock can have written of an entry in normal form.
func decodeClock(b []byte, actor version.Actor) (version.Entry, error) {
	r := varints{rest: b}
	if r.format(); r.bad {
		return version.Entry{}, fmt.Errorf("%w: clock of %v", ErrFormat, actor)
	}
	e := version.Entry{Actor: actor, Base: r.next(version.MaxCounter)}
	count := r.next(uint64(len(r.rest)) / 2)
	if count > 0 {
		e.Detached = make([]version.Interval, 0, count)
	}
	end := e.Base
	for range count {
		lo := end + r.next(version.MaxCounter-end)
		hi := lo + r.next(version.MaxCounter-min(lo, version.MaxCounter))
		r.bad = r.bad || lo < end+2 // a hole is between any two, or they would be one
		e.Detached = append(e.Detached, version.Interval{Lo: lo, Hi: hi})
		end = hi
	}
	if r.bad || len(r.rest) > 0 || e.Base == 0 && count == 0 {
		return version.Entry{}, fmt.Errorf("%w: clock of %v", ErrCorrupt, actor)
	}
	return e, nil
}

// varints reads varints that AppendUvarint wrote, in their shortest form. The first one that is not makes it bad for good.
type varints struct {
	rest []byte
	bad  bool
}

func (r *varints) format() {
	if len(r.rest) == 0 || r.rest[0] != valueFormat {
		r.bad = true
		return
	}
	r.rest = r.rest[1:]
}

func (r *varints) next(most uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || v > most || n > 1 && r.rest[n-1] == 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// addEntry puts the dots of an entry into a vector.
func addEntry(v *version.Vector, e version.Entry) {
	v.AddBase(e.Actor, e.Base)
	for _, iv := range e.Detached {
		for c := iv.Lo; c <= iv.Hi; c++ {
			v.Add(version.Dot{Actor: e.Actor, Counter: c})
		}
	}
}
