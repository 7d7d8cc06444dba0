package http

import (
	"net/http"

	"github.com/quorate/quorate/coordinator"
)

// getHealth tells that the process is up; getReady that it can serve.
func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) error { return writeText(w, "ok\n") }

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	if s.draining.Load() {
		return codeProblem(coordinator.Draining, "this node is shutting down")
	}
	if ready, why := s.node.Ready(); !ready {
		return codeProblem(coordinator.NotReady, why)
	}
	return writeText(w, "ready\n")
}
