package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// crowded are hand-offs for which there may be no room.
type crowded struct {
	HandOffs
	full bool
}

func (c *crowded) StandUpdate(k store.Key, n uint8, targets []ring.ID, fn store.UpdateFunc) (store.Result, error) {
	if c.full {
		return store.Result{}, store.ErrHandOffSpace
	}
	return c.HandOffs.StandUpdate(k, n, targets, fn)
}

func (c *crowded) StandApply(k store.Key, incoming version.Record, target ring.ID) (store.Result, error) {
	if c.full {
		return store.Result{}, store.ErrHandOffSpace
	}
	return c.HandOffs.StandApply(k, incoming, target)
}

// owed is what a node holds for another.
func (n *scenarioNode) owed(to *scenarioNode) []store.HandOff {
	page, end, err := n.store.HandOffPage(ring.PartitionOf(ring.Hash("b", "k"), 16), to.id, store.Key{}, 1<<20)
	if err != nil || !end {
		n.world.t.Fatal(end, err)
	}
	return page
}

// handOffs lists what a node holds, and for whom.
func (n *scenarioNode) handOffs() string {
	forWhom := map[string][]string{}
	for _, to := range n.world.nodes {
		for _, h := range n.owed(to) {
			var values []string
			for v := range h.Record.Live() {
				values = append(values, string(v.Value))
			}
			sort.Strings(values)
			what := strings.Join(values, " | ")
			forWhom[what] = append(forWhom[what], to.name)
		}
	}
	var out strings.Builder
	for what, names := range forWhom { // there is one key
		slices.Sort(names)
		fmt.Fprintf(&out, "%s for %s\n", what, strings.Join(names, " "))
	}
	return out.String()
}

// deliver hands everything over to those it is for and who are there, and forgets what they have.
func (n *scenarioNode) deliver() string {
	var to []string
	for _, peer := range n.world.nodes {
		page := n.owed(peer)
		if peer.net != "" || len(page) == 0 {
			continue
		}
		for _, h := range page {
			res, err := peer.store.Mend(h.Key, h.Record)
			if err == nil {
				err = res.Commit.Wait()
			}
			if err != nil {
				n.world.t.Fatal(err)
			}
		}
		if _, err := n.store.Delivered(peer.id, peer.store.Actor(), page); err != nil {
			n.world.t.Fatal(err)
		}
		to = append(to, peer.name)
	}
	return "to " + strings.Join(to, " ") + "\n"
}

func TestPatienceForSilentNodes(t *testing.T) {
	for _, c := range []struct{ slow, left, want time.Duration }{
		{0, 5 * time.Second, firstPatience},
		{time.Millisecond, 5 * time.Second, minPatience},
		{120 * time.Millisecond, 5 * time.Second, 120 * time.Millisecond},
		{time.Minute, 5 * time.Second, maxPatience},
		{time.Minute, 2 * time.Second, 500 * time.Millisecond},
		{0, 400 * time.Millisecond, 100 * time.Millisecond},
		{0, -time.Second, -250 * time.Millisecond},
	} {
		if got := patience(c.slow, c.left); got != c.want {
			t.Errorf("slow %v, left %v: %v, want %v", c.slow, c.left, got, c.want)
		}
	}
}

var everything = quorum.Params{N: 3, W: quorum.All, R: quorum.All}

func (n *scenarioNode) stores(v string, p quorum.Params, timeout time.Duration) (PutResult, error) {
	time.Sleep(time.Millisecond)
	return n.coord.Put(context.Background(), &PutRequest{Options: Options{Timeout: timeout}, Bucket: "b", Key: "k", Value: []byte(v), Detail: true}, p, version.LWW)
}

func (n *scenarioNode) loads(p quorum.Params, timeout time.Duration) (GetResult, error) {
	return n.coord.Get(context.Background(), &GetRequest{Options: Options{Timeout: timeout}, Bucket: "b", Key: "k", NoRepair: true, Detail: true}, p)
}

// Owners that are stopped cost a sloppy request their patience, and one patience more for a stand-in that is stopped too; a time-out they do not cost.
func TestSilentOwnersCostAMoment(t *testing.T) {
	sloppy := everything
	sloppy.Sloppy = true
	hworld(t, 6, func(w *world, _, _ []*scenarioNode) {
		o := []*scenarioNode{w.byID(w.order0(0)), w.byID(w.order0(1)), w.byID(w.order0(2))}
		rest := []*scenarioNode{w.byID(w.order0(3)), w.byID(w.order0(4)), w.byID(w.order0(5))}
		for _, c := range []struct {
			silent []*scenarioNode
			want   time.Duration
		}{
			{o[2:], firstPatience},
			{o[1:], firstPatience},
			{append([]*scenarioNode{rest[0]}, o[2:]...), 2 * firstPatience},
		} {
			for _, n := range c.silent {
				n.net = "silent"
			}
			start := time.Now()
			put, err := o[0].stores("v", sloppy, 5*time.Second)
			if took := time.Since(start); err != nil || took > c.want+10*time.Millisecond {
				t.Errorf("%d silent: a put took %v, %v", len(c.silent), took, err)
			}
			start = time.Now()
			get, err := o[0].loads(sloppy, 5*time.Second)
			if took := time.Since(start); err != nil || took > c.want+10*time.Millisecond || get.Fallbacks != put.Fallbacks {
				t.Errorf("%d silent: a get took %v, %+v, %v", len(c.silent), took, get, err)
			}
			time.Sleep(10 * time.Second) // what is on its way arrives
			synctest.Wait()
			for _, n := range c.silent {
				n.net = ""
			}
		}
		// A write that comes in at a fallback, and no owner says hello.
		for _, n := range o {
			n.net = "silent"
		}
		time.Sleep(time.Second)
		start := time.Now()
		res, err := rest[1].stores("v", sloppy, 5*time.Second)
		if took := time.Since(start); err != nil || res.Fallbacks != 3 || took > maxPatience+firstPatience+10*time.Millisecond {
			t.Errorf("all owners silent: a put took %v, %+v, %v", took, res, err)
		}
	})
}

