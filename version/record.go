package version

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Mode is how a version stands against concurrent ones. It is part of the version, so merge never asks a bucket.
type Mode uint8

// The modes. Their numbers are part of the codec.
const (
	LWW      Mode = 1 // the highest stamp wins
	Siblings Mode = 2 // stays until a write whose context covers it
)

// String writes the mode as in bucket properties.
func (m Mode) String() string {
	switch m {
	case LWW:
		return "lww"
	case Siblings:
		return "siblings"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Version is one write of one key. It never changes, except that its value may be left out (Elided).
type Version struct {
	Dot         Dot
	Stamp       Stamp
	Mode        Mode
	Deleted     bool   // a tombstone: no content type and no value
	ContentType string // as the client gave it
	Value       []byte // nobody may change it once it is in a Version
	Size        uint32 // length of the value in bytes, also when it is elided
	Elided      bool   // the value exists and is not here
}

// Equal reports whether two versions agree in everything, the value included.
func (v Version) Equal(o Version) bool {
	return v.Dot == o.Dot && v.Stamp == o.Stamp && v.Mode == o.Mode && v.Deleted == o.Deleted && v.Size == o.Size &&
		v.Elided == o.Elided && v.ContentType == o.ContentType && bytes.Equal(v.Value, o.Value)
}

// String describes the version on one line, without its value.
func (v Version) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s %s", v.Dot, v.Mode, v.Stamp)
	switch {
	case v.Deleted:
		s.WriteString(" deleted")
	case v.Elided:
		fmt.Fprintf(&s, " %q %dB elided", v.ContentType, v.Size)
	default:
		fmt.Fprintf(&s, " %q %dB", v.ContentType, v.Size)
	}
	return s.String()
}

// Record is all that a replica knows of one key. The zero value is a key never seen. Records are values: no
// function of this package changes one that it was given, and results may share memory with arguments.
//
// A record is full when its vector covers its versions and every dot of the key that its holder knows to be
// superseded; only full records may be merged or leave a node. It is stored stripped: the vector less what the bases
// of the replica set's clock restore. Strip and Fill convert.
type Record struct {
	Versions []Version // live ones, tombstones included, in the order of their dots
	Vector   Vector
	N        uint8 // the largest n the key was ever written with; 0 if no write is known
	MaxLWW   Stamp // highest stamp of any LWW version ever merged; LWW versions present have it
}

// IsAbsent reports whether there is no version at all, not even a tombstone.
func (r Record) IsAbsent() bool { return len(r.Versions) == 0 }

// IsDeleted reports whether there are versions and all of them are tombstones.
func (r Record) IsDeleted() bool {
	return !r.IsAbsent() && !slices.ContainsFunc(r.Versions, func(v Version) bool { return !v.Deleted })
}

// Live yields the versions that carry a value, in the order of their dots: more than one are siblings.
func (r Record) Live() iter.Seq[Version] {
	return func(yield func(Version) bool) {
		for i := range r.Versions {
			if !r.Versions[i].Deleted && !yield(r.Versions[i]) {
				return
			}
		}
	}
}

// Covers reports whether the record has seen d, as a version or as one that was superseded.
func (r Record) Covers(d Dot) bool { return r.Vector.Covers(d) }

// Has reports whether d is one of the record's versions.
func (r Record) Has(d Dot) bool {
	for i := range r.Versions { // by index: a Version is large, and this is asked for every write
		if r.Versions[i].Dot == d {
			return true
		}
	}
	return false
}

// SameVersions reports whether both hold the same dots: what decides whether a replica needs repair. Vectors are left
// out, as replicas that agree have seen different dots of other keys.
func (r Record) SameVersions(o Record) bool {
	return slices.EqualFunc(r.Versions, o.Versions, func(a, b Version) bool { return a.Dot == b.Dot })
}

// Equal reports whether two records agree in everything, values included.
func (r Record) Equal(o Record) bool {
	return r.N == o.N && r.MaxLWW == o.MaxLWW && r.Vector.Equal(o.Vector) &&
		slices.EqualFunc(r.Versions, o.Versions, Version.Equal)
}

// MaxStamp is the highest stamp known for the key. A new write's stamp must exceed it.
func (r Record) MaxStamp() Stamp {
	highest := r.MaxLWW
	for i := range r.Versions {
		highest = Later(highest, r.Versions[i].Stamp)
	}
	return highest
}

// Fill makes a stored record full: its vector with the bases of the clock that it was stripped by, or of a later one.
// The clock's detached dots are left out: what put one into the clock put it into the record's vector, or it was adopted, and then the
// record merely says less than its holder knows.
func (r Record) Fill(clock Vector) Record {
	if r.Vector.IsEmpty() {
		r.Vector = clock.bases()
	} else {
		r.Vector = union(r.Vector, clock.bases())
	}
	return r
}

// Strip leaves out of the vector what the bases of the clock restore, for storing.
func (r Record) Strip(clock Vector) Record {
	if r.Vector.restoredBy(clock) {
		r.Vector = Vector{}
		return r
	}
	r.Vector = r.Vector.Clone()
	r.Vector.StripBases(clock)
	return r
}

// Elide leaves all values out if they are more than maxBytes together.
func (r Record) Elide(maxBytes int) Record {
	sum := 0
	for i := range r.Versions {
		sum += len(r.Versions[i].Value)
	}
	if sum <= maxBytes {
		return r
	}
	r.Versions = slices.Clone(r.Versions)
	for i := range r.Versions {
		if v := &r.Versions[i]; len(v.Value) > 0 {
			v.Value, v.Elided = nil, true
		}
	}
	return r
}

// String describes the record on several lines, without values.
func (r Record) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "n=%d vector=%s", r.N, r.Vector)
	if !r.MaxLWW.IsZero() {
		fmt.Fprintf(&s, " lww=%s", r.MaxLWW)
	}
	for i := range r.Versions {
		s.WriteString("\n  ")
		s.WriteString(r.Versions[i].String())
	}
	return s.String()
}
