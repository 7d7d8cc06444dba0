package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// pair is two endpoints in memory, a and b, that know each other. b serves the three kinds with the handler given.
type pair struct {
	network          *Network
	a, b             *Endpoint
	aFaults, bFaults *fault.Matrix
}

func memoryConfig(name string, id ring.ID) Config {
	cfg := testConfig(name, id)
	cfg.Listen = name
	return cfg
}

func newPair(t *testing.T, h Handler, tweak func(*Config)) *pair {
	t.Helper()
	p := &pair{network: NewNetwork(), aFaults: new(fault.Matrix), bFaults: new(fault.Matrix)}
	open := func(name string, id ring.ID, faults *fault.Matrix) *Endpoint {
		cfg := memoryConfig(name, id)
		cfg.Faults = faults
		if tweak != nil {
			tweak(&cfg)
		}
		e, err := p.network.New(cfg)
		must(t, err)
		e.Handle(kindOther, ClassOther, h)
		e.Handle(kindWrite, ClassWrite, h)
		e.Handle(kindRead, ClassRead, h)
		must(t, e.Open())
		t.Cleanup(func() { must(t, e.Close()) })
		return e
	}
	p.a, p.b = open("a", idOf(1), p.aFaults), open("b", idOf(2), p.bFaults)
	for _, e := range []*Endpoint{p.a, p.b} {
		e.SetPeers(map[ring.ID]Peer{idOf(1): {"a", "a"}, idOf(2): {"b", "b"}})
	}
	return p
}

// call is a call from a to b with a second's time.
func (p *pair) call(kind Kind, body string) Response {
	return callIn(p.a, idOf(2), kind, body, time.Second)
}

func callIn(e *Endpoint, to ring.ID, kind Kind, body string, timeout time.Duration) Response {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return e.Call(ctx, to, kind, []byte(body))
}

func wantOK(t *testing.T, r Response, body string) {
	t.Helper()
	if r.Err != nil || r.Status != StatusOK || !r.Sent || string(r.Body) != body {
		t.Errorf("got %v, %q, %v, sent %v, want ok with %q", r.Status, r.Body, r.Err, r.Sent, body)
	}
}

func wantErr(t *testing.T, r Response, err error, sent bool) {
	t.Helper()
	if !errors.Is(r.Err, err) || r.Sent != sent {
		t.Errorf("got %v, %v, sent %v, want %v, sent %v", r.Status, r.Err, r.Sent, err, sent)
	}
}

// bubble is synctest.Test: whatever goroutine an endpoint leaves behind after Close fails the test.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestCallBothWays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, func(r Request) {
			left := time.Until(r.Deadline)
			r.Reply(StatusApp+3, fmt.Appendf(nil, "%v asked kind %d: %s, %v left", r.From.Short(), r.Kind, r.Body, left))
		}, nil)
		for from, e := range map[ring.ID]*Endpoint{idOf(1): p.a, idOf(2): p.b} {
			for to := range map[ring.ID]*Endpoint{idOf(1): p.a, idOf(2): p.b} { // itself too
				r := callIn(e, to, kindWrite, "hello", 3*time.Second)
				want := fmt.Sprintf("%v asked kind %d: hello, 3s left", from.Short(), kindWrite)
				if r.Err != nil || r.Status != StatusApp+3 || string(r.Body) != want {
					t.Errorf("%v to %v: got %v %q %v, want %q", from.Short(), to.Short(), r.Status, r.Body, r.Err, want)
				}
			}
		}
	})
}

// TestResponsesFindTheirCalls: many calls at once, answered in whatever order, of all sizes.
func TestResponsesFindTheirCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, func(r Request) {
			<-time.After(time.Duration(r.Body[0]%16) * time.Millisecond)
			r.Reply(StatusOK, r.Body)
		}, nil)
		var wg sync.WaitGroup
		for i := range 500 {
			size := 1 + i
			if i%50 == 0 {
				size += 3 * largeBody
			}
			wg.Go(func() {
				body := string(bytes.Repeat([]byte{byte(i)}, size))
				wantOK(t, p.call(kindRead, body), body)
			})
		}
		wg.Wait()
		synctest.Wait()
		if s := p.a.Stats(); s.Calls != 500 || s.Responses != 500 || s.Connected != 2 {
			t.Errorf("stats %+v", s)
		}
		if s := p.b.Stats(); s.Requests != 500 || s.Running != 0 || s.HeldBytes != 0 || s.Accepted != 2 {
			t.Errorf("stats of the server %+v", s)
		}
	})
}

