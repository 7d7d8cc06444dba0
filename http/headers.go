package http

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/version"
)

// Our headers, in the form in which net/http keys them.
const (
	headerContext     = "Quorate-Context"
	headerQuorum      = "Quorate-Quorum"
	headerCoordinator = "Quorate-Coordinator"
	headerReplicas    = "Quorate-Replicas"
	headerDeleted     = "Quorate-Deleted"
)

const defaultContentType = "application/octet-stream"

// headerWriter sets headers whose names are in canonical form already, with one allocation for all their values.
type headerWriter struct {
	header http.Header
	values []string
}

func newHeaderWriter(w http.ResponseWriter) headerWriter {
	return headerWriter{header: w.Header(), values: make([]string, 0, 8)}
}

func (h *headerWriter) set(name, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.header[name] = h.values[n-1 : n : n]
}

// etag keeps the spelling of the standard, which scripts look for; net/http would write Etag.
func (h *headerWriter) etag(tag string) { h.set("ETag", tag) }

// read sets what every read that reached replicas says.
func (h *headerWriter) read(res *coordinator.GetResult, detail bool) {
	h.set(headerQuorum, quorumHeader(res.N, "r", res.R, "replies", res.Replies, res.Fallbacks))
	h.reached(res.Coordinator, res.Replicas, detail)
}

// written sets what every write that reached replicas says.
func (h *headerWriter) written(res *coordinator.PutResult, detail bool) {
	h.set(headerQuorum, quorumHeader(res.N, "w", res.W, "acks", res.Acks, res.Fallbacks))
	h.reached(res.Coordinator, res.Replicas, detail)
}

// failed sets what is known of a request that the coordinator failed. One that sent nothing has no quorum to speak of.
func (h *headerWriter) failed(e *coordinator.Error, write, detail bool) {
	if e.N > 0 && e.Needed > 0 && (e.Code != coordinator.QuorumUnavailable || slices.ContainsFunc(e.Replicas, answered)) {
		level, answers := "r", "replies"
		if write {
			level, answers = "w", "acks"
		}
		h.set(headerQuorum, quorumHeader(e.N, level, e.Needed, answers, e.Got, e.Fallbacks))
	}
	h.reached(e.Coordinator, e.Replicas, detail)
}

// answered reports whether a replica was asked, and did not fail: a read that found fallbacks empty is quorum-unavailable all the same.
func answered(r coordinator.Replica) bool { return r.Outcome == coordinator.OutcomeOK }

func (h *headerWriter) reached(by string, replicas []coordinator.Replica, detail bool) {
	if by != "" {
		h.set(headerCoordinator, by)
	}
	if detail && len(replicas) > 0 {
		h.set(headerReplicas, replicasHeader(replicas))
	}
}

func (h *headerWriter) token(t version.Token, k key) {
	h.set(headerContext, t.Encode(k.bucket, k.name))
}

// quorumHeader is "n=3, w=2, acks=2", with the fallbacks if any stood in.
func quorumHeader(n int, level string, needed int, answers string, got, fallbacks int) string {
	var room [64]byte
	b := append(room[:0], "n="...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(append(append(b, ", "...), level...), '=')
	b = strconv.AppendInt(b, int64(needed), 10)
	b = append(append(append(b, ", "...), answers...), '=')
	b = strconv.AppendInt(b, int64(got), 10)
	if fallbacks > 0 {
		b = strconv.AppendInt(append(b, ", fallbacks="...), int64(fallbacks), 10)
	}
	return string(b)
}

// replicasHeader is a structured field (RFC 9651): a list of the replicas' names, with parameters.
func replicasHeader(replicas []coordinator.Replica) string {
	b := make([]byte, 0, 48*len(replicas))
	for i, r := range replicas {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendBare(b, r.Name)
		b = append(append(b, ";outcome="...), r.Outcome...)
		b = append(b, ";ms="...)
		b = strconv.AppendFloat(b, millis(r.Elapsed), 'f', -1, 64)
		if r.Elapsed.Microseconds()%1000 == 0 {
			b = append(b, ".0"...) // a decimal, not an integer: one type for all
		}
		if r.Behind > 0 {
			b = strconv.AppendInt(append(b, ";behind="...), int64(r.Behind), 10)
		}
		if r.StandsFor != "" {
			b = appendBare(append(b, ";for="...), r.StandsFor)
		}
	}
	return string(b)
}

// appendBare writes a name as a token if it is one, otherwise as a string.
func appendBare(b []byte, name string) []byte {
	if isToken(name) {
		return append(b, name...)
	}
	b = append(b, '"')
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = append(b, '?') // a string has printable ASCII only
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		switch {
		case letter || c == '*':
		case i == 0:
			return false
		case c >= '0' && c <= '9':
		case c == ':' || c == '/' || c == '!' || c == '#' || c == '$' || c == '%' || c == '&' || c == '\'' || c == '+' || c == '-' ||
			c == '.' || c == '^' || c == '_' || c == '`' || c == '|' || c == '~':
		default:
			return false
		}
	}
	return s != ""
}

// oneHeader returns the only value of a header, "" if it is not there.
func oneHeader(h http.Header, name string) (string, error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", badRequest("header " + name + " is given twice")
}

// contextOf decodes the context that a request carries, nil if none.
func contextOf(h http.Header, k key) (*version.Token, error) {
	text, err := oneHeader(h, headerContext)
	if err != nil || text == "" {
		return nil, err
	}
	token, err := version.DecodeToken(text, k.bucket, k.name)
	if err != nil {
		return nil, badRequest("header " + headerContext + ": " + err.Error())
	}
	return &token, nil
}
