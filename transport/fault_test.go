package transport

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/fault"
)

// trip is one of the four places where a call meets a matrix.
type trip struct {
	atServer bool
	dir      fault.Direction
	response bool
}

var trips = []trip{
	{false, fault.Out, false},
	{true, fault.In, false},
	{true, fault.Out, true},
	{false, fault.In, true},
}

// TestFaultMatrix: every rule (side × direction × kind) against calls of every class. What must happen is said here in the words of the contract:
// write and ack, read and response are the trips of those two classes, "any" meets everything, "gossip" nothing here.
func TestFaultMatrix(t *testing.T) {
	trip2kind := map[Kind][2]fault.Kind{kindOther: {fault.Any, fault.Any}, kindWrite: {fault.Write, fault.Ack}, kindRead: {fault.Read, fault.Response}}
	for _, atServer := range []bool{false, true} {
		for _, dir := range []fault.Direction{fault.Both, fault.In, fault.Out} {
			for _, kind := range []fault.Kind{fault.Any, fault.Gossip, fault.Write, fault.Ack, fault.Read, fault.Response} {
				t.Run(fmt.Sprintf("server=%v,%v,%v", atServer, dir, kind), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						handled := make(chan Kind, 1)
						p := newPair(t, func(r Request) {
							handled <- r.Kind
							r.Reply(StatusOK, nil)
						}, nil)
						wantOK(t, p.call(kindOther, ""), "") // connects
						<-handled
						matrix, peer := p.aFaults, "b"
						if atServer {
							matrix, peer = p.bFaults, "a"
						}
						must(t, matrix.Set([]fault.Rule{{Peer: peer, Direction: dir, Kind: kind, Drop: true}}))
						for _, call := range []Kind{kindOther, kindWrite, kindRead} {
							arrives, answered := true, true
							for _, trip := range trips {
								meant := trip2kind[call][0]
								if trip.response {
									meant = trip2kind[call][1]
								}
								if trip.atServer == atServer && (dir == fault.Both || dir == trip.dir) && (kind == fault.Any || kind == meant) {
									answered = false
									arrives = arrives && trip.response
								}
							}
							checkCall(t, p, call, handled, arrives, answered)
						}
						must(t, matrix.Set(nil))
						checkCall(t, p, kindWrite, handled, true, true)
					})
				})
			}
		}
	}
}

func checkCall(t *testing.T, p *pair, kind Kind, handled chan Kind, arrives, answered bool) {
	t.Helper()
	if r := p.call(kind, ""); answered {
		wantOK(t, r, "")
	} else {
		wantErr(t, r, ErrTimeout, true) // as on a wire, the caller cannot know that it never arrived
	}
	select {
	case <-handled:
		if !arrives {
			t.Errorf("kind %d arrived", kind)
		}
	default:
		if arrives {
			t.Errorf("kind %d did not arrive", kind)
		}
	}
}

// TestFaultsNameThePeer: a rule for one peer leaves the others alone.
func TestFaultsNameThePeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "c", Drop: true}}))
		must(t, p.bFaults.Set([]fault.Rule{{Peer: "b", Drop: true}}))
		wantOK(t, p.call(kindWrite, "x"), "x")
		must(t, p.bFaults.Set([]fault.Rule{{Peer: fault.Everyone, Drop: true}}))
		wantErr(t, p.call(kindWrite, "x"), ErrTimeout, true)
	})
}

// TestDelay: every trip can be delayed, on both sides, and the delays add up; what is not concerned overtakes.
func TestDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, nil)
		wantOK(t, p.call(kindOther, ""), "")
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Write, Delay: 100 * time.Millisecond}, {Peer: "b", Kind: fault.Ack, Delay: 10 * time.Millisecond}}))
		must(t, p.bFaults.Set([]fault.Rule{{Peer: "a", Kind: fault.Write, Delay: 200 * time.Millisecond}, {Peer: "a", Kind: fault.Ack, Delay: 20 * time.Millisecond}}))
		began := time.Now()
		done := make(chan Response, 1)
		p.a.Go(idOf(2), kindWrite, []byte("slow"), time.Time{}, func(r Response) { done <- r })
		wantOK(t, p.call(kindRead, "fast"), "fast")
		if took := time.Since(began); took != 0 {
			t.Errorf("the read took %v", took)
		}
		wantOK(t, <-done, "slow")
		if took := time.Since(began); took != 330*time.Millisecond {
			t.Errorf("the write took %v, want the sum of the delays", took)
		}
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Ack, Delay: 2 * time.Second}}))
		wantErr(t, p.call(kindWrite, "late"), ErrTimeout, true)
		if s := p.a.Stats(); s.FaultDelays != 3 {
			t.Errorf("%d delays counted, want 3", s.FaultDelays)
		}
	})
}

