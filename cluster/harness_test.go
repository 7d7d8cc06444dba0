package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// world is a set of nodes on one in-memory network, in virtual time.
type world struct {
	t       *testing.T
	net     *MemNetwork
	random  *rand.Rand
	randMu  sync.Mutex
	latency time.Duration

	mu    sync.Mutex
	rpc   map[string]*node // by RPC address
	block func(from, to string) bool
	lose  lostKinds
	hosts map[string][]netip.Addr
}

// inWorld runs a scenario in virtual time; all nodes are stopped at its end.
func inWorld(t *testing.T, run func(w *world)) {
	t.Helper()
	// Go 1.26's race detector crashes when two Ps fire timers of one bubble at the same moment: they share a race context.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, net: NewMemNetwork(time.Millisecond), latency: time.Millisecond,
			random: rand.New(rand.NewPCG(1, 2)),
			rpc:    make(map[string]*node), hosts: make(map[string][]netip.Addr),
		}
		// Also after a fatal failure: nodes that run on would make of it a deadlock of the bubble, and hide it.
		defer func() {
			w.mu.Lock()
			nodes := w.rpc
			w.rpc = map[string]*node{}
			w.mu.Unlock()
			for _, n := range nodes {
				n.kill()
			}
			time.Sleep(time.Minute) // timers of memberlist run out
		}()
		run(w)
	})
}

// block cuts both gossip and calls between hosts. nil heals.
func (w *world) cut(lost func(from, to string) bool) {
	w.net.Block(lost)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.block = lost
}

// host strips the port.
func host(addr string) string { return netip.MustParseAddrPort(addr).Addr().String() }

// apart is a cut between the hosts given and all others.
func apart(hosts ...string) func(from, to string) bool {
	return func(from, to string) bool {
		return slices.Contains(hosts, host(from)) != slices.Contains(hosts, host(to))
	}
}

// disk is a node's storage: it survives the node.
type disk struct {
	mu     sync.Mutex
	id     ring.ID
	starts uint64
	meta   map[string][]byte
	data   bool
	fail   error
	saves  int  // until the disk fails for good, as if the node had crashed then; 0: it does not
	torn   bool // the save at which it fails is on disk all the same
}

func (d *disk) setFail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

var errCrash = errors.New("the node crashes here")

// crashAt makes the n-th save from now the last thing that the disk is asked for.
func (d *disk) crashAt(n int, torn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saves, d.torn = n, torn
}

func (d *disk) crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Is(d.fail, errCrash)
}

func (d *disk) LoadMeta(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.meta[name]), nil
}

func (d *disk) SaveMeta(name string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	if d.saves > 0 {
		if d.saves--; d.saves == 0 {
			d.fail = errCrash
			if !d.torn {
				return errCrash
			}
		}
	}
	d.meta[name] = slices.Clone(value)
	return d.fail
}

func (d *disk) hasData() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data
}

func (d *disk) write() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = true
}

func (w *world) newDisk() *disk {
	d := &disk{meta: make(map[string][]byte)}
	w.randMu.Lock()
	defer w.randMu.Unlock()
	for i := range d.id {
		d.id[i] = byte(w.random.Uint32())
	}
	return d
}

// node is one running node.
type node struct {
	*Cluster
	w      *world
	name   string
	ip     string
	disk   *disk
	matrix *fault.Matrix
	out    chan ring.ID // OnReplaced
	gone   chan string  // OnRemoved
	acting sync.WaitGroup
	extra  *extra
}

