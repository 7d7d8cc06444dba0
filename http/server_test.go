package http

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/node"
)

func TestRoutes(t *testing.T) {
	b := newBench(t)
	rows := []struct {
		method, path string
		status       int
		name         string // of the problem
		allow        string
	}{
		{"POST", "/kv/b/k", 405, "method-not-allowed", "GET, HEAD, PUT, DELETE"},
		{"OPTIONS", "/kv/b/k", 405, "method-not-allowed", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/kv/b/k", 405, "method-not-allowed", "GET, HEAD, PUT, DELETE"},
		{"PUT", "/kv/b", 405, "method-not-allowed", "GET, HEAD"},
		{"DELETE", "/buckets", 405, "method-not-allowed", "GET, HEAD"},
		{"POST", "/buckets/b", 405, "method-not-allowed", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/buckets/b", 405, "method-not-allowed", "GET, HEAD, PUT, DELETE"},
		{"GET", "/cluster/leave", 405, "method-not-allowed", "POST"},
		{"POST", "/metrics", 405, "method-not-allowed", "GET, HEAD"},
		{"GET", "/nothing", 404, "no-such-resource", ""},
		{"BREW", "/nothing", 404, "no-such-resource", ""},
		{"GET", "/buckets/b/c", 404, "no-such-resource", ""},
		{"GET", "/faults", 404, "no-such-resource", ""},
		{"PUT", "/faults", 404, "no-such-resource", ""},
		{"GET", "/kv/b", 501, "not-implemented", ""},
		{"GET", "/cluster/remove/node-2", 405, "method-not-allowed", "POST"},
		{"POST", "/cluster/remove", 404, "no-such-resource", ""},
		{"POST", "/cluster/remove/", 404, "no-such-resource", ""},
		{"GET", "/staleness", 501, "not-implemented", ""},
	}
	for _, r := range rows {
		a := b.want(b.do(r.method, r.path, ""), r.status)
		b.problem(a, r.name, "")
		if got := a.Header.Get("Allow"); got != r.allow {
			t.Errorf("%s %s: Allow %q, want %q", r.method, r.path, got, r.allow)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/cluster", "/cluster/ring?bucket=b&key=k", "/buckets", "/buckets/b"} {
		b.want(b.do("GET", path, ""), 200)
		b.want(b.do("HEAD", path, ""), 200)
	}
}

func TestReadiness(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.notReady = "no member has answered yet" })
	b.want(b.do("GET", "/healthz", ""), 200)
	p := b.problem(b.want(b.do("GET", "/readyz", ""), 503), "not-ready", "")
	if p.Detail != "no member has answered yet" {
		t.Errorf("the reason is %q", p.Detail)
	}
	a := b.want(b.do("PUT", "/kv/b/k", "v"), 503)
	b.problem(a, "not-ready", "not_written")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.problem(b.want(b.do("PUT", "/buckets/b", "{}"), 503), "not-ready", "")
	b.problem(b.want(b.do("DELETE", "/buckets/b", ""), 503), "not-ready", "")
}

func TestBuckets(t *testing.T) {
	b := newBench(t)
	const defaults = `{"n":3,"w":"quorum","r":"quorum","sloppy":false,"conflict":"lww"`
	body := func(a answer, want string) {
		t.Helper()
		if a.body != want+"\n" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %s, want %s", a.Request.Method, a.Request.URL, a.body, want)
		}
	}
	body(b.want(b.do("GET", "/buckets", ""), 200), `{"buckets":[]}`)
	body(b.want(b.do("GET", "/buckets/b", ""), 200), defaults+`,"configured":false}`)
	const set = `{"n":5,"w":2,"r":"all","sloppy":false,"conflict":"siblings"}`
	body(b.want(b.do("PUT", "/buckets/b", `{"n":5,"w":2,"r":"all","conflict":"siblings"}`), 200), set)
	body(b.want(b.do("GET", "/buckets/b", ""), 200), set)
	body(b.want(b.do("GET", "/buckets", ""), 200), `{"buckets":[{"name":"b","properties":`+set+`}]}`)
	b.problem(b.want(b.do("PUT", "/buckets/one-too-many", "{}"), 507), "too-many-buckets", "")
	body(b.want(b.do("PUT", "/buckets/b", `{}`), 200), defaults+`}`) // what is left out is the default, not what was
	b.want(b.do("DELETE", "/buckets/b", ""), 204)
	b.want(b.do("DELETE", "/buckets/b", ""), 204)
	body(b.want(b.do("GET", "/buckets/b", ""), 200), defaults+`,"configured":false}`)

	for _, bad := range []string{``, `null`, `[]`, `3`, `{"n":"three"}`, `{"m":3}`, `{"N":3}`, `{"n":3} {}`, `{"w":0}`, `{"w":"most"}`, `{"conflict":"none"}`,
		`{"configured":false}`, `{"sloppy":"yes"}`} {
		b.problem(b.want(b.do("PUT", "/buckets/b", bad), 400), "bad-request", "")
	}
	body(b.want(b.do("PUT", "/buckets/s", `{"sloppy":true}`), 200), strings.Replace(defaults, `"sloppy":false`, `"sloppy":true`, 1)+`}`)
	b.want(b.do("DELETE", "/buckets/s", ""), 204)
	b.problem(b.want(b.do("PUT", "/buckets/.b", `{}`), 400), "bad-request", "")
	b.problem(b.want(b.do("GET", "/buckets/b%2Fc", ""), 400), "bad-request", "")
	b.problem(b.want(b.do("GET", "/buckets/b?x=1", ""), 400), "bad-request", "")
	b.problem(b.want(b.do("PUT", "/buckets/b", strings.Repeat(" ", maxDocument+1)), 413), "too-large", "")
}

