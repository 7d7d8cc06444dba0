package cluster

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/ring"
)

// joins is what is known of the members that --join names. Its methods are safe for concurrent use.
type joins struct {
	self     sighting
	selfAddr string // this node's gossip address
	names    []string

	mu       sync.Mutex
	resolved map[string][]string // name → gossip addresses at the last look-up that succeeded
	seen     map[string]seen     // address → who answered there last
	nonces   map[uint64]string   // of the probes under way → the address asked
}

// seen is one answer to a probe.
type seen struct {
	hello
	at time.Time
}

// maxNonces bounds the probes whose answers are waited for; beyond it older ones are forgotten and asked again.
const maxNonces = 1024

func newJoins(self sighting, selfAddr string, names []string) *joins {
	return &joins{
		self: self, selfAddr: selfAddr, names: names,
		resolved: make(map[string][]string), seen: make(map[string]seen), nonces: make(map[uint64]string),
	}
}

// resolvedTo records a look-up. Of all names together at most MaxJoin addresses are kept.
func (j *joins) resolvedTo(name string, addrs []netip.AddrPort) {
	j.mu.Lock()
	defer j.mu.Unlock()
	room := MaxJoin
	for other, list := range j.resolved {
		if other != name {
			room -= len(list)
		}
	}
	list := make([]string, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, a.String())
	}
	slices.Sort(list)
	list = slices.Compact(list)
	j.resolved[name] = list[:max(0, min(len(list), room))]
	for addr := range j.seen {
		if !slices.Contains(j.addrsLocked(), addr) {
			delete(j.seen, addr)
		}
	}
}

func (j *joins) addrsLocked() []string {
	var all []string
	for _, name := range j.names {
		all = append(all, j.resolved[name]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// addrs returns the distinct addresses that --join names, but for this node's own, and who answered there last.
func (j *joins) addrs() map[string]ring.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make(map[string]ring.ID)
	for _, addr := range j.addrsLocked() {
		if id := j.seen[addr].ID; addr != j.selfAddr && id != j.self.ID {
			out[addr] = id
		}
	}
	return out
}

// expect notes that the next answer to nonce comes from addr.
func (j *joins) expect(nonce uint64, addr string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.nonces) >= maxNonces {
		clear(j.nonces)
	}
	j.nonces[nonce] = addr
}

// answered takes the answer to a probe, and reports whether it told something new.
func (j *joins) answered(p probe, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	addr, ok := j.nonces[p.Nonce]
	if !ok {
		return false
	}
	delete(j.nonces, p.Nonce)
	was := j.seen[addr]
	j.seen[addr] = seen{p.From, now}
	return was.hello != p.From
}

// nameAt returns the name of the node that answered at a gossip address.
func (j *joins) nameAt(addr string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[addr].Name
}

// electorate returns the members that --join names as far as they are known. A name that never resolved and an address that
// never answered count as one member each, so Size is never below the true number while the names resolve to all of them.
func (j *joins) electorate() electorate {
	j.mu.Lock()
	defer j.mu.Unlock()
	of := electorate{Size: 1, IDs: []ring.ID{j.self.ID}}
	for _, name := range j.names {
		if _, ok := j.resolved[name]; !ok && of.Size < MaxJoin {
			of.Size++
		}
	}
	for _, addr := range j.addrsLocked() {
		s, ok := j.seen[addr]
		switch {
		case addr == j.selfAddr || ok && slices.Contains(of.IDs, s.ID):
		case ok:
			of.IDs = append(of.IDs, s.ID)
			of.Size++
		default:
			of.Size++
		}
	}
	slices.SortFunc(of.IDs, ring.ID.Compare)
	return of
}

// recent returns who of the electorate answered since a time, this node included, and how to call them, ordered by ID.
func (j *joins) recent(since time.Time) []hello {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []hello{{ID: j.self.ID, Name: j.self.Name, Empty: j.self.Empty}}
	for _, addr := range j.addrsLocked() {
		if s, ok := j.seen[addr]; ok && s.ID != j.self.ID && !s.at.Before(since) {
			list = append(list, s.hello)
		}
	}
	slices.SortFunc(list, func(a, b hello) int { return a.ID.Compare(b.ID) })
	return slices.CompactFunc(list, func(a, b hello) bool { return a.ID == b.ID })
}

// rejoinView is what decides whom to join again.
type rejoinView struct {
	self   ring.ID
	table  ring.Table
	live   func(ring.ID) Liveness
	named  map[string]ring.ID // --join address → who answered there last, zero if nobody did
	heard  []string           // gossip addresses of who sent a packet to a node that nobody else of its --join has answered
	hungry bool               // the node has no table: it asks every named address again and again
}

// rejoinTargets returns the gossip addresses (host:port) of every absent member, of every named address behind which nobody is
// known to be alive, and of whoever was heard, in order. It never gives one up: that is what heals a split.
func rejoinTargets(v rejoinView) []string {
	var targets []string
	for _, m := range v.table.Present() {
		if m.ID != v.self && m.Addrs.Gossip != "" && v.live(m.ID) == Dead {
			targets = append(targets, m.Addrs.Gossip)
		}
	}
	for addr, id := range v.named {
		if v.hungry || id.IsZero() || v.live(id) == Dead {
			targets = append(targets, addr)
		}
	}
	targets = append(targets, v.heard...)
	slices.Sort(targets)
	return slices.Compact(targets)
}

// maxJoins bounds the joins under way; targets that find no slot free wait for the next round.
const maxJoins = 16

// rejoin keeps joining, for ever.
func (c *Cluster) rejoin() {
	busy := newBusySet(maxJoins)
	for c.sleep(c.rejoinPause()) {
		c.resolveJoin()
		named := c.join.addrs()
		targets := rejoinTargets(rejoinView{
			self: c.cfg.ID, table: c.Table(), live: c.Liveness,
			named: named, heard: c.heard(), hungry: c.empty(),
		})
		// Start anywhere, so that targets beyond the slots get their turn.
		start := int(c.cfg.Rand() * float64(len(targets)))
		for i := range targets {
			target := targets[(start+i)%len(targets)]
			if _, ok := named[target]; ok {
				c.probeAddr(target)
			}
			if busy.begin(target) {
				c.background.Go(func() {
					defer busy.end(target)
					c.joinOnce(target)
				})
			}
		}
	}
}

// heard returns where those are who know a node that knows nobody: without a table, and with a --join list of which nobody else has answered, because it names itself alone, or
// does not resolve, or the others are down. Gossip goes on to its address for a while after it has lost its disk.
func (c *Cluster) heard() []string {
	if !c.empty() || len(c.cfg.Join) == 0 || len(c.join.electorate().IDs) > 1 {
		return nil
	}
	return c.carrier.heard()
}

// busySet is the set of targets being joined: bounded, and each at most once.
type busySet struct {
	limit int
	mu    sync.Mutex
	in    map[string]bool
}

func newBusySet(limit int) *busySet { return &busySet{limit: limit, in: make(map[string]bool)} }

func (b *busySet) begin(target string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in[target] || len(b.in) >= b.limit {
		return false
	}
	b.in[target] = true
	return true
}

func (b *busySet) end(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.in, target)
}

