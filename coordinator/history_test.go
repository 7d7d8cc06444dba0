package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/version"
)

// TestReadsSeeWritesThroughChanges: whatever the layouts go through, in whatever order who hears, records, fetches, reports, buries and drops, a read with r + w > n shows the
// newest write that was acknowledged before it began, and what was written back, or something newer. Requests run one after the other; what they are refused with they learn.
func TestReadsSeeWritesThroughChanges(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	settled, live, dropped := 0, 0, 0
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &history{world: world{t: t, contexts: map[string]*version.Token{}}, rng: rand.New(rand.NewPCG(uint64(seed), 1))}
				defer h.close()
				h.open(6, 3)
				for range 600 {
					h.step()
				}
				settled += h.buried
				dropped += h.dropped
				live = max(live, h.mostLive)
			})
		})
	}
	if settled < seeds || dropped < seeds || live < layouts.MaxLive {
		t.Errorf("%d layouts were buried and %d sets dropped in %d runs, and %d were live at once at most: hardly anything was tried", settled, dropped, seeds, live)
	}
}

type history struct {
	world
	rng      *rand.Rand
	written  int // the newest value, which is its number
	floor    int // no later read may show less
	buried   int
	dropped  int
	mostLive int
}

func (h *history) any() *scenarioNode { return h.nodes[h.rng.IntN(len(h.nodes))] }

func (h *history) step() {
	n := h.any()
	switch h.rng.IntN(16) {
	case 0, 1:
		h.write(n)
	case 2, 3:
		h.read(n)
	case 4:
		if rings, _ := n.ringsNow(); rings.Settled() || h.rng.IntN(6) == 0 {
			h.change(n)
		}
	case 5, 6, 7, 8:
		n.advance(func(v *layouts.View) layouts.State { return v.State().Record(n.id) })
		h.gossip(n, 3)
	case 9, 10, 11:
		h.fetch(n)
		h.gossip(n, 3)
	case 12:
		h.drop(n)
	case 13:
		n.advance(func(v *layouts.View) layouts.State {
			state := v.State()
			for _, hash := range v.MayBury() {
				state = state.Bury(hash)
				h.buried++
			}
			return state
		})
	default:
		h.gossip(n, 1)
	}
	rings, _ := n.ringsNow()
	h.mostLive = max(h.mostLive, len(rings.Live()))
}

func (h *history) gossip(n *scenarioNode, to int) {
	for range to {
		rings, _ := n.ringsNow()
		h.any().learn(rings.State())
	}
}

func (n *scenarioNode) advance(fn func(*layouts.View) layouts.State) {
	rings, _ := n.ringsNow()
	n.learn(fn(rings))
}

// rest lets arrive what is still on its way, and repairs be done.
func (h *history) rest() {
	time.Sleep(time.Second)
	synctest.Wait()
	for _, n := range h.nodes {
		n.net = ""
	}
}

// cutOff makes some nodes unreachable for one request that n coordinates.
func (h *history) cutOff(n *scenarioNode) {
	for _, other := range h.nodes {
		if other != n && h.rng.IntN(3) == 0 {
			other.net = "down"
		}
	}
}

func (h *history) write(n *scenarioNode) {
	h.written++
	value := h.written
	w := quorum.Quorum
	if h.rng.IntN(4) == 0 {
		w = quorum.All
	}
	req := &PutRequest{Options: Options{Timeout: 300 * time.Millisecond}, Bucket: "b", Key: "k", Value: []byte(strconv.Itoa(value))}
	h.cutOff(n)
	defer h.rest()
	_, err := n.coord.Put(context.Background(), req, quorum.Params{N: 3, W: w, R: quorum.Quorum}, version.LWW)
	if err == nil {
		h.floor = value
	}
}

