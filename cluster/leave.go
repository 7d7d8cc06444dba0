package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Why a member cannot leave, or be removed.
var (
	ErrLastMember    = errors.New("cluster: the last member that owns cannot go: nobody would have the data")
	ErrJoining       = errors.New("cluster: a node that is joining owns nothing that it could hand over: stop it, and remove it")
	ErrUnknownMember = errors.New("cluster: no member has that name")
	ErrMemberAlive   = errors.New("cluster: the member answers: let it leave, or force it out")
)

// Leave says that this node wants to go. When it returns nil that is on disk, and the others hear of it: a member proposes it, together with whatever else is wanted, when no other
// change is under way. Then the others fetch what this node holds, and when View.MayExit says so and all is dropped, the node calls Left. Again it does nothing. ErrLastMember, ErrJoining.
func (c *Cluster) Leave() error {
	row, err := Leaving(c.Table(), c.held.View(), c.cfg.ID)
	if err != nil {
		return err
	}
	if err := c.updateRow(row); err != nil {
		return err
	}
	c.Push()
	return nil
}

// Leaving is the row of self that says that it wants to leave.
func Leaving(t ring.Table, v *layouts.View, self ring.ID) (ring.Member, error) {
	row, known := t.Get(self)
	if v == nil || !known || claim(v, self) == 0 {
		return row, ErrJoining
	}
	if row.State >= ring.Leaving {
		return row, nil
	}
	for _, id := range v.Members() {
		other, _ := v.Row(id)
		if m, _ := t.Get(id); id != self && other.Standing == layouts.Owns && m.State < ring.Leaving {
			row.State = ring.Leaving
			return row, nil
		}
	}
	return row, ErrLastMember
}

// lastIfNobody says in this package's words that nobody would own.
func lastIfNobody(s layouts.State, err error) (layouts.State, error) {
	if errors.Is(err, layouts.ErrNobody) {
		err = ErrLastMember
	}
	return s, err
}

// last reports whether nobody but id owns in the top layout.
func last(v *layouts.View, id ring.ID) bool {
	top, ok := v.Top()
	owners := top.Owners()
	return ok && len(owners) == 1 && owners[0] == id
}

var errNeeded = errors.New("cluster: what this member holds is needed yet")

// Left records that this member is gone for good: the others need not look for it any more. Those that run are told before it returns nil, as far as they answer.
func (c *Cluster) Left() error {
	v := c.held.View()
	if v == nil || !v.MayExit(c.cfg.ID) {
		return errNeeded
	}
	c.mu.Lock()
	c.aside, c.left = true, true // the node knows, and need not be told
	c.mu.Unlock()
	row := c.Self()
	row.State = ring.Left
	if err := c.updateRow(row); err != nil {
		return err
	}
	var running []ring.Member
	for _, m := range c.Table().Present() {
		if m.ID != c.cfg.ID && c.Liveness(m.ID) != Dead {
			running = append(running, m)
		}
	}
	c.tell(running)
	return nil
}

// Remove takes a member out of the ring that has stopped for good. It counts once a majority of the members has recorded it, or, with force, at once. A node that was joining
// is only forgotten. It returns when the removal is on disk; again it does nothing.
func (c *Cluster) Remove(ctx context.Context, name string, force bool) error {
	m, ok := c.Table().ByName(name)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok || c.held.View() == nil:
		return fmt.Errorf("%w: %.40q", ErrUnknownMember, name)
	case m.ID == c.cfg.ID:
		return fmt.Errorf("%w: %s is the one that was asked", ErrMemberAlive, name)
	case !force && !c.mute(ctx, m):
		return fmt.Errorf("%w: %s", ErrMemberAlive, name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if claim(c.held.View(), m.ID) == 0 {
		m.State = ring.Removed
		err := c.updateRow(m)
		c.Push()
		return err
	}
	return c.say(func(v *layouts.View) (layouts.State, error) { return removal(v, c.cfg.ID, m.ID, force) })
}

// removal is the state in which self, a member, has removed another.
func removal(v *layouts.View, self, id ring.ID, force bool) (layouts.State, error) {
	row, _ := v.Row(id)
	if last(v, id) {
		return v.State(), ErrLastMember
	}
	standing := layouts.Removed
	if force {
		standing = layouts.Forced
	}
	row.Standing = max(row.Standing, standing)
	return lastIfNobody(v.Propose(self, row))
}

const (
	silenceWait = 5 * time.Second // how long Remove gives gossip to miss a member that does not answer this node
	silencePoll = 200 * time.Millisecond
)

// mute reports whether a member answers neither this node nor gossip. Gossip needs seconds to miss one that has just died, and that is waited for; one that
// answers this node, or that gossip still reaches when silenceWait is over, is not.
func (c *Cluster) mute(ctx context.Context, m ring.Member) bool {
	for late := time.Now().Add(silenceWait); ; {
		switch {
		case c.answersWithin(ctx, m):
			return false
		case c.Liveness(m.ID) != Alive:
			return true
		case ctx.Err() != nil || time.Now().After(late):
			return false
		}
		select {
		case <-time.After(silencePoll):
		case <-ctx.Done():
		}
	}
}

// answersWithin is answers, given up with ctx.
func (c *Cluster) answersWithin(ctx context.Context, m ring.Member) bool {
	ctx, cancel := c.callContext(ctx)
	defer cancel()
	_, err := c.callNode(ctx, m.ID, m.Addrs.RPC, KindTable, nil)
	return err == nil
}
