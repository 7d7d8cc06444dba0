package transport

import (
	"bufio"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/fault"
)

// overloadRoom is what an outbox grants beyond its limit to refusals, so that a caller learns that there was no room for its response.
const overloadRoom = 64 << 10

// load is what the handlers of this node are busy with.
type load struct {
	running atomic.Int64 // requests received and not replied to
	held    atomic.Int64 // bytes of their bodies
}

// enter makes room for a request, or reports that there is none.
func (l *load) enter(size int, cfg *Config) bool {
	running, held := l.running.Add(1), l.held.Add(int64(size))
	if running > int64(cfg.MaxRunning) || held > int64(cfg.MaxHeld) {
		l.leave(size)
		return false
	}
	return true
}

func (l *load) leave(size int) {
	l.running.Add(-1)
	l.held.Add(-int64(size))
}

// job is one request that has been received and not replied to.
type job struct {
	conn    *conn
	call    uint64
	class   Class
	size    int
	handler Handler
	request Request
	replied atomic.Bool
	parts   atomic.Int32 // of handler and reply, those that are not over; with the last the job leaves the load
}

// readRequest reads the body of a request and sees to it that it is handled. It never waits for a handler.
func (c *conn) readRequest(r *bufio.Reader, h head) error {
	e := c.e
	e.count.requests.Add(1)
	kind := e.kinds[h.code]
	trip, _ := kind.class.trips()
	verdict := e.decide(c.remote.name, fault.In, trip)
	switch {
	case verdict.Drop:
		return lose(r, h.body)
	case kind.handler == nil:
		e.count.unknownRequests.Add(1)
		c.respond(kind.class, h.call, StatusUnknownKind, nil)
		return c.skip(r, h.body)
	case !e.load.enter(h.body, &e.cfg):
		e.count.requestsRefused.Add(1)
		c.respond(kind.class, h.call, StatusOverloaded, nil)
		return c.skip(r, h.body)
	}
	body := make([]byte, h.body)
	if err := c.readBody(r, body); err != nil {
		e.load.leave(h.body)
		return err
	}
	j := &job{conn: c, call: h.call, class: kind.class, size: h.body, handler: kind.handler}
	j.parts.Store(2)
	j.request = Request{From: c.remote.self, Kind: Kind(h.code), Body: body, to: j,
		Deadline: c.dues.read(h.due, c.read)}
	if verdict.Repeat {
		e.repeat(j)
	}
	if verdict.Delay == 0 {
		e.run(j)
		return nil
	}
	time.AfterFunc(verdict.Delay, func() {
		if !e.crew.spawn(j.handle) {
			e.load.leave(j.size)
		}
	})
	return nil
}

// maxRepeat is how much later than the first a request arrives that a fault rule repeats.
const maxRepeat = time.Second

// repeat handles the request of a job once more, some time later, and throws the answer away.
func (e *Endpoint) repeat(j *job) {
	if !e.load.enter(j.size, &e.cfg) {
		return
	}
	again := &job{conn: j.conn, call: j.call, class: j.class, size: j.size, handler: j.handler, request: j.request}
	again.parts.Store(2)
	again.request.Body = append([]byte(nil), j.request.Body...)
	again.request.to = replyFunc(func(Status, []byte) { again.finish() })
	time.AfterFunc(time.Duration(e.cfg.Rand()*float64(maxRepeat)), func() {
		if !e.crew.spawn(again.handle) {
			e.load.leave(again.size)
		}
	})
}

func (j *job) handle() {
	j.handler(j.request)
	j.finish()
}

func (j *job) finish() {
	if j.parts.Add(-1) == 0 {
		j.conn.e.load.leave(j.size)
	}
}

func (j *job) reply(status Status, body []byte) {
	if j.replied.Swap(true) {
		panic(fmt.Sprintf("transport: second reply, status %v and %d bytes, to call %d of kind %d from %v", status, len(body), j.call, j.request.Kind, j.request.From))
	}
	j.conn.respond(j.class, j.call, status, body)
	j.finish()
}

// respond queues a response; a refusal takes its place if it is too large or there is no room.
func (c *conn) respond(class Class, call uint64, status Status, body []byte) {
	if len(body) > c.largest {
		status, body = StatusTooLarge, nil
	}
	_, trip := class.trips()
	verdict := c.e.decide(c.remote.name, fault.Out, trip)
	switch {
	case verdict.Drop:
	case verdict.Delay == 0:
		c.addResponse(call, status, body)
	default:
		size := headSize + len(body)
		if c.out.hold(size, 0) != nil {
			return // rules that hold back more than a queue may have lose it
		}
		late := append([]byte(nil), body...)
		time.AfterFunc(verdict.Delay, func() {
			c.out.free(size)
			c.addResponse(call, status, late)
		})
	}
}

func (c *conn) addResponse(call uint64, status Status, body []byte) {
	err := c.out.add(head{typ: frameResponse, code: uint8(status), call: call, body: len(body)}, body, nil, 0)
	if err != errFull {
		return // queued, or the connection is closing and its caller knows
	}
	c.e.count.requestsRefused.Add(1)
	err = c.out.add(head{typ: frameResponse, code: uint8(StatusLost), call: call}, nil, nil, overloadRoom)
	if err == errFull {
		c.shut(fmt.Errorf("%w: it does not take its responses", errSilent))
	}
}
