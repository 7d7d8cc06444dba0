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
	alone bool // the log says that --join names nobody but this node
	retry time.Time
	round uint64 // the highest round seen

	voting sync.Mutex // held over decision and save of a vote
	vote   vote
	since  time.Time // when the electorate's size, or the number of those of it who answered, last changed
	size   int
	count  int
}

// attend notes how many there are, and returns since when there have been so many. voting is held.
func (f *founder) attend(size, count int, now time.Time) time.Time {
	if size != f.size || count != f.count {
		f.size, f.count, f.since = size, count, now
	}
	return f.since
}

// foundView returns what a founding depends on now, and who can be asked. founder.voting is held.
func (c *Cluster) foundView(of electorate, now time.Time) (foundView, []hello) {
	voters := c.join.recent(now.Add(-answerTTL))
	v := foundView{
		self: sighting{ID: c.cfg.ID, Name: c.cfg.Name, Empty: true}, size: of.Size,
		since: c.found.attend(of.Size, len(voters), now), now: now, timing: c.cfg.Timing,
	}
	for _, h := range voters {
		v.answered = append(v.answered, sighting{ID: h.ID, Name: h.Name, Empty: h.Empty})
	}
	return v, voters
}

// stepFounding brings a node without a table nearer to one.
func (c *Cluster) stepFounding() {
	if len(c.cfg.Join) == 0 {
		c.setWaiting(c.foundAlone())
		return
	}
	f := &c.found
	f.voting.Lock()
	v, voters := c.foundView(c.join.electorate(), time.Now())
	f.voting.Unlock()
	v.retry = f.retry
	if v.alone() && !f.alone {
		f.alone = true
		c.log.Info("waiting for members that know this node, before founding a cluster", "for", c.cfg.Timing.Recall)
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
	if !c.empty() {
		return ""
	}
	t, err := foundingTable(c.cfg.ClusterName, c.cfg.Partitions, []ring.Member{c.cfg.member()})
	if err == nil {
		err = c.begin(t)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// begin takes a founding table for the cluster's, and its owners for the first layout.
func (c *Cluster) begin(t ring.Table) error {
	k, err := founded(t)
	if err != nil {
		return err
	}
	return c.merge(k, true)
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
	if err := c.begin(t); err != nil {
		return err
	}
	c.log.Info("cluster founded", "cluster", t.Cluster(), "members", t.Len(), "partitions", t.Partitions())
	c.tell(t.Members())
	return nil
}

// ballotPhase sends one request to all voters, this node first: its own vote must be on disk before anyone else hears of the ballot, so that
// it never uses one twice. Where lists differ, as in a circle of nodes that name one another, it goes on to those that the voters name in
// turn. It returns the rows of those who granted.
func (c *Cluster) ballotPhase(voters []hello, kind uint8, req acceptRequest) (*proposal, []ring.Member, error) {
	own, err := c.handleVote(kind, req)
	if err != nil {
		return nil, nil, err
	}
	p := newProposal(req.Ballot)
	replies := map[ring.ID]voteReply{c.cfg.ID: own}
	asked := map[ring.ID]bool{c.cfg.ID: true}
	for next := voters; len(next) > 0; next = c.named(replies, asked) {
		for _, to := range next {
			asked[to.ID] = true
		}
		c.callVoters(next, kind, req, replies)
	}
	var rows []ring.Member
	for id, r := range replies {
		if r.Knows.table.Len() > 0 {
			c.mergeHeard(r.Knows, true)
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
		return nil, nil, fmt.Errorf("%d of %d voters granted ballot %d, which is not enough for every one of them", len(p.granted), len(asked), req.Ballot.Round)
	}
	return p, rows, nil
}

// named returns whom the voters that replied name and nobody has asked yet, as far as gossip knows where they are.
func (c *Cluster) named(replies map[ring.ID]voteReply, asked map[ring.ID]bool) []hello {
	wanted := map[ring.ID]bool{}
	for _, r := range replies {
		for _, id := range r.Of.IDs {
			wanted[id] = wanted[id] || !asked[id]
		}
	}
	var next []hello
	for _, p := range c.peers.all() {
		if wanted[p.meta.ID] && len(asked)+len(next) < MaxJoin {
			wanted[p.meta.ID] = false
			next = append(next, hello{ID: p.meta.ID, Name: p.name(), RPC: p.meta.RPC})
		}
	}
	return next
}

// callVoters adds the replies of those who answer.
func (c *Cluster) callVoters(voters []hello, kind uint8, req acceptRequest, replies map[ring.ID]voteReply) {
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
}

// handleVote is the voter's side of both phases. A voter that recalls grants nothing: the cluster that it may have forgotten must not be founded again with its help.
func (c *Cluster) handleVote(kind uint8, req acceptRequest) (voteReply, error) {
	f := &c.found
	f.voting.Lock()
	defer f.voting.Unlock()
	if !c.empty() {
		return voteReply{Knows: c.knows()}, nil
	}
	of := c.join.electorate()
	v, _ := c.foundView(of, time.Now())
	var next vote
	var granted bool
	switch {
	case v.recalls():
	case kind == KindAccept:
		if _, err := ring.DecodeTable(req.Value); err != nil {
			return voteReply{}, err
		}
		next, granted = f.vote.accept(req.Ballot, req.Value)
	default:
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
	return voteReply{Granted: granted, Vote: f.vote, Row: row, Of: of}, err
}

// tell sends what this node knows to members at once, beside gossip, and waits for their answers.
func (c *Cluster) tell(members []ring.Member) {
	body := c.Knowledge()
	c.each(len(members), c.cfg.Timing.Call, func(ctx context.Context, i int) {
		if members[i].ID == c.cfg.ID {
			return
		}
		if _, err := c.callNode(ctx, members[i].ID, members[i].Addrs.RPC, KindTable, body); err != nil {
			c.log.Debug("member not told", "name", members[i].Name, "err", err)
		}
	})
}
