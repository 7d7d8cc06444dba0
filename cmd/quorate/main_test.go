package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// quorate runs the program.
func quorate(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &errOut)
	return status, out.String(), errOut.String()
}

func TestExitStatus(t *testing.T) {
	for line, want := range map[string]int{
		"":                                          0,
		"help":                                      0,
		"--help":                                    0,
		"serve --help":                              0,
		"bench load --help":                         0,
		"version":                                   0,
		"nonsense":                                  2,
		"--nonsense":                                2,
		"serve now":                                 2,
		"serve --n 0":                               2,
		"serve --n x":                               2,
		"serve --w most":                            2,
		"serve --max-value much":                    2,
		"serve --config /does/not/exist":            2,
		"dev --nodes 0":                             2,
		"dev --nodes 101":                           2,
		"dev --http-base 65500":                     2,
		"get":                                       2,
		"get b":                                     2,
		"get b/":                                    2,
		"get /k":                                    2,
		"get b/k l":                                 2,
		"get b/k --n x":                             2,
		"get b/k --r 0":                             2,
		"get b/k --url nowhere":                     2,
		"get b/k --url http://127.0.0.1:1":          1,
		"put b/k v w":                               2,
		"put b/k v --url http://127.0.0.1:1":        1,
		"delete b/k --timeout x":                    2,
		"status x":                                  2,
		"status --url http://127.0.0.1:1":           1,
		"health --url http://127.0.0.1:1":           1,
		"ring b":                                    2,
		"leave --url http://127.0.0.1:1":            1,
		"leave node-1":                              2,
		"leave --timeout x":                         2,
		"leave --timeout -1s":                       2,
		"leave --url nowhere":                       2,
		"remove":                                    2,
		"remove a b":                                2,
		"remove node-1 --force=x":                   2,
		"remove node-1 --url http://127.0.0.1:1":    1,
		"staleness":                                 1,
		"bench":                                     0,
		"bench nonsense":                            2,
		"bench load now":                            2,
		"bench load --workload g":                   2,
		"bench load --workload a --read 1":          2,
		"bench load --read -1":                      2,
		"bench load --read 0":                       2,
		"bench load --distribution hot":             2,
		"bench load --value-size 2-1":               2,
		"bench load --value-size x":                 2,
		"bench load --rate 0":                       2,
		"bench load --duration 0s":                  2,
		"bench load --connections 0":                2,
		"bench load --timeout 2m":                   2,
		"bench load --nodes 0":                      2,
		"bench load --targets a --nodes 3":          2,
		"bench load --bucket a/b":                   2,
		"bench load --w most":                       2,
		"bench load --targets nowhere":              1,
		"bench load --targets http://127.0.0.1:1":   1,
		"bench staleness now":                       2,
		"bench staleness --scenario thirds":         2,
		"bench staleness --quorums 3/4/1":           2,
		"bench staleness --nodes 1":                 2,
		"bench staleness --nodes 1 --scenario none": 2,
		"bench staleness --nodes 2 --quorums 3/1/3": 2,
	} {
		if got, out, errOut := quorate(t, "", strings.Fields(line)...); got != want {
			t.Errorf("quorate %s: %d, want %d\n%s%s", line, got, want, out, errOut)
		} else if got != 0 && (errOut == "" || out != "") {
			t.Errorf("quorate %s failed and printed %q", line, out)
		}
	}
}

// TestStalenessLeavesNoEmptyDirectory fails before there is anything to keep.
func TestStalenessLeavesNoEmptyDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if got, out, errOut := quorate(t, "", "bench", "staleness", "--scenario", "none", "--targets", "http://127.0.0.1:1"); got != 1 {
		t.Errorf("%d\n%s%s", got, out, errOut)
	}
	if left, err := filepath.Glob("*"); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestResultsAreNotOverwritten runs into a directory that has results already.
