package transport

import (
	"bufio"
	"fmt"
	"time"

	"github.com/quorate/quorate/fault"
)

// send puts a call on this connection. On success, and only then, the call is completed by the connection: by its response, its deadline, or the
// connection's end. errBroken means that the call can go to another connection.
func (c *conn) send(call *call, body []byte) error {
	if len(body) > c.largest {
		return fmt.Errorf("%w: %d bytes, at most %d to %s", ErrTooLarge, len(body), c.largest, c.remote.name)
	}
	now := call.begun
	if call.waited {
		now = time.Now()
	}
	number, err := c.calls.add(call, now)
	if err != nil {
		return c.refusal(err)
	}
	h := head{typ: frameRequest, code: uint8(call.kind), call: number, due: c.dues.put(call.deadline), body: len(body)}
	trip, _ := c.e.kinds[call.kind].class.trips()
	verdict := c.e.decide(c.remote.name, fault.Out, trip)
	switch {
	case verdict.Drop:
		c.out.pretend(&call.mark)
		return nil
	case verdict.Delay > 0:
		err = c.sendLate(call, h, body, verdict.Delay)
	default:
		err = c.out.add(h, body, &call.mark, 0)
	}
	if err != nil && c.calls.take(number) != nil {
		return c.refusal(err)
	}
	return nil
}

// refusal words what a table or an outbox said; errBroken stays as it is.
func (c *conn) refusal(err error) error {
	if err == errFull {
		return fmt.Errorf("%w: to %s", ErrOverloaded, c.remote.name)
	}
	return err
}

// sendLate holds a request back without holding back those behind it.
func (c *conn) sendLate(call *call, h head, body []byte, delay time.Duration) error {
	size := headSize + len(body)
	if err := c.out.hold(size, 0); err != nil {
		return err
	}
	c.out.pretend(&call.mark)
	late, deadline := append([]byte(nil), body...), call.deadline
	time.AfterFunc(delay, func() {
		c.out.free(size)
		if now := time.Now(); now.Before(deadline) {
			h.due = c.dues.put(deadline)
			// Without room, or with the connection closing, it is as lost as on a wire; its call has a deadline.
			_ = c.out.add(h, late, nil, 0)
		}
	})
	return nil
}

// readResponse reads the body of a response and completes its call, if that still waits. The call stays in the table until the whole body is here:
// it may take its time, and meanwhile the deadline holds.
func (c *conn) readResponse(r *bufio.Reader, h head) error {
	call := c.calls.get(h.call)
	if call == nil {
		return c.skip(r, h.body)
	}
	_, trip := c.e.kinds[call.kind].class.trips()
	verdict := c.e.decide(c.remote.name, fault.In, trip)
	if verdict.Drop {
		return lose(r, h.body)
	}
	response := Response{Status: Status(h.code), Body: make([]byte, h.body), Sent: true}
	if err := c.readBody(r, response.Body); err != nil {
		return err
	}
	if verdict.Delay > 0 {
		c.deliverLate(h.call, response, verdict.Delay)
		return nil
	}
	response.At = c.read
	c.deliver(h.call, response)
	return nil
}

func (c *conn) deliverLate(number uint64, r Response, delay time.Duration) {
	time.AfterFunc(delay, func() { c.deliver(number, r) })
}

func (c *conn) deliver(number uint64, r Response) {
	if call := c.calls.take(number); call != nil {
		c.e.complete(call, r)
	}
}
