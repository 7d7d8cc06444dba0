package http

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/coordinator"
)

const typePrefix = "urn:quorate:"

// seeLog is all that a client learns of a fault of the server.
const seeLog = "the log of the node says more"

// The problems that this layer finds by itself; all others are codes of the coordinator.
const (
	nameNotFound           = "not-found"
	nameNoSuchResource     = "no-such-resource"
	nameMethodNotAllowed   = "method-not-allowed"
	nameRequestTimeout     = "request-timeout"
	namePreconditionFailed = "precondition-failed"
	nameKeyTooLong         = "key-too-long"
	nameHeaderTooLarge     = "header-too-large"
	nameTooManyBuckets     = "too-many-buckets"
	nameLastMember         = "last-member"
	nameJoining            = "joining"
	nameUnknownMember      = "unknown-member"
	nameMemberAlive        = "member-alive"
	nameRingBusy           = "ring-busy"
)

// problemType is one row of the table of problems.
type problemType struct {
	code   coordinator.Code // 0: found by this layer
	status int
	name   string // what follows typePrefix
	title  string
	retry  bool // always with Retry-After
}

// problemTypes is the one table between failures and answers. The server reads it from code or name to status and title, the client from the
// name back to the code.
var problemTypes = [...]problemType{
	{coordinator.BadRequest, http.StatusBadRequest, "bad-request", "The request is malformed", false},
	{coordinator.Siblings, http.StatusConflict, "siblings", "Concurrent values stand in the way of a larger n", false},
	{coordinator.TooLarge, http.StatusRequestEntityTooLarge, "too-large", "The value is too large", false},
	{coordinator.QuorumUnavailable, http.StatusServiceUnavailable, "quorum-unavailable", "Too few replicas are up", false},
	{coordinator.QuorumTimeout, http.StatusGatewayTimeout, "quorum-timeout", "Too few replicas answered", false},
	{coordinator.SessionUnsatisfied, http.StatusServiceUnavailable, "session-unsatisfied", "No replica has what the context has seen", false},
	{coordinator.Overloaded, http.StatusServiceUnavailable, "overloaded", "The node is overloaded", true},
	{coordinator.Draining, http.StatusServiceUnavailable, "draining", "The node is shutting down", true},
	{coordinator.NotReady, http.StatusServiceUnavailable, "not-ready", "The node cannot serve yet", true},
	{coordinator.NoSpace, http.StatusServiceUnavailable, "no-space", "The disk is full", true},
	{coordinator.ClockSkew, http.StatusServiceUnavailable, "clock-skew", "The node's clock is off", true},
	{coordinator.NotImplemented, http.StatusNotImplemented, "not-implemented", "Not implemented yet", false},
	{coordinator.Internal, http.StatusInternalServerError, "internal", "A fault of the server", false},
	{0, http.StatusNotFound, nameNotFound, "The key has no value", false},
	{0, http.StatusNotFound, nameNoSuchResource, "There is nothing at this path", false},
	{0, http.StatusMethodNotAllowed, nameMethodNotAllowed, "The method is not allowed here", false},
	{0, http.StatusRequestTimeout, nameRequestTimeout, "The request took too long to arrive", false},
	{0, http.StatusPreconditionFailed, namePreconditionFailed, "A precondition is not met", false},
	{0, http.StatusRequestURITooLong, nameKeyTooLong, "The key is too long", false},
	{0, http.StatusRequestHeaderFieldsTooLarge, nameHeaderTooLarge, "The headers are too large", false},
	{0, http.StatusInsufficientStorage, nameTooManyBuckets, "Too many buckets have been configured", false},
	{0, http.StatusConflict, nameLastMember, "The only owner cannot leave", false},
	{0, http.StatusConflict, nameJoining, "The node owns nothing yet", false},
	{0, http.StatusNotFound, nameUnknownMember, "There is no such member", false},
	{0, http.StatusConflict, nameMemberAlive, "The member answers", false},
	{0, http.StatusServiceUnavailable, nameRingBusy, "Too many changes of the ring are under way", true},
}

// typeNamed and typeOf look a row up, from either side.
func typeNamed(name string) (problemType, bool) {
	for _, t := range problemTypes {
		if t.name == name {
			return t, true
		}
	}
	return problemType{}, false
}

func typeOf(code coordinator.Code) (problemType, bool) {
	for _, t := range problemTypes {
		if t.code == code && code != 0 {
			return t, true
		}
	}
	return problemType{}, false
}

