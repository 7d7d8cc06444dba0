package http

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
)

func (b *bench) client() *Client {
	c, err := NewClient(b.http.URL + "/")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func TestClientRoundTrip(t *testing.T) {
	b := newBench(t)
	c, ctx := b.client(), t.Context()
	put, err := c.Put(ctx, "b", "a/../k", strings.NewReader("hello"), "text/plain", KeyOptions{N: 4, W: 3, Timeout: time.Second, Detail: true})
	if err != nil || put.Status != 204 || put.Quorum != "n=4, w=3, acks=3" || put.Replicas == "" || put.ETag == "" || put.Context == "" {
		t.Fatalf("%v: %+v", err, put)
	}
	get, err := c.Get(ctx, "b", "a/../k", KeyOptions{Local: true, NoRepair: true})
	if err != nil || string(get.Value) != "hello" || get.ContentType != "text/plain" || get.ETag != put.ETag || get.LastModified.IsZero() ||
		get.Coordinator != "node-1" || get.Quorum != "n=3, r=1, replies=1" {
		t.Fatalf("%v: %+v", err, get)
	}
	same, err := c.Get(ctx, "b", "a/../k", KeyOptions{IfNoneMatch: get.ETag})
	if err != nil || same.Status != 304 {
		t.Fatalf("%v: %+v", err, same)
	}
	if _, err := c.Put(ctx, "b", "a/../k", strings.NewReader("x"), "", KeyOptions{IfMatch: `"other"`}); problemName(err) != "precondition-failed" {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, "b", "a/../k", KeyOptions{Context: get.Context}); err != nil {
		t.Fatal(err)
	}
	gone, err := c.Get(ctx, "b", "a/../k", KeyOptions{})
	if problemName(err) != "not-found" || !gone.Deleted || gone.Context == "" || gone.Status != 404 {
		t.Fatalf("%v: %+v", err, gone)
	}
}

// TestClientSendsNoWriteTwice has a node that closes each connection on its second request, with no answer: whether it did what it was asked, nobody knows.
func TestClientSendsNoWriteTwice(t *testing.T) {
	ctx := t.Context()
	for method, do := range map[string]struct {
		request func(c *Client) error
		sent    int64
	}{
		"GET": {func(c *Client) error { _, err := c.Get(ctx, "b", "k", KeyOptions{}); return err }, 2},
		"PUT": {func(c *Client) error {
			_, err := c.Put(ctx, "b", "k", strings.NewReader("v"), "", KeyOptions{})
			return err
		}, 1},
		"DELETE": {func(c *Client) error { _, err := c.Delete(ctx, "b", "k", KeyOptions{}); return err }, 1},
	} {
		var sent atomic.Int64
		var used sync.Map // connections
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/kv/") {
				sent.Add(1)
			}
			if _, again := used.LoadOrStore(r.RemoteAddr, true); again {
				panic(http.ErrAbortHandler)
			}
		}))
		c, err := NewClient(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(ctx); err != nil { // the connection is kept
			t.Fatal(err)
		}
		if err := do.request(c); (err == nil) != (do.sent == 2) || sent.Load() != do.sent {
			t.Errorf("%s: sent %d times, want %d; error %v", method, sent.Load(), do.sent, err)
		}
		c.Close()
		server.Close()
	}
}

func problemName(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Name()
	}
	return ""
}

func TestClientReadsProblems(t *testing.T) {
	b := newBench(t)
	b.node.onPut = func(*coordinator.PutRequest) error {
		return &coordinator.Error{Code: coordinator.QuorumTimeout, Detail: "1 of 2", Indeterminate: true, N: 3, Needed: 2, Got: 1,
			Replicas: []coordinator.Replica{{Name: "node-2", Outcome: coordinator.OutcomeTimeout}}}
	}
	_, err := b.client().Put(t.Context(), "b", "k", strings.NewReader("v"), "", KeyOptions{})
	var p *Problem
	if !errors.As(err, &p) || p.Code() != coordinator.QuorumTimeout || p.Outcome != "indeterminate" || *p.Needed != 2 || *p.Got != 1 ||
		p.Replicas[0].Outcome != coordinator.OutcomeTimeout {
		t.Fatalf("%+v", err)
	}
	if got := p.Error(); got != "quorum-timeout: 1 of 2 (indeterminate)" {
		t.Error(got)
	}
}

func TestClientSiblings(t *testing.T) {
	b := newBench(t)
	b.want(b.do("PUT", "/buckets/s", `{"conflict":"siblings"}`), 200)
	c := b.client()
	for _, v := range []string{"one", "two"} {
		if _, err := c.Put(t.Context(), "s", "k", strings.NewReader(v), "", KeyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := c.Get(t.Context(), "s", "k", KeyOptions{})
	if err != nil || len(a.Siblings) != 2 || string(a.Siblings[1].Value) != "two" || a.Value != nil {
		t.Fatalf("%v: %+v", err, a)
	}
}

func TestClientDocuments(t *testing.T) {
	b := newBench(t)
	c := b.client()
	if v, err := c.Cluster(t.Context()); err != nil || v.Self != "node-1" || len(v.Members) != 2 || v.Members[1].Behind != 5 || v.CatchUp.Remaining != 7 {
		t.Errorf("%v: %+v", err, v)
	}
	if v, err := c.Ring(t.Context(), "b", "a&b=c", 2); err != nil || v.N != 2 || v.Partition != 17 {
		t.Errorf("%v: %+v", err, v)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	b.node.notReady = "later"
	if err := c.Ready(t.Context()); problemName(err) != "not-ready" {
		t.Error(err)
	}
}

// TestClientAgainstOthers talks to servers that are no nodes.
func TestClientAgainstOthers(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://x", "http://", "http://a b"} {
		if _, err := NewClient(bad); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
	followed := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/kv/b/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			followed = true
		default:
			http.Error(w, "no", http.StatusBadGateway)
		}
	}))
	defer s.Close()
	c, err := NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Get(t.Context(), "b", "k", KeyOptions{}); err == nil || problemName(err) != "" {
		t.Errorf("a proxy's error: %v", err)
	}
	if _, err := c.Put(t.Context(), "b", "redirect", strings.NewReader("v"), "", KeyOptions{}); followed || err == nil {
		t.Errorf("a redirect: followed %v, %v", followed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "b", "k", KeyOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestClientSetsFaultsAndReadsMetrics(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.faults = new(fault.Matrix) })
	c := b.client()
	rules := []fault.Rule{{Peer: "node-2", Kind: fault.Write, Drop: true}}
	if err := c.SetFaults(t.Context(), rules); err != nil || !slices.Equal(b.node.faults.Rules(), rules) {
		t.Error(err, b.node.faults.Rules())
	}
	if err := c.SetFaults(t.Context(), []fault.Rule{{}}); problemName(err) != "bad-request" {
		t.Error(err)
	}
	if err := c.SetFaults(t.Context(), nil); err != nil || len(b.node.faults.Rules()) != 0 {
		t.Error(err, b.node.faults.Rules())
	}
	if text, err := c.Metrics(t.Context()); err != nil || !strings.Contains(string(text), "quorate_http_requests_in_flight") {
		t.Error(err, string(text))
	}
	if err := newBench(t).client().SetFaults(t.Context(), nil); problemName(err) != "no-such-resource" {
		t.Error(err)
	}
}

// TestClientBoundsAnswers meets one that never ends.
func TestClientBoundsAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := make([]byte, 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	c, err := NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Metrics(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}
