package node

import (
	"fmt"

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
	for _, row := range n.cluster.Table().Present() {
		m := MemberView{Name: row.Name, ID: row.ID.String(), Zone: row.Zone, Weight: row.Weight, Status: row.State.String(),
			Liveness: n.liveness(v, row.ID).String(), Gaining: row.Gaining(), HTTP: row.Addrs.HTTP, RPC: row.Addrs.RPC,
			Gossip: row.Addrs.Gossip, Partitions: counts[row.ID], Behind: n.coord.Missed(row.ID), LastSeen: n.rpc.Health(row.ID).LastOK}
		if row.Gaining() {
			out.Layout.Settled = false
			out.Layout.Waiting = row.Name + " has an empty disk in its predecessor's place: it takes writes and does not count for reads"
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
