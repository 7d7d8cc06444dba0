package fault

import (
	"fmt"
	"math"
	"time"
)

// Direction is the way of a message as the node that applies the rule sees it.
type Direction uint8

// The directions. A message has In or Out; Both is for rules.
const (
	Both Direction = iota
	In
	Out
)

// Kind is what a message is for.
type Kind uint8

// The kinds. A message that is none of the named ones has the kind Any, and only rules for Any concern it.
const (
	Any      Kind = iota
	Gossip        // membership
	Write         // coordinator to replica: a version to keep
	Ack           // and back
	Read          // coordinator to replica: what do you hold
	Response      // and back
)

// Dist is how delays are distributed around their mean.
type Dist uint8

// The distributions.
const (
	Fixed       Dist = iota // always the mean
	Uniform                 // from nothing to twice the mean
	Exponential             // memoryless
)

// Everyone as a rule's peer means every peer.
const Everyone = "*"

// Bounds of rules.
const (
	MaxRules = 1024        // each message is held against every rule
	MaxDelay = time.Minute // the longest deadline of a request; a longer delay is a drop
	maxPeer  = 128         // bytes of a peer's name
)

// Rule says what happens to the messages that it matches. The zero Rule matches nothing and does nothing.
type Rule struct {
	Peer      string // name of the node at the other end, or Everyone
	Direction Direction
	Kind      Kind
	Drop      bool          // no message passes
	Loss      float64       // or this share of them does not, 0 to 1
	Delay     time.Duration // mean of Dist, 0 to MaxDelay
	Dist      Dist
	Repeat    float64 // share of requests that arrive a second time; for simulations, so it has no place in the JSON form
}

// Validate reports what is wrong with a rule. One that does nothing is valid, so that a script may sweep a loss or a delay down to 0.
func (r Rule) Validate() error {
	if r.Peer == "" || len(r.Peer) > maxPeer {
		return fmt.Errorf("fault: peer of %d bytes: want a node's name or %q", len(r.Peer), Everyone)
	}
	if r.Direction > Out {
		return fmt.Errorf("fault: direction %d", r.Direction)
	}
	if r.Kind > Response {
		return fmt.Errorf("fault: kind %d", r.Kind)
	}
	if math.IsNaN(r.Loss) || r.Loss < 0 || r.Loss > 1 {
		return fmt.Errorf("fault: loss %v: want 0 to 1", r.Loss)
	}
	if math.IsNaN(r.Repeat) || r.Repeat < 0 || r.Repeat > 1 {
		return fmt.Errorf("fault: repeat %v: want 0 to 1", r.Repeat)
	}
	if r.Delay < 0 || r.Delay > MaxDelay {
		return fmt.Errorf("fault: delay %v: want 0 to %v", r.Delay, MaxDelay)
	}
	if r.Dist > Exponential {
		return fmt.Errorf("fault: dist %d", r.Dist)
	}
	return nil
}

func (r Rule) matches(peer string, direction Direction, kind Kind) bool {
	return (r.Peer == peer || r.Peer == Everyone) &&
		(r.Direction == direction || r.Direction == Both) &&
		(r.Kind == kind || r.Kind == Any)
}

// delay draws one delay; random is uniform in [0, 1).
func (r Rule) delay(random func() float64) time.Duration {
	switch {
	case r.Delay == 0:
		return 0
	case r.Dist == Uniform:
		return time.Duration(2 * random() * float64(r.Delay))
	case r.Dist == Exponential:
		return time.Duration(-math.Log1p(-random()) * float64(r.Delay))
	}
	return r.Delay
}
