package http

import (
	"errors"
	"net/http"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/version"
)

// keyMethods is the Allow header of a key.
const keyMethods = "GET, HEAD, PUT, DELETE"

// serveKey dispatches the requests of a key.
func (s *Server) serveKey(w http.ResponseWriter, r *http.Request) error {
	write := r.Method == http.MethodPut || r.Method == http.MethodDelete
	if !write && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return methodNotAllowed(r.Method, keyMethods)
	}
	var err error
	if write {
		err = s.serveWrite(w, r)
	} else {
		err = s.serveRead(w, r)
	}
	if err != nil && write {
		return failedWrite(w, r, err)
	}
	return err
}

// failedWrite gives the problem of a write that was never handed down its outcome. Problems that have one keep it.
func failedWrite(w http.ResponseWriter, r *http.Request, err error) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	if p.Outcome == "" {
		p.Outcome = outcomeNotWritten
	}
	if !p.hangUp {
		discardBody(w, r)
	}
	return err
}

// keyRequest is what reads and writes have in common.
type keyRequest struct {
	key
	keyQuery
	token *version.Token
	conditions
}

// parseKeyRequest reads all of a key request but its body.
func parseKeyRequest(r *http.Request, reading bool) (keyRequest, error) {
	q := keyRequest{keyQuery: plainQuery}
	var err error
	if q.key, err = parseKey(r.URL); err != nil {
		return q, err
	}
	if r.URL.RawQuery != "" {
		if q.keyQuery, err = parseKeyQuery(r.URL.RawQuery, reading); err != nil {
			return q, err
		}
	}
	if q.token, err = contextOf(r.Header, q.key); err != nil {
		return q, err
	}
	q.conditions, err = parseConditions(r.Header)
	return q, err
}

// failure translates the error of a call to the node, and sets the headers that it has.
func (s *Server) failure(w http.ResponseWriter, q *keyRequest, err error, write bool) error {
	var e *coordinator.Error
	if !errors.As(err, &e) {
		s.log.Error("request failed", "bucket", q.bucket, "key", q.name, "err", err)
		e = &coordinator.Error{Code: coordinator.Internal, Detail: seeLog, Indeterminate: write}
	}
	h := newHeaderWriter(w)
	h.failed(e, write, q.detail)
	return problemOf(e, write)
}