// TestDelayedDeadline: the time that a request was held is gone from what its handler has left.
func TestDelayedDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left := make(chan time.Duration, 1)
		p := newPair(t, func(r Request) {
			left <- time.Until(r.Deadline)
			r.Reply(StatusOK, nil)
		}, nil)
		wantOK(t, p.call(kindWrite, ""), "")
		<-left
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Write, Delay: 100 * time.Millisecond}}))
		must(t, p.bFaults.Set([]fault.Rule{{Peer: "a", Kind: fault.Write, Delay: 200 * time.Millisecond}}))
		wantOK(t, p.call(kindWrite, ""), "")
		if got := <-left; got != 700*time.Millisecond {
			t.Errorf("the handler had %v left, want 700ms of 1s", got)
		}
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Write, Delay: 1500 * time.Millisecond}}))
		wantErr(t, p.call(kindWrite, ""), ErrTimeout, true)
		<-time.After(3 * time.Second)
		if len(left) != 0 {
			t.Error("a request was sent after its deadline")
		}
	})
}

// TestHeldMessagesAreBounded: what the matrix holds back counts as queued.
func TestHeldMessagesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, echo, func(c *Config) { c.MaxQueued, c.Conns = 100, 1 })
		wantOK(t, p.call(kindOther, ""), "")
		synctest.Wait() // until its own frame no longer counts
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Write, Delay: 100 * time.Millisecond}}))
		done := make(chan Response, 3)
		for range 3 {
			p.a.Go(idOf(2), kindWrite, make([]byte, 30), time.Time{}, func(r Response) { done <- r })
		}
		wantErr(t, <-done, ErrOverloaded, false)
		for range 2 {
			if r := <-done; r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

func TestLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		draws := []float64{0.1, 0.9, 0.1, 0.1, 0.9}
		var next atomic.Uint32
		p := newPair(t, echo, func(c *Config) {
			c.Rand = func() float64 { return draws[(int(next.Add(1))-1)%len(draws)] }
		})
		wantOK(t, p.call(kindOther, ""), "")
		synctest.Wait()
		next.Store(0)
		must(t, p.aFaults.Set([]fault.Rule{{Peer: "b", Kind: fault.Write, Loss: 0.5}}))
		var lost []bool
		for range draws {
			lost = append(lost, p.call(kindWrite, "").Err != nil)
		}
		if want := []bool{true, false, true, true, false}; !slices.Equal(lost, want) {
			t.Errorf("lost %v, want %v", lost, want)
		}
	})
}

// TestCutAndHeal: a peer that is cut off by rules looks like one behind a cut wire: first time-outs, then, within seconds, unreachable at once; and
// it comes back by itself. Each side alone can cut, in each direction alone: a connection needs both.
func TestCutAndHeal(t *testing.T) {
	for _, atServer := range []bool{false, true} {
		for _, dir := range []fault.Direction{fault.Both, fault.In, fault.Out} {
			t.Run(fmt.Sprintf("server=%v,%v", atServer, dir), func(t *testing.T) {
				bubble(t, func(t *testing.T) { cutAndHeal(t, atServer, dir) })
			})
		}
	}
}

func cutAndHeal(t *testing.T, atServer bool, dir fault.Direction) {
	p := newPair(t, echo, nil)
	wantOK(t, p.call(kindOther, ""), "")
	matrix, peer := p.aFaults, "b"
	if atServer {
		matrix, peer = p.bFaults, "a"
	}
	must(t, matrix.Set([]fault.Rule{{Peer: peer, Direction: dir, Drop: true}}))
	pending := make(chan Response, 1)
	p.a.Go(idOf(2), kindOther, nil, time.Now().Add(time.Minute), func(r Response) { pending <- r })
	wantErr(t, p.call(kindOther, ""), ErrTimeout, true)
	wantErr(t, <-pending, ErrLost, true) // by the silence, long before its deadline
	<-time.After(5 * time.Second)        // a dial has failed
	began := time.Now()
	wantErr(t, p.call(kindOther, ""), ErrUnreachable, false)
	if time.Since(began) != 0 {
		t.Errorf("a call to a peer known to be cut off took %v", time.Since(began))
	}
	if h := p.a.Health(idOf(2)); h.Up || h.Failures < 3 || !errors.Is(h.LastErr, ErrUnreachable) {
		t.Errorf("health %+v", h)
	}
	<-time.After(time.Minute)
	must(t, matrix.Set(nil))
	<-time.After(5 * time.Second)
	wantOK(t, p.call(kindOther, "healed"), "healed")
	if h := p.a.Health(idOf(2)); !h.Up || h.Failures != 0 {
		t.Errorf("health after healing %+v", h)
	}
}
