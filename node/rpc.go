package node

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/repair"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
)

// The kinds of message beside the coordinator's (1 to 5, 10 and 11), log exchange's (6 to 9, and 15) and those of hand-offs (12 to 14): bucket properties, and the cluster's own from kindCluster+1.
const (
	kindShared  transport.Kind = 31
	kindCluster transport.Kind = 32
)

// statusFailed answers a membership request that failed here; the body says why.
const statusFailed = transport.StatusApp

// register binds every kind of message to its handler. The cluster may not have started yet: then it refuses.
func (n *Node) register() {
	n.rpc.Handle(coordinator.KindWrite, transport.ClassWrite, n.coord.ServeWrite)
	n.rpc.Handle(coordinator.KindRepair, transport.ClassWrite, n.coord.ServeWrite)
	n.rpc.Handle(coordinator.KindRead, transport.ClassRead, n.coord.ServeRead)
	n.rpc.Handle(coordinator.KindForward, transport.ClassOther, n.coord.ServeForward)
	n.rpc.Handle(coordinator.KindStand, transport.ClassWrite, n.coord.ServeStand)
	n.rpc.Handle(coordinator.KindStandRead, transport.ClassRead, n.coord.ServeStandRead)
	n.rpc.Handle(coordinator.KindHello, transport.ClassOther, n.coord.ServeHello)
	for _, kind := range []transport.Kind{repair.KindCompare, repair.KindOpen, repair.KindPage, repair.KindEnd, repair.KindShow} {
		n.rpc.Handle(kind, transport.ClassOther, n.logs.Serve)
	}
	for _, kind := range []transport.Kind{repair.KindHandOff, repair.KindSettle, repair.KindHolding} {
		n.rpc.Handle(kind, transport.ClassOther, n.owing.Serve)
	}
	n.rpc.Handle(kindShared, transport.ClassOther, n.serveShared)
	for k := uint8(1); k <= cluster.MaxKind; k++ {
		n.rpc.Handle(kindCluster+transport.Kind(k), transport.ClassOther, func(req transport.Request) { n.serveCluster(k, req) })
	}
}

func (n *Node) serveCluster(kind uint8, req transport.Request) {
	select {
	case <-n.clusterUp:
	default:
		req.Reply(statusFailed, []byte("starting"))
		return
	}
	resp, err := n.cluster.HandleRPC(kind, req.From, req.Body)
	if err != nil {
		req.Reply(statusFailed, []byte(err.Error()))
		return
	}
	req.Reply(transport.StatusOK, resp)
}

func (n *Node) serveShared(req transport.Request) {
	news, err := n.shared.join(req.Body)
	if err != nil {
		req.Reply(statusFailed, []byte(err.Error()))
		return
	}
	req.Reply(transport.StatusOK, news)
}

// Call implements cluster.Caller.
func (n *Node) Call(ctx context.Context, to ring.ID, kind uint8, body []byte) ([]byte, error) {
	return answer(n.rpc.Call(ctx, to, kindCluster+transport.Kind(kind), body))
}

// CallAddr implements cluster.Caller.
func (n *Node) CallAddr(ctx context.Context, addr string, kind uint8, body []byte) ([]byte, ring.ID, error) {
	resp, from := n.rpc.CallAddr(ctx, addr, kindCluster+transport.Kind(kind), body)
	b, err := answer(resp)
	return b, from, err
}

func answer(r transport.Response) ([]byte, error) {
	switch {
	case r.Err != nil:
		return nil, r.Err
	case r.Status == transport.StatusOK:
		return r.Body, nil
	case r.Status == statusFailed:
		return nil, fmt.Errorf("node: the peer answered: %s", r.Body)
	}
	return nil, fmt.Errorf("node: the peer answered: %v", r.Status)
}
