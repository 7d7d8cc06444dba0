package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// benchResults is what these tests read of results.json (docs/formats.md).
type benchResults struct {
	Interrupted bool `json:"interrupted"`
	Total       struct {
		Succeeded int64            `json:"succeeded"`
		NotFound  int64            `json:"not_found"`
		Failed    int64            `json:"failed"`
		Reasons   map[string]int64 `json:"reasons"`
	} `json:"total"`
	Operations []struct {
		Kind      string `json:"kind"`
		Succeeded int64  `json:"succeeded"`
		Latency   *struct {
			P50 float64 `json:"p50"`
		} `json:"latency_ms"`
		Histogram string `json:"histogram"`
	} `json:"operations"`
	Nodes []struct {
		Name     string   `json:"name"`
		URL      string   `json:"url"`
		Requests int64    `json:"requests"`
		CPU      *float64 `json:"cpu_s"`
		RSS      *uint64  `json:"rss_bytes"`
	} `json:"nodes"`
	Own *struct {
		Micros float64 `json:"us_per_request"`
	} `json:"own"`
	Seconds []json.RawMessage `json:"seconds"`
}

func parseBench(t *testing.T, document string) benchResults {
	t.Helper()
	var r benchResults
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	return r
}

// TestBenchLoadStartsItsOwnCluster needs no set-up, and leaves nothing behind.
func TestBenchLoadStartsItsOwnCluster(t *testing.T) {
	tmp, out := t.TempDir(), filepath.Join(t.TempDir(), "result")
	t.Setenv("TMPDIR", tmp)
	got := command(t, "", "bench", "load", "--nodes", "3", "--workload", "f", "--keys", "200", "--connections", "6", "--value-size", "10-1000",
		"--warmup", "200ms", "--duration", "1s", "--out", out)
	if got.code != 0 || !strings.Contains(got.stdout, "read-modify-write") || !strings.Contains(got.stdout, "operations per CPU-second of the nodes") {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{"node-3 is ready (3 of 3)", "preload: 200 keys", "warm-up", "ops/s"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("%q is not in\n%s", want, got.stderr)
		}
	}
	document, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := parseBench(t, string(document))
	if r.Total.Failed > 0 || r.Total.NotFound > 0 || len(r.Operations) != 2 || len(r.Nodes) != 3 || len(r.Seconds) == 0 || r.Own == nil {
		t.Errorf("%s", document)
	}
	for _, o := range r.Operations {
		if o.Succeeded == 0 || o.Latency == nil || o.Latency.P50 <= 0 || o.Histogram == "" {
			t.Errorf("%+v", o)
		}
	}
	for _, n := range r.Nodes {
		if n.Requests == 0 || n.CPU == nil || n.RSS == nil || *n.RSS == 0 {
			t.Errorf("%+v", n)
		}
		if conn, err := net.Dial("tcp", strings.TrimPrefix(n.URL, "http://")); err == nil {
			conn.Close()
			t.Errorf("%s still answers", n.URL)
		}
	}
	wantEmpty(t, tmp)
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left behind", filepath.Join(dir, e.Name()))
	}
}

func TestBenchLoadOfTargets(t *testing.T) {
	c := sharedCluster(t)
	var targets []string
	for _, n := range c.nodes {
		targets = append(targets, "http://"+n.http)
	}
	const bucket = "bench-of-targets"
	args := []string{"bench", "load", "--targets", strings.Join(targets, ","), "--keys", "100", "--warmup", "0s", "--duration", "1s", "--json", "--bucket", bucket}

	got := command(t, "", append(args, "--workload", "d", "--rate", "300", "--n", "3", "--w", "all", "--r", "one")...)
	r := parseBench(t, got.stdout)
	if got.code != 0 || r.Total.Failed > 0 || len(r.Nodes) != 3 || r.Nodes[1].Name != c.nodes[1].name || r.Nodes[1].CPU == nil || !strings.Contains(got.stdout, `"loop": "open"`) {
		t.Errorf("%+v", got)
	}
	got = command(t, "", append(args, "--read", "1", "--distribution", "uniform", "--preload=false")...)
	if r := parseBench(t, got.stdout); got.code != 0 || r.Total.Succeeded == 0 || r.Total.NotFound > 0 {
		t.Errorf("%+v", got)
	}
	got = command(t, "", append(args, "--workload", "c", "--preload=false", "--n", "1", "--r", "2")...)
	if r := parseBench(t, got.stdout); got.code != 1 || r.Total.Reasons["400 bad-request"] != r.Total.Failed || r.Total.Failed == 0 || !strings.Contains(got.stderr, "no operation succeeded") {
		t.Errorf("%+v", got)
	}
	got = command(t, "", append(args, "--workload", "e")...)
	if listing := c.nodes[0].get(t, "/kv/"+bucket); listing.status != http.StatusOK && (got.code != 1 || !strings.Contains(got.stderr, "needs the listing of keys")) {
		t.Errorf("%+v", got)
	}
}

// TestBenchLoadIsInterrupted ends a measurement in both ways in which a person may.
func TestBenchLoadIsInterrupted(t *testing.T) {
	slow(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		if sig == syscall.SIGKILL && runtime.GOOS != "linux" {
			t.Log("only Linux makes the nodes die with a command that is killed")
			continue
		}
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		log := filepath.Join(t.TempDir(), "bench.log")
		p, err := startProcess(log, nil, binaryPath(t), "bench", "load", "--keys", "50", "--duration", "1h", "--warmup", "0s")
		if err != nil {
			t.Fatal(err)
		}
		var pids []string
		eventually(t, startLimit, "the first second of the load", func() error {
			text, err := os.ReadFile(log)
			if pids = regexp.MustCompile(`pid (\d+)`).FindAllString(string(text), -1); err == nil && !strings.Contains(string(text), "    1 s") {
				err = fmt.Errorf("%s", text)
			}
			return err
		})
		p.signal(sig)
		code := p.exit(t)
		if sig == syscall.SIGINT {
			if code != 1 || !strings.Contains(tail(log, 1), "interrupted") || !strings.Contains(strings.Join(p.lines.all(), "\n"), "INTERRUPTED") {
				t.Errorf("exit status %d: %s\n%q", code, tail(log, 3), p.lines.all())
			}
			wantEmpty(t, tmp)
		}
		if len(pids) != 3 {
			t.Fatalf("pids %v in %s", pids, tail(log, 20))
		}
		for _, text := range pids {
			var pid int
			if _, err := fmt.Sscanf(text, "pid %d", &pid); err != nil {
				t.Fatal(err)
			}
			if err := poll(soon, func() error { return ended(pid) }); err != nil {
				t.Errorf("%v: %v", sig, err)
			}
		}
	}
}

// ended returns nil if a process has ended; one without a parent may stay in the table of processes for a while.
func ended(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		return fmt.Errorf("pid %d lives: %s", pid, stat)
	}
	return nil
}
