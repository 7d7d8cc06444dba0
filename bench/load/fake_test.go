package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/bench/fleet"
)

// fakeCluster is some nodes on one map. Each change of it answers before the map is asked, if it answers at all.
type fakeCluster struct {
	mu       sync.Mutex
	values   map[string]string
	versions map[string]int
	counts   map[string]int // requests, by method and kind of path
	badSeen  []string       // contexts that are not the current one
	change   func(w http.ResponseWriter, r *http.Request) bool
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{values: map[string]string{}, versions: map[string]int{}, counts: map[string]int{}}
}

// node serves the client API of one node.
func (c *fakeCluster) node(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/cluster":
			fmt.Fprintf(w, `{"self":%q,"cluster":"fake","members":[]}`, name)
		case r.URL.Path == "/readyz":
		case r.URL.Path == "/metrics":
			fmt.Fprint(w, "process_cpu_seconds_total 1\nprocess_resident_memory_bytes 1\n")
		case strings.HasPrefix(r.URL.Path, "/kv/"):
			body, err := io.ReadAll(r.Body)
			if err == nil && (c.change == nil || !c.change(w, r)) {
				c.key(w, r, string(body))
			}
		default:
			http.NotFound(w, r)
		}
	})
}

func (c *fakeCluster) key(w http.ResponseWriter, r *http.Request, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, ok := strings.CutPrefix(r.URL.Path, "/kv/bench/")
	if !ok {
		c.counts["scan"]++
		fmt.Fprint(w, `{"keys":[]}`)
		return
	}
	seen := r.Header.Get(contextHeader)
	c.counts[r.Method]++
	if r.Method == http.MethodPut {
		if seen != "" && !strings.HasPrefix(seen, key+"@") {
			c.badSeen = append(c.badSeen, seen)
		}
		if seen != "" {
			c.counts["PUT with context"]++
		}
		c.values[key] = body
		c.versions[key]++
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set(contextHeader, fmt.Sprintf("%s@%d", key, c.versions[key]))
	value, ok := c.values[key]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, value)
}

// dial serves nodes of the cluster, and meets them.
func (c *fakeCluster) dial(t *testing.T, nodes int) (*fleet.Fleet, []*httptest.Server) {
	t.Helper()
	var urls []string
	var servers []*httptest.Server
	for i := range nodes {
		s := httptest.NewServer(c.node(fmt.Sprint("fake-", i)))
		t.Cleanup(s.Close)
		servers, urls = append(servers, s), append(urls, s.URL)
	}
	f, err := fleet.Dial(t.Context(), urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background(), false) })
	return f, servers
}

// quiet listens to a run and says nothing.
type quiet struct {
	mu     sync.Mutex
	phases []string
	second func()
}

func (q *quiet) Phase(text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.phases = append(q.phases, text)
}

func (q *quiet) Second(string) {
	if q.second != nil {
		q.second()
	}
}
