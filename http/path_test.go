package http

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/coordinator"
)

// raw sends bytes on a connection of their own and reads one answer.
func (b *bench) raw(request string) answer {
	b.Helper()
	conn, err := net.Dial("tcp", b.http.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(request)); err != nil {
		b.Fatal(err)
	}
	return b.readAnswer(conn)
}

func (b *bench) readAnswer(conn net.Conn) answer {
	b.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "GET", URL: &url.URL{Path: "raw"}})
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil {
		b.Fatal(err)
	}
	return answer{resp, text.String()}
}

// TestKeysAreData lists request targets as they stand on the wire, and the bucket and key that they name.
func TestKeysAreData(t *testing.T) {
	b := newBench(t)
	var got key
	b.node.onGet = func(r *coordinator.GetRequest) error { got = key{r.Bucket, r.Key}; return nil }
	for target, want := range map[string]key{
		"/kv/b/k":                       {"b", "k"},
		"/kv/b/a/b/c":                   {"b", "a/b/c"},
		"/kv/b/a%2Fb":                   {"b", "a/b"},
		"/kv/b/a%2fb/c":                 {"b", "a/b/c"},
		"/kv/b/..":                      {"b", ".."},
		"/kv/b/../../etc/passwd":        {"b", "../../etc/passwd"},
		"/kv/b/./x/":                    {"b", "./x/"},
		"/kv/b/%2E%2E/x":                {"b", "../x"},
		"/kv/b//":                       {"b", "/"},
		"/kv/b//a//b":                   {"b", "/a//b"},
		"/kv/b/%00":                     {"b", "\x00"},
		"/kv/b/%252F":                   {"b", "%2F"},
		"/kv/b/%25":                     {"b", "%"},
		"/kv/b/a+b":                     {"b", "a+b"},
		"/kv/b/a%20b":                   {"b", "a b"},
		"/kv/b/%ff%fe":                  {"b", "\xff\xfe"},
		"/kv/b/\xff":                    {"b", "\xff"},
		"/kv/b/\"<>^`{|}\\":             {"b", "\"<>^`{|}\\"},
		"/kv/b/\"%2F":                   {"b", "\"/"},
		"/kv/b/a;b=c":                   {"b", "a;b=c"},
		"/kv/b/a#b":                     {"b", "a#b"},
		"/kv/b/http://x/y":              {"b", "http://x/y"},
		"/kv/b/k?":                      {"b", "k"},
		"/kv/b/%3F?n=3":                 {"b", "?"},
		"/kv/%62/k":                     {"b", "k"},
		"/kv/A-Z.a_z0/*":                {"A-Z.a_z0", "*"},
		"http://elsewhere/kv/b/k%2Fl":   {"b", "k/l"},
		"/kv/b/{key}":                   {"b", "{key}"},
		"/kv/b/" + string(manyKs(1024)): {"b", string(manyKs(1024))},
	} {
		got = key{}
		a := b.raw("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if a.StatusCode != 404 || got != want {
			t.Errorf("%q: %d, %q", target, a.StatusCode, got)
		}
	}
	for target, status := range map[string]int{
		"/kv/b/%zz": 400, "/kv/b/%": 400, "/kv/%62%2Fc/k": 400, "/kv/b%2Fc/\"": 400, "/kv": 404, "/kv/": 404, "/kv/b": 501, "/%6bv/b/k": 404,
		"//kv/b/k": 404, "/kv/b/" + string(manyKs(1025)): 414, "*": 404, "/": 404,
	} {
		got = key{}
		if a := b.raw("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); a.StatusCode != status || got != (key{}) {
			t.Errorf("%q: %d, %q", target, a.StatusCode, got)
		}
	}
}

func manyKs(n int) []byte { return []byte(strings.Repeat("k", n)) }

