package http

import (
	"net/http"
	"strconv"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/version"
)

// smallBody is the size up to which a body needs no deadlines of its own: it travels in a packet or two, and net/http's time-out of the whole
// request bounds it. Deadlines cost a system timer each.
const smallBody = 2 << 10

// serveRead answers GET and HEAD of a key. net/http drops the body of an answer to HEAD.
func (s *Server) serveRead(w http.ResponseWriter, r *http.Request) error {
	q, err := parseKeyRequest(r, true)
	if err != nil {
		return err
	}
	res, err := s.node.Get(r.Context(), coordinator.GetRequest{Options: q.Options, Bucket: q.bucket, Key: q.name, Token: q.token,
		Local: q.local, NoRepair: q.noRepair, Detail: q.detail})
	if err != nil {
		return s.failure(w, &q, err, false)
	}
	h := newHeaderWriter(w)
	h.read(&res, q.detail)
	only, live, size := liveOf(res.Record)
	if live == 0 {
		h.token(version.ReadToken(res.Record), q.key)
		return notFound(&h, res.Record)
	}
	tag := version.ETag(res.Record)
	if !q.matches(tag) {
		return ownProblem(namePreconditionFailed, "If-Match does not name the present value")
	}
	if !s.bodies.take(size) {
		return errBodies()
	}
	defer s.bodies.release(size)
	h.token(version.ReadToken(res.Record), q.key)
	h.etag(tag)
	switch {
	case q.unmodified(tag):
		w.WriteHeader(http.StatusNotModified)
		return nil
	case live > 1:
		return writeSiblings(w, r, res.Record)
	}
	writeValue(w, &h, only)
	return nil
}

// liveOf returns the live version that is the value if there is only one, how many there are, and the bytes that an answer with them holds.
func liveOf(rec version.Record) (only *version.Version, live, size int) {
	for i := range rec.Versions {
		if v := &rec.Versions[i]; !v.Deleted {
			only = v
			live++
			size += len(v.Value)
		}
	}
	if live > 1 {
		size += size / 3 * 4 // beside the values their base64
	}
	return only, live, size
}

// notFound is the answer for a key without a live value. Preconditions do not matter then: they are for answers that would succeed.
func notFound(h *headerWriter, rec version.Record) error {
	if rec.IsDeleted() {
		h.set(headerDeleted, "true")
		return ownProblem(nameNotFound, "the key was deleted")
	}
	return ownProblem(nameNotFound, "the key has no value")
}

func writeValue(w http.ResponseWriter, h *headerWriter, v *version.Version) {
	h.set("Content-Type", contentTypeOf(v))
	h.set("X-Content-Type-Options", "nosniff")
	h.set("Last-Modified", lastModified(v.Stamp))
	if len(v.Value) >= smallBody { // below, net/http finds it out for nothing
		h.set("Content-Length", strconv.Itoa(len(v.Value)))
	}
	writeBody(w, v.Value)
}

// contentTypeOf is the type that the value was stored with. A value stored without one must not be guessed at.
func contentTypeOf(v *version.Version) string {
	if v.ContentType == "" {
		return defaultContentType
	}
	return v.ContentType
}

const (
	days   = "SunMonTueWedThuFriSat"
	months = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// lastModified is http.TimeFormat, written by hand: time.AppendFormat takes a microsecond for it, a thirtieth of a request.
func lastModified(stamp version.Stamp) string {
	t := stamp.Wall()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	weekday := t.Weekday()
	b := make([]byte, 0, len(http.TimeFormat))
	b = append(append(b, days[3*weekday:3*weekday+3]...), ", "...)
	b = append(appendTwo(b, day), ' ')
	b = append(append(b, months[3*month-3:3*month]...), ' ')
	b = append(appendTwo(appendTwo(b, year/100), year%100), ' ')
	b = append(appendTwo(b, hour), ':')
	b = append(appendTwo(b, minute), ':')
	return string(append(appendTwo(b, second), " GMT"...))
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// writeBody sends a body to a client that may be slow: a large one in steps, each with its own deadline. Errors mean that the client is gone,
// which net/http finds out as well.
func writeBody(w http.ResponseWriter, body []byte) {
	if len(body) > bodyStep {
		control := http.NewResponseController(w)
		for len(body) > 0 {
			step := body[:min(bodyStep, len(body))]
			_ = control.SetWriteDeadline(time.Now().Add(stepTime)) // not supported by test recorders only
			if _, err := w.Write(step); err != nil {
				return
			}
			body = body[len(step):]
		}
		return
	}
	_, _ = w.Write(body)
}
