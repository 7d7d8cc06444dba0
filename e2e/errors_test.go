package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestBadParameters holds the row "bad parameter; w>n, r>n".
func TestBadParameters(t *testing.T) {
	c := sharedCluster(t)
	both := []string{
		"n=0", "n=17", "n=-1", "n=x", "n=1.5", "n=99999999999999999999", "sloppy=maybe", "detail=maybe",
		"timeout=0s", "timeout=-1s", "timeout=61s", "timeout=5", "timeout=soon",
	}
	writes := append([]string{"w=0", "w=-1", "w=most", "w=4", "w=17", "n=1&w=2", "n=5&w=6", "w=1.0"}, both...)
	reads := append([]string{"r=0", "r=-1", "r=most", "r=4", "r=17", "n=1&r=2", "n=5&r=6", "local=maybe", "repair=maybe"}, both...)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		for _, query := range writes {
			n.put(t, path+"?"+query, "v").wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
			n.delete(t, path+"?"+query).wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
		}
		for _, query := range reads {
			n.get(t, path+"?"+query).wantsProblem(t, http.StatusBadRequest, "")
			n.do(t, http.MethodHead, path+"?"+query, nil).wants(t, http.StatusBadRequest)
		}
		n.get(t, path).wants(t, http.StatusNotFound)
	})
}

// TestLaterFeatures says clearly what this version does not do yet.
func TestLaterFeatures(t *testing.T) {
	c := sharedCluster(t)
	rows := []struct{ method, path string }{
		{http.MethodGet, "/kv/rows"},
		{http.MethodGet, "/kv/rows?prefix=a&limit=3"},
		{http.MethodGet, "/staleness?n=3&r=1&w=1"},
	}
	c.each(t, func(t *testing.T, n *node) {
		for _, row := range rows {
			n.do(t, row.method, row.path, nil).wantsProblem(t, http.StatusNotImplemented, "")
		}
		n.get(t, "/readyz").wants(t, http.StatusOK)
	})
}

// TestWrongMethods expects 405 and the right ones in Allow.
func TestWrongMethods(t *testing.T) {
	c := sharedCluster(t)
	rows := []struct {
		method, path string
		allowed      []string
	}{
		{http.MethodPost, "/kv/rows/k", []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}},
		{http.MethodPatch, "/kv/rows/k", []string{http.MethodGet, http.MethodPut, http.MethodDelete}},
		{"QUORATE", "/kv/rows/k", []string{http.MethodGet, http.MethodPut, http.MethodDelete}},
		{http.MethodPut, "/kv/rows", []string{http.MethodGet}},
		{http.MethodPost, "/buckets", []string{http.MethodGet}},
		{http.MethodGet, "/cluster/leave", []string{http.MethodPost}},
		{http.MethodPut, "/cluster/remove/node-2", []string{http.MethodPost}},
		{http.MethodPost, "/buckets/rows", []string{http.MethodGet, http.MethodPut, http.MethodDelete}},
		{http.MethodPost, "/cluster", []string{http.MethodGet}},
		{http.MethodDelete, "/cluster/ring", []string{http.MethodGet}},
		{http.MethodGet, "/cluster/leave", []string{http.MethodPost}},
		{http.MethodDelete, "/cluster/remove/node-2", []string{http.MethodPost}},
		{http.MethodPut, "/healthz", []string{http.MethodGet}},
		{http.MethodPost, "/readyz", []string{http.MethodGet}},
		{http.MethodDelete, "/metrics", []string{http.MethodGet}},
	}
	c.each(t, func(t *testing.T, n *node) {
		for _, row := range rows {
			a := n.do(t, row.method, row.path, nil)
			a.wantsProblem(t, http.StatusMethodNotAllowed, "")
			allow := strings.Split(strings.ReplaceAll(a.must(t, "Allow"), " ", ""), ",")
			for _, method := range row.allowed {
				if !slices.Contains(allow, method) {
					t.Errorf("%s: Allow %v lacks %s", a.request, allow, method)
				}
			}
			if slices.Contains(allow, row.method) {
				t.Errorf("%s: Allow %v has the very method", a.request, allow)
			}
		}
	})
}

// TestUnknownPaths expects problem documents where there is nothing; the fault endpoint is not there unless
// it was allowed.
func TestUnknownPaths(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		for _, path := range []string{"/", "/nothing", "/kv", "/cluster/nothing", "/debug/pprof/", "/faults"} {
			n.get(t, path).wantsProblem(t, http.StatusNotFound, "")
		}
		n.put(t, "/faults", `{"rules":[]}`).wantsProblem(t, http.StatusNotFound, "")
		n.delete(t, "/faults").wantsProblem(t, http.StatusNotFound, "")
	})
}
