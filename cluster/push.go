package cluster

import (
	"sync"
	"time"
)

// Of the sending of the whole state to everyone.
const (
	maxPushes = 16                    // sends under way at one time; a peer that hangs holds one for Timing.DialTimeout
	pushPause = 50 * time.Millisecond // between two rounds, and
	pushEach  = 5 * time.Millisecond  // as much again for each peer: at a hundred peers all of them together take two rounds a second
)

// Push sends all that this node knows, and Extra, to every live peer soon, without waiting; what gets lost comes with the next push/pull. Pushes that come faster than they
// can be sent are one.
func (c *Cluster) Push() { signal(c.push) }

func (c *Cluster) pushes() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.push:
		}
		if !c.sleep(pushPause + time.Duration(c.pushAll())*pushEach) {
			return
		}
	}
}

// pushAll starts a round, and returns how many peers there are. It waits for none of them.
func (c *Cluster) pushAll() int {
	running := c.peers.all()
	if len(running) == 0 {
		return 0
	}
	state := c.localState()
	for _, p := range running {
		if c.out.put(p.node, state) {
			c.background.Go(func() { c.pushTo(p) })
		}
	}
	return len(running)
}

// pushTo sends to one peer until there is nothing newer to send.
func (c *Cluster) pushTo(p peer) {
	for {
		c.out.slots <- struct{}{}
		state := c.out.take(p.node)
		var err error
		if state != nil && c.ctx.Err() == nil {
			err = c.list.SendReliable(p.gossipNode(), state)
		}
		<-c.out.slots
		if err != nil {
			c.log.Debug("push failed", "to", p.name(), "err", err)
		}
		if state == nil {
			return
		}
	}
}

// outbox holds what is to be sent to each peer next: one state, the newest. So a peer that is slow to take it costs one state, and nobody else time.
type outbox struct {
	slots chan struct{}
	mu    sync.Mutex
	next  map[string][]byte // by memberlist's name of the peer; nil: what there was is being sent
}

func newOutbox() *outbox {
	return &outbox{slots: make(chan struct{}, maxPushes), next: make(map[string][]byte)}
}

// put notes what is to be sent, and reports whether somebody has to be started who sends it.
func (o *outbox) put(node string, state []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, busy := o.next[node]
	o.next[node] = state
	return !busy
}

// take returns what is to be sent now. nil: nothing, and whoever sent it to this peer is done.
func (o *outbox) take(node string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.next[node]
	if state == nil {
		delete(o.next, node)
	} else {
		o.next[node] = nil
	}
	return state
}
