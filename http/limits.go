package http

import (
	"net/http"

	"github.com/quorate/quorate/coordinator"
)

// limited bounds the requests at work, and refuses new ones while the server drains.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.requests.Add(1)
		defer s.requests.Add(-1)
		switch {
		case s.draining.Load():
			refuse(w, r, codeProblem(coordinator.Draining, "this node is shutting down; ask another"))
		case n > int64(s.cfg.MaxRequests):
			refuse(w, r, codeProblem(coordinator.Overloaded, "this node is at work on as many requests as it takes"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers for a request that nobody looked at.
func refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	if isKeyPath(r) && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
		p.Outcome = outcomeNotWritten
	}
	writeProblem(w, p)
}
