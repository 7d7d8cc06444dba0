package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/repair"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

const maxSkew = version.MaxSkew

// Node is one member of a cluster: its replica, its part in the membership and its coordinator. New opens the disk and
// the node-to-node port, Start joins, Close ends everything. Methods are safe for concurrent use after New.
type Node struct {
	cfg    Config
	adv    advertised
	log    *slog.Logger
	store  *store.Store
	rpc    *transport.Endpoint
	hlc    version.HLC
	faults *fault.Matrix
	coord  *coordinator.Coordinator
	repair *repair.Queue
	logs   *repair.Exchanger
	owing  *repair.Deliverer // what this node keeps for owners that it stood in for
	pulse  repair.Latency    // of client requests
	member *membership
	shared *shared
	reg    *prometheus.Registry

	clusterUp chan struct{} // closed when cluster is set
	cluster   Cluster
	addrs     ring.Addrs

	draining atomic.Bool
	replaced atomic.Bool
	left     bool       // it has left the ring; of the goroutine of checkLeft alone
	failed   chan error // capacity 1: why the node must stop

	stop context.CancelFunc
	work sync.WaitGroup

	closing sync.Once
	closed  error // written under closing
}

// New opens the store and the node-to-node port of a node. Close must follow, also when Start fails.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	adv, err := parseAdvertise(cfg.Advertise)
	if err != nil {
		return nil, err
	}
	opts := cfg.Store
	opts.Dir, opts.Partitions, opts.Logger = cfg.Data, ring.MaxPartitions, cfg.Logger.With("part", "store")
	if err := opts.FS.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	st, err := store.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", cfg.Data, err)
	}
	cfg.World = cfg.World.withDefaults()
	n := &Node{cfg: cfg, adv: adv, log: cfg.Logger, store: st, faults: new(fault.Matrix), clusterUp: make(chan struct{}),
		failed: make(chan error, 1), reg: prometheus.NewRegistry(), stop: func() {}}
	if err := n.open(); err != nil {
		st.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) open() error {
	tc := transport.DefaultConfig()
	tc.Cluster, tc.Self, tc.Name, tc.Listen = n.cfg.Cluster, n.store.Incarnation(), n.cfg.Name, n.cfg.RPC
	tc.Faults, tc.Logger = n.faults, n.log.With("part", "rpc")
	rpc, err := n.cfg.World.endpoint(tc)
	if err != nil {
		return err
	}
	n.rpc = rpc
	if n.shared, err = newShared(n); err != nil {
		return err
	}
	n.member = newMembership(n)
	cc := coordinator.DefaultConfig()
	cc.Name, cc.Now, cc.Rand = n.cfg.Name, n.cfg.World.Now, n.cfg.World.Rand
	cc.Slow = func(id ring.ID) time.Duration { return rpc.Health(id).Slow }
	n.coord = coordinator.New(cc, n.store, rpc, n.member, &n.hlc, n.log.With("part", "coordinator"))
	n.repair = repair.NewQueue(repair.DefaultConfig())
	n.coord.SetRepairer(n.repair)
	n.coord.SetHandOffs(n.store)
	n.logs = repair.NewExchanger(repair.DefaultExchangeConfig(), n.store, rpc, exchanges{n}, exchanges{n}, &n.pulse, n.log.With("part", "exchange"))
	n.logs.OnCompared(n.coord.ForgetMissed)
	n.owing = repair.NewDeliverer(repair.DefaultDeliverConfig(), n.store, n.store, n.logs, n.log.With("part", "handoff"))
	n.registerMetrics()
	n.register()
	if err := rpc.Open(); err != nil {
		return err
	}
	return nil
}

// Start joins the cluster, in the background; httpAddr is what the client API was bound to. Ready tells when the node
// may serve. ctx bounds the start itself.
func (n *Node) Start(ctx context.Context, httpAddr string) error {
	if err := n.setAddrs(httpAddr); err != nil {
		return err
	}
	cc := cluster.DefaultConfig()
	cc.Name, cc.ClusterName, cc.ID = n.cfg.Name, n.cfg.Cluster, n.store.Incarnation()
	cc.Boot, cc.Starts = rand.Uint64()|1, n.store.Starts()
	cc.Zone, cc.Weight, cc.Partitions = n.cfg.Zone, n.cfg.Weight, n.cfg.Partitions
	cc.BindGossip, cc.Advertise, cc.Join = n.cfg.Gossip, n.addrs, n.cfg.Join
	cc.Storage, cc.Caller = n.store, n
	cc.HasData = func() bool { return !n.store.Empty() }
	cc.OnReplaced, cc.OnRemoved = n.onReplaced, n.onRemoved
	cc.Extra, cc.Matrix, cc.Logger = n.shared, n.faults, n.log.With("part", "cluster")
	c, err := n.cfg.World.Cluster(ctx, cc)
	if err != nil {
		return err
	}
	n.cluster = c
	n.addrs.Gossip = c.GossipAddr()
	close(n.clusterUp)
	c.Watch(n.member.refresh)
	run, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.work.Go(func() { n.member.run(run) })
	n.work.Go(func() { n.member.record(run) })
	n.work.Go(func() { n.repair.Run(run) })
	n.work.Go(func() { n.owing.Run(run) })
	if !n.cfg.World.NoExchange {
		n.work.Go(func() { n.logs.Run(run) })
	}
	return nil
}

