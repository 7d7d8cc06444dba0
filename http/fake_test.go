package http

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

// fakeNode is a cluster of one in memory: real records and tokens, no network. Hooks replace what a test wants to be different.
type fakeNode struct {
	mu       sync.Mutex
	records  map[key]version.Record
	buckets  map[string]node.Properties
	counter  uint64
	hlc      version.HLC
	maxValue int
	faults   *fault.Matrix
	registry *prometheus.Registry
	notReady string

	onGet func(*coordinator.GetRequest) error // the last request seen, or an error to fail with
	onPut func(*coordinator.PutRequest) error

	onLeave  func() error
	onRemove func(name string, force bool) error
}

func newFakeNode() *fakeNode {
	return &fakeNode{records: map[key]version.Record{}, buckets: map[string]node.Properties{}, maxValue: 1 << 20, registry: prometheus.NewRegistry()}
}

func (f *fakeNode) Defaults() node.Properties {
	return node.Properties{N: 3, W: quorum.Quorum, R: quorum.Quorum, Conflict: "lww"}
}

// params does what the real node does before a request runs.
func (f *fakeNode) params(bucket string, o *coordinator.Options) (quorum.Params, error) {
	if f.notReady != "" {
		return quorum.Params{}, &coordinator.Error{Code: coordinator.NotReady, Detail: f.notReady, Coordinator: f.Name()}
	}
	b, _ := f.bucket(bucket)
	p := quorum.Params{N: b.N, W: b.W, R: b.R}
	if o.N != 0 {
		p.N = o.N
	}
	if o.W != 0 {
		p.W = o.W
	}
	if o.R != 0 {
		p.R = o.R
	}
	if err := p.Validate(); err != nil {
		return p, &coordinator.Error{Code: coordinator.BadRequest, Detail: err.Error(), Coordinator: f.Name()}
	}
	if o.Sloppy != nil {
		p.Sloppy = *o.Sloppy
	}
	return p, nil
}

func (f *fakeNode) Get(_ context.Context, req coordinator.GetRequest) (coordinator.GetResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onGet != nil {
		if err := f.onGet(&req); err != nil {
			return coordinator.GetResult{}, err
		}
	}
	p, err := f.params(req.Bucket, &req.Options)
	if err != nil {
		return coordinator.GetResult{}, err
	}
	res := coordinator.GetResult{Record: f.records[key{req.Bucket, req.Key}], N: p.N, R: p.R.Resolve(p.N), Coordinator: f.Name()}
	res.Replies = res.R
	if req.Local {
		res.R, res.Replies = 1, 1
	}
	if req.Detail {
		res.Replicas = fakeReplicas()
	}
	return res, nil
}

func (f *fakeNode) Put(_ context.Context, req coordinator.PutRequest) (coordinator.PutResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onPut != nil {
		if err := f.onPut(&req); err != nil {
			return coordinator.PutResult{}, err
		}
	}
	p, err := f.params(req.Bucket, &req.Options)
	if err != nil {
		return coordinator.PutResult{}, err
	}
	at := key{req.Bucket, req.Key}
	local := f.records[at]
	f.counter++
	w := version.Write{Dot: version.Dot{Actor: version.Actor{ID: 7, N: max(uint8(p.N), local.N)}, Counter: f.counter}, Mode: version.LWW,
		Deleted: req.Delete, ContentType: req.ContentType, Value: req.Value}
	if b, _ := f.bucket(req.Bucket); b.Conflict == "siblings" {
		w.Mode = version.Siblings
	}
	after := local.MaxStamp()
	if req.Token != nil {
		w.Context = req.Token.Vector
		if req.Token.Stamp.Compare(after) > 0 {
			after = req.Token.Stamp
		}
	} else if req.Delete {
		w.Context = local.Vector
	}
	w.Stamp = f.hlc.Next(time.Now(), after, w.Dot.Actor.ID)
	rec, err := version.Supersede(local, w)
	if err != nil {
		return coordinator.PutResult{}, &coordinator.Error{Code: coordinator.Siblings, Detail: err.Error(), N: p.N, Coordinator: f.Name()}
	}
	f.records[at] = rec
	res := coordinator.PutResult{Token: version.PutToken(rec, req.Token, w.Dot), ETag: version.ETag(rec), N: p.N, W: p.W.Resolve(p.N), Coordinator: f.Name()}
	res.Acks = res.W
	if p.Sloppy {
		res.Fallbacks = 1
	}
	if req.Detail {
		res.Replicas = fakeReplicas()
	}
	return res, nil
}

