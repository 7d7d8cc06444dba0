package http

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/quorate/quorate/node"
)

const (
	keyPrefix = "/kv/"
	maxKey    = 1024 // bytes
)

// key is one key of one bucket, both valid.
type key struct {
	bucket, name string
}

// isKeyPath reports whether a request is of a key (and not of a bucket's list, or of something else).
func isKeyPath(r *http.Request) bool {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	rest, ok := strings.CutPrefix(path, keyPrefix)
	return ok && strings.IndexByte(rest, '/') >= 0
}

// parseKey reads the key of a request for which isKeyPath holds.
func parseKey(u *url.URL) (key, error) {
	// With an empty RawPath the path was its own plain encoding, so net/url has decoded it once already and its slashes are in place. Otherwise
	// RawPath is what the client sent. (EscapedPath is not, for a path with bytes that should have been encoded: it loses which slashes were.)
	rest, decoded := u.Path, u.RawPath == ""
	if !decoded {
		rest = u.RawPath
	}
	bucket, name, _ := strings.Cut(strings.TrimPrefix(rest, keyPrefix), "/")
	if !decoded {
		var err error
		if bucket, err = url.PathUnescape(bucket); err != nil {
			return key{}, badRequest("bucket name: " + err.Error())
		}
		if name, err = url.PathUnescape(name); err != nil {
			return key{}, badRequest("key: " + err.Error())
		}
	}
	return checkKey(bucket, name)
}

// checkKey applies the rules of bucket names and keys to decoded ones.
func checkKey(bucket, name string) (key, error) {
	if err := checkBucket(bucket); err != nil {
		return key{}, err
	}
	switch {
	case name == "":
		return key{}, badRequest("the key is empty; a key has 1 to 1,024 bytes")
	case len(name) > maxKey:
		return key{}, ownProblem(nameKeyTooLong, "the key has more than 1,024 bytes")
	}
	return key{bucket: bucket, name: name}, nil
}

func checkBucket(name string) error {
	if !node.ValidBucket(name) {
		return badRequest("bucket name: want 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot or dash")
	}
	return nil
}
