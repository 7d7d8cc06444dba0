package node

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/ring"
)

// Cluster is this node's view of its cluster. Members are sorted by name; who has left, was removed or replaced is
// not in it.
func (n *Node) Cluster() ClusterView {
	v := n.member.View()
	out := ClusterView{Cluster: n.cfg.Cluster, Self: n.cfg.Name, Partitions: n.cfg.Partitions, Members: []MemberView{}}
	counts := make(map[ring.ID]int)
	if v.Layout != nil {
		out.Partitions = v.Layout.Partitions()
		out.Layout.Version = fmt.Sprintf("%016x", v.Hash)
		out.Layout.Settled = true
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
	for _, row := range n.cluster.Table().Present() {
		m := MemberView{Name: row.Name, ID: row.ID.String(), Zone: row.Zone, Weight: row.Weight, Status: row.State.String(),
			Liveness: n.liveness(v, row.ID).String(), Gaining: row.Gaining(), HTTP: row.Addrs.HTTP, RPC: row.Addrs.RPC,
			Gossip: row.Addrs.Gossip, Partitions: counts[row.ID], LastSeen: n.rpc.Health(row.ID).LastOK}
		m.Behind, m.Since = n.behind(row.ID)
		if row.Gaining() {
			out.Layout.Settled = false
			out.Layout.Waiting = n.gainingWaits(row, v.Self, progress.WaitsFor)
		}
		out.Members = append(out.Members, m)
	}
	return out
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

// gainingWaits says, for people, what a member that lost its disk is waiting for. Whom it waits for only itself knows.
func (n *Node) gainingWaits(row ring.Member, self ring.ID, left []ring.ID) string {
	what := row.Name + " took its place with an empty disk and fetches what belongs there: until then it takes writes and does not count for reads"
	if row.ID != self {
		return what
	}
	v := n.member.View()
	var names []string
	for _, id := range left {
		name := v.Peers[id].Name
		if v.Peers[id].Down {
			name += " (down)"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return what
	}
	return what + "; still to come: " + strings.Join(names, ", ")
}

// behind is how many versions a member is known to lack: by the last comparison of clocks, and by this node's own writes since.
func (n *Node) behind(id ring.ID) (int, time.Time) {
	versions, since := n.logs.Lag(id)
	return int(min(versions, math.MaxInt32)) + n.coord.Missed(id), since
}

// Ring tells where a key lives. n of 0 is the bucket's.
func (n *Node) Ring(bucket, key string, replicas int) (RingView, error) {
	v := n.member.View()
	if v.Layout == nil {
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
