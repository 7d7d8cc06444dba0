package http

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/coordinator"
)

func TestEveryCodeHasOneRow(t *testing.T) {
	names := map[string]bool{}
	for _, row := range problemTypes {
		if names[row.name] {
			t.Errorf("%s stands there twice", row.name)
		}
		names[row.name] = true
		if row.code != 0 && row.code.String() != row.name {
			t.Errorf("code %v is named %s", row.code, row.name)
		}
		p := Problem{Type: typePrefix + row.name}
		if p.Code() != row.code {
			t.Errorf("%s leads back to %v", row.name, p.Code())
		}
	}
	for code := coordinator.BadRequest; code <= coordinator.Internal; code++ {
		if _, ok := typeOf(code); !ok {
			t.Errorf("%v has no row", code)
		}
	}
	if p := codeProblem(coordinator.Internal+1, "new"); p.Status != http.StatusInternalServerError {
		t.Errorf("an unknown code is %+v", p)
	}
}

// TestErrorsOfTheCoordinator lists each code with its status, for reads and writes.
func TestErrorsOfTheCoordinator(t *testing.T) {
	replicas := []coordinator.Replica{{Name: "node-2", Outcome: coordinator.OutcomeTimeout, Detail: "no answer", Elapsed: 1500 * time.Microsecond}}
	rows := []struct {
		err    coordinator.Error
		status int
		quorum string // header of a write
		retry  string
	}{
		{coordinator.Error{Code: coordinator.BadRequest}, 400, "", ""},
		{coordinator.Error{Code: coordinator.Siblings, N: 3}, 409, "", ""},
		{coordinator.Error{Code: coordinator.TooLarge}, 413, "", ""},
		{coordinator.Error{Code: coordinator.QuorumUnavailable, N: 3, Needed: 2, Got: 0, Replicas: replicas}, 503, "", ""},
		{coordinator.Error{Code: coordinator.QuorumTimeout, N: 3, Needed: 2, Got: 1, Replicas: replicas, Indeterminate: true}, 504, "n=3, w=2, acks=1", ""},
		{coordinator.Error{Code: coordinator.SessionUnsatisfied, N: 3}, 503, "", ""},
		{coordinator.Error{Code: coordinator.Overloaded}, 503, "", "1"},
		{coordinator.Error{Code: coordinator.Draining}, 503, "", "1"},
		{coordinator.Error{Code: coordinator.NotReady}, 503, "", "1"},
		{coordinator.Error{Code: coordinator.NoSpace, RetryAfter: 4200 * time.Millisecond}, 503, "", "5"},
		{coordinator.Error{Code: coordinator.ClockSkew}, 503, "", "1"},
		{coordinator.Error{Code: coordinator.NotImplemented}, 501, "", ""},
		{coordinator.Error{Code: coordinator.Internal, Indeterminate: true}, 500, "", ""},
	}
	for _, r := range rows {
		b := newBench(t)
		r.err.Detail, r.err.Coordinator = "why", "node-1"
		b.node.onGet = func(*coordinator.GetRequest) error { return &r.err }
		b.node.onPut = func(*coordinator.PutRequest) error { return &r.err }
		outcome := "not_written"
		if r.err.Indeterminate {
			outcome = "indeterminate"
		}
		read := b.problem(b.want(b.do("GET", "/kv/b/k", ""), r.status), r.err.Code.String(), "")
		a := b.want(b.do("PUT", "/kv/b/k", "v"), r.status)
		write := b.problem(a, r.err.Code.String(), outcome)
		b.problem(b.want(b.do("DELETE", "/kv/b/k", ""), r.status), r.err.Code.String(), outcome)
		if got := a.Header.Get("Retry-After"); got != r.retry {
			t.Errorf("%v: Retry-After %q, want %q", r.err.Code, got, r.retry)
		}
		if got := a.Header.Get(headerQuorum); got != r.quorum {
			t.Errorf("%v: quorum %q, want %q", r.err.Code, got, r.quorum)
		}
		if a.Header.Get(headerCoordinator) != "node-1" || a.Header.Get(headerContext) != "" || a.Header.Get("ETag") != "" {
			t.Errorf("%v: %v", r.err.Code, a.Header)
		}
		quorumError := r.err.Code == coordinator.QuorumUnavailable || r.err.Code == coordinator.QuorumTimeout
		for _, p := range []Problem{read, write} {
			if !quorumError {
				if p.Needed != nil || p.Got != nil || p.Replicas != nil {
					t.Errorf("%v has a quorum: %+v", r.err.Code, p)
				}
				continue
			}
			if *p.Needed != 2 || *p.Got != r.err.Got || len(p.Replicas) != 1 ||
				p.Replicas[0] != (ReplicaReport{Name: "node-2", Outcome: "timeout", Detail: "no answer", Millis: 1.5}) {
				t.Errorf("%v: %+v", r.err.Code, p)
			}
		}
	}
}

// A read that found fallbacks empty reached replicas, though it could not be met.
func TestUnavailableReadThatReachedReplicas(t *testing.T) {
	b := newBench(t)
	b.node.onGet = func(*coordinator.GetRequest) error {
		return &coordinator.Error{Code: coordinator.QuorumUnavailable, N: 3, Needed: 2, Got: 1, Replicas: []coordinator.Replica{
			{Name: "node-1", Outcome: coordinator.OutcomeOK}, {Name: "node-4", Outcome: coordinator.OutcomeOK, StandsFor: "node-2"}}}
	}
	if got := b.want(b.do("GET", "/kv/b/k", ""), 503).Header.Get(headerQuorum); got != "n=3, r=2, replies=1" {
		t.Errorf("quorum %q", got)
	}
}

func TestQuorumErrorAlwaysHasItsFields(t *testing.T) {
	b := newBench(t)
	b.node.onGet = func(*coordinator.GetRequest) error { return &coordinator.Error{Code: coordinator.QuorumUnavailable} }
	body := b.want(b.do("GET", "/kv/b/k", ""), 503).body
	for _, field := range []string{`"needed":0`, `"got":0`, `"replicas":[]`} {
		if !strings.Contains(body, field) {
			t.Errorf("%s is not in %s", field, body)
		}
	}
}

func TestUnknownErrorsKeepTheirSecrets(t *testing.T) {
	b := newBench(t)
	b.node.onPut = func(*coordinator.PutRequest) error { return errors.New("boom") }
	a := b.want(b.do("PUT", "/kv/b/k", "v"), 500)
	b.problem(a, "internal", "indeterminate")
	if strings.Contains(a.body, "boom") {
		t.Error(a.body)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	b := newBench(t)
	b.node.onGet = func(*coordinator.GetRequest) error { panic("a defect") }
	b.node.onPut = func(*coordinator.PutRequest) error { panic("a defect") }
	b.problem(b.want(b.do("GET", "/kv/b/k", ""), 500), "internal", "")
	b.problem(b.want(b.do("PUT", "/kv/b/k", "v"), 500), "internal", "indeterminate")
	b.want(b.do("GET", "/healthz", ""), 200)
	if n, used := b.server.requests.Load(), b.server.bodies.used.Load(); n != 0 || used != 0 {
		t.Errorf("%d requests and %d bytes are still counted", n, used)
	}
}
