package http

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring/layouts"
)

func TestLeaveAnswers(t *testing.T) {
	for _, r := range []struct {
		query  string
		err    error
		calls  int
		status int
		name   string
	}{
		{"", nil, 1, 202, ""},
		{"", fmt.Errorf("leave: %w", node.ErrLastMember), 1, 409, "last-member"},
		{"", node.ErrJoining, 1, 409, "joining"},
		{"", layouts.ErrBusy, 1, 503, "ring-busy"},
		{"", fmt.Errorf("leave: %w", layouts.ErrDivided), 1, 503, "ring-busy"},
		{"", errors.New("the disk says no"), 1, 500, "internal"},
		{"?force=true", nil, 0, 400, "bad-request"},
	} {
		b, calls := newBench(t), 0
		b.node.onLeave = func() error { calls++; return r.err }
		a := b.want(b.do("POST", "/cluster/leave"+r.query, ""), r.status)
		if calls != r.calls {
			t.Errorf("%+v: asked %d times", r, calls)
		}
		if r.name == "" {
			if a.body != "" {
				t.Errorf("it answered %q", a.body)
			}
			continue
		}
		b.problem(a, r.name, "")
		if busy := r.status == 503; busy != (a.Header.Get("Retry-After") != "") {
			t.Errorf("%+v: Retry-After is %q", r, a.Header.Get("Retry-After"))
		}
		if strings.Contains(a.body, "disk") {
			t.Errorf("a fault's text reached the client: %s", a.body)
		}
	}
}

func TestRemoveAnswers(t *testing.T) {
	for _, r := range []struct {
		path   string
		err    error
		asked  string // name and force
		status int
		name   string
	}{
		{"node-2", nil, "node-2 false", 202, ""},
		{"node-2?force=true", nil, "node-2 true", 202, ""},
		{"node-2?force=false", nil, "node-2 false", 202, ""},
		{"a%3Ab", nil, "a:b false", 202, ""},
		{"%2E%2E", nil, ".. false", 202, ""},
		{"node-9", fmt.Errorf("remove: %w", node.ErrUnknownMember), "node-9 false", 404, "unknown-member"},
		{"a%2Fb", node.ErrUnknownMember, "a/b false", 404, "unknown-member"},
		{"node-2", fmt.Errorf("remove: %w", node.ErrMemberAlive), "node-2 false", 409, "member-alive"},
		{"node-1?force=true", node.ErrMemberAlive, "node-1 true", 409, "member-alive"},
		{"node-2", fmt.Errorf("remove: %w", node.ErrLastMember), "node-2 false", 409, "last-member"},
		{"node-2", layouts.ErrNotMember, "node-2 false", 409, "joining"},
		{"node-2", layouts.ErrBusy, "node-2 false", 503, "ring-busy"},
		{"node-2?force=1", nil, "", 400, "bad-request"},
		{"node-2?force=", nil, "", 400, "bad-request"},
		{"node-2?force", nil, "", 400, "bad-request"},
		{"node-2?forced=true", nil, "", 400, "bad-request"},
		{"node-2?force=true&force=false", nil, "", 400, "bad-request"},
	} {
		b, asked := newBench(t), ""
		b.node.onRemove = func(name string, force bool) error {
			asked = fmt.Sprint(name, " ", force)
			return r.err
		}
		a := b.want(b.do("POST", "/cluster/remove/"+r.path, ""), r.status)
		if r.name != "" {
			b.problem(a, r.name, "")
		}
		if own := strings.HasPrefix(r.path, "node-1"); own && strings.Contains(a.body, "force") {
			t.Errorf("it advises to force itself out: %s", a.body)
		}
		if asked != r.asked {
			t.Errorf("%s: the node was asked %q, want %q", r.path, asked, r.asked)
		}
	}
}

// TestRingChangesWaitForReadiness: a node that has met no cluster has no ring to change.
func TestRingChangesWaitForReadiness(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.notReady = "no cluster has been met yet" })
	for _, path := range []string{"/cluster/leave", "/cluster/remove/node-2"} {
		b.problem(b.want(b.do("POST", path, ""), 503), "not-ready", "")
	}
}

func TestClientChangesTheRing(t *testing.T) {
	b := newBench(t)
	var asked []string
	b.node.onLeave = func() error { asked = append(asked, "leave"); return nil }
	b.node.onRemove = func(name string, force bool) error {
		asked = append(asked, fmt.Sprint(name, force))
		return node.ErrMemberAlive
	}
	c := b.client()
	if err := c.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Remove(t.Context(), "a:b", true); problemName(err) != "member-alive" {
		t.Error(err)
	}
	if err := c.Remove(t.Context(), "..", false); problemName(err) != "member-alive" {
		t.Error(err)
	}
	if got := strings.Join(asked, ", "); got != "leave, a:btrue, ..false" {
		t.Error(got)
	}
}
