package sim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

const dataDir = "data"

// world is a cluster in virtual time.
type world struct {
	plan   Plan
	log    func(string)
	began  time.Time
	net    *transport.Network
	random *chance
	nodes  []*simNode

	mu     sync.Mutex
	table  ring.Table // all that was ever decided about members
	active []*Fault
	run    check.Run
	ending sync.WaitGroup // nodes that are being closed
}

// simNode is one place of the cluster, whether or not a node runs there.
type simNode struct {
	w       *world
	index   int
	name    string
	zone    string
	disk    disk
	random  *chance
	offset  atomic.Int64 // of its clock
	members atomic.Pointer[members]
	up      atomic.Pointer[lifetime]

	mu      sync.Mutex
	starts  int
	former  []version.ActorID // every number drawn by its store's earlier lives: actors are among them
	drawn   []version.ActorID // and by the present one
	damaged atomic.Bool       // its disk has lost something since the last start
	busy    bool              // between the end of a life and the beginning of the next
}

// lifetime is one run of a node, from start to crash.
type lifetime struct {
	*node.Node
	disk   *life
	faults *fault.Matrix
	store  *store.Store
	dead   atomic.Bool
	closed chan struct{}
}

func newMem() *vfs.MemFS { return vfs.NewCrashableMem() }

func crashWith(unsynced int, r *rand.Rand) vfs.CrashCloneCfg {
	return vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: r}
}

func newWorld(p Plan, log func(string)) *world {
	w := &world{plan: p, log: log, began: time.Now(), net: transport.NewNetwork(), random: newChance(p.Seed, 2)}
	w.run.Siblings = map[string]bool{}
	w.run.Owners = map[check.KeyName][]string{}
	w.run.Partitions = map[check.KeyName]ring.Partition{}
	w.run.Unsettled = map[check.KeyName]bool{}
	w.table, _ = ring.NewTable("sim", p.Partitions)
	for i := range p.Nodes {
		n := &simNode{w: w, index: i, name: fmt.Sprintf("node-%d", i+1), random: newChance(p.Seed, 100+uint64(i))}
		if p.Zones > 1 {
			n.zone = fmt.Sprintf("zone-%d", i%p.Zones)
		}
		n.disk.mem = newMem()
		w.nodes = append(w.nodes, n)
	}
	return w
}

func (w *world) now() time.Duration { return time.Since(w.began) }

func (w *world) trace(format string, args ...any) {
	if w.log != nil {
		w.log(fmt.Sprintf("%12v  ", w.now().Round(time.Microsecond)) + fmt.Sprintf(format, args...))
	}
}

func (w *world) byName(name string) *simNode {
	i := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.name == name })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

func (n *simNode) skew() time.Duration { return time.Duration(n.offset.Load()) }

// running is the node's present life, nil if there is none.
func (n *simNode) running() *lifetime { return n.up.Load() }

