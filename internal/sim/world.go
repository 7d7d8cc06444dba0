package sim

import (
	"context"
	"errors"
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
	nodes  []*simNode // the founders, then those that join
	births []*birth

	mu        sync.Mutex
	active    []*Fault
	run       check.Run
	names     map[ring.ID]string // of all incarnations that there were
	tenures   tenures
	recorded  map[record]bool
	ending    sync.WaitGroup // nodes that are being closed
	operators atomic.Int32   // who still want something
}

// simNode is one place of the cluster, whether or not a node runs there.
type simNode struct {
	w      *world
	index  int
	name   string
	birth  *birth // nil for who joins
	disk   disk
	random *chance
	offset atomic.Int64 // of its clock
	up     atomic.Pointer[lifetime]
	wanted atomic.Bool // it runs, or is to be started again: it has begun to join, and has neither left nor been removed

	mu      sync.Mutex
	zone    string
	weight  uint32
	starts  int
	former  []version.ActorID // every number drawn by its store's earlier lives: actors are among them
	drawn   []version.ActorID // and by the present one
	damaged atomic.Bool       // its disk has lost something since the last start
	busy    int               // lives of it that end or begin now
}

// lifetime is one run of a node, from start to crash.
type lifetime struct {
	*node.Node
	disk    *life
	faults  *fault.Matrix
	store   *store.Store
	members atomic.Pointer[members]
	dead    atomic.Bool
	closed  chan struct{}
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
	w.names, w.tenures, w.recorded = map[ring.ID]string{}, tenures{}, map[record]bool{}
	for i := range p.places() {
		n := &simNode{w: w, index: i, name: nodeName(i), zone: p.zone(i), weight: 1, random: newChance(p.Seed, 100+uint64(i))}
		n.disk.mem = newMem()
		w.nodes = append(w.nodes, n)
	}
	w.births = p.births(w.nodes)
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

// present are the nodes that are part of the cluster, or on their way.
func (w *world) present() []*simNode {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *simNode) bool { return !n.wanted.Load() })
}

// config is that of a node as serve would make it, in this world.
func (n *simNode) config(l *life) node.Config {
	cfg := node.DefaultConfig()
	n.mu.Lock()
	cfg.Name, cfg.Data, cfg.Zone, cfg.Weight = n.name, dataDir, n.zone, n.weight
	n.mu.Unlock()
	cfg.RPC, cfg.HTTP, cfg.Gossip = n.name+":7947", n.name+":8080", n.name+":7946"
	cfg.Cluster, cfg.Partitions, cfg.AllowFaults = "sim", n.w.plan.Partitions, true
	cfg.Logger = slog.New(newJournal(n))
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
	l := newLife(n.mem(), n.random)
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
	n.w.ending.Go(func() {
		select {
		case err := <-nd.Failed():
			n.w.failed(n, life, err)
		case <-life.closed:
		}
	})
	return nil
}

// failed ends a node that says that it must be ended, as serve does: one that has left is not started again.
func (w *world) failed(n *simNode, life *lifetime, err error) {
	if life.dead.Load() {
		return // nobody hears it
	}
	w.trace("%s ends: %v", n.name, err)
	w.mu.Lock()
	exit := slices.IndexFunc(w.run.Exits, func(e check.Exit) bool { return e.Node == n.name })
	switch {
	case exit < 0:
		w.run.Exits = append(w.run.Exits, check.Exit{Node: n.name, At: w.now(), Reason: err.Error()})
	case errors.Is(err, node.ErrLeft) || life.hasLeft():
		w.run.Exits[exit].Done = w.now()
	default:
		w.run.Exits[exit].Reason = err.Error()
	}
	w.mu.Unlock()
	n.wanted.Store(false)
	w.shutDown(n)
}

// hasLeft reports whether the node's own row says that it has left: it may have crashed between saying so and ending.
func (l *lifetime) hasLeft() bool {
	members := l.members.Load()
	return slices.ContainsFunc(members.Table().Members(), func(m ring.Member) bool { return m.ID == members.cfg.ID && m.State == ring.Left })
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
	n.hold() // before it is gone: nobody starts it on the disk that is about to be replaced
	defer n.release()
	l := n.up.Swap(nil)
	if l == nil {
		return
	}
	l.dead.Store(true)
	_ = l.faults.Set([]fault.Rule{{Peer: fault.Everyone, Drop: true}}) // a constant rule is valid
	n.setDisk(n.mem().CrashClone(crashWith(unsynced, rand.New(rand.NewPCG(w.plan.Seed, uint64(w.now()))))))
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
	n.hold()
	w.ending.Go(func() {
		l.disk.mood.Store(&mood{})
		closeNode(l.Node)
		close(l.closed)
		n.release()
	})
}

// restart starts a node that does not run, as soon as its former life has let go of its address. A disk that cannot be opened is emptied.
// Of several faults that end at one node, one starts it and the others wait.
func (w *world) restart(n *simNode) {
	for try := 0; n.running() == nil && n.wanted.Load(); {
		if !n.claim() {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		err := n.start()
		if err == nil {
			w.trace("%s starts", n.name)
		} else {
			w.trace("%s does not start: %v", n.name, err)
			if try++; try > 3 {
				w.lose(n, false)
				n.setDisk(newMem())
			}
		}
		n.release()
		if err != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// atRest changes the disk of a node that does not run, as soon as nobody else is at work on it; false, and no change, if it runs again.
func (w *world) atRest(n *simNode, change func()) bool {
	for !n.claim() {
		if n.running() != nil {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	defer n.release()
	change()
	return true
}

// mem is what the node's disk holds.
func (n *simNode) mem() *vfs.MemFS {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.disk.mem
}

func (n *simNode) setDisk(m *vfs.MemFS) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk.mem = m
}

// hold keeps others from claiming the node until release.
func (n *simNode) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy++
}

// claim makes the caller the one who starts the node, or changes its disk; false while it runs, its former life ends, or another one starts it.
func (n *simNode) claim() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy > 0 || n.running() != nil {
		return false
	}
	n.busy++
	return true
}

func (n *simNode) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy--
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
	w.active = slices.DeleteFunc(w.active, func(other *Fault) bool { return other == f || other.of == f })
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

// place notes a key, and returns where it lies.
func (w *world) place(name check.KeyName) ring.Partition {
	p := ring.PartitionOf(ring.Hash(name.Bucket, name.Key), w.plan.Partitions)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run.Partitions[name] = p
	return p
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
