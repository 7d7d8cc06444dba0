package http

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/quorate/quorate/coordinator"
)

// route builds the handlers. Each is wrapped once, when the server is made, with the name under which metrics count it.
func (s *Server) route() {
	s.keys = s.counted("key", s.recovered(s.limited(s.problems(s.serveKey))))

	limited := func(name string, h handler) http.Handler {
		return s.counted(name, s.recovered(s.limited(s.problems(h))))
	}
	probe := func(name string, h handler) http.Handler { return s.counted(name, s.recovered(s.problems(h))) }

	r := chi.NewRouter()
	get := func(path string, h http.Handler) {
		r.Method(http.MethodGet, path, h)
		r.Method(http.MethodHead, path, h)
	}
	get("/kv/{bucket}", limited("list", later("listing keys")))

	get("/buckets", limited("buckets", s.listBuckets))
	get("/buckets/{bucket}", limited("bucket", s.getBucket))
	r.Method(http.MethodPut, "/buckets/{bucket}", limited("bucket", s.putBucket))
	r.Method(http.MethodDelete, "/buckets/{bucket}", limited("bucket", s.deleteBucket))

	get("/cluster", limited("cluster", s.getCluster))
	get("/cluster/ring", limited("ring", s.getRing))
	r.Method(http.MethodPost, "/cluster/leave", limited("leave", s.leave))
	r.Method(http.MethodPost, "/cluster/remove/{name}", limited("remove", s.remove))
	get("/staleness", limited("staleness", later("predicting staleness")))

	if s.node.Faults() != nil {
		get("/faults", probe("faults", s.getFaults))
		r.Method(http.MethodPut, "/faults", probe("faults", s.putFaults))
		r.Method(http.MethodDelete, "/faults", probe("faults", s.deleteFaults))
	}
	get("/healthz", probe("health", s.getHealth))
	get("/readyz", probe("ready", s.getReady))
	get("/metrics", s.counted("metrics", s.recovered(s.exposition())))

	r.NotFound(probe("none", noSuchResource).ServeHTTP)
	r.MethodNotAllowed(probe("none", notAllowed(r)).ServeHTTP)
	s.router = r
}

// later answers for what the contract promises and a later version brings.
func later(what string) handler {
	return func(http.ResponseWriter, *http.Request) error {
		return codeProblem(coordinator.NotImplemented, what+" is not implemented yet")
	}
}

func noSuchResource(_ http.ResponseWriter, r *http.Request) error {
	return ownProblem(nameNoSuchResource, "no resource is at "+quote(r.URL.Path))
}

// notAllowed answers for a method that the router refused: 405 with those that it would take, or 404 if there are none, which is so when it did
// not know the method at all.
func notAllowed(routes chi.Routes) handler {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete}
	return func(w http.ResponseWriter, r *http.Request) error {
		path := r.URL.RawPath
		if path == "" {
			path = r.URL.Path
		}
		allowed := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return !routes.Match(chi.NewRouteContext(), m, path) })
		if len(allowed) == 0 {
			return noSuchResource(w, r)
		}
		return methodNotAllowed(r.Method, strings.Join(allowed, ", "))
	}
}

func methodNotAllowed(method, allow string) *Problem {
	p := ownProblem(nameMethodNotAllowed, quote(method)+" is not allowed here; "+allow+" are")
	p.allow = allow
	return p
}
