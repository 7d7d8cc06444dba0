package coordinator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

type hook struct {
	n  *scenarioNode
	fn func(to *scenarioNode, kind transport.Kind, r transport.Response) transport.Response // may sleep
}

func (h *hook) Go(to ring.ID, kind transport.Kind, body []byte, d time.Time, done func(transport.Response)) {
	h.n.Go(to, kind, body, d, func(r transport.Response) {
		go func() { done(h.fn(h.n.world.byID(to), kind, r)) }()
	})
}

func hworld(t *testing.T, n int, f func(w *world, owners []*scenarioNode, rest []*scenarioNode)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, contexts: map[string]*version.Token{}}
		defer w.close()
		w.open(n, n)
		p := ring.PartitionOf(ring.Hash("b", "k"), 16)
		var owners, rest []*scenarioNode
		ids := w.layout.Owners(p, n)
		for i, id := range ids {
			if i < 3 || n == 5 {
				owners = append(owners, w.byID(id))
			} else {
				rest = append(rest, w.byID(id))
			}
		}
		f(w, owners, rest)
	})
}

func hput(n *scenarioNode, v string, nn int, wl quorum.Level, mode version.Mode, tok *version.Token) (PutResult, error) {
	time.Sleep(time.Millisecond)
	r, err := n.coord.Put(context.Background(), &PutRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", Value: []byte(v), Token: tok},
		quorum.Params{N: nn, W: wl, R: quorum.Quorum}, mode)
	synctest.Wait()
	return r, err
}

func hget(n *scenarioNode, nn int, rl quorum.Level, tok *version.Token) (string, error) {
	r, err := n.coord.Get(context.Background(), &GetRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", Token: tok, NoRepair: true},
		quorum.Params{N: nn, W: quorum.Quorum, R: rl})
	synctest.Wait()
	if err != nil {
		return "", err
	}
	s := ""
	for v := range r.Record.Live() {
		s += string(v.Value) + ";"
	}
	return s, nil
}

// late replies of an earlier round are credited to the next round's tally.
func TestLateRepliesCountForTheirRoundOnly(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		if _, err := hput(o[0], "old", 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[0].net = "down"
		if _, err := hput(o[1], "new", 3, 2, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[0].net = ""
		reader := rest[0]
		start := time.Now()
		reader.coord.send = &hook{reader, func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
			if to == o[0] {
				if time.Since(start) < 5*time.Millisecond { // round 1: its view has moved for a moment
					return transport.Response{Status: statusLayout, Sent: true}
				}
				time.Sleep(time.Until(start.Add(50 * time.Millisecond)))
				return r
			}
			if time.Since(start) < 5*time.Millisecond {
				time.Sleep(35 * time.Millisecond) // round 1: late
			} else {
				time.Sleep(200 * time.Millisecond)
			}
			return r
		}}
		got, err := hget(reader, 3, 2, nil)
		t.Logf("after %v: %q %v", time.Since(start), got, err)
		if got != "new;" {
			t.Errorf("r=2 w=2 n=3: read %q after \"new\" was acknowledged with w=2", got)
		}
	})
}

// replicas that agree about live dots, and differ in what they have seen.
func TestSessionAsksWhatReplicasHaveSeen(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		o[0].net = "down"
		d, err := hput(o[1], "d", 3, 2, version.LWW, nil)
		if err != nil {
			t.Fatal(err)
		}
		o[0].net = ""
		if _, err := hput(o[0], "e", 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		for i := range o {
			got, err := hget(o[i], 3, 2, &d.Token)
			t.Logf("read through owner %d with the context of d: %q %v", i, got, err)
			if got != "e;" {
				t.Errorf("owner %d", i)
			}
		}
		got, err := hget(o[0], 3, 3, &d.Token)
		t.Logf("r=all: %q %v", got, err)
	})
}

// transport.StatusOverloaded and StatusTooLarge may come after the handler ran.
func TestForwardWithoutAnAnswerIsIndeterminate(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		n := rest[0]
		n.coord.send = &hook{n, func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
			if k == KindForward { // the handler has run and its response met a full outbox: transport/requests.go addResponse
				return transport.Response{Status: transport.StatusLost, Sent: true}
			}
			return r
		}}
		_, err := hput(n, "v", 3, 2, version.Siblings, nil)
		t.Log("PUT:", describe(err))
		got, gerr := hget(o[0], 3, 3, nil)
		t.Logf("GET: %q %v", got, gerr)
		if got != "" && !err.(*Error).Indeterminate {
			t.Errorf("answered not_written, and a read shows %q", got)
		}
	})
}

// An owner that is cut off, and that nobody knows to be down yet, is not handed a write: what it would make of it, and when, nobody knows.
func TestForwardPassesASilentOwnerBy(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		for _, lately := range []time.Duration{0, time.Second} {
			o[0].net = ""
			if _, err := hput(rest[0], "before", 3, 3, version.LWW, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lately)
			o[0].net = "silent"
			if lately == 0 {
				// It has answered a moment ago: a write can be handed to it just as it goes, and then its outcome is unknown.
				if _, err := hput(rest[0], "handed", 3, 2, version.LWW, nil); !err.(*Error).Indeterminate {
					t.Error(describe(err))
				}
			}
			start := time.Now()
			if _, err := hput(rest[0], "after", 3, 2, version.LWW, nil); err != nil {
				t.Error(describe(err))
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("%v for a write that two healthy owners can take", took)
			}
		}
		o[1].net, o[2].net = "silent", "silent"
		time.Sleep(time.Second)
		_, err := hput(rest[0], "nowhere", 3, 2, version.LWW, nil)
		if e, ok := err.(*Error); !ok || e.Code != QuorumUnavailable || e.Indeterminate || len(e.Replicas) != 3 {
			t.Error("all owners are silent, so none was handed the write:", describe(err))
		}
	})
}