// The outcomes of a failed write.
const (
	outcomeNotWritten    = "not_written"
	outcomeIndeterminate = "indeterminate"
)

// Problem is an RFC 9457 problem document: what the server answers instead of what was asked for, and the error of the client.
type Problem struct {
	Type     string          `json:"type"` // urn:quorate:NAME
	Title    string          `json:"title"`
	Status   int             `json:"status"`
	Detail   string          `json:"detail"`
	Outcome  string          `json:"outcome,omitempty"` // failed writes: not_written, or indeterminate: it may be seen later
	Needed   *int            `json:"needed,omitempty"`  // quorum errors: the answers that were waited for
	Got      *int            `json:"got,omitempty"`     // quorum errors: and those that came
	Replicas []ReplicaReport `json:"replicas,omitzero"` // quorum errors: who did what

	retryAfter time.Duration
	allow      string
	hangUp     bool // do not wait for the rest of the body, close the connection
}

// ReplicaReport is what one replica did for a request that failed.
type ReplicaReport struct {
	Name    string              `json:"name"`
	Outcome coordinator.Outcome `json:"outcome"`
	Detail  string              `json:"detail"`
	Millis  float64             `json:"ms"`
	// StandsFor is the owner in whose place a fallback was asked.
	StandsFor string `json:"stands_for,omitempty"`
}

// retrySeconds is what Retry-After says: whole seconds, rounded up.
func (p *Problem) retrySeconds() int { return int((p.retryAfter + time.Second - 1) / time.Second) }

// Error implements error.
func (p *Problem) Error() string {
	s := p.Name() + ": " + p.Detail
	if p.Outcome != "" {
		s += " (" + p.Outcome + ")"
	}
	return s
}

// Name is the last part of the type, such as "quorum-timeout".
func (p *Problem) Name() string { return strings.TrimPrefix(p.Type, typePrefix) }

// Code is the coordinator's code of this problem, 0 if it is none of its.
func (p *Problem) Code() coordinator.Code {
	t, _ := typeNamed(p.Name())
	return t.code
}

// ownProblem makes a problem that this layer has found; a name without a row is a defect of this package.
func ownProblem(name, detail string) *Problem {
	t, ok := typeNamed(name)
	if !ok {
		panic("http: no problem is named " + name)
	}
	return t.problem(detail)
}

// codeProblem makes the problem of a code. A code without a row, which only a defect below can yield, is a fault of the server.
func codeProblem(code coordinator.Code, detail string) *Problem {
	t, ok := typeOf(code)
	if !ok {
		t, _ = typeOf(coordinator.Internal)
	}
	return t.problem(detail)
}

func (t problemType) problem(detail string) *Problem {
	p := &Problem{Type: typePrefix + t.name, Title: t.title, Status: t.status, Detail: detail}
	if t.retry {
		p.retryAfter = time.Second
	}
	return p
}

func badRequest(detail string) *Problem { return codeProblem(coordinator.BadRequest, detail) }

// problemOf translates the coordinator's error of a read, or of a write: those have an outcome.
func problemOf(e *coordinator.Error, write bool) *Problem {
	p := codeProblem(e.Code, e.Detail)
	if e.RetryAfter > 0 {
		p.retryAfter = e.RetryAfter
	}
	if write {
		p.Outcome = outcomeNotWritten
		if e.Indeterminate {
			p.Outcome = outcomeIndeterminate
		}
	}
	if e.Code == coordinator.QuorumUnavailable || e.Code == coordinator.QuorumTimeout {
		needed, got := e.Needed, e.Got
		p.Needed, p.Got = &needed, &got
		p.Replicas = make([]ReplicaReport, len(e.Replicas))
		for i, r := range e.Replicas {
			p.Replicas[i] = ReplicaReport{Name: r.Name, Outcome: r.Outcome, Detail: r.Detail, Millis: millis(r.Elapsed), StandsFor: r.StandsFor}
		}
	}
	return p
}

// millis is d in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// handler is an http.HandlerFunc that may fail before it has written anything.
type handler func(w http.ResponseWriter, r *http.Request) error

// problems answers the errors of a handler with a problem document. An error that is no Problem is a fault of the server: the log gets its
// text and the client does not.
func (s *Server) problems(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		var p *Problem
		if !errors.As(err, &p) {
			s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			p = codeProblem(coordinator.Internal, seeLog)
		}
		writeProblem(w, p)
	})
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		panic("http: a problem that is no JSON: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retrySeconds()))
	}
	if p.hangUp {
		h.Set("Connection", "close")
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone is no concern of ours
}