// TestDoneNeverWithinGo: a caller may hold a lock that done takes, also when the call fails at once.
func TestDoneNeverWithinGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		var mu sync.Mutex
		done := make(chan Response, 3)
		mu.Lock()
		for _, to := range []ring.ID{idOf(2), idOf(9), {}} {
			p.a.Go(to, kindOther, nil, time.Time{}, func(r Response) {
				mu.Lock()
				defer mu.Unlock()
				done <- r
			})
		}
		mu.Unlock()
		ok := 0
		for range 3 {
			if r := <-done; r.Err == nil {
				ok++
			} else {
				wantErr(t, r, ErrUnreachable, false)
			}
		}
		if ok != 1 {
			t.Errorf("%d calls answered, want 1", ok)
		}
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newPair(t, func(r Request) {
			<-release
			r.Reply(StatusOK, nil)
		}, nil)
		wantErr(t, p.call(kindOther, ""), ErrTimeout, true)

		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		wantErr(t, p.a.Call(ctx, idOf(2), kindOther, nil), context.Canceled, true)

		done := make(chan Response)
		began := time.Now()
		p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { done <- r })
		wantErr(t, <-done, ErrTimeout, true)
		if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+2*sweepAtMost {
			t.Errorf("without a deadline a call took %v, want CallTimeout", took)
		}

		p.a.Go(idOf(2), kindOther, nil, time.Now(), func(r Response) { done <- r })
		wantErr(t, <-done, ErrTimeout, false)

		if h := p.a.Health(idOf(2)); h.Failures != 3 || !errors.Is(h.LastErr, ErrTimeout) || !h.Up { // the abandoned call expired as well
			t.Errorf("health %+v, want up with 3 failures", h)
		}
		close(release)
		wantOK(t, p.call(kindOther, ""), "")
		if h := p.a.Health(idOf(2)); h.Failures != 0 || h.LastErr != nil || !h.LastOK.Equal(time.Now()) {
			t.Errorf("health %+v, want no failures", h)
		}
	})
}

func TestUnknownKind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		r := p.call(99, "body")
		if r.Err != nil || r.Status != StatusUnknownKind || len(r.Body) != 0 {
			t.Errorf("got %+v", r)
		}
		wantOK(t, p.call(kindOther, "next"), "next")
	})
}

func TestReplyLaterAndOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		panicked := make(chan any, 1)
		p := newPair(t, func(r Request) {
			go func() {
				<-time.After(time.Millisecond)
				r.Reply(StatusOK, []byte("later"))
				defer func() { panicked <- recover() }()
				r.Reply(StatusOK, []byte("again"))
			}()
		}, nil)
		wantOK(t, p.call(kindOther, ""), "later")
		if v := <-panicked; v == nil {
			t.Error("a second reply did not panic")
		}
	})
}

func TestHandleTwicePanics(t *testing.T) {
	e, err := New(testConfig("a", idOf(1)))
	must(t, err)
	e.Handle(kindOther, ClassOther, echo)
	defer func() {
		if recover() == nil {
			t.Error("a second handler did not panic")
		}
	}()
	e.Handle(kindOther, ClassOther, echo)
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		running, release := make(chan struct{}), make(chan struct{})
		p := newPair(t, func(r Request) {
			close(running)
			<-release
			r.Reply(StatusOK, nil)
		}, nil)
		done := make(chan Response, 1)
		p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { done <- r })
		<-running
		must(t, p.a.Close())
		wantErr(t, <-done, ErrClosed, true)
		p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { done <- r })
		wantErr(t, <-done, ErrClosed, false)
		r, _ := p.a.CallAddr(context.Background(), "b", kindOther, nil)
		wantErr(t, r, ErrClosed, false)
		if err := p.a.Open(); !errors.Is(err, ErrClosed) {
			t.Errorf("open after close: %v", err)
		}

		closed := make(chan struct{})
		go func() { p.b.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for the handler")
		default:
		}
		close(release)
		<-closed
	})
}

func TestCloseFailsCallsThatWaitForADial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Drop: true}}))
		done := make(chan Response, 1)
		p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { done <- r })
		synctest.Wait()
		must(t, p.a.Close())
		wantErr(t, <-done, ErrClosed, false)
	})
}

func TestCallAddr(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		for addr, id := range map[string]ring.ID{"a": idOf(1), "b": idOf(2)} {
			r, from := p.a.CallAddr(context.Background(), addr, kindOther, []byte("who"))
			wantOK(t, r, "who")
			if from != id {
				t.Errorf("%s: answered by %v", addr, from)
			}
		}
		r, from := p.a.CallAddr(context.Background(), "nowhere", kindOther, nil)
		wantErr(t, r, ErrUnreachable, false)
		if !from.IsZero() {
			t.Errorf("nowhere: answered by %v", from)
		}
		synctest.Wait()
		if s := p.b.Stats(); s.Accepted != 0 {
			t.Errorf("%d connections stay", s.Accepted)
		}
	})
}