// order0 is a node of the order of the key of these tests.
func (w *world) order0(i int) ring.ID {
	return w.layout.Order(ring.PartitionOf(ring.Hash("b", "k"), 16))[i]
}

// Strict requests send a fallback nothing, whatever fails, but for the sake of a context that nobody else satisfies.
func TestStrictRequestsKeepToOwners(t *testing.T) {
	hworld(t, 6, func(w *world, _, _ []*scenarioNode) {
		var mu sync.Mutex
		asked := map[transport.Kind]int{}
		for _, n := range w.nodes {
			n.coord.send = &hook{n, func(to *scenarioNode, k transport.Kind, r transport.Response) transport.Response {
				mu.Lock()
				asked[k]++
				mu.Unlock()
				return r
			}}
		}
		owner := func(i int) *scenarioNode { return w.byID(w.order0(i)) }
		for _, net := range []string{"down", "silent", "ack-lost"} {
			for gone := 1; gone <= 3; gone++ {
				for i := range gone {
					owner(i).net = net
				}
				for _, n := range []*scenarioNode{owner(2), owner(3)} {
					if res, err := n.stores("v", everything, time.Second); err == nil {
						t.Errorf("%d owners %s: %+v", gone, net, res)
					}
					_, _ = n.loads(everything, time.Second)
				}
				synctest.Wait()
			}
			for i := range 3 {
				owner(i).net = ""
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if asked[KindStand]+asked[KindStandRead] > 0 || asked[KindWrite] == 0 || asked[KindRead] == 0 {
			t.Errorf("asked %v", asked)
		}
	})
}

// An owner keeps nothing for others, nobody keeps anything for one who is none, and what does not decode is refused.
func TestStandRefuses(t *testing.T) {
	hworld(t, 5, func(w *world, _, _ []*scenarioNode) {
		rec := sampleRecord()
		ask := func(n *scenarioNode, kind transport.Kind, body []byte) transport.Status {
			answer := make(chan transport.Status, 1)
			n.serve(transport.NewRequest(n.id, kind, body, time.Now().Add(time.Second), func(s transport.Status, _ []byte) { answer <- s }))
			return <-answer
		}
		message := func(owner ring.ID) []byte { return appendStand(nil, w.nodes[0].View().Digest, "b", "k", owner, rec) }
		fallback := w.byID(w.order0(3))
		if s := ask(fallback, KindStand, message(w.order0(1))); s != transport.StatusOK {
			t.Errorf("a stand-in: %v", s)
		}
		if s := ask(w.byID(w.order0(2)), KindStand, message(w.order0(1))); s != statusBad {
			t.Errorf("an owner is to stand in: %v", s)
		}
		for _, nobody := range []ring.ID{w.order0(4), w.order0(3), {}} {
			if s := ask(fallback, KindStand, message(nobody)); s != statusBad {
				t.Errorf("for %v: %v", nobody.Short(), s)
			}
		}
		whole := message(w.order0(1))
		for cut := range whole {
			if s := ask(fallback, KindStand, whole[:cut]); s != statusBad {
				t.Errorf("cut to %d: %v", cut, s)
			}
		}
		if s := ask(fallback, KindStandRead, []byte{1}); s != statusBad {
			t.Errorf("a read that does not decode: %v", s)
		}
		fallback.frozen = true
		if s := ask(fallback, KindStand, whole); s != statusFrozen {
			t.Errorf("while frozen: %v", s)
		}
	})
}

// A token that names what this node, as a fallback, has still to write is refused: the write would look superseded.
func TestTokenOfTheFutureOfAFallback(t *testing.T) {
	sloppy := everything
	sloppy.Sloppy, sloppy.W = true, quorum.One
	hworld(t, 5, func(w *world, _, _ []*scenarioNode) {
		for i := range 3 {
			w.byID(w.order0(i)).knownDown, w.byID(w.order0(i)).net = true, "down"
		}
		n := w.byID(w.order0(3))
		first, err := n.stores("v", sloppy, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		forged := first.Token
		forged.Vector = forged.Vector.Clone()
		d := forged.Seen[0]
		d.Counter++
		forged.Vector.Add(d)
		for _, c := range []struct {
			token version.Token
			want  Code
		}{{forged, BadRequest}, {first.Token, 0}} {
			_, err := n.coord.Put(context.Background(), &PutRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", Value: []byte("w"), Token: &c.token}, sloppy, version.LWW)
			if code := codeOf(err); code != c.want {
				t.Errorf("%v: %v", c.token.Vector, err)
			}
		}
	})
}

func codeOf(err error) Code {
	if e, ok := err.(*Error); ok {
		return e.Code
	}
	return 0
}

var _ HandOffs = (*store.Store)(nil)
