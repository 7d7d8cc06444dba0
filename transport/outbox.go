package transport

import (
	"errors"
	"io"
	"runtime"
	"sync"
)

const (
	largeBody  = 64 << 10  // bodies from here on travel apart, so that small frames wait for one of them at most
	slice      = 256 << 10 // of a large frame at once; each slice that the network takes or brings shows that the peer is alive
	keepBuffer = 1 << 20   // a buffer that a burst has grown beyond this is not kept
	fewBytes   = 4 << 10   // after a batch below this, others get a turn on the processor before the next is taken
)

var (
	errBroken = errors.New("connection closing") // not yet ErrLost: the caller tries another connection
	errFull   = errors.New("outgoing queue full")
)

// outbox gathers frames for one connection. Callers append under a lock; one goroutine (run) takes what has gathered and writes it. It holds at
// most limit bytes; at the bound add fails, unless the outbox is empty (so that no frame is too large for ever).
type outbox struct {
	limit int
	wake  chan struct{} // holds one token when run sleeps and there is something to do

	mu     sync.Mutex
	small  []byte    // frames, back to back
	large  []segment // first in, first out
	queued int       // bytes in small, large, reserved by hold, and in the batch that is being written
	batch  uint64    // number of the batch that is gathering, from 1
	asleep bool
	closed bool
}

// segment is a frame with a large body.
type segment struct {
	frame []byte
	mark  *mark
}

// mark remembers whether a frame went. It is guarded by the outbox's lock.
type mark struct {
	batch uint64 // of a small frame: the batch with which it goes
	gone  bool   // of a large one: taken from the queue
}

func newOutbox(limit int) *outbox {
	return &outbox{limit: limit, wake: make(chan struct{}, 1), batch: 1}
}

// add queues a frame, copying body. m may be nil. extra is room beyond the limit that this frame may use.
func (o *outbox) add(h head, body []byte, m *mark, extra int) error {
	var first [headSize]byte
	h.put(&first)
	size := headSize + len(body)
	if len(body) >= largeBody {
		return o.addLarge(first, body, m, extra)
	}
	o.mu.Lock()
	if err := o.reserve(size, extra); err != nil {
		o.mu.Unlock()
		return err
	}
	o.small = append(append(o.small, first[:]...), body...)
	if m != nil {
		m.batch = o.batch
	}
	o.rouse()
	return nil
}

// addLarge copies outside of the lock.
func (o *outbox) addLarge(first [headSize]byte, body []byte, m *mark, extra int) error {
	if err := o.hold(headSize+len(body), extra); err != nil {
		return err
	}
	frame := make([]byte, headSize+len(body))
	copy(frame, first[:])
	copy(frame[headSize:], body)
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return errBroken
	}
	o.large = append(o.large, segment{frame, m})
	o.rouse()
	return nil
}

// hold reserves room for a frame that is added later; free gives it back.
func (o *outbox) hold(size, extra int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reserve(size, extra)
}

func (o *outbox) free(size int) {
	o.mu.Lock()
	o.queued -= size
	o.mu.Unlock()
}

func (o *outbox) reserve(size, extra int) error {
	if o.closed {
		return errBroken
	}
	if o.queued > 0 && o.queued+size > o.limit+extra {
		return errFull
	}
	o.queued += size
	return nil
}

// rouse unlocks, and wakes run if it sleeps.
func (o *outbox) rouse() {
	asleep := o.asleep
	o.asleep = false
	o.mu.Unlock()
	if asleep {
		o.wake <- struct{}{}
	}
}

// took reports whether the frame with this mark was given to the network, at least in part. Ask after close: until then the answer can change.
func (o *outbox) took(m *mark) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return m.gone || m.batch != 0 && m.batch < o.batch
}

// pretend marks a frame as gone that the fault matrix holds or has dropped: to its caller it is on the wire.
func (o *outbox) pretend(m *mark) {
	o.mu.Lock()
	m.gone = true
	o.mu.Unlock()
}

// close makes add fail and run return.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.rouse()
}

// backlog is the number of bytes that wait, and whether anything can be added.
func (o *outbox) backlog() (queued int, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued, o.closed
}

// run writes until close, or until w fails. progress is called with the bytes of each write, and whether they were a slice of a large frame.
func (o *outbox) run(w io.Writer, progress func(n int, large bool)) error {
	spare := make([]byte, 0, fewBytes)
	for {
		small, large, ok := o.take(spare)
		if !ok {
			return nil
		}
		if len(small) > 0 {
			if _, err := w.Write(small); err != nil {
				return err
			}
			progress(len(small), false)
		}
		for rest := large; len(rest) > 0; {
			n := min(len(rest), slice)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			progress(n, true)
			rest = rest[n:]
		}
		o.free(len(small) + len(large))
		if spare = small; cap(spare) > keepBuffer {
			spare = make([]byte, 0, fewBytes)
		}
		if len(small)+len(large) < fewBytes {
			runtime.Gosched()
		}
	}
}

// take waits for something to write: all small frames and at most one large. spare becomes the buffer that gathers next.
func (o *outbox) take(spare []byte) (small, large []byte, ok bool) {
	o.mu.Lock()
	for !o.closed && len(o.small) == 0 && len(o.large) == 0 {
		o.asleep = true
		o.mu.Unlock()
		<-o.wake
		// The caller that woke us is rarely alone: those already runnable add their frames first, and all leave in one system call.
		runtime.Gosched()
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.closed {
		return nil, nil, false
	}
	small, o.small = o.small, spare[:0]
	if len(o.large) > 0 {
		first := o.large[0]
		o.large[0] = segment{}
		o.large = o.large[1:]
		large = first.frame
		if first.mark != nil {
			first.mark.gone = true
		}
	}
	o.batch++
	return small, large, true
}
