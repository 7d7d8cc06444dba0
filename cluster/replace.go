package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// takePlace gives this node the place of a namesake that answers neither gossip nor a call. A namesake that never owned anything is replaced in the table alone. Else the
// layout changes, and only members may change it: this node, if it owns already, or one that it asks.
func (c *Cluster) takePlace(other ring.Member) error {
	v := c.held.View()
	switch {
	case claim(v, other.ID) == 0:
		return c.updateTable(func(own ring.Table) (ring.Table, error) { return supplanted(own, c.cfg.member(), other) })
	case v.Member(c.cfg.ID):
		return c.say(func(v *layouts.View) (layouts.State, error) { return replacement(v, c.cfg.ID, c.Self(), other.ID) })
	}
	return c.askForPlace(other)
}

// supplanted is the table after self took the name of other, which was joining.
func supplanted(t ring.Table, self, other ring.Member) (ring.Table, error) {
	other.State, other.ReplacedBy = ring.Replaced, self.ID
	t, err := t.With(other)
	if err != nil {
		return ring.Table{}, err
	}
	return t.With(self)
}

var errPlaceTaken = errors.New("cluster: the place is not free")

// replacement is the state in which self, a member, has given the place of an incarnation to another of its name.
func replacement(v *layouts.View, self ring.ID, to ring.Member, old ring.ID) (layouts.State, error) {
	was, known := v.Row(old)
	now, has := v.Row(to.ID)
	switch {
	case !known || was.Name != to.Name || old == to.ID:
		return v.State(), fmt.Errorf("%w: %s has none under this name", errPlaceTaken, old.Short())
	case has && now.Standing != layouts.Owns:
		return v.State(), fmt.Errorf("%w: %s is gone itself", errPlaceTaken, to.ID.Short())
	case was.Standing == layouts.Replaced && !has:
		return v.State(), fmt.Errorf("%w: another incarnation has it", errPlaceTaken)
	case !has:
		now = rowOf(to)
	}
	was.Standing = layouts.Replaced
	return v.Propose(self, was, now)
}

// rowOf is the row of a member that comes to own.
func rowOf(m ring.Member) layouts.Row {
	return layouts.Row{ID: m.ID, Standing: layouts.Owns, Name: m.Name, Zone: m.Zone, Weight: m.Weight}
}

// askForPlace asks one live member, and the next time another, to give this node the place of its namesake.
func (c *Cluster) askForPlace(other ring.Member) error {
	var members []ring.Member
	for _, id := range c.held.View().Members() {
		if m, ok := c.Table().Get(id); ok && id != other.ID && m.Addrs.RPC != "" && c.Liveness(id) == Alive {
			members = append(members, m)
		}
	}
	if len(members) == 0 {
		return errors.New("no member answers that could change the ring")
	}
	to := members[c.asked%len(members)]
	c.asked++
	row, err := ring.NewTable(c.cfg.ClusterName, c.Table().Partitions())
	if err == nil {
		row, err = row.With(c.cfg.member())
	}
	if err != nil {
		return err
	}
	// Time for the answer, and before that for the member's own attempt to reach the other.
	ctx, cancel := context.WithTimeout(c.ctx, 2*c.cfg.Timing.Call)
	defer cancel()
	body, err := c.callNode(ctx, to.ID, to.Addrs.RPC, KindChange, changeRequest{Old: other.ID, Row: row}.encode())
	if err != nil {
		return fmt.Errorf("%s: %w", to.Name, err)
	}
	r, err := decodeChangeReply(body)
	if err == nil {
		err = c.merge(r.Knows, true)
	}
	if err == nil && r.Why != "" {
		err = errors.New(r.Why)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", to.Name, err)
	}
	return nil
}

// handleChange is the side of the member that is asked: it sees for itself whether the old incarnation answers.
func (c *Cluster) handleChange(from ring.ID, req changeRequest) (changeReply, error) {
	row, ok := req.Row.Get(from)
	if !ok {
		return changeReply{}, fmt.Errorf("%w: %s asks for another", ErrCorrupt, from.Short())
	}
	refuse := func(format string, args ...any) (changeReply, error) {
		return changeReply{Why: fmt.Sprintf(format, args...), Knows: c.knows()}, nil
	}
	if c.empty() {
		return refuse("it belongs to no cluster yet")
	}
	if err := c.merge(knowledge{table: req.Row}, false); err != nil {
		return refuse("%v", err)
	}
	old, ok := c.Table().Get(req.Old)
	if live := c.Liveness(req.Old); !ok || live != Dead || c.answers(old) {
		return refuse("it does not hold the former %s for dead", row.Name)
	}
	// Any error of a change means that it cannot be now; the disk's would show in other ways.
	err := c.say(func(v *layouts.View) (layouts.State, error) { return replacement(v, c.cfg.ID, row, req.Old) })
	if err != nil {
		return refuse("%v", err)
	}
	c.log.Warn("gave the place of a member that does not answer to another of its name: its disk is held for lost",
		"name", row.Name, "old", req.Old.Short(), "new", from.Short())
	return changeReply{Knows: c.knows()}, nil
}

// callContext is what bounds one call.
func (c *Cluster) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(c.cfg.Timing.Call, time.Millisecond))
}
