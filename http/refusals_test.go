package http

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// What no handler ever sees is refused with a problem document all the same.
func TestRefusalsOfTheLibraryAreProblems(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("x", maxHeader+8<<10)
	for name, r := range map[string]struct {
		request string
		status  int
		problem string
	}{
		"bad escape":      {"PUT /kv/b/%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request"},
		"no host":         {"GET /kv/b/k HTTP/1.1\r\n\r\n", 400, "bad-request"},
		"two lengths":     {"PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nvv", 400, "bad-request"},
		"nonsense":        {"\x16\x03\x01\x02\r\n\r\n", 400, "bad-request"},
		"large header":    {"GET /kv/b/k HTTP/1.1\r\nHost: h\r\nX-Big: " + big + "\r\n\r\n", 431, "header-too-large"},
		"unknown coding":  {"PUT /kv/b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nv", 501, "not-implemented"},
		"unknown version": {"GET /kv/b/k HTTP/3.0\r\nHost: h\r\n\r\n", 505, "bad-request"},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.problem(b.want(b.raw(r.request), r.status), r.problem, "not_written")
			if p.Status != r.status || p.Detail == "" {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A value that looks like such a refusal is a value, wherever its pieces begin.
func TestValuesThatLookLikeRefusals(t *testing.T) {
	b := newBench(t)
	refusal := "HTTP/1.1 400 Bad Request" + refusalHead + "400 Bad Request"
	for _, pad := range []int{0, 1, 4096, 4096 + 100, 100_000} {
		value := strings.Repeat("x", pad) + strings.Repeat(refusal, 300)
		b.want(b.do("PUT", "/kv/b/k", value, "Content-Type", "text/plain; charset=utf-8"), 204)
		if got := b.want(b.do("GET", "/kv/b/k", ""), 200); got.body != value {
			t.Errorf("after %d bytes it came back otherwise", pad)
		}
	}
	if translated([]byte(refusal)) == nil {
		t.Fatal("it looks like none")
	}
}

// A client that sends everything before it listens still learns why its write was refused.
func TestRefusedBodiesAreReadOn(t *testing.T) {
	b := newBench(t, func(f *fakeNode, _ *Config) { f.maxValue = 10_000 })
	const size = 20 << 20 // more than all buffers between the two hold
	for path, name := range map[string]string{"/kv/b/k": "too-large", "/kv/b/k?w=99": "bad-request"} {
		conn, err := net.Dial("tcp", b.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", path, size)
		if _, err := io.CopyN(conn, zeros{}, size); err != nil {
			t.Fatalf("%s: the connection ended before the body: %v", path, err)
		}
		b.problem(b.readAnswer(conn), name, "not_written")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
