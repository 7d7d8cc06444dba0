package http

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring/layouts"
)

// leave and remove answer 202 as soon as what was asked for is on the node's disk: how far it is stands in GET /cluster.

func (s *Server) leave(w http.ResponseWriter, r *http.Request) error {
	if err := eachParam(r.URL.RawQuery, refuseParam); err != nil {
		return err
	}
	if ready, why := s.node.Ready(); !ready {
		return codeProblem(coordinator.NotReady, why)
	}
	if err := s.node.Leave(r.Context()); err != nil {
		return ringFailure(err, s.node.Name())
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	force := false
	err := eachParam(r.URL.RawQuery, func(param, value string) (err error) {
		if param != "force" {
			return unknownParam(param)
		}
		force, err = parseBool(param, value)
		return err
	})
	if err != nil {
		return err
	}
	name, err := url.PathUnescape(chi.URLParam(r, "name"))
	if err != nil {
		return badRequest("the name of the member: " + err.Error())
	}
	if ready, why := s.node.Ready(); !ready {
		return codeProblem(coordinator.NotReady, why)
	}
	if err := s.node.Remove(r.Context(), name, force); err != nil {
		if name == s.node.Name() && errors.Is(err, node.ErrMemberAlive) {
			return ownProblem(nameMemberAlive, quote(name)+" is this node: ask it to leave (POST /cluster/leave)")
		}
		return ringFailure(err, name)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// ringFailure translates what refuses a change that concerns the member of that name.
func ringFailure(err error, name string) error {
	switch {
	case errors.Is(err, node.ErrLastMember):
		return ownProblem(nameLastMember, quote(name)+" is the only owner: nobody could take its data")
	case errors.Is(err, node.ErrJoining):
		return ownProblem(nameJoining, quote(name)+" is joining and owns nothing that it could hand over: stop it, and have another node remove it")
	case errors.Is(err, node.ErrUnknownMember):
		return ownProblem(nameUnknownMember, "no member is named "+quote(name))
	case errors.Is(err, node.ErrMemberAlive):
		return ownProblem(nameMemberAlive, quote(name)+" answers: ask it to leave (POST /cluster/leave there); force=true takes it out nevertheless, with what only it holds")
	case errors.Is(err, layouts.ErrNotMember):
		return ownProblem(nameJoining, "only a member changes the ring, and this node is none: ask another")
	case errors.Is(err, layouts.ErrBusy), errors.Is(err, layouts.ErrDivided):
		return ownProblem(nameRingBusy, "other changes of the ring must end first; GET /cluster says what they wait for")
	}
	return err
}
