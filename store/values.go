package store

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
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
	r := varints{wire.Read(b)}
	if r.format(); r.Failed() {
		return version.Entry{}, fmt.Errorf("%w: clock of %v", ErrFormat, actor)
	}
	e := version.Entry{Actor: actor, Base: r.Uvarint(version.MaxCounter)}
	count := r.Uvarint(uint64(r.Left()) / 2)
	if count > 0 {
		e.Detached = make([]version.Interval, 0, count)
	}
	end := e.Base
	for range count {
		lo := end + r.Uvarint(version.MaxCounter-end)
		hi := lo + r.Uvarint(version.MaxCounter-min(lo, version.MaxCounter))
		r.Check(lo >= end+2, "touching intervals") // a hole is between any two, or they would be one
		e.Detached = append(e.Detached, version.Interval{Lo: lo, Hi: hi})
		end = hi
	}
	if r.Failed() || r.Left() > 0 || e.Base == 0 && count == 0 {
		return version.Entry{}, fmt.Errorf("%w: clock of %v", ErrCorrupt, actor)
	}
	return e, nil
}

// varints reads values of this package.
type varints struct{ wire.Reader }

func (r *varints) format() { r.Check(r.Byte() == valueFormat, "another format") }

// actor reads the id of an actor with that n.
func (r *varints) actor(n uint8) version.Actor {
	a := version.Actor{N: n}
	if id := r.Take(8); id != nil {
		a.ID = version.ActorID(binary.BigEndian.Uint64(id))
	}
	r.Check(a.ID != 0 && n >= 1 && n <= version.MaxN, "bad actor")
	return a
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
