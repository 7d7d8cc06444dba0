package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// liar is a node that answers from a map, and now and then tells a lie.
type liar struct {
	mu     sync.Mutex
	values map[string][]byte                                                       // present ones
	old    map[string][]byte                                                       // what each replaced
	lie    func(l *liar, w http.ResponseWriter, r *http.Request, body []byte) bool // true: it has answered
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the traffic's bodies are whole or the test has ended
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lie != nil && rand.IntN(10) == 0 && l.lie(l, w, r, body) {
		return
	}
	l.honest(w, r, body)
}

func (l *liar) honest(w http.ResponseWriter, r *http.Request, body []byte) {
	path := r.URL.Path
	switch r.Method {
	case http.MethodGet:
		l.show(w, l.values[path])
		return
	case http.MethodPut:
		l.old[path], l.values[path] = l.values[path], body
	case http.MethodDelete:
		l.old[path] = l.values[path]
		delete(l.values, path)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (l *liar) show(w http.ResponseWriter, value []byte) {
	if value == nil {
		l.refuse(w, http.StatusNotFound, "not-found", "")
		return
	}
	_, _ = w.Write(value)
}

func (*liar) refuse(w http.ResponseWriter, status int, name, outcome string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:quorate:%s","title":"t","status":%d,"detail":"d","outcome":%q}`, name, status, outcome)
}

// TestTrafficFindsLiars sends the traffic of these tests to servers that tell one kind of lie each. Every kind is found, and an honest one is not blamed.
func TestTrafficFindsLiars(t *testing.T) {
	for _, row := range []struct {
		name, finds string
		lie         func(l *liar, w http.ResponseWriter, r *http.Request, body []byte) bool
	}{
		{"honest", "", nil},
		{"shows what was replaced", "stale", func(l *liar, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method != http.MethodGet || l.old[r.URL.Path] == nil {
				return false
			}
			l.show(w, l.old[r.URL.Path])
			return true
		}},
		{"answers not found for what is there", "stale", func(l *liar, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method != http.MethodGet || l.values[r.URL.Path] == nil {
				return false
			}
			l.show(w, nil)
			return true
		}},
		{"acknowledges and stores nothing", "stale", func(_ *liar, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method == http.MethodGet {
				return false
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		}},
		{"shows what nobody wrote", "phantom", func(l *liar, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method != http.MethodGet {
				return false
			}
			l.show(w, []byte(r.URL.Path+" 1000000 x"))
			return true
		}},
		{"stores what it says is not written", "phantom", func(l *liar, w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.Method == http.MethodGet {
				return false
			}
			l.values[r.URL.Path] = body
			l.refuse(w, http.StatusServiceUnavailable, "quorum-unavailable", "not_written")
			return true
		}},
		{"an error of its own", "status 500", func(l *liar, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			l.refuse(w, http.StatusInternalServerError, "internal", "indeterminate")
			return true
		}},
		{"claims too much of a timeout", `outcome "not_written"`, func(l *liar, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			l.refuse(w, http.StatusGatewayTimeout, "quorum-timeout", "not_written")
			return true
		}},
		{"no problem document", "not a problem document", func(_ *liar, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return true
		}},
		{"breaks connections", "broke the connection", func(*liar, http.ResponseWriter, *http.Request, []byte) bool {
			panic(http.ErrAbortHandler)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&liar{values: map[string][]byte{}, old: map[string][]byte{}, lie: row.lie})
			t.Cleanup(server.Close)
			n := &node{name: "liar", http: strings.TrimPrefix(server.URL, "http://"), client: newClient()}
			f := newTraffic(t, 2, 2, n)
			found := func() error {
				f.mu.Lock()
				defer f.mu.Unlock()
				if len(f.complaints) == 0 {
					return errNotYet
				}
				if first := f.complaints[0]; row.finds == "" || !strings.Contains(first, row.finds) {
					t.Fatalf("wants complaints of %q: %s", row.finds, first)
				}
				return nil
			}
			if row.finds != "" {
				f.told = true // its complaints are what is wanted
				eventually(t, soon, "a complaint", found)
				return
			}
			never(t, time.Second, "a complaint", func() bool { return found() == nil })
			f.audit(t, n)
			f.account(t)
		})
	}
}
