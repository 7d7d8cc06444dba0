package coordinator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// greeter is a Sender behind which the owners of one key answer hellos, or are stopped and answer when they go on.
type greeter struct {
	stopped map[ring.ID]bool
	late    map[ring.ID][]func(transport.Response)
	hellos  map[ring.ID]int
}

const roundTrip = time.Millisecond

func (g *greeter) Go(to ring.ID, kind transport.Kind, _ []byte, _ time.Time, done func(transport.Response)) {
	g.hellos[to]++
	if g.stopped[to] {
		g.late[to] = append(g.late[to], done)
		return
	}
	time.AfterFunc(roundTrip, func() { done(transport.Response{Status: transport.StatusOK}) })
}

func (g *greeter) resume(id ring.ID) {
	delete(g.stopped, id)
	for _, done := range g.late[id] {
		done(transport.Response{Status: transport.StatusOK})
	}
	delete(g.late, id)
}

// TestSilentOwner stops the owner that is preferred: one forward waits until it is known to be silent, those after it do
// not; and it gets its turn again once it answers.
func TestSilentOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := ring.ID{1}, ring.ID{2}
		g := &greeter{stopped: map[ring.ID]bool{first: true}, late: map[ring.ID][]func(transport.Response){}, hellos: map[ring.ID]int{}}
		c := &Coordinator{send: g}
		pick := func(slots ...ring.ID) (ring.ID, time.Duration) {
			f, began := &fanout{}, time.Now()
			var ask []int
			for i, id := range slots {
				f.slots = append(f.slots, slot{id: id})
				ask = append(ask, i)
			}
			at := c.there(context.Background(), f, ask, began.Add(time.Minute))
			if at < 0 {
				return ring.ID{}, time.Since(began)
			}
			return slots[at], time.Since(began)
		}
		if id, took := pick(first, second); id != second || took != helloPatience+roundTrip {
			t.Fatalf("picked %v after %v, want the second after the patience for one", id, took)
		}
		for range 10 {
			time.Sleep(2 * freshFor) // virtual: each has to say hello anew
			if id, took := pick(first, second); id != second || took != roundTrip {
				t.Fatalf("picked %v after %v, want the second after one round trip", id, took)
			}
		}
		if g.hellos[first] != 1 {
			t.Errorf("the silent one was asked %d times, want once until it answers", g.hellos[first])
		}
		time.Sleep(2 * freshFor)
		if id, _ := pick(first); id != (ring.ID{}) {
			t.Fatal("the silent one was picked")
		}
		g.resume(first)
		time.Sleep(2 * freshFor)
		if id, took := pick(first, second); id != first || took != roundTrip {
			t.Fatalf("picked %v after %v, want the first again", id, took)
		}
	})
}

// TestLostHello breaks the connection to a silent owner: it is asked again, and nobody waits for it.
func TestLostHello(t *testing.T) {
	var h heard
	id := ring.ID{1}
	now := time.Now()
	h.ask(id, now)
	if h.quiet(id, now.Add(helloPatience-1)) || !h.quiet(id, now.Add(helloPatience)) {
		t.Fatal("quiet is who has not answered for helloPatience")
	}
	h.note(id, &transport.Response{Err: transport.ErrLost}, now.Add(time.Second))
	if !h.quiet(id, now.Add(time.Second)) || !h.idle(id) {
		t.Fatal("after a failure it stays quiet, and may be asked again")
	}
	h.note(id, &transport.Response{}, now.Add(time.Second))
	if h.quiet(id, now.Add(time.Second)) || !h.lately(id, now.Add(time.Second)) {
		t.Fatal("an answer ends it")
	}
}
