package http

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/version"
)

// instantNode answers every request with the same record at once, so that a benchmark measures this package alone.
type instantNode struct {
	*fakeNode
	get coordinator.GetResult
	put coordinator.PutResult
}

func (n *instantNode) Get(context.Context, coordinator.GetRequest) (coordinator.GetResult, error) {
	return n.get, nil
}

func (n *instantNode) Put(context.Context, coordinator.PutRequest) (coordinator.PutResult, error) {
	return n.put, nil
}

// sink is a ResponseWriter that costs next to nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func newInstantServer(b *testing.B) *Server {
	t := newBench(b)
	t.want(t.do("PUT", "/kv/b/k", string(make([]byte, 100)), "Content-Type", "text/plain"), http.StatusNoContent)
	n := &instantNode{fakeNode: newFakeNode()}
	var err error
	if n.get, err = t.node.Get(b.Context(), coordinator.GetRequest{Bucket: "b", Key: "k"}); err != nil {
		b.Fatal(err)
	}
	n.put = coordinator.PutResult{Token: version.ReadToken(n.get.Record), ETag: version.ETag(n.get.Record), N: 3, W: 2, Acks: 2, Coordinator: "node-1"}
	s, err := NewServer(DefaultConfig(), n, t.server.log)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkServe is one request without connection and client: what this package adds to net/http.
func BenchmarkServe(b *testing.B) {
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		for _, query := range []string{"", "?w=2&r=2"} {
			b.Run(method+query, func(b *testing.B) {
				s := newInstantServer(b)
				req, err := http.NewRequest(method, "http://node/kv/b/k"+query, nil)
				if err != nil {
					b.Fatal(err)
				}
				value, body := make([]byte, 100), bytes.NewReader(nil)
				w := &sink{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					if method == http.MethodPut {
						body.Reset(value)
						req.Body, req.ContentLength = readCloser{body}, int64(len(value))
					}
					s.ServeHTTP(w, req)
				}
				if w.status >= http.StatusBadRequest {
					b.Fatal("answered " + strconv.Itoa(w.status))
				}
			})
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
