package quorum

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Level is how many owners must answer: a literal number from 1, or a word that is resolved against the owners that exist. The zero Level means "not given".
type Level int

// The words. Their values are negative so that a literal number is its own Level.
const (
	One    Level = -1 // one owner
	Quorum Level = -2 // a majority of the owners
	All    Level = -3 // every owner
)

// MaxN bounds the replicas of a key, and with it every literal level.
const MaxN = 16

// ParseLevel reads "one", "quorum", "all" or an integer from 1 to MaxN.
func ParseLevel(s string) (Level, error) {
	switch s {
	case "one":
		return One, nil
	case "quorum":
		return Quorum, nil
	case "all":
		return All, nil
	}
	number, err := strconv.ParseUint(s, 10, 8)
	// The second condition keeps one spelling per level: no "+3", no "03".
	if err != nil || strconv.FormatUint(number, 10) != s || number < 1 || number > MaxN {
		return 0, fmt.Errorf("level %.40q: want one, quorum, all or an integer from 1 to %d", s, MaxN)
	}
	return Level(number), nil
}

// Valid reports whether l is a word or a literal from 1 to MaxN.
func (l Level) Valid() bool { return l >= All && l <= MaxN && l != 0 }

// Literal is the number of a literal level.
func (l Level) Literal() (int, bool) { return int(l), l > 0 }

// Resolve is the number of answers that l asks of a set of owners, at least 1. A literal stays what it is, even above the number of owners: such a request
// cannot be met, and must not be weakened silently.
func (l Level) Resolve(owners int) int {
	switch l {
	case One:
		return 1
	case Quorum:
		return owners/2 + 1
	case All:
		return max(owners, 1)
	}
	if l < 1 {
		panic(fmt.Sprintf("quorum: resolving level %d", int(l)))
	}
	return int(l)
}

// String is what ParseLevel reads.
func (l Level) String() string {
	switch l {
	case One:
		return "one"
	case Quorum:
		return "quorum"
	case All:
		return "all"
	}
	return strconv.Itoa(int(l))
}

// MarshalJSON writes a literal as a number and a word as a string.
func (l Level) MarshalJSON() ([]byte, error) {
	if !l.Valid() {
		return nil, fmt.Errorf("quorum: level %d is not valid", int(l))
	}
	if l > 0 {
		return strconv.AppendInt(nil, int64(l), 10), nil
	}
	return json.Marshal(l.String())
}

// UnmarshalJSON reads what MarshalJSON writes, and a literal in a string.
func (l *Level) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	level, err := ParseLevel(text)
	if err != nil {
		return err
	}
	*l = level
	return nil
}
