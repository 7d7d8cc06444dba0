package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
)

// answerTTL is how long an answer to a probe counts as recent. Probes go out every Timing.RejoinSoon, so several were lost when it runs out.
const answerTTL = 3 * time.Second

// founder is the driver of this node's part in a founding: as proposer in stepFounding, called by the membership goroutine
// alone, and as voter in handleVote.
type founder struct {
	since time.Time // when the number of those who answered last changed
	count int
	retry time.Time
	round uint64 // the highest round seen

	voting sync.Mutex // held over decision and save of a vote
	vote   vote
}

// stepFounding brings a node without a table nearer to one.
func (c *Cluster) stepFounding() {
	if len(c.cfg.Join) == 0 {
		c.setWaiting(c.foundAlone())
		return
	}
	f, now := &c.found, time.Now()
	voters := c.join.recent(now.Add(-answerTTL))
	if len(voters) != f.count {
		f.count, f.since = len(voters), now
	}
	v := foundView{
		self: sighting{ID: c.cfg.ID, Name: c.cfg.Name, Empty: true}, size: c.join.electorate().Size,
		since: f.since, retry: f.retry, now: now, timing: c.cfg.Timing,
	}
	for _, h := range voters {
		v.answered = append(v.answered, sighting{ID: h.ID, Name: h.Name, Empty: h.Empty})
	}
	propose, reason := mayPropose(v)
	c.setWaiting(reason)
	if !propose {
		return
	}
	if err := c.propose(voters); err != nil {
		c.log.Info("founding not decided yet", "err", err)
		f.retry = time.Now().Add(time.Duration(float64(c.cfg.Timing.Turn) * (0.5 + c.cfg.Rand())))
	}
}

// foundAlone makes a cluster of one, and returns why it could not.
func (c *Cluster) foundAlone() string {
	err := c.update(func(own ring.Table) (ring.Table, error) {
		if own.Len() > 0 {
			return own, nil
		}
		return foundingTable(c.cfg.ClusterName, c.cfg.Partitions, []ring.Member{c.cfg.member()})
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

// propose runs one ballot: promises, then acceptances, then the decided table to all.
func (c *Cluster) propose(voters []hello) error {
	c.found.voting.Lock()
	c.found.round = max(c.found.round, c.found.vote.Promised.Round) + 1
	c.found.voting.Unlock()

	b := ballot{Round: c.found.round, By: c.cfg.ID}
	promised, rows, err := c.ballotPhase(voters, KindPropose, acceptRequest{Ballot: b})
	if err != nil {
		return err
	}
	value := promised.value
	if len(value) == 0 {
		t, err := foundingTable(c.cfg.ClusterName, c.cfg.Partitions, rows)
		if err != nil {
			return err
		}
		value = t.Encode()
	}
	if _, _, err := c.ballotPhase(voters, KindAccept, acceptRequest{Ballot: b, Value: value}); err != nil {
		return err
	}
	t, err := ring.DecodeTable(value)
	if err != nil {
		return fmt.Errorf("decided table: %w", err)
	}
	if err := c.merge(t, true); err != nil {
		return err
	}
	c.log.Info("cluster founded", "cluster", t.Cluster(), "members", t.Len(), "partitions", t.Partitions())
	c.tell(t.Members())
	return nil
}

// ballotPhase sends one request to all voters, this node first: its own vote must be on disk before anyone else hears of the ballot, so that
// it never uses one twice. It returns the rows of those who granted.
func (c *Cluster) ballotPhase(voters []hello, kind uint8, req acceptRequest) (*proposal, []ring.Member, error) {
	own, err := c.handleVote(kind, req)
	if err != nil {
		return nil, nil, err
	}
	p := newProposal(req.Ballot)
	replies := map[ring.ID]voteReply{c.cfg.ID: own}
	var mu sync.Mutex
	c.each(len(voters), c.cfg.Timing.Call, func(ctx context.Context, i int) {
		to := voters[i]
		if to.ID == c.cfg.ID {
			return
		}
		body, err := c.callNode(ctx, to.ID, to.RPC, kind, req.encode())
		if err != nil {
			c.log.Debug("voter not reached", "name", to.Name, "err", err)
			return
		}
		r, err := decodeVoteReply(body)
		if err != nil {
			c.log.Debug("voter not understood", "name", to.Name, "err", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		replies[to.ID] = r
	})
	var rows []ring.Member
	for id, r := range replies {
		if r.Table.Len() > 0 {
			c.mergeHeard(r.Table, true)
			return nil, nil, fmt.Errorf("%s belongs to a cluster already", id.Short())
		}
		c.found.round = max(c.found.round, r.Vote.Promised.Round)
		row, ok := r.Row.Get(id)
		if !r.Granted || !ok {
			continue
		}
		p.grant(id, r.Of, r.Vote)
		rows = append(rows, row)
	}
	if !p.quorum() {
		return nil, nil, fmt.Errorf("%d of %d voters granted ballot %d, which is not enough for every one of them", len(p.granted), len(voters), req.Ballot.Round)
	}
	return p, rows, nil
}

// handleVote is the voter's side of both phases.
func (c *Cluster) handleVote(kind uint8, req acceptRequest) (voteReply, error) {
	f := &c.found
	f.voting.Lock()
	defer f.voting.Unlock()
	if v := c.view.Load(); !v.empty() {
		return voteReply{Table: v.table}, nil
	}
	var next vote
	var granted bool
	if kind == KindAccept {
		if _, err := ring.DecodeTable(req.Value); err != nil {
			return voteReply{}, err
		}
		next, granted = f.vote.accept(req.Ballot, req.Value)
	} else {
		next, granted = f.vote.promise(req.Ballot)
	}
	if granted {
		if err := c.cfg.Storage.SaveMeta(metaVote, next.encode()); err != nil {
			return voteReply{}, fmt.Errorf("cluster: saving a vote: %w", err)
		}
		f.vote = next
	}
	row, err := ring.NewTable(c.cfg.ClusterName, 0)
	if err == nil {
		row, err = row.With(c.cfg.member())
	}
	return voteReply{Granted: granted, Vote: f.vote, Row: row, Of: c.join.electorate()}, err
}

// tell sends this node's table to members at once, beside gossip.
func (c *Cluster) tell(members []ring.Member) {
	body := encodeTable(c.view.Load().table)
	c.each(len(members), c.cfg.Timing.Call, func(ctx context.Context, i int) {
		if members[i].ID == c.cfg.ID {
			return
		}
		if _, err := c.callNode(ctx, members[i].ID, members[i].Addrs.RPC, KindTable, body); err != nil {
			c.log.Debug("table not told", "name", members[i].Name, "err", err)
		}
	})
}
