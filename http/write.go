package http

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/version"
)

const maxContentType = 256

// serveWrite answers PUT and DELETE of a key.
func (s *Server) serveWrite(w http.ResponseWriter, r *http.Request) error {
	q, err := parseKeyRequest(r, false)
	if err != nil {
		return err
	}
	req := coordinator.PutRequest{Options: q.Options, Bucket: q.bucket, Key: q.name, Token: q.token, Detail: q.detail,
		Delete: r.Method == http.MethodDelete}
	if !req.Delete {
		if req.ContentType, err = contentTypeIn(r.Header); err != nil {
			return err
		}
		value, held, err := s.readBody(w, r)
		defer s.bodies.release(held)
		if err != nil {
			return err
		}
		req.Value = value
		done, err := s.turn(r.Context(), &req)
		if err != nil {
			return err
		}
		defer done()
	}
	if q.given() {
		if err := s.precondition(w, r, &q, &req); err != nil {
			return err
		}
	}
	res, err := s.node.Put(r.Context(), req)
	if err != nil {
		return s.failure(w, &q, err, true)
	}
	h := newHeaderWriter(w)
	h.written(&res, q.detail)
	h.token(res.Token, q.key)
	if !req.Delete {
		h.etag(res.ETag)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// largeValue is what a value may have and still need no turn: ten thousand of the usual ones are written while one of the largest is.
const largeValue = 64 << 10

// turn waits until the writes under way leave room for a large value, in the order of arrival. The wait is taken from the request's time; if
// that is up, nothing was written. done must follow when the write is over.
func (s *Server) turn(ctx context.Context, req *coordinator.PutRequest) (done func(), _ error) {
	if len(req.Value) < largeValue {
		return func() {}, nil
	}
	begun, size := time.Now(), min(int64(len(req.Value)), s.cfg.MaxWriting)
	ctx, cancel := context.WithTimeout(ctx, req.Timeout)
	defer cancel()
	if s.writing.Acquire(ctx, size) != nil {
		p := codeProblem(coordinator.Overloaded, "other large values were being written for all of the request's time")
		p.Outcome = outcomeNotWritten
		return nil, p
	}
	req.Timeout = max(req.Timeout-time.Since(begun), 1)
	return func() { s.writing.Release(size) }, nil
}

// contentTypeIn is the type to store. It stands in JSON and in headers later, so it is held to what fits both.
func contentTypeIn(h http.Header) (string, error) {
	if h["Content-Range"] != nil {
		return "", badRequest("Content-Range: a PUT stores a whole value")
	}
	contentType, err := oneHeader(h, "Content-Type")
	if err != nil {
		return "", err
	}
	if len(contentType) > maxContentType {
		return "", badRequest("Content-Type is longer than 256 bytes")
	}
	for i := range len(contentType) {
		if c := contentType[i]; c < ' ' || c > '~' {
			return "", badRequest("Content-Type has a byte that is no printable ASCII character, at " + strconv.Itoa(i))
		}
	}
	return contentType, nil
}

// precondition reads the key as the write would see it, compares, and makes the write replace what the read showed if the client brought no
// context of its own. Its time is taken from that of the request. It is best effort: the write may meet a newer value all the same.
func (s *Server) precondition(w http.ResponseWriter, r *http.Request, q *keyRequest, req *coordinator.PutRequest) error {
	start := time.Now()
	res, err := s.node.Get(r.Context(), coordinator.GetRequest{Options: req.Options, Bucket: q.bucket, Key: q.name, Token: q.token, Detail: q.detail})
	if err != nil {
		return s.failure(w, q, err, false)
	}
	if detail := q.refuses(version.ETag(res.Record)); detail != "" {
		h := newHeaderWriter(w)
		h.read(&res, q.detail)
		return ownProblem(namePreconditionFailed, detail)
	}
	if req.Token == nil {
		seen := version.ReadToken(res.Record)
		req.Token = &seen
	}
	if req.Timeout -= time.Since(start); req.Timeout <= 0 {
		return codeProblem(coordinator.QuorumTimeout, "the time was up when the precondition had been checked; nothing was written")
	}
	return nil
}

// refuses says which precondition of a write does not hold.
func (c *conditions) refuses(current string) string {
	switch {
	case !c.matches(current):
		return "If-Match does not name the present value"
	case c.unmodified(current):
		return "If-None-Match names the present value"
	}
	return ""
}
