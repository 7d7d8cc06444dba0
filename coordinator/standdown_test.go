package coordinator

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// asks counts the messages of a kind that a node sends to others.
func (n *scenarioNode) asks(kind transport.Kind) *atomic.Int64 {
	count := new(atomic.Int64)
	n.coord.send = &hook{n, func(_ *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
		if k == kind {
			count.Add(1)
		}
		return r
	}}
	return count
}

// A read that goes on with a larger n leaves a round behind: what owners answer to that, or do not, asks no fallback any more.
func TestRoundLeftBehindAsksNobody(t *testing.T) {
	sloppy := quorum.Params{N: 3, W: quorum.All, R: quorum.One, Sloppy: true}
	hworld(t, 6, func(w *world, _, _ []*scenarioNode) {
		first, second := w.byID(w.order0(0)), w.byID(w.order0(1))
		larger := everything
		larger.N = 5
		if _, err := first.stores("v", larger, time.Second); err != nil {
			t.Fatal(err)
		}
		asked := first.asks(KindStandRead)
		second.net = "silent"
		start := time.Now()
		if res, err := first.loads(sloppy, 2*time.Second); err != nil || res.N != 5 || res.Fallbacks > 0 || time.Since(start) > minPatience {
			t.Errorf("%+v, %v", res, err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := asked.Load(); n > 0 {
			t.Errorf("after the answer %d fallbacks were asked", n)
		}
	})
}

// held lets nothing out before it is closed.
type held struct {
	*scenarioNode
	out chan struct{}
}

func (h held) Go(to ring.ID, kind transport.Kind, body []byte, d time.Time, done func(transport.Response)) {
	<-h.out
	h.scenarioNode.Go(to, kind, body, d, done)
}

// A write that is answered for its coordinator's own copy, before anything has left the node, goes out to all the same: owners, and fallbacks for those that are known to be down.
func TestAnsweredWriteGoesToFallbacks(t *testing.T) {
	sloppy := everything
	sloppy.Sloppy, sloppy.W = true, quorum.One
	hworld(t, 6, func(w *world, _, _ []*scenarioNode) {
		first, second, third, fallback := w.byID(w.order0(0)), w.byID(w.order0(1)), w.byID(w.order0(2)), w.byID(w.order0(3))
		third.knownDown, third.net = true, "down"
		h := held{first, make(chan struct{})}
		first.coord.send = h
		if _, err := first.stores("v", sloppy, time.Second); err != nil {
			t.Fatal(err)
		}
		close(h.out)
		time.Sleep(time.Second)
		if _, there := second.store.Peek(keyOf(second.View(), "b", "k")); !there || len(fallback.owed(third)) != 1 {
			t.Errorf("at the second owner: %v; at the fallback for the third: %v", there, fallback.owed(third))
		}
	})
}

// A context that nobody there has seen: fallbacks that are silent cost a read their whole patience once, however often it tries.
func TestSilentFallbacksCostAContextAMoment(t *testing.T) {
	hworld(t, 6, func(w *world, _, _ []*scenarioNode) {
		sloppy := everything
		sloppy.Sloppy, sloppy.W = true, quorum.One
		for i := range 3 {
			w.byID(w.order0(i)).knownDown, w.byID(w.order0(i)).net = true, "down"
		}
		for i := 4; i < 6; i++ {
			w.byID(w.order0(i)).net = "silent"
		}
		put, err := w.byID(w.order0(3)).stores("v", sloppy, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range 3 {
			w.byID(w.order0(i)).knownDown, w.byID(w.order0(i)).net = false, ""
		}
		w.byID(w.order0(3)).net = "silent"
		start := time.Now()
		_, err = w.byID(w.order0(0)).coord.Get(context.Background(), &GetRequest{Options: Options{Timeout: 5 * time.Second}, Bucket: "b", Key: "k", Token: &put.Token}, everything)
		if took := time.Since(start); codeOf(err) != SessionUnsatisfied || took > firstPatience+4*minPatience+150*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