// act does what the node does about the layouts: it acts under each view as soon as there is one, and has exchanged with a peer as soon as both act under the same.
func (n *node) act() {
	news := make(chan struct{}, 1)
	n.Watch(func() { signal(news) })
	for {
		if v := n.Rings(); v != nil {
			_ = n.Record(v.Digest()) // tried again
			_ = n.syncAll(n.Rings())
		}
		select {
		case <-n.ctx.Done():
			return
		case <-news:
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// syncAll reports what the node has, every exchange with a peer that can be reached being done in an instant.
func (n *node) syncAll(v *layouts.View) error {
	top, ok := v.Top()
	if !ok || v.Settled() {
		return nil
	}
	var exchanged []ring.ID
	for _, id := range v.Members() {
		if to := n.w.reach(n, id); to != nil && to.Rings() != nil && to.Rings().Digest() == v.Digest() {
			exchanged = append(exchanged, id)
		}
	}
	var at []ring.Partition
	for p := range ring.Partition(top.Partitions()) {
		if !v.Reported(n.disk.id, p) && v.MaySync(n.disk.id, p, exchanged) {
			at = append(at, p)
		}
	}
	if len(at) == 0 {
		return nil
	}
	return n.Synced(top.Hash(), at)
}

// reach is the running node of an incarnation, unless a cut is between.
func (w *world) reach(from *node, id ring.ID) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.rpc {
		a, b := from.ip+":7947", to.ip+":7947"
		if to.disk.id == id && (w.block == nil || !w.block(a, b) && !w.block(b, a)) {
			return to
		}
	}
	return nil
}

// extra is a grow-only set of bytes.
type extra struct {
	mu  sync.Mutex
	set [256]bool
}

func (e *extra) State() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []byte
	for b, in := range e.set {
		if in {
			out = append(out, byte(b))
		}
	}
	return out
}

func (e *extra) Merge(state []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range state {
		e.set[b] = true
	}
	return nil
}

// spec describes a start; the zero fields have defaults.
type spec struct {
	name    string
	ip      string
	join    []string
	disk    *disk
	cluster string
	with    func(*Config)
}

func ipOf(i int) string     { return fmt.Sprintf("10.0.%d.%d", i/250, i%250+1) }
func gossipOf(i int) string { return ipOf(i) + ":7946" }

// start starts a node; name "n3" has IP 3 unless the spec says otherwise.
func (w *world) start(s spec) *node {
	w.t.Helper()
	n, err := w.tryStart(s)
	if err != nil {
		w.t.Fatalf("start %s: %v", s.name, err)
	}
	return n
}

func (w *world) tryStart(s spec) (*node, error) {
	if s.ip == "" {
		var i int
		if _, err := fmt.Sscanf(s.name, "n%d", &i); err != nil {
			w.t.Fatalf("no address for %s", s.name)
		}
		s.ip = ipOf(i)
	}
	if s.disk == nil {
		s.disk = w.newDisk()
	}
	s.disk.starts++
	n := &node{w: w, name: s.name, ip: s.ip, disk: s.disk, matrix: &fault.Matrix{}, out: make(chan ring.ID, 1), gone: make(chan string, 1), extra: &extra{}}
	cfg := DefaultConfig()
	cfg.Name, cfg.ClusterName = s.name, "test"
	if s.cluster != "" {
		cfg.ClusterName = s.cluster
	}
	cfg.ID, cfg.Starts, cfg.Boot = s.disk.id, s.disk.starts, w.uint64()|1
	cfg.BindGossip = s.ip + ":7946"
	cfg.Advertise = ring.Addrs{RPC: s.ip + ":7947", HTTP: s.ip + ":8080"}
	cfg.Join = s.join
	cfg.Storage, cfg.Caller, cfg.HasData = s.disk, n, s.disk.hasData
	cfg.OnReplaced = func(by ring.ID) { n.out <- by }
	cfg.OnRemoved = func(why string) { n.gone <- why }
	cfg.Extra, cfg.Matrix, cfg.Network = n.extra, n.matrix, w.net
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if os.Getenv("CLUSTER_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", s.name)
	}
	cfg.Rand = w.float64
	cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if ips, ok := w.hosts[host]; ok {
			return ips, nil
		}
		return nil, errors.New("no such host")
	}
	if s.with != nil {
		s.with(&cfg)
	}
	c, err := Start(w.t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	n.Cluster = c
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rpc[cfg.Advertise.RPC] = n
	n.acting.Go(n.act)
	return n, nil
}

func (w *world) uint64() uint64 {
	w.randMu.Lock()
	defer w.randMu.Unlock()
	return w.random.Uint64()
}

func (w *world) float64() float64 {
	w.randMu.Lock()
	defer w.randMu.Unlock()
	return w.random.Float64()
}

// CallAddr is the node's Caller.
func (n *node) CallAddr(ctx context.Context, addr string, kind uint8, body []byte) ([]byte, ring.ID, error) {
	w := n.w
	from := n.ip + ":7947"
	time.Sleep(w.latency)
	w.mu.Lock()
	to, lost := w.rpc[addr], w.lose[kind] || w.block != nil && (w.block(from, addr) || w.block(addr, from))
	w.mu.Unlock()
	if to == nil || lost {
		<-ctx.Done()
		return nil, ring.ID{}, ctx.Err()
	}
	resp, err := to.HandleRPC(kind, n.disk.id, slices.Clone(body))
	time.Sleep(w.latency)
	w.mu.Lock()
	lost = w.rpc[addr] != to || w.block != nil && (w.block(from, addr) || w.block(addr, from))
	w.mu.Unlock()
	if lost {
		<-ctx.Done()
		return nil, ring.ID{}, ctx.Err()
	}
	return resp, to.disk.id, err
}

// kill stops the node as kill -9 does: nobody is told.
func (n *node) kill() {
	n.w.mu.Lock()
	if n.w.rpc[n.ip+":7947"] == n {
		delete(n.w.rpc, n.ip+":7947")
	}
	n.w.mu.Unlock()
	n.cancel()
	if err := n.list.Shutdown(); err != nil {
		n.w.t.Errorf("shutdown: %v", err)
	}
	n.background.Wait()
	n.acting.Wait()
}

// eventually waits in virtual time.
func (w *world) eventually(within time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.dump()
			w.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// never checks that something stays untrue for a while.
func (w *world) never(for_ time.Duration, what string, bad func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(for_); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if bad() {
			w.dump()
			w.t.Fatalf("happened: %s", what)
		}
	}
}

func (w *world) dump() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.rpc {
		ready, reason := n.Ready()
		w.t.Logf("%s %s ready=%v %q\n%v%v", n.name, n.disk.id.Short(), ready, reason, n.Table(), n.Rings())
	}
}

// agreedOn reports whether all nodes are ready, hold the same table, and have exactly the named members.
func agreedOn(members int, nodes ...*node) bool {
	for _, n := range nodes {
		ready, _ := n.Ready()
		if !ready || n.Layout() == nil || len(n.Layout().Members()) != members || !n.Table().Equal(nodes[0].Table()) {
			return false
		}
	}
	return true
}

// settledOn is agreedOn, with one layout that all know to be the only one.
func settledOn(members int, nodes ...*node) bool {
	for _, n := range nodes {
		if v := n.Rings(); v == nil || !v.Settled() || !v.State().Equal(nodes[0].Rings().State()) {
			return false
		}
	}
	return agreedOn(members, nodes...)
}

// see reports whether every node holds every other for alive.
func see(nodes ...*node) bool {
	for _, a := range nodes {
		for _, b := range nodes {
			if a.Liveness(b.disk.id) != Alive {
				return false
			}
		}
	}
	return true
}

func nameOf(i int) string { return fmt.Sprintf("n%d", i) }
