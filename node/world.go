package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/transport"
)

// World is what a node takes from its surroundings, beside the disk (Store.FS). The zero value is the real world; a simulator puts
// its own in, and everything else of the node is as it runs in production.
type World struct {
	// Now is the clock that stamps are made of; waits and deadlines follow time's own. nil: time.Now.
	Now func() time.Time
	// Rand draws losses and delays of the fault matrix and jitter, uniform in [0,1); it is called from several goroutines. nil: the
	// runtime's source.
	Rand func() float64
	// Network carries calls between nodes in memory; RPC is then a host:port of it. nil: TCP.
	Network *transport.Network
	// Cluster starts the membership. nil: gossip by package cluster.
	Cluster func(ctx context.Context, cfg cluster.Config) (Cluster, error)
	// NoExchange leaves log exchange out, so that what reads repair, and what counts while a disk is refilled, can be seen alone.
	NoExchange bool
}

// Members is who belongs to the cluster, and who answers. Its methods do not block, but for the disk.
type Members interface {
	Table() ring.Table
	Rings() *layouts.View // nil until this node has founded or met a cluster
	Layout() *ring.Layout
	Knowledge() []byte
	Learn(knowledge []byte) error
	Liveness(id ring.ID) cluster.Liveness
	ClockOffset() (offset time.Duration, peers int)
}

// Cluster is the membership of a running node; *cluster.Cluster has the contracts.
type Cluster interface {
	Members
	Ready() (bool, string)
	Watch(fn func())
	HandleRPC(kind uint8, from ring.ID, body []byte) ([]byte, error)
	GossipAddr() string
	Record(digest uint64) error
	Synced(top layouts.Hash, at []ring.Partition) error
	Leave() error
	Left() error
	Remove(ctx context.Context, name string, force bool) error
	Push()
	Stop(ctx context.Context) error
}

func (w World) withDefaults() World {
	if w.Now == nil {
		w.Now = time.Now
	}
	if w.Rand == nil {
		w.Rand = rand.Float64
	}
	if w.Cluster == nil {
		w.Cluster = func(ctx context.Context, cfg cluster.Config) (Cluster, error) { return cluster.Start(ctx, cfg) }
	}
	return w
}

// endpoint makes the node's end of the calls between nodes.
func (w World) endpoint(cfg transport.Config) (*transport.Endpoint, error) {
	cfg.Rand = w.Rand
	if w.Network != nil {
		return w.Network.New(cfg)
	}
	return transport.New(cfg)
}
