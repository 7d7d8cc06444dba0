package node

import "context"

// Leave begins this node's leaving: what it holds goes to the other members, and when they have it, Failed delivers ErrLeft. It returns when the wish is on disk; a
// member proposes it when no other change is under way. A second call changes nothing. ErrLastMember, ErrJoining, and an error before Start has returned.
func (n *Node) Leave(context.Context) error {
	if !n.started() {
		return errNotStarted
	}
	return n.cluster.Leave()
}

// Remove takes a member out of the ring that has stopped for good. ErrUnknownMember, ErrMemberAlive (one that answers, without force), ErrLastMember, and an error before
// Start has returned.
func (n *Node) Remove(ctx context.Context, name string, force bool) error {
	if !n.started() {
		return errNotStarted
	}
	return n.cluster.Remove(ctx, name, force)
}

// started says whether cluster is set.
func (n *Node) started() bool {
	select {
	case <-n.clusterUp:
		return true
	default:
		return false
	}
}

// checkLeft ends this node when it has left and nothing of it is needed: no live layout knows it as an owner, it has dropped what it owned after showing it, and
// what it kept for others is delivered. It goes on coordinating, as a node that owns nothing, until it is closed.
func (n *Node) checkLeft() {
	v := n.member.View()
	if v.Rings == nil || n.left || n.replaced.Load() || !v.Rings.MayExit(v.Self) || !n.logs.Dropped() || n.owing.Kept() > 0 {
		return
	}
	if err := n.cluster.Left(); err != nil {
		n.log.Error("that this node has left is not recorded yet", "err", err)
		return
	}
	n.left = true
	n.fail(ErrLeft)
}
