package version

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/mutation"
)

// Reasons to refuse a write. They are wrapped with what met.
var (
	// ErrSiblings: the write raises the key's n and would leave a version of the lower n alive.
	ErrSiblings = errors.New("version: a raised n must replace every version of the lower n")
	// ErrLowerN: the write's dot has a lower n than the key. Take a dot of the key's n.
	ErrLowerN = errors.New("version: the key has a larger n than the write")
	// ErrStamp: the write's stamp does not exceed what the record holds.
	ErrStamp = errors.New("version: the stamp is not above the key's")
	// ErrDot: the record or the context already covers the write's dot, so the write would be taken for superseded.
	ErrDot = errors.New("version: the dot is already covered")
)

// Merge is the join of two full records of one key: all that either has seen. It is pure, commutative, associative and
// idempotent (doc.go has the argument). A version lives if both have it, or the one that lacks it does not cover it;
// of those, LWW versions below the highest LWW stamp are dropped. Vectors merge even if no version is left.
// Of two copies of a version the one with its value is taken.
func Merge(a, b Record) Record {
	out := Record{
		Vector: union(a.Vector, b.Vector),
		N:      max(a.N, b.N),
		MaxLWW: Later(highestLWW(a), highestLWW(b)),
	}
	if room := len(a.Versions) + len(b.Versions); room > 0 {
		out.Versions = mergeVersions(make([]Version, 0, room), a, b, out.MaxLWW)
		if mutation.DropSiblings && len(out.Versions) > 1 {
			out.Versions = out.Versions[:1]
		}
	}
	return out
}

func highestLWW(r Record) Stamp {
	highest := r.MaxLWW
	for i := range r.Versions {
		if r.Versions[i].Mode == LWW {
			highest = Later(highest, r.Versions[i].Stamp)
		}
	}
	return highest
}

// mergeVersions appends the versions that live, in the order of their dots.
func mergeVersions(dst []Version, a, b Record, bar Stamp) []Version {
	i, j := 0, 0
	for i < len(a.Versions) || j < len(b.Versions) {
		side := -1
		if i == len(a.Versions) {
			side = 1
		} else if j < len(b.Versions) {
			side = a.Versions[i].Dot.Compare(b.Versions[j].Dot)
		}
		var v *Version
		lives := true
		switch {
		case side < 0:
			v = &a.Versions[i]
			lives = !b.Vector.Covers(v.Dot) || mutation.ValueBeatsDelete && !v.Deleted && b.IsDeleted()
			i++
		case side > 0:
			v = &b.Versions[j]
			lives = !a.Vector.Covers(v.Dot) || mutation.ValueBeatsDelete && !v.Deleted && a.IsDeleted()
			j++
		default:
			v = &a.Versions[i]
			if v.Elided {
				v = &b.Versions[j]
			}
			i++
			j++
		}
		if lives && (v.Mode != LWW || v.Stamp.Compare(bar) >= 0) {
			dst = append(dst, *v)
		}
	}
	return dst
}

// Overwrite is Merge for the commonest write, done in passing: one LWW version, the next one of its actor, that beats or
// covers all that is stored, under a clock that restores all that either vector says. after is what is to be stored, under the
// clock with the new dot; N is not raised past the version's, so CheckRaise has nothing against it. ok is false for every other write, and for
// those of the actor own, whose dots nobody else can issue: Merge has the answer then.
func Overwrite(stored, incoming Record, clock Vector, own ActorID) (after Record, ok bool) {
	if len(incoming.Versions) != 1 {
		return Record{}, false
	}
	v := &incoming.Versions[0]
	base := uint64(0)
	if i, known := clock.find(v.Dot.Actor); known {
		base = clock.entries[i].Base
	}
	switch {
	case v.Mode != LWW || v.Elided || v.Dot.Actor.ID == own || v.Dot.Counter != base+1:
		return Record{}, false
	case v.Dot.Actor.N != incoming.N || v.Stamp != incoming.MaxLWW || v.Stamp.Compare(stored.MaxLWW) <= 0:
		return Record{}, false
	}
	for i := range stored.Versions {
		if s := &stored.Versions[i]; s.Mode != LWW && !incoming.Vector.Covers(s.Dot) {
			return Record{}, false
		}
	}
	if !stored.Vector.restoredBy(clock) || !incoming.Vector.restoredWith(clock, v.Dot) {
		return Record{}, false
	}
	return Record{Versions: incoming.Versions, N: max(stored.N, incoming.N), MaxLWW: v.Stamp}, true
}

