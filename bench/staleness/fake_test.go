package staleness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/fault"
)

// cloud is a cluster that is always right: all its nodes are doors to one map. A node that has fault rules serves no keys, as the smaller side of a
// cut does at a majority, if the rules cut it off from most.
type cloud struct {
	nodes []*httptest.Server

	mu     sync.Mutex
	values map[string]string
	rules  map[string][]fault.Rule // by node

	hang   func(r *http.Request) bool // these requests are never answered
	faults func()                     // called when rules are set, not when they are removed
}

func newCloud(t *testing.T, nodes int) *cloud {
	t.Helper()
	c := &cloud{values: map[string]string{}, rules: map[string][]fault.Rule{}, hang: func(*http.Request) bool { return false }, faults: func() {}}
	for i := range nodes {
		server := httptest.NewServer(c.door(nodeName(i)))
		t.Cleanup(server.Close)
		c.nodes = append(c.nodes, server)
	}
	return c
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i+1) }

// dial meets the nodes, some of them through a proxy.
func (c *cloud) dial(t *testing.T, proxies map[int]http.Handler) *fleet.Fleet {
	t.Helper()
	var targets []string
	for i, node := range c.nodes {
		target := node.URL
		if proxy := proxies[i]; proxy != nil {
			server := httptest.NewServer(proxy)
			t.Cleanup(server.Close)
			target = server.URL
		}
		targets = append(targets, target)
	}
	f, err := fleet.Dial(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background(), false); err != nil {
			t.Error(err)
		}
	})
	return f
}

// door is one node.
func (c *cloud) door(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /cluster", func(w http.ResponseWriter, _ *http.Request) {
		var members []map[string]string
		for i := range c.nodes {
			members = append(members, map[string]string{"name": nodeName(i), "status": "member", "liveness": "alive"})
		}
		answer(w, map[string]any{"cluster": "cloud", "self": name, "members": members})
	})
	mux.HandleFunc("GET /cluster/ring", func(w http.ResponseWriter, _ *http.Request) {
		var owners []string
		for i := range c.nodes {
			owners = append(owners, nodeName(i))
		}
		answer(w, map[string]any{"owners": owners})
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) { c.putFaults(w, r, name) })
	mux.HandleFunc("/kv/", func(w http.ResponseWriter, r *http.Request) { c.serveKey(w, r, name) })
	return mux
}

func answer(w http.ResponseWriter, document any) {
	if err := json.NewEncoder(w).Encode(document); err != nil {
		panic(err)
	}
}

func (c *cloud) putFaults(w http.ResponseWriter, r *http.Request, name string) {
	body, _ := io.ReadAll(r.Body)
	rules, err := fault.DecodeRules(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.rules[name] = rules
	c.mu.Unlock()
	if len(rules) > 0 {
		c.faults()
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *cloud) serveKey(w http.ResponseWriter, r *http.Request, name string) {
	body, _ := io.ReadAll(r.Body)
	if c.hang(r) {
		<-r.Context().Done()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rules[name])*2 >= len(c.nodes) {
		problem(w, http.StatusServiceUnavailable, "quorum-unavailable", r.Method != http.MethodGet)
		return
	}
	switch r.Method {
	case http.MethodPut:
		c.values[r.URL.Path] = string(body)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		delete(c.values, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		value, ok := c.values[r.URL.Path]
		if !ok {
			problem(w, http.StatusNotFound, "not-found", false)
			return
		}
		_, _ = io.WriteString(w, value)
	}
}

func problem(w http.ResponseWriter, status int, name string, write bool) {
	document := map[string]any{"type": "urn:quorate:" + name, "title": name, "status": status, "detail": name}
	if write {
		document["outcome"] = "not_written"
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	answer(w, document)
}

// proxyTo passes everything on.
func proxyTo(t *testing.T, target string) *httputil.ReverseProxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return httputil.NewSingleHostReverseProxy(u)
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