func TestRing(t *testing.T) {
	b := newBench(t)
	a := b.want(b.do("GET", "/cluster/ring?bucket=b&key=k%2Fl&n=2", ""), 200)
	if a.body != `{"partition":17,"n":2,"owners":["node-1"],"fallbacks":[]}`+"\n" {
		t.Error(a.body)
	}
	for _, query := range []string{"", "bucket=b", "key=k", "bucket=.&key=k", "bucket=b&key=k&n=17", "bucket=b&key=k&x=1"} {
		b.problem(b.want(b.do("GET", "/cluster/ring?"+query, ""), 400), "bad-request", "")
	}
}

func TestFaults(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.faults = new(fault.Matrix) })
	if a := b.want(b.do("GET", "/faults", ""), 200); a.body != `{"rules":[]}`+"\n" {
		t.Error(a.body)
	}
	const rules = `{"rules":[{"peer":"node-2","direction":"in","kind":"write","drop":true,"loss":0,"delay":"0s","dist":"fixed"}]}`
	b.want(b.do("PUT", "/faults", rules), 204)
	if a := b.want(b.do("GET", "/faults", ""), 200); a.body != rules+"\n" {
		t.Error(a.body)
	}
	b.problem(b.want(b.do("PUT", "/faults", `{"rules":[{"peer":"node-2","colour":"red"}]}`), 400), "bad-request", "")
	b.problem(b.want(b.do("PUT", "/faults", `{"rules":[{"peer":"node-2","loss":2}]}`), 400), "bad-request", "")
	if len(b.node.faults.Rules()) != 1 {
		t.Error("a refused PUT has changed the rules")
	}
	b.want(b.do("DELETE", "/faults", ""), 204)
	if len(b.node.faults.Rules()) != 0 {
		t.Error("DELETE has healed nothing")
	}
	b.want(b.do("POST", "/faults", ""), 405)
}

