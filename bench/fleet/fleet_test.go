package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/fault"
)

// roleEnv makes this test's program play the nodes that a fleet starts.
const roleEnv = "FLEET_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" && len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(playNode(role, os.Args[2:]))
	}
	os.Exit(m.Run())
}

// playNode is a node that knows who it is and nothing else, and ends when it is asked to.
func playNode(role string, args []string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	name, addr, join, data := flags.String("name", "", ""), flags.String("http", "", ""), flags.String("join", "", ""), flags.String("data", "", "")
	flags.String("gossip", "", "")
	flags.String("rpc", "", "")
	faults := flags.Bool("allow-faults", false, "")
	if err := flags.Parse(args); err != nil {
		return 1
	}
	switch {
	case role == "one fails" && *name == "node-2":
		fmt.Fprintln(os.Stderr, "no")
		return 1
	case role == "port taken once":
		if f, err := os.OpenFile(os.Getenv("FLEET_TEST_MARK"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			fmt.Fprintln(os.Stderr, "listen:", syscall.EADDRINUSE)
			return 1
		}
	case role == "never ready":
		<-signals
		return 0
	case role == "deaf":
		signal.Ignore(syscall.SIGTERM)
	}
	if err := os.Mkdir(*data, 0o700); err != nil {
		return 1
	}
	n := &fakeNode{name: *name, faults: *faults}
	for i := range strings.Split(*join, ",") {
		if role == "alone" && i > 0 {
			break
		}
		n.members = append(n.members, fmt.Sprintf("node-%d", i+1))
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err) // as a node does, for who looks whether the port was taken
		return 1
	}
	go func() { _ = http.Serve(l, n) }()
	fmt.Println("ready name=" + *name)
	<-signals
	return 0
}

// fakeNode answers what a Fleet asks.
type fakeNode struct {
	name, cluster string
	members       []string
	notReady      bool
	faults        bool

	mu    sync.Mutex
	rules string // the last that were put
}

