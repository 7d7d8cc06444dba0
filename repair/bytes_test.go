package repair

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// What a difference costs on the wire: two stores of many keys, one of which lacks some, and a round in each direction over the transport of
// production on TCP. Every byte of every frame counts. QUORATE_BYTES_KEYS and QUORATE_BYTES_LIVES set the size: make bytes runs it so.

// frame is what the transport puts before a body.
const frame = 18

// bill is what crossed the wire.
type bill struct {
	compares, opens, pages, other int // bytes of both ways, heads included
	records, recordBytes          int // in pages: bucket, key and record as it is stored
	frames                        int
}

func (b *bill) total() int { return b.compares + b.opens + b.pages + b.other }

// overhead is all that is no record.
func (b *bill) overhead() int { return b.total() - b.recordBytes }

// payer counts what a node's calls cost.
type payer struct {
	Caller
	mu sync.Mutex
	bill
}

func (p *payer) Call(ctx context.Context, to ring.ID, kind transport.Kind, body []byte) transport.Response {
	r := p.Caller.Call(ctx, to, kind, body)
	p.mu.Lock()
	defer p.mu.Unlock()
	size := 2*frame + len(body) + len(r.Body)
	p.frames += 2
	switch kind {
	case KindCompare:
		p.compares += size
	case KindOpen:
		p.opens += size
	case KindPage:
		p.pages += size
		page, err := decodePage(r.Body)
		if err != nil {
			panic(err)
		}
		for _, s := range page.Sections {
			for i := range s.Records {
				l := &s.Records[i]
				p.records++
				p.recordBytes += len(l.Bucket) + len(l.Key) + len(version.AppendRecord(nil, l.Record))
			}
		}
	default:
		p.other += size
	}
	return r
}

// billed is one of two nodes on TCP.
type billed struct {
	id    ring.ID
	world *billedWorld
	store *store.Store
	rpc   *transport.Endpoint
	payer *payer
	x     *Exchanger
}

type billedWorld struct{ view *layouts.View }

func (n *billed) Ownership() Ownership {
	o := Ownership{Rings: n.world.view, Digest: n.world.view.Digest(), Self: n.id, Peers: map[ring.ID]Peer{}}
	for _, id := range n.world.view.Members() {
		o.Peers[id] = Peer{Name: id.Short()}
	}
	return o
}
func (n *billed) Fence(context.Context, uint64) Fence         { return FenceHeld }
func (n *billed) Enter(uint64) Fence                          { return FenceHeld }
func (n *billed) Leave()                                      {}
func (n *billed) Alone(context.Context, uint64, func()) Fence { return FenceOther }
func (n *billed) Table() []byte                               { return nil }
func (n *billed) Reconcile(ring.ID, []byte)                   {}
func (n *billed) Synced(layouts.Hash, []ring.Partition) error { return nil }

// newBilled makes two nodes of a cluster of three.
func newBilled(t *testing.T) (a, b *billed) {
	t.Helper()
	w := &billedWorld{viewOf(t, ring.DefaultPartitions, 3)}
	book := map[ring.ID]transport.Peer{}
	var nodes []*billed
	for i := range 2 {
		n := &billed{id: ring.ID{byte(i + 1)}, world: w}
		o := store.DefaultOptions()
		o.FS, o.Dir = vfs.NewMem(), "data"
		var err error
		if n.store, err = store.Open(o); err != nil {
			t.Fatal(err)
		}
		cfg := transport.DefaultConfig()
		cfg.Cluster, cfg.Self, cfg.Name, cfg.Listen = "c", n.id, fmt.Sprint("node-", i+1), "127.0.0.1:0"
		if n.rpc, err = transport.New(cfg); err != nil {
			t.Fatal(err)
		}
		n.payer = &payer{Caller: n.rpc}
		n.x = NewExchanger(DefaultExchangeConfig(), n.store, n.payer, n, n, new(Latency), slog.New(slog.DiscardHandler))
		for _, kind := range []transport.Kind{KindCompare, KindOpen, KindPage, KindEnd} {
			n.rpc.Handle(kind, transport.ClassOther, n.x.Serve)
		}
		if err := n.rpc.Open(); err != nil {
			t.Fatal(err)
		}
		book[n.id] = transport.Peer{Name: cfg.Name, Addr: n.rpc.Addr()}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.rpc.SetPeers(book)
	}
	return nodes[0], nodes[1]
}

// load writes keys as three nodes would that were each started some times, to both stores; those that are to be missing, only to y.
type load struct {
	t    *testing.T
	x, y *billed
	rng  *rand.Rand
	next map[ring.Partition]map[version.Actor]uint64
	made int

	counted int
}

// choose picks d of the next count keys.
func (l *load) choose(d, count int) map[int]bool {
	chosen := make(map[int]bool, d)
	for len(chosen) < d {
		chosen[l.made+1+l.rng.IntN(count)] = true
	}
	return chosen
}