func TestResultsAreNotOverwritten(t *testing.T) {
	for command, name := range map[string]string{"load": "results.json", "staleness": "ops.ndjson"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("earlier"), 0o644); err != nil {
			t.Fatal(err)
		}
		got, _, errOut := quorate(t, "", "bench", command, "--out", dir, "--targets", "http://127.0.0.1:1,http://127.0.0.1:2")
		if got != 2 || !strings.Contains(errOut, "give another directory") {
			t.Errorf("%s: %d, %s", command, got, errOut)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != "earlier" {
			t.Errorf("%s: %q, %v", command, kept, err)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		status, out, _ := quorate(t, "", cmd.Name(), "--help")
		if status != 0 || !strings.Contains(out, "Usage:") || cmd.Short == "" {
			t.Errorf("%s: %d: %s", cmd.Name(), status, out)
		}
	}
}

// request is what a canned node was asked.
type request struct {
	line, body string
	header     http.Header
}

// canned serves one answer to every request.
func canned(t *testing.T, status int, body string, headers ...string) (url string, got *request) {
	t.Helper()
	got = &request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*got = request{r.Method + " " + r.RequestURI, string(b), r.Header}
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func TestGetCommand(t *testing.T) {
	url, got := canned(t, 200, "va\x00lue", "Quorate-Quorum", "n=3, r=2, replies=2", "Quorate-Context", "ctx", "Quorate-Coordinator", "node-1")
	status, out, errOut := quorate(t, "", "get", "b/a/b%", "--url", url, "--n", "5", "--r", "all", "--w", "2", "--timeout", "2s", "--context", "seen", "--local")
	if status != 0 || out != "va\x00lue" || errOut != "" {
		t.Errorf("%d, %q, %q", status, out, errOut)
	}
	if got.line != "GET /kv/b/a%2Fb%25?local=true&n=5&r=all&timeout=2s&w=2" || got.header.Get("Quorate-Context") != "seen" {
		t.Errorf("it asked %+v", got)
	}
	_, out, errOut = quorate(t, "", "get", "b/k", "--url", url, "-v")
	if out != "va\x00lue" || !strings.Contains(errOut, "quorum: n=3, r=2, replies=2\ncoordinator: node-1\n") || !strings.Contains(errOut, "context: ctx\n") {
		t.Errorf("%q, %q", out, errOut)
	}
}

func TestGetSiblingsCommand(t *testing.T) {
	url, _ := canned(t, 300, `{"siblings":[{"value":"b25l","content_type":"a/b","etag":"\"1\"","timestamp":"2026-01-02T03:04:05Z"},{"value":"dHdv","content_type":"a/b","etag":"\"2\"","timestamp":"2026-01-02T03:04:05Z"}]}`)
	status, out, errOut := quorate(t, "", "get", "b/k", "--url", url)
	if status != 1 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "b25l") || !strings.Contains(errOut, "2 concurrent values") {
		t.Errorf("%d, %q, %q", status, out, errOut)
	}
}

func TestPutCommand(t *testing.T) {
	url, got := canned(t, 204, "")
	for _, r := range []struct {
		args  []string
		stdin string
		want  string
	}{{[]string{"value"}, "stdin", "value"}, {[]string{"-"}, "stdin", "stdin"}, {nil, "stdin", "stdin"}, {[]string{""}, "stdin", ""}} {
		args := append([]string{"put", "b/k", "--url", url, "--content-type", "a/b", "--sloppy"}, r.args...)
		if status, _, errOut := quorate(t, r.stdin, args...); status != 0 || got.body != r.want {
			t.Errorf("%q: %d, stored %q: %s", r.args, status, got.body, errOut)
		}
		if got.line != "PUT /kv/b/k?sloppy=true" || got.header.Get("Content-Type") != "a/b" {
			t.Errorf("it asked %+v", got)
		}
	}
	if status, _, errOut := quorate(t, "", "put", "b/k", "v", "--url", url, "--sloppy=false"); status != 0 || got.line != "PUT /kv/b/k?sloppy=false" {
		t.Errorf("%d, it asked %+v: %s", status, got, errOut)
	}
}

func TestPutCommandFromAFile(t *testing.T) {
	url, got := canned(t, 204, "")
	f, err := os.Open(writeConfig(t, "content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if status := run(t.Context(), []string{"put", "b/k", "--url", url}, f, io.Discard, io.Discard); status != 0 || got.body != "content" {
		t.Errorf("%d, stored %q", status, got.body)
	}
	if _, err := f.Stat(); err != nil {
		t.Error("the command has closed its standard input")
	}
}

func TestProblemsAreExplained(t *testing.T) {
	url, _ := canned(t, 504, `{"type":"urn:quorate:quorum-timeout","title":"t","status":504,"detail":"1 of 2","outcome":"indeterminate","needed":2,"got":1,
		"replicas":[{"name":"node-2","outcome":"timeout","detail":"no answer","ms":12.34}]}`, "Content-Type", "application/problem+json")
	for _, args := range [][]string{{"put", "b/k", "v"}, {"delete", "b/k"}} {
		status, _, errOut := quorate(t, "", append(args, "--url", url)...)
		if status != 1 || errOut != "quorate: quorum-timeout: 1 of 2 (indeterminate)\n  node-2: timeout (no answer) after 12.3 ms\n" {
			t.Errorf("%d, %q", status, errOut)
		}
	}
	_, _, errOut := quorate(t, "", "put", "b/k", "v", "--url", "http://127.0.0.1:1")
	if !strings.Contains(errOut, "(not_written)") {
		t.Error(errOut)
	}
	broken, _ := canned(t, 204, "", "Content-Length", "5") // an answer that cannot be
	if status, _, errOut := quorate(t, "", "put", "b/k", "v", "--url", broken); status == 1 && !strings.Contains(errOut, "indeterminate") {
		t.Error(errOut)
	}
}

const clusterDocument = `{"cluster":"quorate","self":"node-1","partitions":256,"layout":{"version":"00000000000000aa","settled":false,"live":2,
"progress":{"done":1088,"of":2560,"percent":42.5,"bytes":12897484,"remaining":5120},
"waiting":[{"what":"members to record the new layout","for":["node-2"]},{"what":"owners to fetch what is theirs","for":["node-1","node-2"]}]},
"members":[{"name":"node-1","id":"0123456789abcdef","zone":"","weight":1,"status":"member","liveness":"alive","gaining":true,"http":"h:1","partitions":256,"behind":3,"behind_since":"2026-01-02T03:04:05.6Z","handoffs":{"count":0,"bytes":0}},
{"name":"node-2","id":"fedcba9876543210","zone":"b","weight":2,"status":"leaving","liveness":"dead","http":"h:2","partitions":0,"behind":0,"handoffs":{"count":0,"bytes":0}}],
"catch_up":{"remaining":1200,"rate":340}}`

func TestStatusCommand(t *testing.T) {
	url, _ := canned(t, 200, clusterDocument)
	status, out, _ := quorate(t, "", "status", "--url", url)
	const want = `cluster quorate seen by node-1: 256 partitions, layout 00000000000000aa not settled

ring change: 42.5 % (1088 of 2560 reports), 2 layouts live
  node-1 has fetched 12.3 MiB, 5120 versions to go
  waits for members to record the new layout: node-2 (dead)
  waits for owners to fetch what is theirs: node-1, node-2 (dead)

node-1 is catching up: 1200 versions to go, 340 records/s

NAME    ID        ZONE  WEIGHT  STATUS           LIVENESS  PARTITIONS  BEHIND             HANDOFFS  HTTP
node-1  01234567  -     1       member, gaining  alive     256         3 since 03:04:05Z  0         h:1
node-2  fedcba98  b     2       leaving          dead      0           0                  0         h:2
`
	if status != 0 || out != want {
		t.Errorf("%d:\n%s", status, out)
	}
	status, out, _ = quorate(t, "", "status", "--json", "--url", url)
	if status != 0 || !strings.Contains(out, `"behind":3`) {
		t.Errorf("%d: %s", status, out)
	}
}

func TestRingCommand(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cluster" {
			fmt.Fprint(w, clusterDocument)
			return
		}
		if r.RequestURI != "/cluster/ring?bucket=b&key=a%2Fk&n=2" {
			t.Error(r.RequestURI)
		}
		fmt.Fprint(w, `{"partition":17,"n":2,"owners":["node-1"],"fallbacks":["node-9"]}`)
	}))
	defer s.Close()
	status, out, _ := quorate(t, "", "ring", "b/a/k", "--n", "2", "--url", s.URL)
	const want = `partition 17, n=2

NODE    ROLE      LIVENESS
node-1  owner     alive
node-9  fallback  -
`
	if status != 0 || out != want {
		t.Errorf("%d:\n%s", status, out)
	}
}

func TestHealthCommand(t *testing.T) {
	url, got := canned(t, 200, "ready\n")
	if status, _, errOut := quorate(t, "", "health", "--url", url); status != 0 || got.line != "GET /readyz" {
		t.Errorf("%d: %s", status, errOut)
	}
	url, _ = canned(t, 503, `{"type":"urn:quorate:not-ready","title":"t","status":503,"detail":"starting"}`, "Content-Type", "application/problem+json")
	if status, _, errOut := quorate(t, "", "health", "--url", url); status != 1 || errOut != "quorate: not ready: starting\n" {
		t.Errorf("%d: %q", status, errOut)
	}
}

func TestVersionLine(t *testing.T) {
	for _, r := range []struct {
		build *debug.BuildInfo
		want  string
	}{
		{nil, "quorate (unknown build)"},
		{&debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"}}, "quorate v1.2.3 go1.26"},
		{&debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-01"}, {Key: "vcs.modified", Value: "true"}}},
			"quorate (devel) commit abc with changes of 2026-01-01 go1.26"},
	} {
		if got := describe(r.build); got != r.want {
			t.Errorf("got %q, want %q", got, r.want)
		}
	}
}
