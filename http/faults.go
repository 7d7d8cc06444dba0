package http

import (
	"fmt"
	"net/http"

	"github.com/quorate/quorate/fault"
)

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) error {
	body, err := fault.EncodeRules(s.node.Faults().Rules())
	if err != nil {
		return fmt.Errorf("encode fault rules: %w", err)
	}
	return writeDocument(w, body)
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) error {
	body, err := readDocument(w, r)
	if err != nil {
		return err
	}
	rules, err := fault.DecodeRules(body)
	if err != nil {
		return badRequest(err.Error())
	}
	if err := s.node.Faults().Set(rules); err != nil {
		return badRequest(err.Error())
	}
	s.log.Warn("fault rules are set", "rules", len(rules))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteFaults(w http.ResponseWriter, _ *http.Request) error {
	if err := s.node.Faults().Set(nil); err != nil {
		return fmt.Errorf("heal faults: %w", err)
	}
	s.log.Warn("fault rules are gone")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
