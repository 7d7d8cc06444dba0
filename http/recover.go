package http

import (
	"net/http"
	"runtime/debug"

	"github.com/quorate/quorate/coordinator"
)

// recovered keeps a panic in a handler from ending more than its request: it is logged with its stack and answered with 500, or with the end
// of the connection if the answer has begun. A write may have been handed down by then.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			s.log.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
			if rec, ok := w.(*recorder); ok && rec.status != 0 {
				panic(http.ErrAbortHandler)
			}
			clear(w.Header())
			p := codeProblem(coordinator.Internal, seeLog)
			if isKeyPath(r) && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
				p.Outcome = outcomeIndeterminate
			}
			writeProblem(w, p)
		}()
		next.ServeHTTP(w, r)
	})
}