// TestAnyKeyThereAndBack sends keys through client, wire and server.
func TestAnyKeyThereAndBack(t *testing.T) {
	b := newBench(t)
	c := b.client()
	var got key
	b.node.onPut = func(r *coordinator.PutRequest) error { got = key{r.Bucket, r.Key}; return nil }
	rapid.Check(t, func(rt *rapid.T) {
		want := key{
			rapid.StringMatching(`[A-Za-z0-9_][A-Za-z0-9._-]{0,63}`).Draw(rt, "bucket"),
			rapid.OneOf(
				rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string { return string(b) }),
				rapid.StringMatching(`[./%+?#a]{1,20}`),
			).Draw(rt, "key"),
		}
		if _, err := c.Put(t.Context(), want.bucket, want.name, nil, "", KeyOptions{}); err != nil {
			rt.Fatal(err)
		}
		if got != want {
			rt.Fatalf("%q became %q", want, got)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"/kv/b/k", "/kv/b/%2F", "/kv/%62/%00", "/kv/b/\"%2f", "/kv//", "/kv/b/..//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		if !isKeyPath(&http.Request{URL: u}) {
			return
		}
		k, err := parseKey(u)
		if err != nil {
			return
		}
		// The definition: cut at the slashes that the client sent, then decode once.
		path := u.RawPath
		if path == "" {
			path = u.EscapedPath()
		}
		bucket, name, _ := strings.Cut(strings.TrimPrefix(path, keyPrefix), "/")
		bucket, err1 := url.PathUnescape(bucket)
		name, err2 := url.PathUnescape(name)
		if err1 != nil || err2 != nil || k != (key{bucket, name}) {
			t.Fatalf("%q: %q, not %q %q", target, k, bucket, name)
		}
		if len(k.name) < 1 || len(k.name) > maxKey {
			t.Fatalf("%q: key of %d bytes", target, len(k.name))
		}
	})
}

func FuzzParseKeyQuery(f *testing.F) {
	for _, s := range []string{"n=3&w=2&r=one", "timeout=2s&sloppy=false", "local=true&repair=false&detail=true", "n=%33", "a=b&&;", "n=3&n=3"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, raw string, reading bool) {
		q, err := parseKeyQuery(raw, reading)
		if err != nil {
			return
		}
		if q.N < 0 || q.N > 16 || q.W != 0 && !q.W.Valid() || q.R != 0 && !q.R.Valid() || q.Timeout <= 0 || q.Timeout > 60e9 {
			t.Fatalf("%q: %+v", raw, q)
		}
		if !reading && (q.local || q.noRepair) {
			t.Fatalf("%q: a write read as a read", raw)
		}
		again, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		for name, values := range again {
			if len(values) > 1 {
				t.Fatalf("%q: %s is given twice", raw, name)
			}
		}
	})
}

func FuzzParseETags(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, `*`, `"a,b"`, `"`, `""`, `,"a",`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseETags("If-Match", []string{s})
		if err != nil {
			return
		}
		if len(tags) == 0 {
			t.Fatalf("%q: no tag and no error", s)
		}
		for _, tag := range tags {
			if tag.tag != "*" && (len(tag.tag) < 2 || strings.Count(tag.tag, `"`) != 2) {
				t.Fatalf("%q: %q", s, tag.tag)
			}
		}
	})
}

func FuzzPrefersMultipart(f *testing.F) {
	f.Add("multipart/mixed;q=0.5, */*")
	f.Fuzz(func(t *testing.T, s string) {
		if prefersMultipart([]string{s}) && !strings.Contains(strings.ToLower(s), "multipart/mixed") {
			t.Fatal(s)
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte(`{"n":3,"w":"quorum","r":"quorum","sloppy":false,"conflict":"lww"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		base := newFakeNode().Defaults()
		p, err := parseProperties(b, base)
		if err == nil && (!p.W.Valid() || !p.R.Valid()) {
			t.Fatalf("%q: %+v", b, p)
		}
	})
}
