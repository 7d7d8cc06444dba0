package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// stalenessResults is what these tests read of results.json (docs/formats.md).
type stalenessResults struct {
	Quorums []struct {
		N        int             `json:"n"`
		W        int             `json:"w"`
		R        int             `json:"r"`
		Rows     []stalenessRow  `json:"rows"`
		Attempts int             `json:"attempts"`
		Fates    map[string]int  `json:"fates"`
		CaughtUp json.RawMessage `json:"heal_to_caught_up_ms"`
	} `json:"quorums"`
	Broken []string `json:"broken"`
}

type stalenessRow struct {
	Phase       string                 `json:"phase"`
	Side        string                 `json:"side"`
	Reads       int                    `json:"reads"`
	Fresh       int                    `json:"fresh"`
	Stale       int                    `json:"stale"`
	Unavailable int                    `json:"unavailable"`
	K           *struct{ Max float64 } `json:"k"`
	T           *struct{ Max float64 } `json:"t_ms"`
	Monotonic   int                    `json:"monotonic_violations"`
	OwnWrite    int                    `json:"read_your_write_violations"`
	Writes      int                    `json:"writes"`
	Acked       int                    `json:"acked"`
}

func readStaleness(t *testing.T, dir string) stalenessResults {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r stalenessResults
	if err := json.Unmarshal(document, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStalenessUnderIsolation starts five nodes and isolates one: what r + w > n promises holds, what it costs is shown, and at r = w = 1 stale reads are seen.
// Another program, which is below, finds the same in the log.
func TestStalenessUnderIsolation(t *testing.T) {
	slow(t)
	tmp, out := t.TempDir(), filepath.Join(t.TempDir(), "result")
	t.Setenv("TMPDIR", tmp)
	got := command(t, "", "bench", "staleness", "--nodes", "5", "--scenario", "isolate-one", "--quorums", "3/1/1,3/2/2", "--duration", "12s", "--out", out)
	if got.code != 0 || !strings.Contains(got.stdout, "every promise held") || !strings.Contains(got.stderr, "CUT") {
		t.Fatalf("%+v", got)
	}
	wantEmpty(t, tmp)
	r := readStaleness(t, out)
	if len(r.Quorums) != 2 || len(r.Broken) > 0 {
		t.Fatalf("%+v", r)
	}
	row := func(quorum int, phase, side string) stalenessRow {
		i := slices.IndexFunc(r.Quorums[quorum].Rows, func(row stalenessRow) bool { return row.Phase == phase && row.Side == side })
		if i < 0 {
			t.Fatalf("no row for %s, %s", phase, side)
		}
		return r.Quorums[quorum].Rows[i]
	}
	if during := row(0, "during", "isolated"); during.Stale == 0 {
		t.Errorf("3/1/1: the isolated node shows nothing stale: %+v", during)
	}
	if caughtUp := string(r.Quorums[0].CaughtUp); caughtUp == "" || caughtUp == "null" {
		t.Error("3/1/1: nothing shows how long what the cut had left behind was missed after the heal")
	}
	if during := row(1, "during", "isolated"); during.Stale > 0 || during.Unavailable < during.Fresh || during.Acked > during.Writes/2 {
		t.Errorf("3/2/2: the isolated node serves: %+v", during)
	}
	if during := row(1, "during", "rest"); during.Stale > 0 || during.Unavailable > during.Fresh {
		t.Errorf("3/2/2: the rest does not serve: %+v", during)
	}
	recheck(t, out, r)
}

// TestStalenessExposesLiars puts a proxy in front of one node that answers old values, or acknowledges puts and keeps them to itself.
func TestStalenessExposesLiars(t *testing.T) {
	c := sharedCluster(t)
	for _, liar := range []struct {
		name   string
		proxy  func(http.Handler) http.Handler
		broken string
	}{
		{"answers old values", nostalgic, "stale reads, although r + w > n"},
		{"acknowledges and forgets", forgetful, "acknowledged writes lost"},
		{"honest", func(next http.Handler) http.Handler { return next }, ""},
	} {
		t.Run(liar.name, func(t *testing.T) {
			var targets []string
			for i, n := range c.nodes {
				target := "http://" + n.http
				if i == 1 {
					u, err := url.Parse(target)
					if err != nil {
						t.Fatal(err)
					}
					server := httptest.NewServer(liar.proxy(httputil.NewSingleHostReverseProxy(u)))
					defer server.Close()
					target = server.URL
				}
				targets = append(targets, target)
			}
			out := t.TempDir()
			got := command(t, "", "bench", "staleness", "--targets", strings.Join(targets, ","), "--scenario", "none", "--quorums", "3/2/2",
				"--duration", "2s", "--keys", "10", "--timeout", "10s", "--out", out)
			r := readStaleness(t, out)
			broken := strings.Join(r.Broken, "; ")
			if liar.broken == "" {
				if got.code != 0 || broken != "" {
					t.Errorf("an honest cluster is accused: %q\n%+v", broken, got)
				}
			} else if got.code != 1 || !strings.Contains(broken, liar.broken) || !strings.Contains(got.stdout, "BROKEN") {
				t.Errorf("broken: %q, want %q\n%+v", broken, liar.broken, got)
			}
			recheck(t, out, r)
		})
	}
}

// forgetful acknowledges every put of a key but the first, and passes none of these on.
func forgetful(next http.Handler) http.Handler {
	var mu sync.Mutex
	put := map[string]bool{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/kv/") {
			mu.Lock()
			again := put[r.URL.Path]
			put[r.URL.Path] = true
			mu.Unlock()
			if again {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// nostalgic answers every get of a key as it was answered first.
func nostalgic(next http.Handler) http.Handler {
	var mu sync.Mutex
	first := map[string]*httptest.ResponseRecorder{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/kv/") {
			next.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		old := first[r.URL.Path]
		if old == nil {
			old = httptest.NewRecorder()
			next.ServeHTTP(old, r)
			if old.Code == http.StatusOK {
				first[r.URL.Path] = old
			}
		}
		for name, values := range old.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(old.Code)
		_, _ = w.Write(old.Body.Bytes())
	})
}

// loggedOp is a line of ops.ndjson, as far as the verdicts need it.
type loggedOp struct {
	Client, Seq       uint64
	Kind, Bucket, Key string
	N, W, R           int
	Invoked           int64 `json:"invoked_ns"`
	Returned          int64 `json:"returned_ns"`
	Side, Phase       string
	Outcome           string
	Values            []string
	Local, Final      bool

	end   int64 // of a put
	seen  bool
	shown []*loggedOp // by a read
}

// recheck judges the log by the rules of docs/formats.md, in the simplest way there is, and compares with the results.
func recheck(t *testing.T, dir string, r stalenessResults) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ops.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	scanner.Buffer(nil, 1<<20)
	scanner.Scan() // the header
	keys := map[string][]*loggedOp{}
	for scanner.Scan() {
		var o loggedOp
		if err := json.Unmarshal(scanner.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		keys[o.Bucket+"/"+o.Key] = append(keys[o.Bucket+"/"+o.Key], &o)
	}
	for _, q := range r.Quorums {
		found := map[[2]string]*stalenessRow{}
		fates := map[string]int{}
		for _, ops := range keys {
			if ops[0].N == q.N && ops[0].W == q.W && ops[0].R == q.R {
				judgeReads(ops, found)
				judgeWrites(ops, fates)
			}
		}
		for _, row := range q.Rows {
			f := found[[2]string{row.Phase, row.Side}]
			if f == nil {
				t.Fatalf("nothing in the log of %s, %s", row.Phase, row.Side)
			}
			k, ms := 0.0, 0.0
			if row.K != nil {
				k, ms = row.K.Max, row.T.Max
			}
			if f.Reads != row.Reads || f.Stale != row.Stale || f.Unavailable != row.Unavailable || f.Monotonic != row.Monotonic || f.OwnWrite != row.OwnWrite ||
				f.K.Max != k || math.Abs(f.T.Max-ms) > 0.01 {
				t.Errorf("%d/%d/%d, %s, %s: the log says %+v, the results %+v", q.N, q.W, q.R, row.Phase, row.Side, *f, row)
			}
		}
		sum := 0
		for fate, count := range q.Fates {
			if fates[fate] != count {
				t.Errorf("%d/%d/%d: %d are %s by the log, %d by the results", q.N, q.W, q.R, fates[fate], fate, count)
			}
			sum += count
		}
		if sum != q.Attempts {
			t.Errorf("%d fates of %d attempts", sum, q.Attempts)
		}
	}
}

// findShown lists for each read the puts whose values it returned.
func findShown(ops []*loggedOp) {
	puts := map[string]*loggedOp{}
	for _, o := range ops {
		if o.Kind == "put" {
			puts[strconv.FormatUint(o.Client, 10)+"."+strconv.FormatUint(o.Seq, 10)] = o
		}
	}
	for _, o := range ops {
		for _, value := range o.Values {
			if put := puts[value]; put != nil {
				o.shown = append(o.shown, put)
			}
		}
	}
}

// newer tells whether the put was sent after all that the read returned had ended.
func newer(put, read *loggedOp) bool {
	return !slices.ContainsFunc(read.shown, func(v *loggedOp) bool { return v.end >= put.Invoked })
}

func judgeReads(ops []*loggedOp, found map[[2]string]*stalenessRow) {
	findShown(ops)
	for _, o := range ops {
		if o.end = o.Returned; o.Outcome == "indeterminate" {
			o.end = math.MaxInt64
		}
	}
	for _, read := range ops {
		for _, put := range read.shown {
			if put.seen = true; put.Outcome == "indeterminate" {
				put.end = min(put.end, max(put.Returned, read.Returned))
			}
		}
	}
	for _, read := range ops {
		if read.Kind != "get" || read.Local || read.Final {
			continue
		}
		row := found[[2]string{read.Phase, read.Side}]
		if row == nil {
			row = &stalenessRow{K: new(struct{ Max float64 }), T: new(struct{ Max float64 })}
			found[[2]string{read.Phase, read.Side}] = row
		}
		row.Reads++
		if read.Outcome == "unavailable" {
			row.Unavailable++
			continue
		}
		missed, own, t := 0, false, int64(0)
		for _, put := range ops {
			if put.Outcome == "acked" && put.Returned < read.Invoked && newer(put, read) {
				missed, own, t = missed+1, own || put.Client == read.Client, max(t, read.Invoked-put.Returned)
			}
		}
		if missed > 0 {
			row.Stale++
			row.K.Max, row.T.Max = max(row.K.Max, float64(missed)), max(row.T.Max, float64(t)/1e6)
		}
		if own {
			row.OwnWrite++
		}
		if slices.ContainsFunc(ops, func(earlier *loggedOp) bool {
			return earlier.Kind == "get" && !earlier.Local && earlier.Client == read.Client && earlier.Returned < read.Invoked &&
				slices.ContainsFunc(earlier.shown, func(put *loggedOp) bool { return newer(put, read) })
		}) {
			row.Monotonic++
		}
	}
}

// judgeWrites is for puts by one client without contexts, as the tool does them.
func judgeWrites(ops []*loggedOp, fates map[string]int) {
	var final *loggedOp
	for _, o := range ops {
		if o.Final && o.Outcome == "ok" && (final == nil || o.Returned > final.Returned) {
			final = o
		}
	}
	for _, o := range ops {
		if o.Kind != "put" {
			continue
		}
		if final == nil {
			fates["undetermined"]++
			continue
		}
		winners := final.shown
		present := slices.Contains(winners, o)
		switch {
		case present && o.Outcome != "not_written" && slices.ContainsFunc(ops, func(put *loggedOp) bool {
			return put.Outcome == "acked" && put.seen && newer(put, final)
		}):
			fates["resurrected"]++
		case o.Outcome == "indeterminate" && (present || o.seen):
			fates["recovered"]++
		case o.Outcome == "indeterminate":
			fates["unseen"]++
		case o.Outcome == "not_written" && (present || o.seen):
			fates["phantom"]++
		case o.Outcome == "not_written":
			fates["refused"]++
		case present:
			fates["acked-present"]++
		case slices.ContainsFunc(winners, func(w *loggedOp) bool { return w.Invoked > o.end }):
			fates["superseded"]++
		case slices.ContainsFunc(winners, func(w *loggedOp) bool { return w.end >= o.Invoked }):
			fates["lww-overwritten"]++
		default:
			fates["lost"]++
		}
	}
}