func (h *history) read(n *scenarioNode) {
	r := quorum.Quorum
	if h.rng.IntN(3) == 0 {
		r = quorum.All
	}
	req := &GetRequest{Options: Options{Timeout: 300 * time.Millisecond}, Bucket: "b", Key: "k", NoRepair: r != quorum.All}
	h.cutOff(n)
	defer h.rest()
	res, err := n.coord.Get(context.Background(), req, quorum.Params{N: 3, W: quorum.Quorum, R: r})
	if err != nil {
		return
	}
	shown := 0
	for v := range res.Record.Live() {
		shown, _ = strconv.Atoi(string(v.Value))
	}
	if shown < h.floor {
		rings, _ := n.ringsNow()
		h.t.Fatalf("%s reads %d with r=%v; %d was acknowledged, or shown by r=all, before\n%s%v", n.name, shown, r, h.floor, n.groups(), rings)
	}
	if r == quorum.All {
		h.floor = shown // it is with all owners
	}
}

// change lets somebody in, or out, or makes one fetch again; one side of the cluster hears of it at once.
func (h *history) change(n *scenarioNode) {
	rings, _ := n.ringsNow()
	top, ok := rings.Top()
	if !ok {
		if state, ok, err := rings.Unify(n.id); ok && err == nil {
			n.learn(state)
		}
		return
	}
	other := h.any()
	row, known := rings.Row(other.id)
	switch {
	case !known:
		row = other.row(layouts.Owns, 0)
	case row.Standing == layouts.Owns && len(top.Owners()) > 3 && h.rng.IntN(2) == 0:
		row.Standing = layouts.Leaves
	case row.Standing == layouts.Owns && h.rng.IntN(4) == 0:
		row.Losses++
	default:
		return
	}
	state, err := rings.Propose(n.id, row)
	if err != nil {
		return
	}
	n.learn(state)
	for _, to := range h.nodes {
		if h.rng.IntN(2) == 0 {
			to.learn(state)
		}
	}
}

// fetch is what a node does as an owner of the newest layout: it exchanges the key with all that it has to, and reports.
func (h *history) fetch(n *scenarioNode) {
	rings, layout := n.ringsNow()
	top, ok := rings.Top()
	if !ok || top.Standing(n.id) != layouts.Owns {
		return
	}
	at := keyOf(&View{Layout: layout}, "b", "k")
	state := rings.State()
	for p := range ring.Partition(16) {
		var exchanged []ring.ID
		for _, id := range rings.Peers(n.id, p) {
			peer := h.byID(id)
			theirs, _ := peer.ringsNow()
			theirTop, same := theirs.Top()
			if !same || theirTop.Hash() != top.Hash() || len(rings.Fence()) > 0 || len(theirs.Fence()) > 0 {
				continue
			}
			if p == at.Partition {
				for _, way := range [][2]*scenarioNode{{n, peer}, {peer, n}} {
					if err := move(way[0], way[1]); err != nil {
						h.t.Fatal(err)
					}
				}
			}
			exchanged = append(exchanged, id)
		}
		if rings.MaySync(n.id, p, exchanged) {
			state = state.Synced(n.id, top.Hash(), p)
		}
	}
	n.learn(state)
}

// drop forgets the key on a node that owns it no longer, once every present owner has been shown what is held there.
func (h *history) drop(n *scenarioNode) {
	rings, layout := n.ringsNow()
	p := keyOf(&View{Layout: layout}, "b", "k").Partition
	var shown []ring.ID
	for _, id := range rings.Receivers(p, 3) {
		peer := h.byID(id)
		if theirs, _ := peer.ringsNow(); theirs.Digest() != rings.Digest() {
			continue
		}
		if err := move(n, peer); err != nil {
			h.t.Fatal(err)
		}
		shown = append(shown, id)
	}
	if !rings.MayDrop(n.id, p, 3, shown) {
		return
	}
	if err := n.store.Drop(p, 1, 3); err != nil {
		h.t.Fatal(err)
	}
	h.dropped++
}

// move gives what one node holds of the key to another.
func move(from, to *scenarioNode) error {
	k := keyOf(from.View(), "b", "k")
	rec, err := from.store.Get(k)
	if err != nil || rec.IsAbsent() {
		return err
	}
	res, err := to.store.Mend(k, rec)
	if err != nil {
		return fmt.Errorf("from %s to %s: %w", from.name, to.name, err)
	}
	return res.Commit.Wait()
}
