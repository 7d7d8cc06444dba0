package history

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what an operation asks for.
type Kind uint8

// The kinds.
const (
	Put Kind = iota + 1
	Delete
	Get
)

// Outcome is what the client knows when the operation is over.
type Outcome uint8

// The outcomes: three of writes, three of reads.
const (
	Acked         Outcome = iota + 1 // the write was acknowledged
	Indeterminate                    // the write may be seen later, or never
	NotWritten                       // the write was refused, or never sent: nobody has it
	OK                               // the read returned a value, or several
	NotFound                         // the read says that there is none
	Unavailable                      // the read failed, or was never sent
)

// Value names a write attempt, and so the value that it wrote. The zero Value is one that no attempt of the history wrote.
type Value struct {
	Client uint32
	Seq    uint64 // from 1
}

// Op is one operation. Times are nanoseconds on one monotonic clock.
type Op struct {
	ID     uint64 // unique in the history, from 1
	Client uint32 // who did it: a session
	Seq    uint64 // of writes: with Client, the identity of the attempt, from 1
	Kind   Kind
	Bucket string
	Key    string
	N      int // the parameters in force: all three, whatever the kind
	W      int
	R      int

	Due      int64 // when it was to be sent; latencies count from here
	Invoked  int64 // when it was sent
	Returned int64 // when the client knew the outcome, or gave up

	Node    string // that was asked
	Side    string // of the cut that the node is on
	Phase   string // of the run in which it was due
	Outcome Outcome
	Reason  string // in a word, of what failed

	Values   []Value // of a read: what it returned
	Saw      []Value // what the context that it sent covers; nil without one
	NoRepair bool    // of a read: repair=false
	Local    bool    // of a read: the node's own store alone; such a read is not judged
	Final    bool    // of a read: it tells how the key ended. Of several the last that was answered counts
}

// Bounds of operations.
const (
	MaxValues = 1024 // that one read returns, or one context covers
	maxText   = 1024 // bytes of each word
	maxN      = 16
)

// IsWrite tells whether the operation is a write attempt.
func (o *Op) IsWrite() bool { return o.Kind == Put || o.Kind == Delete }

// Value is the identity of a write attempt.
func (o *Op) Value() Value { return Value{o.Client, o.Seq} }

// Answered tells whether a read has an answer that says something of the key.
func (o *Op) Answered() bool { return o.Outcome == OK || o.Outcome == NotFound }

// Latency is how long the operation took from when it was due.
func (o *Op) Latency() int64 { return o.Returned - o.Due }

// Validate reports what is wrong with an operation by itself.
func (o *Op) Validate() error {
	switch {
	case o.ID == 0:
		return errors.New("no id")
	case o.Kind < Put || o.Kind > Get:
		return fmt.Errorf("kind %d", o.Kind)
	case o.IsWrite() != (o.Outcome >= Acked && o.Outcome <= NotWritten) || o.Outcome < Acked || o.Outcome > Unavailable:
		return fmt.Errorf("outcome %v of a %v", o.Outcome, o.Kind)
	case o.IsWrite() != (o.Seq > 0):
		return fmt.Errorf("sequence number %d of a %v", o.Seq, o.Kind)
	case o.Due > o.Invoked || o.Invoked > o.Returned || o.Due < 0 || o.Returned == math.MaxInt64:
		return fmt.Errorf("due at %d, invoked at %d, returned at %d: want them in order, from 0", o.Due, o.Invoked, o.Returned)
	case o.N < 1 || o.N > maxN || o.W < 1 || o.W > maxN || o.R < 1 || o.R > maxN:
		return fmt.Errorf("n/w/r %d/%d/%d: want each to be 1 to %d", o.N, o.W, o.R, maxN)
	case o.Key == "" || o.Bucket == "":
		return errors.New("no bucket or no key")
	case (o.Outcome == OK) != (len(o.Values) > 0):
		return fmt.Errorf("%d values of a %v with outcome %v", len(o.Values), o.Kind, o.Outcome)
	case o.IsWrite() && (o.NoRepair || o.Local || o.Final):
		return fmt.Errorf("a %v marked as a read", o.Kind)
	case len(o.Values) > MaxValues || len(o.Saw) > MaxValues:
		return fmt.Errorf("%d values returned, %d seen: want at most %d", len(o.Values), len(o.Saw), MaxValues)
	}
	for _, text := range []string{o.Bucket, o.Key, o.Node, o.Side, o.Phase, o.Reason} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return fmt.Errorf("%.60q: want UTF-8 of at most %d bytes", text, maxText)
		}
	}
	return nil
}

var (
	kindNames    = []string{Put: "put", Delete: "delete", Get: "get"}
	outcomeNames = []string{Acked: "acked", Indeterminate: "indeterminate", NotWritten: "not_written", OK: "ok", NotFound: "not_found", Unavailable: "unavailable"}
)

// String is the word of the log.
func (k Kind) String() string { return nameOf(kindNames, uint8(k)) }

// String is the word of the log.
func (o Outcome) String() string { return nameOf(outcomeNames, uint8(o)) }

// MarshalText writes the word of the log.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText writes the word of the log.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the word of the log.
func (k *Kind) UnmarshalText(text []byte) error {
	i, err := valueOf(kindNames, string(text))
	*k = Kind(i)
	return err
}

// UnmarshalText reads the word of the log.
func (o *Outcome) UnmarshalText(text []byte) error {
	i, err := valueOf(outcomeNames, string(text))
	*o = Outcome(i)
	return err
}

func nameOf(names []string, value uint8) string {
	if value == 0 || int(value) >= len(names) {
		return fmt.Sprintf("unknown(%d)", value)
	}
	return names[value]
}

// valueOf is the value with that name. The names start at 1.
func valueOf(names []string, name string) (uint8, error) {
	i := slices.Index(names[1:], name)
	if i < 0 {
		return 0, fmt.Errorf("%.40q: want one of %v", name, names[1:])
	}
	return uint8(i) + 1, nil
}

// String is client and sequence number: 3.17.
func (v Value) String() string { return fmt.Sprintf("%d.%d", v.Client, v.Seq) }

// MarshalText is String.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what String writes, and nothing else.
func (v *Value) UnmarshalText(text []byte) error {
	read, err := ParseValue(string(text))
	*v = read
	return err
}

// ParseValue reads what String writes, and nothing else.
func ParseValue(text string) (Value, error) {
	client, seq, _ := strings.Cut(text, ".")
	c, clientErr := strconv.ParseUint(client, 10, 32)
	s, seqErr := strconv.ParseUint(seq, 10, 64)
	v := Value{uint32(c), s}
	if clientErr != nil || seqErr != nil || v.String() != text {
		return Value{}, fmt.Errorf("value %.40q: want client and sequence number, such as 3.17", text)
	}
	return v, nil
}