// An owner that is shutting down takes on no write of a client: its answer could be lost with its connections.
func TestForwardPassesADrainingOwnerBy(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		o[0].coord.Drain()
		r, err := hput(rest[0], "v", 3, 3, version.LWW, nil)
		if err != nil || r.Coordinator != o[1].name {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// An owner that has just got its network back may not reach the others yet, and says so before it writes anything: another one is asked.
func TestForwardPassesALonelyOwnerBy(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		n, lonely := rest[0], 1
		n.coord.send = &hook{n, func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
			for _, owner := range o[:lonely] {
				if k == KindForward && to == owner {
					e := &Error{Code: QuorumUnavailable, Detail: "1 of 3 owners are up", N: 3, Needed: 2, Got: 1, Coordinator: to.name}
					return transport.Response{Status: statusFailed, Body: encodeError(e), Sent: true}
				}
			}
			return r
		}}
		r, err := hput(n, "v", 3, 2, version.LWW, nil)
		if err != nil || r.Coordinator != o[1].name {
			t.Errorf("%+v, %v", r, err)
		}
		lonely = 3
		if _, err = hput(n, "v", 3, 2, version.LWW, nil); err == nil || err.(*Error).Code != QuorumUnavailable || err.(*Error).Needed != 2 {
			t.Errorf("all owners are lonely: %v", err)
		}
	})
}

// a frozen replica that answers first makes the round void each time.
func TestFrozenReplicaDoesNotHoldUpReads(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		if _, err := hput(o[0], "v", 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[2].frozen = true
		o[0].coord.send = &hook{o[0], func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
			if to == o[1] {
				time.Sleep(5 * time.Millisecond)
			}
			return r
		}}
		got, err := hget(o[0], 3, 2, nil)
		t.Logf("%q %v", got, err)
		if got != "v;" {
			t.Error("two healthy owners of three, r=2")
		}
		_, err = hput(o[0], "v2", 3, 2, version.LWW, nil)
		t.Logf("the same PUT w=2: %v", err)
	})
}

// a write that has to be made again fails with the wrong reason, for ever, and leaves a sibling each time.
func TestWriteMadeAgainMeetsSiblings(t *testing.T) {
	hworld(t, 5, func(w *world, o, _ []*scenarioNode) {
		if _, err := hput(o[0], "s1", 3, 3, version.Siblings, nil); err != nil {
			t.Fatal(err)
		}
		res, _ := o[1].coord.Get(context.Background(), &GetRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", NoRepair: true}, quorum.Params{N: 3, W: 2, R: 2})
		synctest.Wait()
		tok := version.ReadToken(res.Record)
		o[0].net = "down"
		if _, err := hput(o[1], "n5", 5, 3, version.Siblings, &tok); err != nil {
			t.Fatal(err)
		}
		o[0].net = ""
		for range 3 {
			_, err := hput(o[0], "s", 3, 2, version.Siblings, nil)
			t.Log(describe(err), err)
			if e, ok := err.(*Error); ok && e.Code != Siblings {
				t.Errorf("want 409 siblings, got %v", err)
			}
		}
		got, err := hget(o[1], 5, 3, nil)
		t.Logf("GET: %q %v", got, err)
	})
}

type slowStore struct {
	Store
	d time.Duration
}

func (s slowStore) Get(k store.Key) (version.Record, error) { time.Sleep(s.d); return s.Store.Get(k) }
func (s slowStore) Peek(store.Key) (version.Record, bool)   { return version.Record{}, false }

// this node's own stalled disk holds a read past its time-out although r others have answered.
func TestStalledOwnDiskDoesNotHoldUpReads(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		if _, err := hput(o[0], "v", 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[0].coord.store = slowStore{o[0].store, 30 * time.Second}
		start := time.Now()
		got, err := hget(o[0], 3, 2, nil)
		t.Logf("after %v: %q %v", time.Since(start), got, err)
		if time.Since(start) > 2*time.Second {
			t.Error("time-out 1s")
		}
	})
}

// "restamped" is set after a round that was decided before w owners were heard.
func TestWriteIsMadeAgainUntilAQuorumHasSpoken(t *testing.T) {
	hworld(t, 5, func(w *world, o, _ []*scenarioNode) {
		o[4].offset, o[1].offset = 400*time.Millisecond, 200*time.Millisecond
		o[0].net, o[1].net = "down", "down"
		if _, err := hput(o[4], "A, acknowledged before", 5, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[0].net, o[1].net = "", ""
		for _, i := range []int{0, 2, 3, 4} {
			o[i].net = "down"
		}
		_, _ = hput(o[1], "stray", 5, 1, version.LWW, nil)
		for _, n := range o {
			n.net = ""
		}
		start := time.Now()
		round1 := func() bool { return time.Since(start) < 4*time.Millisecond }
		o[0].coord.send = &hook{o[0], func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
			switch {
			case round1() && to == o[2]:
				time.Sleep(2 * time.Millisecond)
				return transport.Response{Status: statusLayout, Sent: true}
			case round1() && (to == o[3] || to == o[4]):
				time.Sleep(2 * time.Second)
				return transport.Response{Err: transport.ErrTimeout, Sent: true}
			}
			return r
		}}
		_, err := hput(o[0], "B, begun after", 5, 3, version.LWW, nil)
		t.Log("PUT B:", err)
		o[0].coord.send = o[0]
		got, gerr := hget(o[1], 5, 5, nil)
		t.Logf("GET r=all: %q %v", got, gerr)
		if err == nil && got != "B, begun after;" {
			t.Error("B was acknowledged with w=3 of 5 after A had been, and is nowhere")
		}
	})
}
