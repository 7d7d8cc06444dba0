package node

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
)

// Cluster is this node's view of its cluster. Members are sorted by name; who has left, was removed or replaced is
// not in it.
func (n *Node) Cluster() ClusterView {
	v := n.member.View()
	out := ClusterView{Cluster: n.cfg.Cluster, Self: n.cfg.Name, Partitions: n.cfg.Partitions, Members: []MemberView{}}
	counts := make(map[ring.ID]int)
	if v.Rings != nil {
		out.Partitions = v.Layout.Partitions()
		for _, c := range v.Layout.Counts(n.cfg.N) {
			counts[c.Member.ID] = c.Partitions
		}
	}
	select {
	case <-n.clusterUp:
	default:
		return out
	}
	progress := n.logs.Progress()
	out.CatchUp = CatchUpView{Remaining: progress.Remaining, Rate: math.Round(progress.Rate)}
	out.Repairs, out.Hedges = n.readViews()
	out.Layout = n.layoutView(v)
	var gaining []ring.ID
	if v.Rings != nil {
		gaining = v.Rings.Unsynced()
	}
	for _, row := range n.cluster.Table().Present() {
		m := MemberView{Name: row.Name, ID: row.ID.String(), Zone: row.Zone, Weight: row.Weight, Status: row.State.String(),
			Liveness: n.liveness(v, row.ID).String(), Gaining: slices.Contains(gaining, row.ID), HTTP: row.Addrs.HTTP, RPC: row.Addrs.RPC,
			Gossip: row.Addrs.Gossip, Partitions: counts[row.ID], LastSeen: n.rpc.Health(row.ID).LastOK}
		m.Behind, m.Since = n.behind(row.ID)
		m.Handoffs = n.handOffs(v.Self, row.ID)
		out.Members = append(out.Members, m)
	}
	return out
}

// layoutView is how far the ring's change is, if one is under way.
func (n *Node) layoutView(v *coordinator.View) LayoutView {
	if v.Rings == nil {
		return LayoutView{}
	}
	out := LayoutView{Settled: v.Rings.Settled(), Live: len(v.Rings.Live())}
	if top, ok := v.Rings.Top(); ok {
		out.Version = top.Hash().String()
	}
	if out.Settled {
		return out
	}
	moved := n.logs.Progress()
	p := ProgressView{Bytes: moved.Bytes, Remaining: moved.Remaining}
	if p.Done, p.Of = v.Rings.Progress(); p.Of > 0 {
		p.Percent = math.Floor(1000*float64(p.Done)/float64(p.Of)) / 10
	}
	out.Progress = &p
	for _, w := range v.Rings.Waits() {
		view := WaitView{What: w.What, For: make([]string, 0, len(w.For))}
		for _, id := range w.For {
			name := id.Short()
			if p, known := v.Peers[id]; known {
				name = p.Name
			}
			view.For = append(view.For, name)
		}
		out.Waiting = append(out.Waiting, view)
	}
	return out
}

// handOffs is what a member keeps for owners that it stood in for.
func (n *Node) handOffs(self, id ring.ID) (v HandoffsView) {
	if id == self {
		held := n.store.HandOffs()
		return HandoffsView{Count: held.Count, Bytes: held.Bytes}
	}
	v.Count, v.Bytes = n.owing.Holding(id)
	return v
}

// readViews is what reads have done beside answering.
func (n *Node) readViews() (RepairsView, HedgesView) {
	s := &n.coord.Stats
	r := RepairsView{Minority: s.Repairs.Minority()}
	succeeded := map[quorum.Cause]*int64{quorum.Older: &r.Stale, quorum.Absent: &r.Absent, quorum.Siblings: &r.Siblings, quorum.Vector: &r.Vector}
	s.Repairs.Each(func(cause quorum.Cause, outcome string, count int64) {
		switch outcome {
		case "ok":
			*succeeded[cause] += count
		case "unneeded":
			r.Unneeded += count
		case "failed":
			r.Failed += count
		case "dropped":
			r.Dropped += count
		}
	})
	return r, HedgesView{Sent: s.Hedges.Load(), Won: s.HedgesWon.Load(), Suppressed: s.HedgesSuppressed.Load()}
}

// liveness is what gossip says, except that nobody is alive here whom this node's own calls do not reach: requests count such a
// peer as down, and whoever waits for everybody to be back, as in a rolling restart, must not go on.
func (n *Node) liveness(v *coordinator.View, id ring.ID) cluster.Liveness {
	l := n.cluster.Liveness(id)
	if l == cluster.Alive && v.Peers[id].Down {
		return cluster.Suspect
	}
	return l
}

// behind is how many versions a member is known to lack, and since when: by the last comparison of clocks, and by this node's own writes since.
func (n *Node) behind(id ring.ID) (int, time.Time) {
	compared, since := n.logs.Lag(id)
	missed, first := n.coord.Missed(id)
	if since.IsZero() {
		since = first
	}
	return int(min(compared, math.MaxInt32)) + missed, since
}

// Ring tells where a key lives. n of 0 is the bucket's.
func (n *Node) Ring(bucket, key string, replicas int) (RingView, error) {
	v := n.member.View()
	if v.Rings == nil {
		return RingView{}, fmt.Errorf("node: %w: no cluster has been met yet", errNotStarted)
	}
	if replicas == 0 {
		p, _ := n.Bucket(bucket)
		replicas = p.N
	}
	p := ring.PartitionOf(ring.Hash(bucket, key), v.Layout.Partitions())
	out := RingView{Partition: int(p), N: replicas, Owners: []string{}, Fallbacks: []string{}}
	for _, id := range v.Layout.Owners(p, replicas) {
		out.Owners = append(out.Owners, v.Peers[id].Name)
	}
	for _, id := range v.Layout.Fallbacks(p, replicas) {
		out.Fallbacks = append(out.Fallbacks, v.Peers[id].Name)
	}
	return out, nil
}