// config is that of a node as serve would make it, in this world.
func (n *simNode) config(l *life) node.Config {
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Data, cfg.Zone = n.name, dataDir, n.zone
	cfg.RPC, cfg.HTTP, cfg.Gossip = n.name+":7947", n.name+":8080", n.name+":7946"
	cfg.Cluster, cfg.Partitions, cfg.AllowFaults = "sim", n.w.plan.Partitions, true
	cfg.Logger = slog.New(slog.DiscardHandler)
	if n.w.log != nil {
		cfg.Logger = slog.New(slog.NewTextHandler(tracer{n}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	cfg.Store.FS, cfg.Store.MemTable, cfg.Store.BlockCache, cfg.Store.RecordCache = l, 64<<20, 1<<20, 1<<20
	cfg.Store.Rand = n.draw
	cfg.World = node.World{
		Now:     func() time.Time { return time.Now().Add(n.skew()) },
		Rand:    n.random.float,
		Network: n.w.net,
		Cluster: func(ctx context.Context, cfg cluster.Config) (node.Cluster, error) {
			return n.w.startMembers(ctx, n, cfg)
		},
		NoExchange: n.w.plan.NoExchange(),
	}
	return cfg
}

// tracer puts what a node logs into the trace.
type tracer struct{ n *simNode }

// Write implements io.Writer.
func (t tracer) Write(p []byte) (int, error) {
	_, text, _ := strings.Cut(strings.TrimSpace(string(p)), "level=")
	t.n.w.trace("%s: %s", t.n.name, text)
	return len(p), nil
}

// draw is the chance of the store: incarnations and actors.
func (n *simNode) draw() uint64 {
	v := n.random.uint64()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drawn = append(n.drawn, version.ActorID(v))
	return v
}

// start begins a life on the disk as it is.
func (n *simNode) start() error {
	n.mu.Lock()
	n.former = append(n.former, n.drawn...)
	n.drawn = nil
	n.mu.Unlock()
	l := newLife(n.disk.mem, n.random)
	nd, err := node.New(n.config(l))
	if err != nil {
		return err
	}
	life := &lifetime{Node: nd, disk: l, faults: nd.Faults(), closed: make(chan struct{})}
	n.up.Store(life)
	n.w.applyRules()
	if err := nd.Start(context.Background(), n.name+":8080"); err != nil {
		n.up.Store(nil)
		closeNode(nd)
		return err
	}
	l.mood.Store(&mood{sync: n.w.plan.Sync})
	return nil
}

// started notes what a node finds on its disk, before it serves.
func (w *world) started(n *simNode, cfg cluster.Config) {
	s, ok := cfg.Storage.(*store.Store)
	if !ok {
		panic(fmt.Sprintf("sim: the storage of the membership is a %T", cfg.Storage))
	}
	if life := n.running(); life != nil {
		life.store = s
	}
	n.mu.Lock()
	former := slices.Clone(n.former)
	n.starts++
	n.mu.Unlock()
	start := check.Start{Node: n.name, At: w.now(), Clocks: clocksOf(s, w.plan.Partitions), Former: former}
	w.mu.Lock()
	w.run.Starts = append(w.run.Starts, start)
	w.mu.Unlock()
}

func clocksOf(s *store.Store, partitions int) map[ring.Partition]version.Vector {
	clocks := map[ring.Partition]version.Vector{}
	for p := range ring.Partition(partitions) {
		if c := s.Clock(p); !c.IsEmpty() {
			clocks[p] = c
		}
	}
	return clocks
}

func closeNode(n *node.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.Close(ctx) // of a crashed node nobody asks how it ended
}

// kill ends a node as a power cut would: what it says from now on reaches nobody, and of what it has not synced only a share stays.
func (w *world) kill(n *simNode, unsynced int) {
	l := n.up.Swap(nil)
	if l == nil {
		return
	}
	l.dead.Store(true)
	_ = l.faults.Set([]fault.Rule{{Peer: fault.Everyone, Drop: true}}) // a constant rule is valid
	n.disk.mem = n.disk.mem.CrashClone(crashWith(unsynced, rand.New(rand.NewPCG(w.plan.Seed, uint64(w.now())))))
	w.trace("%s crashes, %d %% of what was not synced stays", n.name, unsynced)
	w.end(n, l)
}

// shutDown ends a node as SIGTERM does.
func (w *world) shutDown(n *simNode) {
	l := n.up.Swap(nil)
	if l == nil {
		return
	}
	w.trace("%s stops", n.name)
	w.end(n, l)
	<-l.closed
}

func (w *world) end(n *simNode, l *lifetime) {
	n.mu.Lock()
	n.busy = true
	n.mu.Unlock()
	w.ending.Go(func() {
		l.disk.mood.Store(&mood{})
		closeNode(l.Node)
		close(l.closed)
		n.mu.Lock()
		n.busy = false
		n.mu.Unlock()
	})
}

// restart starts a node that does not run, as soon as its former life has let go of its address. A disk that cannot be opened is emptied.
func (w *world) restart(n *simNode) {
	for try := 0; n.running() == nil; try++ {
		n.mu.Lock()
		busy := n.busy
		n.mu.Unlock()
		if busy {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		err := n.start()
		if err == nil {
			w.trace("%s starts", n.name)
			return
		}
		w.trace("%s does not start: %v", n.name, err)
		if try >= 3 {
			w.lose(n, false)
			n.disk.mem = newMem()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// lose notes that a node's disk no longer holds all that it confirmed.
func (w *world) lose(n *simNode, silent bool) {
	w.trace("%s loses its disk, silently: %v", n.name, silent)
	n.damaged.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run.Losses = append(w.run.Losses, check.Loss{Node: n.name, At: w.now(), Silent: silent})
}

// begin and end one fault.
func (w *world) begin(f *Fault) {
	w.trace("fault: %v", f)
	w.mu.Lock()
	w.active = append(w.active, f)
	w.mu.Unlock()
	w.applyRules()
	if k := kindOf(f); k.begin != nil {
		k.begin(w, f)
	}
}

func (w *world) finish(f *Fault) {
	w.trace("fault ends: %v", f)
	w.mu.Lock()
	w.active = slices.DeleteFunc(w.active, func(other *Fault) bool { return other == f })
	w.mu.Unlock()
	w.applyRules()
	if k := kindOf(f); k.end != nil {
		k.end(w, f)
	}
}

// lasts reports whether a fault is still in force.
func (w *world) lasts(f *Fault) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.active, f)
}

func kindOf(f *Fault) faultKind {
	kinds := faultKinds()
	return kinds[slices.IndexFunc(kinds, func(k faultKind) bool { return k.name == f.Kind })]
}

// applyRules gives every node the rules of the faults in force, beside the latency that is always there.
func (w *world) applyRules() {
	w.mu.Lock()
	active := slices.Clone(w.active)
	w.mu.Unlock()
	for _, n := range w.nodes {
		l := n.running()
		if l == nil {
			continue
		}
		rules := []fault.Rule{{Peer: fault.Everyone, Direction: fault.Out, Delay: w.plan.Latency, Dist: fault.Uniform}}
		for _, f := range active {
			k := kindOf(f)
			if k.rules == nil {
				continue
			}
			for _, peer := range w.nodes {
				if peer == n {
					continue
				}
				for _, r := range k.rules(f, n.index, peer.index) {
					r.Peer = peer.name
					rules = append(rules, r)
				}
			}
		}
		if err := l.faults.Set(rules); err != nil {
			panic(fmt.Sprintf("sim: rules %v: %v", rules, err))
		}
	}
}

// hears reports whether gossip passes between two places: both ways, directly or through a third.
func (w *world) hears(a, b *simNode) bool {
	if w.linked(a, b) {
		return true
	}
	return slices.ContainsFunc(w.nodes, func(c *simNode) bool {
		return c != a && c != b && c.running() != nil && w.linked(a, c) && w.linked(c, b)
	})
}

func (w *world) linked(a, b *simNode) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.active {
		k := kindOf(f)
		if k.rules == nil {
			continue
		}
		for _, r := range append(k.rules(f, a.index, b.index), k.rules(f, b.index, a.index)...) {
			if r.Drop && r.Kind == fault.Any {
				return false
			}
		}
	}
	return true
}

// owners notes where a key lives.
func (w *world) owners(bucket, key string) {
	name := check.KeyName{Bucket: bucket, Key: key}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run.Owners[name] != nil {
		return
	}
	layout := ring.NewLayout(w.table)
	p := ring.PartitionOf(ring.Hash(bucket, key), layout.Partitions())
	w.run.Partitions[name] = p
	names := map[ring.ID]string{}
	for _, m := range w.table.Members() {
		names[m.ID] = m.Name
	}
	for _, id := range layout.Owners(p, buckets[bucket].N) {
		w.run.Owners[name] = append(w.run.Owners[name], names[id])
	}
}

// note appends an operation to the history.
func (w *world) note(o *check.Op) {
	w.mu.Lock()
	o.ID = len(w.run.Ops)
	w.run.Ops = append(w.run.Ops, o)
	w.mu.Unlock()
	w.trace("%v", o)
}

// bucketNames are the buckets in order.
func bucketNames() []string { return slices.Sorted(maps.Keys(buckets)) }