// setAddrs settles what others are told of this node's addresses.
func (n *Node) setAddrs(httpAddr string) (err error) {
	if n.addrs.RPC, err = n.adv.resolve(n.adv.rpc, n.rpc.Addr()); err != nil {
		return err
	}
	if n.addrs.HTTP, err = n.adv.resolve(n.adv.http, httpAddr); err != nil {
		return err
	}
	n.addrs.Gossip = n.adv.gossip
	if n.adv.gossip == "" && n.adv.host != "" {
		_, port, err := net.SplitHostPort(n.cfg.Gossip)
		if err != nil {
			return err
		}
		if port != "0" { // a free port is known only once the cluster has bound it
			n.addrs.Gossip = net.JoinHostPort(n.adv.host, port)
		}
	}
	return nil
}

// onReplaced stops serving: another incarnation has this node's place, so this one's disk is out of date for good.
func (n *Node) onReplaced(by ring.ID) {
	n.replaced.Store(true)
	n.fail(fmt.Errorf("another incarnation (%s) has taken the place of %q: this data directory is out of date; start this node under another name, or with an empty directory", by.Short(), n.cfg.Name))
}

// onRemoved stops serving: this incarnation was taken out of the ring, or has left it.
func (n *Node) onRemoved(why string) {
	n.replaced.Store(true)
	n.fail(errors.New(why))
}

func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Failed delivers the reason why the node must be stopped, if ever there is one.
func (n *Node) Failed() <-chan error { return n.failed }

// Ready reports whether the node may answer key requests, and if not, why.
func (n *Node) Ready() (bool, string) {
	switch {
	case n.draining.Load():
		return false, "shutting down"
	case n.replaced.Load():
		return false, "another node has taken this one's place"
	}
	if !n.started() {
		return false, errNotStarted.Error()
	}
	if ok, reason := n.cluster.Ready(); !ok {
		return false, reason
	}
	if n.member.View().Rings == nil {
		return false, "no cluster has been met yet"
	}
	if n.shared.missing() {
		return false, "this node's disk is new, and nobody has told it the properties of buckets yet"
	}
	return true, ""
}

// WaitReady blocks until the node was ready once, or ctx ends.
func (n *Node) WaitReady(ctx context.Context) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if ok, _ := n.Ready(); ok {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Drain makes the node refuse new requests, of clients and those that other nodes hand over; those that run go on.
func (n *Node) Drain() {
	n.draining.Store(true)
	n.coord.Drain()
}

// Close leaves gossip (not the ring: ownership stays), ends what runs and closes the disk. ctx bounds the goodbye. A
// second Close returns what the first one did.
func (n *Node) Close(ctx context.Context) error {
	n.Drain()
	n.closing.Do(func() { n.closed = n.close(ctx) })
	return n.closed
}

func (n *Node) close(ctx context.Context) error {
	select {
	case <-n.clusterUp:
		if err := n.cluster.Stop(ctx); err != nil {
			n.log.Warn("leaving gossip", "err", err)
		}
	default:
	}
	n.stop()
	n.work.Wait()
	n.rpc.Close()
	return n.store.Close()
}

// Name is the node's name, Addrs where others reach it, MaxValue the largest value it takes, in bytes.
func (n *Node) Name() string { return n.cfg.Name }

// Addrs returns the addresses that others are told.
func (n *Node) Addrs() ring.Addrs { return n.addrs }

// MaxValue returns the largest value in bytes that a write may carry.
func (n *Node) MaxValue() int { return n.cfg.MaxValue }

// Registry returns the node's metrics.
func (n *Node) Registry() *prometheus.Registry { return n.reg }

// Faults returns the fault matrix, nil unless faults are allowed.
func (n *Node) Faults() *fault.Matrix {
	if !n.cfg.AllowFaults {
		return nil
	}
	return n.faults
}
