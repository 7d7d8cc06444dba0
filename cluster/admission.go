package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
)

// admission is the driver of admissions: coordinator in stepAdmission, called by the membership goroutine alone, and
// member in handlePrepare, handleOutcome and askOutcomes.
type admission struct {
	retry    time.Time
	pause    time.Duration // doubles with every failed round
	dataSeen bool          // a member said that it holds data

	promising sync.Mutex // held over check, freeze and save of a promise, and over its end; taken before mu

	mu        sync.Mutex
	running   attemptID // the round that this node coordinates now and has not decided
	promise   promise
	promised  time.Time
	recovered bool // the promise is from before this start
}

// maxAdmitPause bounds the pause between failed rounds: a member that is cut off answers again some day.
const maxAdmitPause = 10 * time.Second

func (a *admission) held() (p promise, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.promise, a.promised
}

func (a *admission) setRunning(id attemptID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = id
}

func (a *admission) isRunning(id attemptID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running == id
}

// stepAdmission runs a round if there is one to run.
func (c *Cluster) stepAdmission() {
	a, v := &c.admit, c.view.Load()
	joiners := admissible(admitView{
		self: c.cfg.ID, table: v.table, live: c.Liveness,
		hasData: a.dataSeen || c.cfg.HasData(), retry: a.retry, now: time.Now(),
	})
	if p, _ := a.held(); len(joiners) == 0 || p.open() {
		return
	}
	if err := c.admitAll(v, joiners); err != nil {
		a.pause = min(max(2*a.pause, c.cfg.Timing.AdmitRetry), maxAdmitPause)
		a.retry = time.Now().Add(a.pause)
		c.log.Info("admission put off", "joining", len(joiners), "err", err)
		return
	}
	a.pause = 0
}

// admitAll is one round: every owner of the layout freezes and promises; if all do, saving the new table decides.
func (c *Cluster) admitAll(v *view, joiners []ring.Member) error {
	a := &c.admit
	attempt, err := ring.NewID(rand.Reader)
	if err != nil {
		return err
	}
	owners := v.layout.Members()
	a.setRunning(attempt)
	err = c.prepareAll(owners, attemptRequest{Attempt: attempt, Base: v.layout.Hash(), Table: v.table})
	if err == nil && c.view.Load().layout.Hash() != v.layout.Hash() {
		err = errors.New("the layout has changed meanwhile")
	}
	for err == nil {
		// All have promised. Whether a save that failed is on disk nobody knows, so there is no way back from here.
		failed := c.update(func(own ring.Table) (ring.Table, error) { return activated(own, joiners) })
		if failed == nil {
			break
		}
		c.log.Error("admission not saved, trying again", "err", failed)
		if !c.sleep(c.cfg.Timing.AdmitRetry) {
			return failed
		}
	}
	a.setRunning(attemptID{})
	c.endAttempt(attempt, append(owners[:len(owners):len(owners)], joiners...))
	return err
}

// activated is the table with the joiners as members.
func activated(own ring.Table, joiners []ring.Member) (ring.Table, error) {
	for _, m := range joiners {
		row, ok := own.Get(m.ID)
		if !ok || row.State != ring.Joining {
			continue
		}
		row.State = ring.Active
		var err error
		if own, err = own.With(row); err != nil {
			return ring.Table{}, err
		}
	}
	return own, nil
}

// prepareAll asks every owner, and returns nil if all agreed.
func (c *Cluster) prepareAll(owners []ring.Member, req attemptRequest) error {
	errs := make([]error, len(owners))
	var mu sync.Mutex // over dataSeen
	c.each(len(owners), c.cfg.Timing.Call+c.cfg.Timing.Freeze, func(ctx context.Context, i int) {
		r, err := c.prepareOne(ctx, owners[i], req)
		if err != nil {
			errs[i] = fmt.Errorf("%s: %w", owners[i].Name, err)
			return
		}
		c.mergeHeard(r.Table, true)
		mu.Lock()
		defer mu.Unlock()
		switch r.Verdict {
		case holdsData:
			c.admit.dataSeen = true
			errs[i] = fmt.Errorf("%s holds data", owners[i].Name)
		case refused:
			errs[i] = fmt.Errorf("%s cannot now", owners[i].Name)
		}
	})
	return errors.Join(errs...)
}

func (c *Cluster) prepareOne(ctx context.Context, to ring.Member, req attemptRequest) (attemptReply, error) {
	if to.ID == c.cfg.ID {
		return c.handlePrepare(to.ID, req)
	}
	body, err := c.callNode(ctx, to.ID, to.Addrs.RPC, KindPrepare, req.encode())
	if err != nil {
		return attemptReply{}, err
	}
	return decodeAttemptReply(body)
}