func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/cluster":
		doc := map[string]any{"self": n.name, "cluster": "c" + n.cluster}
		var members []map[string]string
		for _, m := range n.members {
			members = append(members, map[string]string{"name": m, "status": "member", "liveness": "alive"})
		}
		doc["members"] = members
		_ = json.NewEncoder(w).Encode(doc)
	case "/readyz":
		if n.notReady {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"type":"urn:quorate:not-ready","title":"t","status":503,"detail":"starting"}`)
		}
	case "/metrics":
		fmt.Fprint(w, "# HELP x\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 2.5e+07\n")
	case "/faults":
		if !n.faults {
			http.NotFound(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.rules = string(body)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// config starts fakes in a directory of the test, and keeps what is told.
func config(t *testing.T, role string, nodes int) (Config, *said) {
	t.Helper()
	t.Setenv(roleEnv, role)
	t.Setenv("TMPDIR", t.TempDir())
	s := &said{}
	c := DefaultConfig()
	c.Nodes, c.Progress = nodes, s.add
	return c, s
}

type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// gone fails if a process lives.
func gone(t *testing.T, nodes []Node) {
	t.Helper()
	for _, n := range nodes {
		if err := syscall.Kill(n.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s (pid %d): %v", n.Name, n.PID, err)
		}
	}
}

// left lists what is in the directory for temporary files.
func left(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.TempDir(), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestStartedNodesEnd(t *testing.T) {
	cfg, said := config(t, "node", 3)
	cfg.AllowFaults = true
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if names := f.Members(); !slices.Equal(names, []string{"node-1", "node-2", "node-3"}) || len(f.Nodes()) != 3 || !f.Started() {
		t.Errorf("%+v, members %v", f.Nodes(), names)
	}
	used, failed := f.Usage(t.Context())
	for i := range used {
		if failed[i] != nil || used[i].RSSBytes == 0 {
			t.Errorf("%+v, %v", used[i], failed[i])
		}
	}
	if err := f.SetFaults(t.Context(), "node-2", []fault.Rule{{Peer: "node-1", Drop: true}}); err != nil {
		t.Error(err)
	}
	if err := f.SetFaults(t.Context(), "node-4", nil); err == nil {
		t.Error("faults of a node that is not there")
	}
	if err := f.Heal(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	gone(t, f.Nodes())
	if rest := left(t); len(rest) > 0 || !strings.Contains(said.text(), "node-3 is ready (3 of 3)") {
		t.Errorf("left %v; said\n%s", rest, said.text())
	}
	select {
	case err := <-f.Failed():
		t.Errorf("an end that was asked for is told as %v", err)
	default:
	}
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	cfg, said := config(t, "one fails", 3)
	_, err := Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "node-2") || !strings.Contains(err.Error(), "exit status 1") {
		t.Fatal(err)
	}
	rest := left(t)
	if len(rest) != 3 || !strings.HasSuffix(rest[1], "node-2.log") || !strings.Contains(said.text(), "logs of the nodes are kept in "+filepath.Dir(rest[0])) {
		t.Errorf("left %v; said\n%s", rest, said.text())
	}
}

func TestStartChoosesOtherPorts(t *testing.T) {
	cfg, said := config(t, "port taken once", 2)
	t.Setenv("FLEET_TEST_MARK", filepath.Join(t.TempDir(), "mark"))
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.text(), "choosing other ports") {
		t.Error(said.text())
	}
	if err := f.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	gone(t, f.Nodes())
}

func TestStartIsInterrupted(t *testing.T) {
	cfg, _ := config(t, "never ready", 2)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(string) { cancel() } // as soon as they are started
	if _, err := Start(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if rest := left(t); len(rest) > 0 {
		t.Errorf("left %v", rest)
	}
}

func TestStartWaitsWithABound(t *testing.T) {
	cfg, _ := config(t, "never ready", 2)
	cfg.ReadyTime = 10 * time.Millisecond
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is not ready after 10ms") {
		t.Error(err)
	}
}

func TestStartWantsOneCluster(t *testing.T) {
	cfg, _ := config(t, "alone", 2)
	cfg.ReadyTime = 5 * time.Second // two processes must have come up in it
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "node-1 sees 1 members of 2") {
		t.Error(err)
	}
}

func TestCloseKillsTheDeaf(t *testing.T) {
	cfg, said := config(t, "deaf", 2)
	cfg.StopTime = 50 * time.Millisecond
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	gone(t, f.Nodes())
	if !strings.Contains(said.text(), "is killed") {
		t.Error(said.text())
	}
}

func TestLogsAreKeptOnFailure(t *testing.T) {
	cfg, said := config(t, "node", 1)
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(f.Nodes()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-f.Failed(); !strings.Contains(err.Error(), "node-1") || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	if err := f.Close(t.Context(), true); err != nil {
		t.Error(err)
	}
	if rest := left(t); len(rest) != 1 || filepath.Base(rest[0]) != "node-1.log" || !strings.Contains(said.text(), filepath.Dir(rest[0])) {
		t.Errorf("left %v; said\n%s", rest, said.text())
	}
}

func TestGivenDirectory(t *testing.T) {
	cfg, said := config(t, "node", 1)
	cfg.Dir = filepath.Join(t.TempDir(), "new")
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "node-1")); err != nil || !strings.Contains(said.text(), cfg.Dir) {
		t.Error(err, said.text())
	}
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a directory with data: %v", err)
	}
}

// serve serves a fake node in this process.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDial(t *testing.T) {
	a, b := &fakeNode{name: "a", members: []string{"b", "a", "c"}}, &fakeNode{name: "b", faults: true}
	urls := []string{serve(t, a), serve(t, b)}
	f, err := Dial(t.Context(), []string{urls[0] + "/", urls[1]})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Node{{Name: "a", URL: urls[0]}, {Name: "b", URL: urls[1]}}; !slices.Equal(f.Nodes(), want) || !slices.Equal(f.Members(), []string{"a", "b", "c"}) || f.Started() {
		t.Errorf("%+v, %v", f.Nodes(), f.Members())
	}
	used, failed := f.Usage(t.Context())
	if want := (Usage{CPUSeconds: 1.5, RSSBytes: 25_000_000}); used[0] != want || failed[0] != nil {
		t.Errorf("%+v, %v", used[0], failed[0])
	}
	if err := f.SetFaults(t.Context(), "b", []fault.Rule{{Peer: "a", Drop: true}}); err != nil || !strings.Contains(b.rules, `"peer":"a"`) {
		t.Error(err, b.rules)
	}
	if err := f.Heal(t.Context()); err == nil || !strings.Contains(err.Error(), "set faults of a") || b.rules != `{"rules":[]}` {
		t.Errorf("a runs without the endpoint, b does not: %v, %s", err, b.rules)
	}
	if err := f.Close(t.Context(), true); err != nil || f.Failed() != nil {
		t.Error(err)
	}
}

func TestDialRefuses(t *testing.T) {
	good := serve(t, &fakeNode{name: "a"})
	silent := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	for what, r := range map[string]struct {
		targets []string
		want    string
	}{
		"nothing":         {nil, "no target"},
		"no address":      {[]string{"nowhere"}, "want one such as"},
		"nobody":          {[]string{"http://127.0.0.1:1"}, "refused"},
		"no node":         {[]string{serve(t, http.NotFoundHandler())}, "does not answer like a node of Quorate"},
		"a page":          {[]string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))}, "does not answer like a node"},
		"another JSON":    {[]string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))}, "names neither"},
		"not ready":       {[]string{serve(t, &fakeNode{name: "b", notReady: true})}, "cannot serve"},
		"twice":           {[]string{good, good}, "among the targets already"},
		"another cluster": {[]string{good, serve(t, &fakeNode{name: "b", cluster: "2"})}, `belongs to cluster "c2"`},
		"silence":         {[]string{silent}, "deadline"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if what == "silence" { // our own bound is longer than a test should take
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		if _, err := Dial(ctx, r.targets); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want %q", what, err, r.want)
		}
		cancel()
	}
}

func TestValidate(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Nodes = 0 }, func(c *Config) { c.Nodes = MaxNodes + 1 },
		func(c *Config) { c.ReadyTime = 0 }, func(c *Config) { c.StopTime = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if _, err := Start(t.Context(), c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestParseMetricsRefuses(t *testing.T) {
	for _, text := range []string{"", "process_cpu_seconds_total 1", "process_cpu_seconds_total NaN\nprocess_resident_memory_bytes 1",
		"process_cpu_seconds_total -1\nprocess_resident_memory_bytes 1", "process_cpu_seconds_total 1\nprocess_resident_memory_bytes x"} {
		if used, err := parseMetrics(text); err == nil {
			t.Errorf("%q: %+v", text, used)
		}
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add("# HELP\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 2.5e+07\n")
	f.Fuzz(func(t *testing.T, text string) {
		if used, err := parseMetrics(text); err == nil && !(used.CPUSeconds >= 0) {
			t.Errorf("%+v", used)
		}
	})
}