func fakeReplicas() []coordinator.Replica {
	return []coordinator.Replica{
		{Name: "node-1", Outcome: coordinator.OutcomeOK, Elapsed: 400 * time.Microsecond},
		{Name: "node-3", Outcome: coordinator.OutcomeNotSent, Elapsed: 2 * time.Millisecond, Behind: 2},
	}
}

func (f *fakeNode) Buckets() []node.NamedBucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []node.NamedBucket
	for name, p := range f.buckets {
		out = append(out, node.NamedBucket{Name: name, Properties: p})
	}
	slices.SortFunc(out, func(a, b node.NamedBucket) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (f *fakeNode) bucket(name string) (node.Properties, bool) {
	if p, ok := f.buckets[name]; ok {
		return p, true
	}
	return f.Defaults(), false
}

func (f *fakeNode) Bucket(name string) (node.Properties, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bucket(name)
}

func (f *fakeNode) SetBucket(_ context.Context, name string, p node.Properties) (node.Properties, error) {
	if p.Conflict != "lww" && p.Conflict != "siblings" {
		return p, node.ErrBadProperty
	}
	if name == "one-too-many" {
		return p, node.ErrTooManyBuckets
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets[name] = p
	return p, nil
}

func (f *fakeNode) DeleteBucket(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.buckets, name)
	return nil
}

func (f *fakeNode) Cluster() node.ClusterView {
	return node.ClusterView{Cluster: "quorate", Self: f.Name(), Partitions: 256, Layout: node.LayoutView{Version: "00000000000000aa", Settled: true, Live: 1},
		CatchUp: node.CatchUpView{Remaining: 7, Rate: 3},
		Members: []node.MemberView{{Name: f.Name(), Status: "member", Liveness: "alive"},
			{Name: "node-2", Status: "member", Liveness: "dead", Behind: 5, Since: time.Unix(1_700_000_000, 0).UTC()}}}
}

func (f *fakeNode) Leave(context.Context) error { return f.onLeave() }

func (f *fakeNode) Remove(_ context.Context, name string, force bool) error {
	return f.onRemove(name, force)
}

func (f *fakeNode) Ring(_, _ string, n int) (node.RingView, error) {
	if n == 0 {
		n = 3
	}
	return node.RingView{Partition: 17, N: n, Owners: []string{"node-1"}, Fallbacks: []string{}}, nil
}

func (f *fakeNode) Name() string                   { return "node-1" }
func (f *fakeNode) Ready() (bool, string)          { return f.notReady == "", f.notReady }
func (f *fakeNode) Faults() *fault.Matrix          { return f.faults }
func (f *fakeNode) Registry() *prometheus.Registry { return f.registry }
func (f *fakeNode) MaxValue() int                  { return f.maxValue }

// bench is a server on a fake node with a client's view of it.
type bench struct {
	testing.TB
	node   *fakeNode
	server *Server
	http   *httptest.Server
}

func newBench(t testing.TB, change ...func(*fakeNode, *Config)) *bench {
	t.Helper()
	f, cfg := newFakeNode(), DefaultConfig()
	for _, c := range change {
		c(f, &cfg)
	}
	s, err := NewServer(cfg, f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, node: f, server: s, http: httptest.NewUnstartedServer(s)}
	b.http.Config, b.http.Listener = s.server, newConns(b.http.Listener, cfg.MaxConnections)
	b.http.Start()
	t.Cleanup(b.http.Close)
	return b
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// do sends a request; headers are name, value, name, value.
func (b *bench) do(method, path, body string, headers ...string) answer {
	b.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.http.URL+path, r)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.http.Client().Transport.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		b.Fatal(err)
	}
	return answer{resp, text.String()}
}

// want checks the status.
func (b *bench) want(a answer, status int) answer {
	b.Helper()
	if a.StatusCode != status {
		b.Fatalf("%s %s answered %d, want %d: %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	return a
}
