package http

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/coordinator"
)

// The pace that a large body must keep, in either direction: bodyStep bytes in stepTime, 13 kB/s. A value of 8 MiB is then sure to end within
// 11 minutes, and a phone on a bad line is still served.
const (
	bodyStep = 128 << 10
	stepTime = 10 * time.Second
)

// budget counts the bytes of the bodies that are in memory, and refuses more than its limit.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) release(n int) { b.used.Add(-int64(n)) }

func errBodies() error {
	return codeProblem(coordinator.Overloaded, "the values of other requests fill the memory that is meant for them")
}

// readBody reads the value of a PUT, completely or not at all. held is what it took from the budget, also when it failed.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (value []byte, held int, err error) {
	most := s.node.MaxValue()
	if r.ContentLength > int64(most) {
		return nil, 0, tooLarge(most)
	}
	if r.ContentLength == 0 {
		return nil, 0, nil
	}
	if r.ContentLength < 0 {
		return s.readChunked(w, r, most)
	}
	size := int(r.ContentLength)
	if !s.bodies.take(size) {
		return nil, 0, errBodies()
	}
	value = make([]byte, size)
	if size <= smallBody {
		_, err = io.ReadFull(r.Body, value)
	} else {
		err = readPaced(w, r, value)
	}
	return value, size, bodyError(err)
}

// readPaced fills value, each step of it in its time.
func readPaced(w http.ResponseWriter, r *http.Request, value []byte) error {
	pace := newPace(w)
	defer pace.end()
	for len(value) > 0 {
		step := value[:min(bodyStep, len(value))]
		pace.next()
		if _, err := io.ReadFull(r.Body, step); err != nil {
			return err
		}
		value = value[len(step):]
	}
	return nil
}

// mostDiscarded is how much of a body is read on after its request was refused.
const mostDiscarded = 64 << 20

// discardBody reads what is left of the body of a refused write, at the pace of any body. A client that sends without
// listening would otherwise lose the answer to a connection reset. Of a body that was read, or failed, nothing is left;
// and a client that asked whether to send is not to.
func discardBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.Header["Expect"] != nil {
		return
	}
	pace := newPace(w)
	defer pace.end()
	for left := mostDiscarded; left > 0; left -= bodyStep {
		pace.next()
		if n, err := io.CopyN(io.Discard, r.Body, bodyStep); n < bodyStep || err != nil {
			return
		}
	}
}

// readChunked reads a body of unknown length. The last doubling of a large one may stand over the budget by half, for the moment of the copy.
func (s *Server) readChunked(w http.ResponseWriter, r *http.Request, most int) (value []byte, held int, err error) {
	pace := newPace(w)
	defer pace.end()
	left := 0 // of the step that must arrive in time
	for {
		if len(value) == cap(value) {
			more := min(max(cap(value), 4<<10), most+1-len(value))
			if !s.bodies.take(more) {
				return nil, held, errBodies()
			}
			held += more
			value = slices.Grow(value, more)[: len(value) : len(value)+more]
		}
		if left <= 0 {
			pace.next()
			left = bodyStep
		}
		n, err := r.Body.Read(value[len(value):min(cap(value), len(value)+left)])
		value, left = value[:len(value)+n], left-n
		switch {
		case len(value) > most:
			return nil, held, tooLarge(most)
		case err == io.EOF:
			return slices.Clone(value), held, nil
		case err != nil:
			return nil, held, bodyError(err)
		}
	}
}

func tooLarge(most int) error {
	return codeProblem(coordinator.TooLarge, "a value has at most "+strconv.Itoa(most)+" bytes")
}

// bodyError tells why a body did not arrive; nil if it did.
func bodyError(err error) error {
	if err == nil {
		return nil
	}
	var timeout net.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return badRequest("the body ended before the length that was announced")
	case errors.As(err, &timeout) && timeout.Timeout():
		p := ownProblem(nameRequestTimeout, "the body came too slowly; of a large one each 128 KiB must arrive within 10 s")
		p.hangUp = true
		return p
	}
	return badRequest("the body cannot be read: " + err.Error())
}

// pace renews the read deadline of a connection while a body arrives.
type pace struct{ control *http.ResponseController }

func newPace(w http.ResponseWriter) pace { return pace{http.NewResponseController(w)} }

// Errors mean that the writer is a test's recorder, which has no connection to be slow.
func (p pace) next() { _ = p.control.SetReadDeadline(time.Now().Add(stepTime)) }

// end leaves net/http's own time-out in force: it watches the connection while the handler works, and takes a deadline that passes for a
// client that has gone.
func (p pace) end() { _ = p.control.SetReadDeadline(time.Now().Add(wholeTime)) }
