package http

import (
	"net/http"

	"github.com/quorate/quorate/coordinator"
)

func (s *Server) getCluster(w http.ResponseWriter, r *http.Request) error {
	if err := eachParam(r.URL.RawQuery, refuseParam); err != nil {
		return err
	}
	return writeJSON(w, s.node.Cluster())
}

func (s *Server) getRing(w http.ResponseWriter, r *http.Request) error {
	var bucket, name string
	n := 0
	err := eachParam(r.URL.RawQuery, func(param, value string) (err error) {
		switch param {
		case "bucket":
			bucket = value
		case "key":
			name = value
		case "n":
			n, err = parseN(value)
		default:
			err = unknownParam(param)
		}
		return err
	})
	if err != nil {
		return err
	}
	k, err := checkKey(bucket, name)
	if err != nil {
		return err
	}
	view, err := s.node.Ring(k.bucket, k.name, n)
	if err != nil {
		return codeProblem(coordinator.NotReady, err.Error())
	}
	return writeJSON(w, view)
}
