package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// Config is all that an Endpoint needs to know.
type Config struct {
	Cluster string  // nodes of another cluster name are refused; 1 to 255 bytes
	Self    ring.ID // the incarnation that answers here
	Name    string  // by which the fault rules of others know this node; 1 to 255 bytes
	Listen  string  // host:port; port 0 picks one (Endpoint.Addr)

	Faults *fault.Matrix  // nil: none
	Logger *slog.Logger   // nil: silent
	Rand   func() float64 // uniform in [0,1), safe for concurrent use: losses and jitter. nil: the runtime's source

	MaxFrame    int           // bytes of one body, in either direction
	MaxQueued   int           // bytes that wait to be written, per connection and per peer that is being dialled
	MaxPending  int           // calls that wait for their response, per connection
	MaxRunning  int           // requests received and not replied to, over all peers
	MaxHeld     int           // bytes of their bodies
	MaxAccepted int           // connections accepted
	Conns       int           // connections kept to a peer, 1 to 8
	DialTimeout time.Duration // to connect and shake hands
	BackoffMin  time.Duration // the pause after a first failed dial; doubles, with jitter
	BackoffMax  time.Duration // and its ceiling
	PingEvery   time.Duration // a connection silent for this long is asked; at the third ping without any byte in return it is broken
	CallTimeout time.Duration // for calls whose context or caller names no deadline
}

// DefaultConfig has every bound set; Cluster, Self, Name and Listen are the caller's.
func DefaultConfig() Config {
	return Config{
		MaxFrame:    64 << 20,              // a record of several 8 MiB siblings; the store's limits are tighter
		MaxQueued:   64 << 20,              // half a second of a 1 Gbit/s link
		MaxPending:  16 << 10,              // far above what clients can cause: 1,000 connections, one call each
		MaxRunning:  4096,                  // at 100 µs a request, 0.2 s of work for two cores
		MaxHeld:     128 << 20,             // two largest frames, or sixteen values of the largest size
		MaxAccepted: 1024,                  // two from each of 500 nodes
		Conns:       2,                     // so that small frames pass a large one; more only split the batches (1, 2, 4: 4.6, 5.0, 5.4 µs a call)
		DialTimeout: 2 * time.Second,       // one lost SYN (sent again after 1 s) is survived
		BackoffMin:  50 * time.Millisecond, // a restarting process is back in a few of these
		BackoffMax:  2 * time.Second,       // how late a peer that came back may be noticed
		PingEvery:   time.Second,           // so the calls to a stopped peer fail after 4 to 5 s
		CallTimeout: 5 * time.Second,       // the client API's default
	}
}

// Validate names the first field that cannot work.
func (c Config) Validate() error {
	switch {
	case len(c.Cluster) == 0 || len(c.Cluster) > maxName:
		return fmt.Errorf("transport: cluster name of %d bytes, want 1 to %d", len(c.Cluster), maxName)
	case len(c.Name) == 0 || len(c.Name) > maxName:
		return fmt.Errorf("transport: node name of %d bytes, want 1 to %d", len(c.Name), maxName)
	case c.Self.IsZero():
		return errors.New("transport: Self is the zero ID")
	case c.MaxFrame < 1 || c.MaxFrame > frameCeiling:
		return fmt.Errorf("transport: MaxFrame %d, want 1 to %d", c.MaxFrame, frameCeiling)
	case c.Conns < 1 || c.Conns > 8:
		return fmt.Errorf("transport: Conns %d, want 1 to 8", c.Conns)
	case c.MaxQueued < 1 || c.MaxPending < 1 || c.MaxRunning < 1 || c.MaxHeld < 1 || c.MaxAccepted < 1:
		return errors.New("transport: every Max bound must be at least 1")
	case c.MaxHeld < c.MaxFrame:
		return fmt.Errorf("transport: MaxHeld %d, want at least MaxFrame %d", c.MaxHeld, c.MaxFrame)
	case c.DialTimeout <= 0 || c.PingEvery <= 0 || c.CallTimeout <= 0:
		return errors.New("transport: every timeout must be positive")
	case c.BackoffMin <= 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("transport: backoff from %v to %v", c.BackoffMin, c.BackoffMax)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Faults == nil {
		c.Faults = new(fault.Matrix)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c
}