// write makes count keys by the actors of one life of the given nodes.
func (l *load) write(count, life int, missing map[int]bool, nodes ...int) {
	l.t.Helper()
	commits := make([]*store.Commit, 0, count)
	for i := range count {
		l.made++
		name := fmt.Sprintf("user%08d", l.made)
		p := ring.PartitionOf(ring.Hash("users", name), ring.DefaultPartitions)
		a := version.Actor{ID: version.ActorID(0x9e3779b97f4a7c15 * uint64(10*nodes[i%len(nodes)]+life+1)), N: 3}
		if l.next[p] == nil {
			l.next[p] = map[version.Actor]uint64{}
		}
		l.next[p][a]++
		value := make([]byte, 100)
		copy(value, name)
		rec := version.NewRecord(version.Write{Dot: version.Dot{Actor: a, Counter: l.next[p][a]}, Mode: version.LWW, Value: value,
			Stamp: version.Stamp{Time: 1<<60 | uint64(l.made), Actor: a.ID}})
		k := store.Key{Partition: p, Bucket: "users", Key: name}
		to := []*billed{l.x, l.y}
		if missing[l.made] {
			to = to[1:]
		}
		for _, n := range to {
			res, err := n.store.Apply(k, rec)
			if err != nil {
				l.t.Fatal(err)
			}
			commits = append(commits, res.Commit)
		}
		if len(commits) > 1<<14 {
			commits = commits[:waitAll(l.t, commits)]
		}
	}
	waitAll(l.t, commits)
}

func waitAll(t *testing.T, commits []*store.Commit) int {
	for _, c := range commits {
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return 0
}

// catchUp runs a round in each direction, the one that finds and the one that is found, and returns what crossed the wire.
func (l *load) catchUp() bill {
	l.t.Helper()
	l.x.payer.bill, l.y.payer.bill = bill{}, bill{}
	for _, n := range []*billed{l.y, l.x} {
		o, other := n.Ownership(), l.x.id
		if n == l.x {
			other = l.y.id
		}
		if _, err := n.x.compareAndFetch(l.t.Context(), &o, other); err != nil {
			l.t.Fatal(err)
		}
	}
	x, y := l.x.payer.bill, l.y.payer.bill
	sum := bill{compares: x.compares + y.compares, opens: x.opens + y.opens, pages: x.pages + y.pages, other: x.other + y.other,
		records: x.records + y.records, recordBytes: x.recordBytes + y.recordBytes, frames: x.frames + y.frames}
	l.counted += sum.total()
	for p := range ring.Partition(ring.DefaultPartitions) {
		if mine, theirs := l.x.store.Clock(p), l.y.store.Clock(p); !mine.Equal(theirs) {
			l.t.Fatalf("partition %d: %v and %v", p, mine, theirs)
		}
	}
	return sum
}

// close ends both nodes and compares what was counted with what the transport counted.
func (l *load) close() {
	l.t.Helper()
	for _, n := range []*billed{l.x, l.y} {
		n.rpc.Close()
		if err := n.store.Close(); err != nil {
			l.t.Error(err)
		}
	}
	s := l.x.rpc.Stats()
	if wire := int(s.BytesIn + s.BytesOut); l.counted > wire || wire-l.counted > 4<<10 { // handshakes and pings
		l.t.Errorf("counted %d bytes, and the transport %d", l.counted, wire)
	}
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// bytesPerDifference is what is promised for 100 differences and more, beside the records themselves.
const bytesPerDifference = 80

// TestBytesPerDifference counts what crosses the wire when one of two owners lacks d of many versions, at random over all partitions: the last d,
// written while it was away; d lost messages of the nodes' present lives; and d anywhere among all. Three nodes have written, each started some times.
func TestBytesPerDifference(t *testing.T) {
	keys, lives := fromEnv(t, "QUORATE_BYTES_KEYS", 20_000), fromEnv(t, "QUORATE_BYTES_LIVES", 6)
	all := []int{0, 1, 2}
	build := func(d int) *load {
		l := &load{t: t, rng: rand.New(rand.NewPCG(1, 2)), next: map[ring.Partition]map[version.Actor]uint64{}}
		l.x, l.y = newBilled(t)
		missing := l.choose(d, keys)
		for life := range lives {
			l.write(keys*(life+1)/lives-keys*life/lives, life, missing, all...)
		}
		return l
	}
	t.Log("| lacking | how | records | of them bytes | compare | open | page heads | a difference |")
	var sizes []int
	for d := 1; d <= max(keys/100, 200); d *= 10 {
		sizes = append(sizes, d)
		l := build(d)
		l.report("anywhere", d, l.catchUp())
		l.close()
	}
	l := build(0)
	defer l.close()
	idle := l.catchUp()
	t.Logf("%d keys, clocks of %d actors; idle: %d bytes in %d frames, of both directions", l.made, l.y.store.Clock(0).Len(), idle.total(), idle.frames)
	if idle.total() > 200 {
		t.Errorf("two equal owners exchange %d bytes", idle.total())
	}
	for _, d := range sizes {
		l.write(d, lives-1, l.choose(d, d), 1, 2)
		l.report("away", d, l.catchUp())
		l.write(10*d, lives-1, l.choose(d, 10*d), all...)
		l.report("lost", d, l.catchUp())
	}
}

func (l *load) report(how string, d int, b bill) {
	l.t.Helper()
	each := float64(b.overhead()) / float64(max(d, 1))
	l.t.Logf("| %d | %s | %d | %d | %d | %d | %d | %.1f |", d, how, b.records, b.recordBytes, b.compares, b.opens, b.pages+b.other-b.recordBytes, each)
	if b.records != d {
		l.t.Errorf("%d records were fetched, %d were missing", b.records, d)
	}
	if d >= 100 && each > bytesPerDifference {
		l.t.Errorf("%.1f bytes a difference for %d of them, want at most %d", each, d, bytesPerDifference)
	}
}
