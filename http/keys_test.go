package http

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

func TestPutThenGet(t *testing.T) {
	b := newBench(t)
	put := b.want(b.do("PUT", "/kv/b/k", "hello", "Content-Type", "text/plain"), 204)
	get := b.want(b.do("GET", "/kv/b/k", ""), 200)
	if get.body != "hello" || get.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %q of type %q", get.body, get.Header.Get("Content-Type"))
	}
	if put.Header.Get("ETag") == "" || put.Header.Get("ETag") != get.Header.Get("ETag") {
		t.Errorf("etags %q and %q", put.Header.Get("ETag"), get.Header.Get("ETag"))
	}
	for name, want := range map[string]string{headerQuorum: "n=3, w=2, acks=2", headerCoordinator: "node-1"} {
		if got := put.Header.Get(name); got != want {
			t.Errorf("PUT: %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{headerQuorum: "n=3, r=2, replies=2", headerCoordinator: "node-1", "X-Content-Type-Options": "nosniff",
		headerReplicas: ""} {
		if got := get.Header.Get(name); got != want {
			t.Errorf("GET: %s is %q, want %q", name, got, want)
		}
	}
	for _, a := range []answer{put, get} {
		if a.Header.Get(headerContext) == "" {
			t.Error("no context")
		}
	}
	if _, err := http.ParseTime(get.Header.Get("Last-Modified")); err != nil {
		t.Error(err)
	}
	head := b.want(b.do("HEAD", "/kv/b/k", ""), 200)
	if head.body != "" || head.ContentLength != 5 || head.Header.Get("ETag") != get.Header.Get("ETag") {
		t.Errorf("HEAD: body %q, length %d, etag %q", head.body, head.ContentLength, head.Header.Get("ETag"))
	}
}

func TestValuesOfEverySize(t *testing.T) {
	b := newBench(t)
	for _, size := range []int{0, 1, smallBody - 1, smallBody, smallBody + 1, bodyStep, bodyStep + 1, 1 << 20} {
		value := strings.Repeat("x\x00\xff", size/3+1)[:size]
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(value)
			if chunked {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequest("PUT", b.http.URL+"/kv/b/k", body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			get := b.want(b.do("GET", "/kv/b/k", ""), 200)
			if get.body != value || get.ContentLength != int64(size) {
				t.Errorf("%d bytes, chunked %v: got %d back, length %d", size, chunked, len(get.body), get.ContentLength)
			}
			if got := get.Header.Get("Content-Type"); got != defaultContentType {
				t.Errorf("a value without a type is %q", got)
			}
		}
	}
	if used := b.server.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

func TestAbsentAndDeleted(t *testing.T) {
	b := newBench(t)
	for _, method := range []string{"GET", "HEAD"} {
		absent := b.want(b.do(method, "/kv/b/k", ""), 404)
		if absent.Header.Get(headerContext) == "" || absent.Header.Get(headerDeleted) != "" || absent.Header.Get("ETag") != "" {
			t.Errorf("%s of a key never written: %v", method, absent.Header)
		}
	}
	b.want(b.do("DELETE", "/kv/b/k", ""), 204) // nothing there
	b.want(b.do("PUT", "/kv/b/k", "v"), 204)
	deleted := b.want(b.do("DELETE", "/kv/b/k", ""), 204)
	if deleted.Header.Get(headerContext) == "" || deleted.Header.Get("ETag") != "" || deleted.Header.Get(headerQuorum) != "n=3, w=2, acks=2" {
		t.Errorf("DELETE: %v", deleted.Header)
	}
	gone := b.want(b.do("GET", "/kv/b/k", ""), 404)
	if gone.Header.Get(headerDeleted) != "true" || gone.Header.Get(headerContext) == "" || gone.Header.Get(headerQuorum) == "" {
		t.Errorf("GET of a deleted key: %v", gone.Header)
	}
	b.problem(gone, "not-found", "")
}

// problem checks a problem document.
func (b *bench) problem(a answer, name, outcome string) Problem {
	b.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		b.Fatalf("%d is no problem document: %q", a.StatusCode, a.body)
	}
	if a.Header.Get("Content-Type") != "application/problem+json" || p.Type != "urn:quorate:"+name || p.Status != a.StatusCode || p.Title == "" ||
		p.Detail == "" || p.Outcome != outcome {
		b.Fatalf("%s %s: got %s, want %s with outcome %q", a.Request.Method, a.Request.URL, a.body, name, outcome)
	}
	return p
}

func TestSiblings(t *testing.T) {
	b := newBench(t)
	b.want(b.do("PUT", "/buckets/s", `{"conflict":"siblings"}`), 200)
	b.want(b.do("PUT", "/kv/s/k", "one", "Content-Type", "text/plain"), 204)
	b.want(b.do("PUT", "/kv/s/k", "two"), 204)

	get := b.want(b.do("GET", "/kv/s/k", ""), 300)
	var list struct{ Siblings []Sibling }
	if err := json.Unmarshal([]byte(get.body), &list); err != nil || len(list.Siblings) != 2 {
		t.Fatalf("%v: %s", err, get.body)
	}
	if one := list.Siblings[0]; string(one.Value) != "one" || one.ContentType != "text/plain" || one.ETag == "" || one.ETag == list.Siblings[1].ETag ||
		time.Since(one.Timestamp).Abs() > time.Hour {
		t.Errorf("first sibling: %+v", one)
	}
	if !strings.Contains(get.body, base64.StdEncoding.EncodeToString([]byte("two"))) || get.Header.Get("ETag") == "" || get.Header.Get(headerContext) == "" {
		t.Errorf("%v: %s", get.Header, get.body)
	}

	multi := b.want(b.do("GET", "/kv/s/k", "", "Accept", "multipart/mixed"), 300)
	_, params, err := mime.ParseMediaType(multi.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(strings.NewReader(multi.body), params["boundary"])
	var values []string
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(value)+" "+part.Header.Get("Content-Type"))
	}
	if got := strings.Join(values, ", "); got != "one text/plain, two application/octet-stream" {
		t.Errorf("parts: %s", got)
	}

	b.want(b.do("HEAD", "/kv/s/k", ""), 300)
	b.want(b.do("PUT", "/kv/s/k", "three", headerContext, get.Header.Get(headerContext)), 204)
	if a := b.want(b.do("GET", "/kv/s/k", ""), 200); a.body != "three" {
		t.Errorf("after a PUT that has seen both: %q", a.body)
	}
}

// TestMultipartPreference lists Accept headers and whether they ask for multipart.
func TestMultipartPreference(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"multipart/mixed":                   true,
		"multipart/mixed;q=0":               false,
		"multipart/mixed, */*;q=0.1":        true,
		"application/json, multipart/mixed": true,
		"multipart/mixed;q=0.5, */*":        false,
		"multipart/mixed;q=0.5, */*;q=0.9, application/json;q=0.1": true,
		"application/json;q=0.9,multipart/mixed;q=0.8":             false,
		"text/html, multipart/mixed;q=x":                           false,
	} {
		if got := prefersMultipart([]string{accept}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// TestBadRequests lists what is refused before anything runs.
func TestBadRequests(t *testing.T) {
	b := newBench(t)
	b.node.onGet = func(*coordinator.GetRequest) error { t.Error("a bad GET was handed down"); return nil }
	b.node.onPut = func(*coordinator.PutRequest) error { t.Error("a bad PUT was handed down"); return nil }
	type row struct {
		path    string
		headers []string
	}
	rows := []row{
		{path: "/kv/b/"}, {path: "/kv/-b/k"}, {path: "/kv/.b/k"}, {path: "/kv/b%20c/k"}, {path: "/kv/b%2Fc/k"}, {path: "/kv//k"},
		{path: "/kv/" + strings.Repeat("b", 65) + "/k"},
		{path: "/kv/b/k?n=0"}, {path: "/kv/b/k?n=17"}, {path: "/kv/b/k?n=x"}, {path: "/kv/b/k?n=03"}, {path: "/kv/b/k?n="}, {path: "/kv/b/k?n=-1"},
		{path: "/kv/b/k?w=0"}, {path: "/kv/b/k?w=17"}, {path: "/kv/b/k?w=most"}, {path: "/kv/b/k?r=0"}, {path: "/kv/b/k?r=-1"}, {path: "/kv/b/k?r=Quorum"},
		{path: "/kv/b/k?sloppy=yes"}, {path: "/kv/b/k?timeout=0"}, {path: "/kv/b/k?timeout=-1s"}, {path: "/kv/b/k?timeout=61s"}, {path: "/kv/b/k?timeout=5"},
		{path: "/kv/b/k?detail=1"}, {path: "/kv/b/k?color=red"}, {path: "/kv/b/k?n=3&n=3"}, {path: "/kv/b/k?N=3"}, {path: "/kv/b/k?%zz=1"}, {path: "/kv/b/k?n=%zz"},
		{path: "/kv/b/k?n=3;w=2"}, {path: "/kv/b/k?prefix=a"},
		{path: "/kv/b/k", headers: []string{headerContext, "rubbish"}},
		{path: "/kv/b/k", headers: []string{headerContext, "a", headerContext, "b"}},
		{path: "/kv/b/k", headers: []string{"If-Match", "abc"}}, {path: "/kv/b/k", headers: []string{"If-None-Match", `"a" "b"`}},
		{path: "/kv/b/k", headers: []string{"If-None-Match", `"a`}}, {path: "/kv/b/k", headers: []string{"If-Match", `*, "a"`}},
	}
	for _, r := range rows {
		b.problem(b.want(b.do("GET", r.path, "", r.headers...), 400), "bad-request", "")
		b.problem(b.want(b.do("PUT", r.path, "v", r.headers...), 400), "bad-request", "not_written")
		b.problem(b.want(b.do("DELETE", r.path, "", r.headers...), 400), "bad-request", "not_written")
	}
	for _, path := range []string{"/kv/b/k?local=true", "/kv/b/k?repair=false"} {
		b.problem(b.want(b.do("PUT", path, "v"), 400), "bad-request", "not_written")
	}
	for _, headers := range [][]string{{"Content-Type", strings.Repeat("t", 257)}, {"Content-Type", "a/b; c=\xff"}, {"Content-Range", "bytes 0-1/2"},
		{"Content-Type", "a/b", "Content-Type", "c/d"}} {
		b.problem(b.want(b.do("PUT", "/kv/b/k", "v", headers...), 400), "bad-request", "not_written")
	}
	long := "/kv/b/" + strings.Repeat("%00", maxKey)
	b.problem(b.want(b.do("PUT", long+"k", "v"), 414), "key-too-long", "not_written")
	b.problem(b.want(b.do("GET", long+"k", ""), 414), "key-too-long", "")
}

// TestParametersReachTheNode checks that what a request says is what the coordinator gets.
func TestParametersReachTheNode(t *testing.T) {
	b := newBench(t)
	var get coordinator.GetRequest
	var put coordinator.PutRequest
	b.node.onGet = func(r *coordinator.GetRequest) error { get = *r; return nil }
	b.node.onPut = func(r *coordinator.PutRequest) error { put = *r; return nil }

	b.want(b.do("PUT", "/kv/b/k", "v"), 204)
	if o := put.Options; o.N != 0 || o.W != 0 || o.R != 0 || o.Sloppy != nil || o.Timeout != node.DefaultTimeout || put.Token != nil || put.Detail || put.Delete {
		t.Errorf("a plain PUT became %+v", put)
	}
	first := b.want(b.do("GET", "/kv/b/k?n=5&w=all&r=2&sloppy=false&timeout=250ms&local=true&repair=false&detail=true", ""), 200)
	if o := get.Options; o.N != 5 || o.W != quorum.All || o.R != 2 || o.Sloppy == nil || *o.Sloppy || o.Timeout != 250*time.Millisecond ||
		!get.Local || !get.NoRepair || !get.Detail || get.Bucket != "b" || get.Key != "k" {
		t.Errorf("GET became %+v", get)
	}
	if got := first.Header.Get(headerQuorum); got != "n=5, r=1, replies=1" {
		t.Errorf("a local read: %q", got)
	}
	b.want(b.do("DELETE", "/kv/b/k?n=4&w=one&r=quorum&detail=true", "", headerContext, first.Header.Get(headerContext)), 204)
	if o := put.Options; o.N != 4 || o.W != quorum.One || o.R != quorum.Quorum || put.Token == nil || !put.Delete || !put.Detail {
		t.Errorf("DELETE became %+v", put)
	}
	a := b.want(b.do("PUT", "/kv/b/k?sloppy=true&detail=true", "v"), 204)
	if o := put.Options; o.Sloppy == nil || !*o.Sloppy {
		t.Errorf("PUT became %+v", put)
	}
	if got := a.Header.Get(headerQuorum); got != "n=3, w=2, acks=2, fallbacks=1" {
		t.Errorf("a sloppy write: %q", got)
	}
	b.problem(b.want(b.do("GET", "/kv/b/k?n=2&r=3", ""), 400), "bad-request", "")
	b.problem(b.want(b.do("PUT", "/kv/b/k?n=2&w=3", "v"), 400), "bad-request", "not_written")
}

func TestDetail(t *testing.T) {
	b := newBench(t)
	const want = "node-1;outcome=ok;ms=0.4, node-3;outcome=not-sent;ms=2.0;behind=2"
	for _, a := range []answer{b.want(b.do("PUT", "/kv/b/k?detail=true", "v"), 204), b.want(b.do("GET", "/kv/b/k?detail=true", ""), 200)} {
		if got := a.Header.Get(headerReplicas); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	odd := replicasHeader([]coordinator.Replica{{Name: `1 "x"\`, Outcome: "ok"}, {Name: "é"}, {Name: "n", StandsFor: `1 "x"\`}})
	if odd != `"1 \"x\"\\";outcome=ok;ms=0.0, "??";outcome=;ms=0.0, n;outcome=;ms=0.0;for="1 \"x\"\\"` {
		t.Errorf("names that are no tokens: %s", odd)
	}
}

// TestConditions lists preconditions against a value that is there and one that is not.
func TestConditions(t *testing.T) {
	const tag, other = "TAG", `"other"`
	rows := []struct {
		method  string
		present bool
		header  string
		value   string
		status  int
	}{
		{"GET", true, "If-None-Match", tag, 304}, {"GET", true, "If-None-Match", "W/" + tag, 304}, {"GET", true, "If-None-Match", "*", 304},
		{"GET", true, "If-None-Match", other + " , " + tag, 304}, {"GET", true, "If-None-Match", other, 200},
		{"HEAD", true, "If-None-Match", tag, 304},
		{"GET", true, "If-Match", tag, 200}, {"GET", true, "If-Match", "*", 200}, {"GET", true, "If-Match", other, 412}, {"GET", true, "If-Match", "W/" + tag, 412},
		{"GET", false, "If-Match", "*", 404}, {"GET", false, "If-None-Match", "*", 404},
		{"PUT", true, "If-None-Match", "*", 412}, {"PUT", true, "If-None-Match", tag, 412}, {"PUT", true, "If-None-Match", other, 204},
		{"PUT", true, "If-Match", tag, 204}, {"PUT", true, "If-Match", other, 412}, {"PUT", true, "If-Match", "W/" + tag, 412}, {"PUT", true, "If-Match", "*", 204},
		{"PUT", false, "If-None-Match", "*", 204}, {"PUT", false, "If-Match", "*", 412}, {"PUT", false, "If-Match", other, 412},
		{"DELETE", true, "If-Match", tag, 204}, {"DELETE", true, "If-Match", other, 412}, {"DELETE", false, "If-Match", "*", 412},
	}
	for _, r := range rows {
		b := newBench(t)
		current := `"none"`
		if r.present {
			current = b.want(b.do("PUT", "/kv/b/k", "v"), 204).Header.Get("ETag")
		}
		body := ""
		if r.method == "PUT" {
			body = "new"
		}
		a := b.do(r.method, "/kv/b/k", body, r.header, strings.ReplaceAll(r.value, tag, current))
		if a.StatusCode != r.status {
			t.Errorf("%s with %s: %s, value there %v: %d, want %d", r.method, r.header, r.value, r.present, a.StatusCode, r.status)
			continue
		}
		if a.Header.Get(headerQuorum) == "" || a.Header.Get(headerCoordinator) == "" {
			t.Errorf("%s answered %d and tells no quorum", r.method, r.status)
		}
		switch r.status {
		case 304:
			if a.Header.Get("ETag") != current || a.body != "" {
				t.Errorf("304 with %v", a.Header)
			}
		case 412:
			outcome := "not_written"
			if r.method == "GET" {
				outcome = ""
			}
			b.problem(a, "precondition-failed", outcome)
		}
	}
}

func TestConditionalWriteReplacesWhatItRead(t *testing.T) {
	b := newBench(t)
	var put coordinator.PutRequest
	b.node.onPut = func(r *coordinator.PutRequest) error { put = *r; return nil }
	tag := b.want(b.do("PUT", "/kv/b/k", "v"), 204).Header.Get("ETag")
	b.want(b.do("PUT", "/kv/b/k?timeout=3s", "w", "If-Match", tag), 204)
	if put.Token == nil || len(put.Token.Seen) != 1 {
		t.Errorf("the write does not know what the precondition saw: %+v", put.Token)
	}
	if put.Timeout <= 0 || put.Timeout > 3*time.Second {
		t.Errorf("the write has %v left of 3s", put.Timeout)
	}
	b.node.onGet = func(*coordinator.GetRequest) error {
		return &coordinator.Error{Code: coordinator.QuorumTimeout, Detail: "slow", N: 3, Needed: 2, Got: 1}
	}
	b.problem(b.want(b.do("PUT", "/kv/b/k", "x", "If-Match", tag), 504), "quorum-timeout", "not_written")
}

func TestLastModified(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stamp := version.Stamp{Time: rapid.Uint64().Draw(rt, "time")}
		if got, want := lastModified(stamp), stamp.Wall().Format(http.TimeFormat); got != want {
			rt.Fatalf("%v: %s, want %s", stamp, got, want)
		}
	})
}
