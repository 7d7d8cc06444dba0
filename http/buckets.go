package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/node"
)

// BucketProperties is the answer to a request of one bucket.
type BucketProperties struct {
	node.Properties
	Configured *bool `json:"configured,omitempty"` // false, or not there
}

type bucketList struct {
	Buckets []node.NamedBucket `json:"buckets"`
}

func (s *Server) listBuckets(w http.ResponseWriter, r *http.Request) error {
	if err := eachParam(r.URL.RawQuery, refuseParam); err != nil {
		return err
	}
	buckets := s.node.Buckets()
	if buckets == nil {
		buckets = []node.NamedBucket{}
	}
	return writeJSON(w, bucketList{buckets})
}

func (s *Server) getBucket(w http.ResponseWriter, r *http.Request) error {
	name, err := bucketOf(r)
	if err != nil {
		return err
	}
	properties, configured := s.node.Bucket(name)
	answer := BucketProperties{Properties: properties}
	if !configured {
		answer.Configured = &configured
	}
	return writeJSON(w, answer)
}

func (s *Server) putBucket(w http.ResponseWriter, r *http.Request) error {
	name, err := bucketOf(r)
	if err != nil {
		return err
	}
	body, err := readDocument(w, r)
	if err != nil {
		return err
	}
	properties, err := parseProperties(body, s.node.Defaults())
	if err != nil {
		return err
	}
	if ready, why := s.node.Ready(); !ready {
		return codeProblem(coordinator.NotReady, why)
	}
	result, err := s.node.SetBucket(r.Context(), name, properties)
	if err != nil {
		return bucketFailure(err)
	}
	return writeJSON(w, BucketProperties{Properties: result})
}

func (s *Server) deleteBucket(w http.ResponseWriter, r *http.Request) error {
	name, err := bucketOf(r)
	if err != nil {
		return err
	}
	if ready, why := s.node.Ready(); !ready {
		return codeProblem(coordinator.NotReady, why)
	}
	if err := s.node.DeleteBucket(r.Context(), name); err != nil {
		return bucketFailure(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func bucketFailure(err error) error {
	var e *coordinator.Error
	switch {
	case errors.Is(err, node.ErrBadProperty):
		return badRequest(err.Error())
	case errors.Is(err, node.ErrTooManyBuckets):
		return ownProblem(nameTooManyBuckets, err.Error())
	case errors.As(err, &e):
		return problemOf(e, false)
	}
	return fmt.Errorf("change bucket: %w", err)
}

// parseProperties reads a JSON object; what it leaves out is as in base.
func parseProperties(body []byte, base node.Properties) (node.Properties, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil || given == nil {
		return base, badRequest(`bucket properties: want a JSON object such as {"n":3,"conflict":"siblings"}`)
	}
	for name := range given {
		switch name {
		case "n", "w", "r", "sloppy", "conflict":
		default:
			return base, badRequest("unknown bucket property " + quote(name))
		}
	}
	if err := json.Unmarshal(body, &base); err != nil {
		return base, badRequest("bucket properties: " + err.Error())
	}
	return base, nil
}

// bucketOf is the bucket in the path of a request below /buckets/. Such a request has no parameters.
func bucketOf(r *http.Request) (string, error) {
	if err := eachParam(r.URL.RawQuery, refuseParam); err != nil {
		return "", err
	}
	path, decoded := r.URL.RawPath, false
	if path == "" {
		path, decoded = r.URL.Path, true
	}
	name := strings.TrimPrefix(path, "/buckets/")
	if !decoded {
		var err error
		if name, err = url.PathUnescape(name); err != nil {
			return "", badRequest("bucket name: " + err.Error())
		}
	}
	return name, checkBucket(name)
}
