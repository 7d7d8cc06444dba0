package coordinator

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

// Options are what one request says of its own quorum. A zero field was not given: it comes from the bucket, then
// from the cluster.
type Options struct {
	N       int          // replicas, 1..16; 0 = not given
	W, R    quorum.Level // zero = not given
	Sloppy  *bool        // nil = not given
	Timeout time.Duration
}

// GetRequest asks for the value of one key.
type GetRequest struct {
	Options
	Bucket, Key string
	Token       *version.Token // "answer nothing older than this"; nil = no demand
	Local       bool           // this node's own store and nothing else
	NoRepair    bool           // reads as usual and repairs nothing
	Detail      bool           // GetResult.Replicas is wanted
}

// PutRequest stores a value, or a tombstone if Delete.
type PutRequest struct {
	Options
	Bucket, Key string
	Token       *version.Token // "this replaces what I have seen"; nil = seen nothing
	Delete      bool
	ContentType string
	Value       []byte // owned by the coordinator until the call returns, and by late replicas after it: never reused
	Detail      bool
}

// Outcome is how one replica answered.
type Outcome string

// The outcomes of a replica, as they stand in problem documents.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeTimeout     Outcome = "timeout"     // asked, and no answer by the deadline
	OutcomeUnreachable Outcome = "unreachable" // the request certainly never left
	OutcomeRefused     Outcome = "refused"     // it answered that it will not
	OutcomeError       Outcome = "error"       // it answered with a fault of its own, or the connection broke after sending
	OutcomeNotSent     Outcome = "not-sent"    // the coordinator did not ask it
)

// Replica is what one replica did for a request.
type Replica struct {
	Name    string
	Outcome Outcome
	Detail  string
	Elapsed time.Duration
	Behind  int // versions of the answer that it lacked
	// StandsFor is the owner that it was asked in place of, "" for an owner and for a fallback that was not asked.
	StandsFor string `json:",omitempty"`
}

// GetResult is a read that reached its quorum. Record is in full form; its live values are all present.
type GetResult struct {
	Record      version.Record
	N, R        int // as counted; R in the layout that asked for most
	Replies     int
	Fallbacks   int
	Coordinator string
	Replicas    []Replica
}

// PutResult is a write that reached its quorum.
type PutResult struct {
	Token       version.Token
	ETag        string
	N, W        int // as counted; W in the layout that asked for most
	Acks        int // of all owners, each counted once
	Fallbacks   int
	Coordinator string
	Replicas    []Replica
}

// Code names a failure; http maps each to a status and a problem type, one to one.
type Code uint8

// The failures of a key request.
const (
	BadRequest Code = iota + 1
	Siblings
	TooLarge
	QuorumUnavailable
	QuorumTimeout
	SessionUnsatisfied
	Overloaded
	Draining
	NotReady
	NoSpace
	ClockSkew
	NotImplemented
	Internal
)

// String returns the problem type's last part.
func (c Code) String() string {
	if int(c) < len(codeNames) && c > 0 {
		return codeNames[c]
	}
	return fmt.Sprintf("code-%d", uint8(c))
}

var codeNames = [...]string{"", "bad-request", "siblings", "too-large", "quorum-unavailable", "quorum-timeout",
	"session-unsatisfied", "overloaded", "draining", "not-ready", "no-space", "clock-skew", "not-implemented", "internal"}

// Error is why a key request did not succeed, and what is known of each replica.
type Error struct {
	Code          Code
	Detail        string
	Indeterminate bool // a write that may be seen later; false = certainly not written
	Needed, Got   int  // on the two quorum errors: in the layout that lacks most
	Fallbacks     int  // of those that were got, how many stood in
	N             int
	Coordinator   string
	Replicas      []Replica
	RetryAfter    time.Duration // 0 = none
}

// Error implements error.
func (e *Error) Error() string { return e.Code.String() + ": " + e.Detail }