func TestMetrics(t *testing.T) {
	b := newBench(t)
	b.want(b.do("PUT", "/kv/b/k", "v"), 204)
	b.want(b.do("GET", "/kv/b/k", ""), 200)
	b.want(b.do("BREW", "/kv/b/k", ""), 405)
	text := b.want(b.do("GET", "/metrics", ""), 200).body
	for _, want := range []string{
		`quorate_http_requests_total{code="204",method="PUT",route="key"} 1`,
		`quorate_http_requests_total{code="200",method="GET",route="key"} 1`,
		`quorate_http_requests_total{code="405",method="other",route="key"} 1`,
		`quorate_http_request_duration_seconds_count{method="PUT",route="key"} 1`,
		`quorate_http_requests_in_flight 0`,
		`quorate_http_body_bytes 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.maxValue = 10_000 })
	b.want(b.do("PUT", "/kv/b/k", strings.Repeat("x", 10_000)), 204)
	b.problem(b.want(b.do("PUT", "/kv/b/k", strings.Repeat("x", 10_001)), 413), "too-large", "not_written")
	chunk := strings.Repeat("x", 10_001)
	a := b.raw(fmt.Sprintf("PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(chunk), chunk))
	b.problem(b.want(a, 413), "too-large", "not_written")

	// A client that asks first is told before it has sent a byte, and one whose value fits is told to go on.
	a = b.raw("PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10001\r\nExpect: 100-continue\r\n\r\n")
	b.problem(b.want(a, 413), "too-large", "not_written")
	b.want(b.raw("PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"), 100)
}

func TestHeadersTooLarge(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("x", maxHeader+8<<10)
	b.want(b.raw("GET /kv/b/k HTTP/1.1\r\nHost: h\r\nX-Big: "+big+"\r\n\r\n"), 431)
}

func TestShortBodyIsNotWritten(t *testing.T) {
	for _, size := range []int{100, bodyStep * 2} {
		b := newBench(t)
		conn, err := net.Dial("tcp", b.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1))
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b.problem(b.want(b.readAnswer(conn), 400), "bad-request", "not_written")
		b.want(b.do("GET", "/kv/b/k", ""), 404)
	}
}

func TestBrokenChunksAreNotWritten(t *testing.T) {
	b := newBench(t)
	a := b.raw("PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
	b.problem(b.want(a, 400), "bad-request", "not_written")
	b.want(b.do("GET", "/kv/b/k", ""), 404)
}

func TestRequestsAreBounded(t *testing.T) {
	b := newBench(t, func(_ *fakeNode, c *Config) { c.MaxRequests = 1 })
	entered, leave := make(chan struct{}), make(chan struct{})
	b.node.onGet = func(*coordinator.GetRequest) error { close(entered); <-leave; return nil }
	done := make(chan answer)
	go func() { done <- b.do("GET", "/kv/b/k", "") }()
	<-entered
	a := b.want(b.do("PUT", "/kv/b/k", "v"), 503)
	b.problem(a, "overloaded", "not_written")
	if a.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	b.want(b.do("GET", "/healthz", ""), 200) // probes are not requests
	b.want(b.do("GET", "/metrics", ""), 200)
	b.node.onGet = nil
	close(leave)
	b.want(<-done, 404)
	b.want(b.do("PUT", "/kv/b/k", "v"), 204)
}

func TestBodiesAreBounded(t *testing.T) {
	b := newBench(t, func(_ *fakeNode, c *Config) { c.MaxBodies = 5000 })
	b.want(b.do("PUT", "/kv/b/k", strings.Repeat("x", 5000)), 204)
	b.problem(b.want(b.do("PUT", "/kv/b/k", strings.Repeat("x", 5001)), 503), "overloaded", "not_written")
	b.want(b.do("GET", "/kv/b/k", ""), 200)
	b.server.bodies.limit = 4999
	a := b.want(b.do("GET", "/kv/b/k", ""), 503)
	b.problem(a, "overloaded", "")
	if a.Header.Get(headerContext) != "" || a.Header.Get("ETag") != "" {
		t.Error("a client that got no value has seen one")
	}
	if used := b.server.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

// TestLargeWritesTakeTurns: while one fills the bound another waits, for as long as it has time; small ones do not.
func TestLargeWritesTakeTurns(t *testing.T) {
	b := newBench(t, func(_ *fakeNode, c *Config) { c.MaxWriting = 3 * largeValue / 2 })
	large := strings.Repeat("x", largeValue)
	if !b.server.writing.TryAcquire(largeValue) {
		t.Fatal("a new server is at work")
	}
	a := b.want(b.do("PUT", "/kv/b/k?timeout=30ms", large), 503)
	b.problem(a, "overloaded", "not_written")
	if a.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	b.want(b.do("GET", "/kv/b/k", ""), 404)
	b.want(b.do("PUT", "/kv/b/k", large[1:]), 204)
	answered := make(chan answer)
	go func() { answered <- b.do("PUT", "/kv/b/k", large) }()
	b.server.writing.Release(largeValue)
	b.want(<-answered, 204)
	b.want(b.do("PUT", "/kv/b/k", strings.Repeat(large, 4)), 204) // larger than the bound: alone
	b.node.onGet = func(r *coordinator.GetRequest) error {
		if r.Timeout >= node.DefaultTimeout {
			t.Errorf("the precondition may take %v: the wait for a turn is not taken from it", r.Timeout)
		}
		return nil
	}
	b.want(b.do("PUT", "/kv/b/k", large, "If-Match", "*"), 204)
	b.node.onGet = nil
	if !b.server.writing.TryAcquire(b.server.cfg.MaxWriting) {
		t.Error("something is still held")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.MaxConnections = 1
	s, err := NewServer(cfg, newFakeNode(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Open(l)
	b := &bench{TB: t}
	ask := func(conn net.Conn) answer {
		fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
		return b.readAnswer(conn)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first := dial()
	b.want(ask(first), 200)
	second := dial()
	a := b.want(b.readAnswer(second), 503)
	b.problem(a, "overloaded", "")
	if a.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	b.want(ask(first), 200)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("a closed server still listens")
	}
}

func TestDrain(t *testing.T) {
	b := newBench(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	b.node.onGet = func(*coordinator.GetRequest) error { close(entered); <-leave; return nil }
	done := make(chan answer)
	go func() { done <- b.do("GET", "/kv/b/k", "") }()
	<-entered
	b.server.Drain()
	a := b.want(b.do("PUT", "/kv/b/k", "v"), 503)
	b.problem(a, "draining", "not_written")
	if a.Header.Get("Retry-After") == "" || !a.Close {
		t.Error("no Retry-After, or the connection is kept")
	}
	b.problem(b.want(b.do("GET", "/readyz", ""), 503), "draining", "")
	b.want(b.do("GET", "/healthz", ""), 200)
	close(leave)
	b.want(<-done, 404) // what was at work is answered
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := NewServer(Config{}, newFakeNode(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a server that takes nothing was made")
	}
}

func TestClusterDocument(t *testing.T) {
	b := newBench(t)
	var v map[string]any
	if err := json.Unmarshal([]byte(b.want(b.do("GET", "/cluster", ""), 200).body), &v); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"cluster", "self", "partitions", "layout", "members"} {
		if v[field] == nil {
			t.Errorf("%s is missing", field)
		}
	}
	catchUp, _ := json.Marshal(v["catch_up"])
	members, _ := v["members"].([]any)
	if len(members) != 2 || string(catchUp) != `{"rate":3,"remaining":7}` {
		t.Fatalf("catch_up %s, members %v", catchUp, members)
	}
	for i, want := range []string{"0 <nil>", "5 2023-11-14T22:13:20Z"} {
		m, _ := members[i].(map[string]any)
		if got := fmt.Sprint(m["behind"], " ", m["behind_since"]); got != want {
			t.Errorf("member %d: behind %s, want %s", i, got, want)
		}
	}
	b.want(b.do("GET", "/cluster?x=1", ""), http.StatusBadRequest)
}