// Write is a client's write as the coordinator makes it.
type Write struct {
	Dot         Dot   // freshly allocated; its n is the larger of the request's and the record's
	Stamp       Stamp // above the record's MaxStamp and the token's
	Mode        Mode
	Deleted     bool
	ContentType string
	Value       []byte
	Context     Vector // the request's token; empty if it had none
}

// NewRecord is the write alone as a record: one version, and a vector of the context and the write's own dot.
func NewRecord(w Write) Record {
	r := Record{Versions: []Version{w.version()}, Vector: w.Context.Clone(), N: w.Dot.Actor.N}
	r.Vector.Add(w.Dot)
	if w.Mode == LWW {
		r.MaxLWW = w.Stamp
	}
	return r
}

func (w Write) version() Version {
	v := Version{Dot: w.Dot, Stamp: w.Stamp, Mode: w.Mode, Deleted: w.Deleted}
	if !w.Deleted {
		v.ContentType, v.Value, v.Size = w.ContentType, w.Value, uint32(len(w.Value))
	}
	return v
}

// Supersede applies a write to the coordinator's full record of the key: an LWW write covers everything there, a
// siblings write what its context covers. The clock that filled local must not yet have the write's dot.
// The result is full, and equals Merge of local and NewRecord of the write (for LWW, with local's vector added to
// the context). Errors: ErrSiblings, ErrLowerN, ErrStamp, ErrDot; nothing has happened then.
func Supersede(local Record, w Write) (Record, error) {
	if w.Dot.Actor.N < local.N {
		return Record{}, fmt.Errorf("%w: key n=%d, dot %v", ErrLowerN, local.N, w.Dot)
	}
	if highest := local.MaxStamp(); w.Stamp.Compare(highest) <= 0 {
		return Record{}, fmt.Errorf("%w: key %v, write %v", ErrStamp, highest, w.Stamp)
	}
	if local.Covers(w.Dot) || w.Context.Covers(w.Dot) {
		return Record{}, fmt.Errorf("%w: %v", ErrDot, w.Dot)
	}
	out := Record{Vector: union(local.Vector, w.Context), N: w.Dot.Actor.N, MaxLWW: local.MaxLWW}
	out.Vector.Add(w.Dot)
	if w.Mode == LWW {
		out.MaxLWW = w.Stamp
		out.Versions = []Version{w.version()}
		return out, nil
	}
	out.Versions = make([]Version, 0, len(local.Versions)+1)
	for i := range local.Versions {
		v := &local.Versions[i]
		if w.Context.Covers(v.Dot) {
			continue
		}
		if v.Dot.Actor.N < w.Dot.Actor.N {
			return Record{}, fmt.Errorf("%w: n=%d to %d, %v stays", ErrSiblings, local.N, w.Dot.Actor.N, v.Dot)
		}
		out.Versions = append(out.Versions, *v)
	}
	at, _ := slices.BinarySearchFunc(out.Versions, w.Dot, func(v Version, d Dot) int { return v.Dot.Compare(d) })
	out.Versions = slices.Insert(out.Versions, at, w.version())
	return out, nil
}

// CheckRaise returns ErrSiblings if incoming raises the n of a key that local knows and merging it would leave a
// version of a lower n alive. A replica asks it before it takes a write: the coordinator may not have seen them all.
func CheckRaise(local, incoming Record) error {
	if local.N == 0 || incoming.N <= local.N {
		return nil
	}
	alive := Merge(local, incoming).Versions
	i := slices.IndexFunc(alive, func(v Version) bool { return v.Dot.Actor.N < incoming.N })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%w: n=%d to %d, %v stays", ErrSiblings, local.N, incoming.N, alive[i].Dot)
}