func (c *Cluster) rejoinPause() time.Duration {
	pause := c.cfg.Timing.Rejoin
	if c.empty() {
		pause = c.cfg.Timing.RejoinSoon
	}
	return time.Duration(float64(pause) * (0.7 + 0.6*c.cfg.Rand()))
}

// resolveJoin looks all --join names up again. A name that does not resolve now keeps what it resolved to before.
func (c *Cluster) resolveJoin() {
	var wg sync.WaitGroup
	for _, name := range c.cfg.Join {
		wg.Go(func() {
			addrs, err := c.resolve(c.ctx, name)
			if err != nil {
				c.log.Debug("join", "err", err)
				return
			}
			c.join.resolvedTo(name, addrs)
		})
	}
	wg.Wait()
}

// probeAddr asks who listens at a gossip address; the answer comes as a message.
func (c *Cluster) probeAddr(addr string) {
	nonce := c.nonce.Add(1)
	c.join.expect(nonce, addr)
	ask := probe{Nonce: nonce, ReplyTo: c.gossipAddr, From: c.hello()}
	if err := c.list.SendToAddress(memberlist.Address{Addr: addr}, ask.encode()); err != nil {
		c.log.Debug("probe not sent", "addr", addr, "err", err)
	}
}

// joinOnce exchanges states with whoever listens at the addresses behind target.
func (c *Cluster) joinOnce(target string) {
	addrs, err := c.resolve(c.ctx, target)
	if err != nil {
		c.log.Debug("join", "err", err)
		return
	}
	for _, a := range addrs {
		if _, err := c.list.Join([]string{a.String()}); err != nil {
			c.log.Debug("join failed", "addr", a, "err", err)
		}
	}
}