// endAttempt tells everyone concerned how an attempt ended, which the table says. Who does not hear it will ask.
func (c *Cluster) endAttempt(attempt attemptID, concerned []ring.Member) {
	req := attemptRequest{Attempt: attempt, Table: c.view.Load().table}
	c.each(len(concerned), c.cfg.Timing.Call, func(ctx context.Context, i int) {
		to, err := concerned[i], error(nil)
		if to.ID == c.cfg.ID {
			err = c.settle(attempt)
		} else {
			_, err = c.callNode(ctx, to.ID, to.Addrs.RPC, KindOutcome, req.encode())
		}
		if err != nil {
			c.log.Info("outcome of an admission not told", "name", to.Name, "err", err)
		}
	})
}

// handlePrepare is a member's side of a round.
func (c *Cluster) handlePrepare(from ring.ID, req attemptRequest) (attemptReply, error) {
	if err := c.merge(req.Table, true); err != nil {
		return attemptReply{}, err
	}
	a := &c.admit
	a.promising.Lock()
	defer a.promising.Unlock()
	held, _ := a.held()
	verdict := c.verdictOn(held, req)
	if verdict == agreed && !held.open() {
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timing.Freeze)
		defer cancel()
		if err := c.cfg.Freezer.Freeze(ctx); err != nil {
			return attemptReply{Verdict: refused}, nil
		}
		// What ran while the freeze waited may have written.
		verdict = c.verdictOn(held, req)
		if verdict != agreed {
			c.cfg.Freezer.Thaw()
		} else if err := c.savePromise(promise{Attempt: req.Attempt, Coordinator: from}); err != nil {
			c.cfg.Freezer.Thaw()
			return attemptReply{}, err
		}
	}
	return attemptReply{Verdict: verdict, Table: c.view.Load().table}, nil
}

func (c *Cluster) verdictOn(held promise, req attemptRequest) verdict {
	v := c.view.Load()
	if row, ok := v.table.Get(c.cfg.ID); !ok || !row.State.Owns() {
		return refused
	}
	return considerPrepare(held, req.Attempt, req.Base, v.layout.Hash(), c.cfg.HasData())
}

func (c *Cluster) savePromise(p promise) error {
	if err := c.cfg.Storage.SaveMeta(metaPromise, p.encode()); err != nil {
		return fmt.Errorf("cluster: saving a promise: %w", err)
	}
	c.admit.mu.Lock()
	defer c.admit.mu.Unlock()
	c.admit.promise, c.admit.promised, c.admit.recovered = p, time.Now(), false
	return nil
}

// settle ends a promise whose outcome is in the table, and thaws. Without such a promise it does nothing.
func (c *Cluster) settle(attempt attemptID) error {
	a := &c.admit
	a.promising.Lock()
	defer a.promising.Unlock()
	if p, _ := a.held(); !p.open() || p.Attempt != attempt {
		return nil
	}
	if err := c.savePromise(promise{}); err != nil {
		return err
	}
	c.cfg.Freezer.Thaw()
	c.changed()
	return nil
}

// handleOutcome merges first: a member may serve again only under the table that was decided.
func (c *Cluster) handleOutcome(req attemptRequest) error {
	if err := c.merge(req.Table, true); err != nil {
		return err
	}
	return c.settle(req.Attempt)
}

// handleAsk answers whether this node still has to decide an attempt. The table is read after that, so it holds the decision.
func (c *Cluster) handleAsk(req attemptRequest) attemptReply {
	open := c.admit.isRunning(req.Attempt)
	return attemptReply{Open: open, Table: c.view.Load().table}
}

// askOutcomes ends promises whose outcome did not arrive, for ever.
func (c *Cluster) askOutcomes() {
	for c.sleep(c.cfg.Timing.Ask) {
		p, since := c.admit.held()
		if !p.open() || time.Since(since) < c.cfg.Timing.Ask {
			continue
		}
		if err := c.askOutcome(p); err != nil && c.askFailed.allow() {
			c.log.Warn("key requests are held back: the outcome of an admission is not known", "err", err)
		}
	}
}

func (c *Cluster) askOutcome(p promise) error {
	of, ok := successor(c.view.Load().table, p.Coordinator)
	if !ok {
		return fmt.Errorf("nobody to ask instead of %s", p.Coordinator.Short())
	}
	req := attemptRequest{Attempt: p.Attempt}
	if of.ID == c.cfg.ID {
		if c.admit.isRunning(p.Attempt) {
			return nil
		}
		return c.settle(p.Attempt)
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timing.Call)
	defer cancel()
	body, err := c.callNode(ctx, of.ID, of.Addrs.RPC, KindAsk, req.encode())
	if err != nil {
		return fmt.Errorf("%s: %w", of.Name, err)
	}
	r, err := decodeAttemptReply(body)
	if err != nil {
		return fmt.Errorf("%s: %w", of.Name, err)
	}
	if err := c.merge(r.Table, true); err != nil || r.Open {
		return err
	}
	return c.settle(p.Attempt)
}
