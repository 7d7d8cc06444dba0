package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/quorate/quorate/bench/workload"
)

// short is a run of a moment.
func short(change func(*Config)) Config {
	c := DefaultConfig()
	c.Workload.Keys = 50
	c.Connections = 4
	c.Warmup, c.Duration = 0, 200*time.Millisecond
	change(&c)
	return c
}

func TestEveryOperationIsCounted(t *testing.T) {
	c := newFakeCluster()
	f, _ := c.dial(t, 2)
	cfg := short(func(c *Config) { c.Workload.Mix, c.Duration = workload.Mix{1, 1, 1, 1, 1}, time.Second }) // long enough for each kind on any machine
	r, err := Run(t.Context(), f, cfg, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int64{}
	var sum int64
	for _, o := range r.Operations {
		done[o.Kind] = o.Succeeded + o.NotFound + o.Failed
		sum += done[o.Kind]
		if o.Failed > 0 || o.NotFound > 0 || o.Succeeded == 0 || o.Latency.Count != o.Succeeded {
			t.Errorf("%+v", o)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rmw := done["read-modify-write"]
	for what, want := range map[string]int64{
		"GET":              done["read"] + rmw,
		"PUT":              done["update"] + done["insert"] + rmw + int64(cfg.Workload.Keys),
		"PUT with context": rmw,
		"scan":             done["scan"] + 1, // and the question whether it can
	} {
		if int64(c.counts[what]) != want {
			t.Errorf("%s: the cluster has had %d, the results say %d", what, c.counts[what], want)
		}
	}
	if r.Total.Succeeded != sum || len(c.badSeen) > 0 || int64(len(c.values)) != int64(cfg.Workload.Keys)+done["insert"] {
		t.Errorf("total %d, sum %d; %d keys; contexts of other keys: %v", r.Total.Succeeded, sum, len(c.values), c.badSeen)
	}
	if r.Preload.Keys != 50 || len(r.Nodes) != 2 || r.Nodes[0].Requests == 0 || r.Nodes[1].Requests == 0 || r.Own == nil || len(r.Seconds) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestOpenLoopCountsFromTheArrival(t *testing.T) {
	c := newFakeCluster()
	const service = 10 * time.Millisecond
	c.change = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			time.Sleep(service) // what is measured is that waiting for this counts
		}
		return false
	}
	f, _ := c.dial(t, 1)
	cfg := short(func(c *Config) {
		c.Workload.Mix = workload.Mix{workload.Read: 1}
		c.Rate, c.Connections, c.Duration = 1000, 1, 300*time.Millisecond
	})
	r, err := Run(t.Context(), f, cfg, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Total.Latency == nil || r.Total.Latency.P90 < 10*float64(service/time.Millisecond) {
		t.Errorf("one connection, ten arrivals while one is answered: %+v", r.Total.Latency)
	}
	// The schedule is a matter of the seed: it can be counted again.
	arrivals, want := newArrivals(cfg, workload.NewFrontier(50), 0, 1), int64(0)
	for at, _ := arrivals.next(); at < cfg.Duration; at, _ = arrivals.next() {
		want++
	}
	if got := r.Total.Succeeded + r.Total.Failed; got != want || r.Total.Reasons[notSent] != r.Total.Failed || r.Total.Failed == 0 {
		t.Errorf("%d of %d arrivals are counted: %+v", got, want, r.Total)
	}
}

// TestOpenLoopDoesNotAvoidANode lets one of two nodes answer no read: all that was to be asked of it counts as failed, although the other has connections free.
func TestOpenLoopDoesNotAvoidANode(t *testing.T) {
	c := newFakeCluster()
	f, servers := c.dial(t, 2)
	stalled := servers[0].Listener.Addr().String()
	c.change = func(_ http.ResponseWriter, r *http.Request) bool {
		stall := r.Method == http.MethodGet && r.Host == stalled
		if stall {
			<-r.Context().Done()
		}
		return stall
	}
	cfg := short(func(c *Config) {
		c.Workload.Mix = workload.Mix{workload.Read: 1}
		c.Rate, c.Duration, c.Timeout = 500, 300*time.Millisecond, time.Millisecond
	})
	r, err := Run(t.Context(), f, cfg, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	its, want := newArrivals(cfg, workload.NewFrontier(50), 0, 2), int64(0)
	for at, _ := its.next(); at < cfg.Duration; at, _ = its.next() {
		want++
	}
	if r.Total.Failed < want || r.Total.Succeeded == 0 {
		t.Errorf("%d arrivals were for a node that does not answer: %+v", want, r.Total)
	}
}

func TestArrivalsKeepTheirRate(t *testing.T) {
	cfg := short(func(c *Config) { c.Rate = 500 })
	a := newArrivals(cfg, workload.NewFrontier(50), 0, 1)
	const count = 100_000
	var last, at time.Duration
	within := 0 // of the mean gap: 1 - 1/e of them, if they are exponential
	for range count {
		if at, _ = a.next(); at-last < 2*time.Millisecond {
			within++
		}
		last = at
	}
	if rate := count / at.Seconds(); math.Abs(rate-500) > 5 {
		t.Errorf("%v a second", rate)
	}
	if share := float64(within) / count; math.Abs(share-(1-1/math.E)) > 0.01 {
		t.Errorf("%v of the gaps are below the mean", share)
	}
}

// hostile is a target that is no node; it serves each connection once.
func hostile(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestHostileTargets(t *testing.T) {
	answer := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprint(c, text)
		}
	}
	endless := func(first, more string) func(net.Conn) {
		return func(c net.Conn) {
			_, err := fmt.Fprint(c, first)
			for chunk := []byte(strings.Repeat(more, 10)); err == nil; {
				_, err = c.Write(chunk)
			}
		}
	}
	const problem = "HTTP/1.1 503 x\r\nContent-Type: application/problem+json\r\nContent-Length: 35\r\n\r\n" + `{"type":"urn:quorate:overloaded"}  `
	for what, r := range map[string]struct {
		host, want string
	}{
		"nobody":         {"127.0.0.1:1", "connection refused"},
		"closes":         {hostile(t, func(net.Conn) {}), "connection lost"},
		"closes later":   {hostile(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")), "connection lost"},
		"silent":         {hostile(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "no answer in time"},
		"another thing":  {hostile(t, answer("220 mail.example.net ESMTP\r\n\r\n")), "no HTTP answer"},
		"endless header": {hostile(t, endless("HTTP/1.1 200 OK\r\n", "A: b\r\n")), "no HTTP answer"},
		"endless line":   {hostile(t, endless("", "x")), "no HTTP answer"},
		"huge value":     {hostile(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")), "answer too large"},
		"endless value":  {hostile(t, endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n")), "answer too large"},
		"a problem":      {hostile(t, answer(problem)), "503 overloaded"},
		"another error":  {hostile(t, answer("HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n")), "502 Bad Gateway"},
		"a redirect":     {hostile(t, answer("HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")), "302 Found"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newSession(short(func(*Config) {}), r.host, workload.Values{})
			s.conn.timeout = 5 * time.Second
			if what == "silent" {
				s.conn.timeout = time.Second // of the connecting, too, which takes its time on a busy machine
			}
			defer s.conn.close()
			result, reason, pause := s.do(t.Context(), workload.Op{Kind: workload.Read})
			if result != failed || reason != r.want || pause != (what == "nobody") {
				t.Errorf("%d, %q, pause %v; want %q", result, reason, pause, r.want)
			}
		})
	}
}

func TestNodeDiesMidway(t *testing.T) {
	c := newFakeCluster()
	f, servers := c.dial(t, 2)
	var puts atomic.Int64
	kill := make(chan struct{})
	c.change = func(http.ResponseWriter, *http.Request) bool {
		if puts.Add(1) == 60 { // 50 of the preload and some of the run
			close(kill)
		}
		return false
	}
	go func() {
		<-kill
		servers[1].Listener.Close() // first, or a connection that is lost is made again in between, and lasts
		servers[1].CloseClientConnections()
	}()
	r, err := Run(t.Context(), f, short(func(c *Config) { c.Duration = time.Second }), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Total.Succeeded == 0 || r.Total.Failed == 0 || r.Total.Reasons["connection refused"] == 0 {
		t.Errorf("%+v", r.Total)
	}
	if r.Nodes[0].CPU == nil || r.Nodes[1].CPU != nil || r.Nodes[1].Unread == "" || r.ServerCPU != nil {
		t.Errorf("%+v, %+v", r.Nodes, r.ServerCPU)
	}
}

func TestPreloadFails(t *testing.T) {
	c := newFakeCluster()
	c.change = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	f, _ := c.dial(t, 1)
	if r, err := Run(t.Context(), f, short(func(*Config) {}), &quiet{}); r != nil || err == nil || !strings.Contains(err.Error(), "500 Internal Server Error") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestScansAreRefused(t *testing.T) {
	c := newFakeCluster()
	c.change = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotImplemented)
		return true
	}
	f, _ := c.dial(t, 1)
	_, err := Run(t.Context(), f, short(func(c *Config) { c.Workload.Mix, c.Workload.Distribution, _ = workload.Standard("e") }), &quiet{})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "needs the listing of keys") {
		t.Error(err)
	}
}

func TestEndOfContext(t *testing.T) {
	c := newFakeCluster()
	f, _ := c.dial(t, 1)
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	var gets atomic.Int64
	c.change = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && gets.Add(1) > 100 {
			<-block // whoever waits for this waits for ever
		}
		return false
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Run(ctx, f, short(func(c *Config) { c.Duration = time.Hour }), &quiet{second: cancel})
	if !errors.Is(err, context.Canceled) || r == nil || !r.Interrupted || r.Total.Succeeded == 0 || r.Total.Failed > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil || !strings.Contains(out.String(), "INTERRUPTED") {
		t.Error(err, out.String())
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []func(*Config){
		func(c *Config) { c.Bucket = "" }, func(c *Config) { c.N = -1 }, func(c *Config) { c.Timeout = time.Hour }, func(c *Config) { c.Connections = MaxConnections + 1 },
		func(c *Config) { c.Rate = math.NaN() }, func(c *Config) { c.Warmup = -1 }, func(c *Config) { c.Duration = 0 }, func(c *Config) { c.Workload.Keys = 0 },
	} {
		if cfg := short(bad); cfg.Validate() == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	var a, b tally
	for i := range 1000 {
		a.add(failed, fmt.Sprint("a", i), time.Second)
		b.add(failed, fmt.Sprint("b", i), time.Second)
	}
	a.merge(&b)
	sum := int64(0)
	for _, n := range a.Reasons {
		sum += n
	}
	if len(a.Reasons) > maxReasons+1 || sum != 2000 || a.Failed != 2000 || a.Failures.TotalCount() != 2000 {
		t.Errorf("%d reasons of %d failures", len(a.Reasons), sum)
	}
}

func TestRecorderLosesNothing(t *testing.T) {
	r := newRecorder(3, 2)
	all := newCounts(2)
	for i := range 1000 {
		r.of(i).record(event{kind: workload.Kind(i % int(workload.Kinds)), latency: time.Duration(i) * time.Hour, late: time.Duration(i%2) - 1, node: i % 2, requests: 2, siblings: 1})
		if i%100 == 7 {
			all.merge(r.collect())
		}
	}
	all.merge(r.collect())
	if got := all.total(); got.Succeeded != 1000 || got.Answered.TotalCount() != 1000 || all.siblings != 1000 || all.requests[0] != 1000 || all.late.TotalCount() != 500 {
		t.Errorf("%+v, %+v", got, all)
	}
	if c := r.collect(); c.total().Answered != nil || c.requests[1] != 0 {
		t.Error("something is counted twice")
	}
}

func TestResultsDocument(t *testing.T) {
	var c counts
	c.requests = []int64{3}
	for _, ms := range []time.Duration{1, 2, 40} {
		c.kinds[workload.Read].add(succeeded, "", ms*time.Millisecond)
	}
	o := operationsOf("read", &c.kinds[workload.Read], 2*time.Second)
	if o.Rate != 1.5 || o.Latency.Min != 1 || math.Abs(o.Latency.P50-2) > 0.01 || math.Abs(o.Latency.Max-40) > 0.1 {
		t.Errorf("%+v", o)
	}
	again, err := hdr.Decode([]byte(o.Histogram))
	if err != nil || again.TotalCount() != 3 || again.ValueAtPercentile(50) != c.kinds[workload.Read].Answered.ValueAtPercentile(50) {
		t.Errorf("the histogram reads as %v, %v", again, err)
	}
	document, err := json.Marshal(Results{Operations: []Operations{o}})
	if err != nil || bytes.Contains(document, []byte("server_cpu")) {
		t.Errorf("%s, %v", document, err)
	}
}

// TestIdleNodesAreTold gives two nodes one connection.
func TestIdleNodesAreTold(t *testing.T) {
	for connections, want := range map[int]bool{1: true, 2: false} {
		f, _ := newFakeCluster().dial(t, 2)
		var q quiet
		if _, err := Run(t.Context(), f, short(func(cfg *Config) { cfg.Connections = connections }), &q); err != nil {
			t.Fatal(err)
		}
		if told := slices.Contains(q.phases, "WARNING: 1 connections to 2 nodes: 1 of the nodes get no load"); told != want {
			t.Errorf("%d connections: %q", connections, q.phases)
		}
	}
}

// TestRestedConnection rests longer than a node suffers it: the next request goes out on a new connection, and does not fail.
func TestRestedConnection(t *testing.T) {
	var accepted atomic.Int64
	host := hostile(t, func(c net.Conn) { // each serves one request, and then closes without a word
		accepted.Add(1)
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	c := newConn(host, 5*time.Second)
	defer c.close()
	for range 3 {
		if status, err := c.read(t.Context(), "/kv/b/k"); err != nil || status != 200 {
			t.Fatalf("%d, %v", status, err)
		}
		c.used = c.used.Add(-maxIdle - time.Second)
	}
	if accepted.Load() != 3 {
		t.Errorf("%d connections", accepted.Load())
	}
}

func TestPrint(t *testing.T) {
	cpu, rss := 1.25, uint64(50_000_000)
	read := Operations{Kind: "read", Succeeded: 90, NotFound: 1, Failed: 2, Rate: 45.5, Reasons: map[string]int64{"503 overloaded": 1, "connection lost": 1},
		Latency: &Latency{P50: 1.5, P90: 2, P99: 3, P999: 4, Max: 5}, Failures: &Latency{P50: 7, P99: 8}}
	r := Results{
		Config: Settings{Loop: "open"}, Operations: []Operations{read}, Total: read, Siblings: 4, Late: &Latency{P50: 0.1, P99: 0.2},
		Nodes:     []NodeUse{{Name: "node-1", Requests: 93, CPU: &cpu, RSS: &rss}, {Name: "node-2", Unread: "what node-2 uses: nobody knows"}},
		ServerCPU: &ServerCPU{OpsPerSecond: 72, MicrosPerRequest: 13440.9}, Own: &Own{MicrosPerRequest: 17},
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `Open loop: latency counts from the intended arrival, waiting for a connection included.

  operation  ops/s  done  not found  failed  p50 ms    p90    p99  p99.9    max
       read     46    90          1       2   1.500  2.000  3.000  4.000  5.000
2.2 % of all operations failed or were not sent: the percentiles above are of the others alone
failed: 1 × 503 overloaded
failed: 1 × connection lost
failed operations took 7.000 ms at p50, 8.000 ms at p99; they are in no column of milliseconds above
4 reads were answered with several concurrent values
this program itself was late by 0.100 ms at p50, 0.200 ms at p99, which is in the latencies

    node  requests  CPU s  resident MB
  node-1        93   1.25           50
  node-2         0      -            -
what node-2 uses: nobody knows
72 operations per CPU-second of the nodes, 13440.9 µs of CPU per request
this program itself used 17.0 µs of CPU per request
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
