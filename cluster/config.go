package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// Caller sends this package's own requests (see the Kind constants) to other nodes.
type Caller interface {
	// CallAddr reaches whoever listens at the RPC address addr and says who answered. It blocks until there is an answer
	// or ctx ends, is safe for concurrent use, and does not keep body; the answer belongs to this package. An answer
	// other than HandleRPC's with a nil error is an error.
	CallAddr(ctx context.Context, addr string, kind uint8, body []byte) (resp []byte, from ring.ID, err error)
}

// Storage keeps a few named values. SaveMeta returns nil only when the value would survive a crash; LoadMeta of a name
// never saved returns nil, nil. The caller keeps the slices.
type Storage interface {
	LoadMeta(name string) ([]byte, error)
	SaveMeta(name string, value []byte) error
}

// Extra is another replicated lattice that travels with the member table, as the bucket properties do.
type Extra interface {
	// State returns the whole lattice, at most MaxExtra bytes; it must be on disk already. It is called with no lock
	// held and may not block for long.
	State() []byte
	// Merge joins a peer's State into the local one and makes it durable. It may keep the slice.
	Merge(state []byte) error
}

// Limits of what travels by gossip.
const (
	// MaxExtra bounds Extra.State; a longer one is not sent, and an error is logged.
	MaxExtra = 8 << 20
	// MaxJoin bounds the distinct addresses that Config.Join may resolve to; those beyond it are ignored.
	MaxJoin = 64
)

// Config describes one node's part in a cluster. DefaultConfig gives all numbers; the other fields up to Caller are
// required, except Join, Zone, Extra and Matrix.
type Config struct {
	// Name is the unique, stable name of the node, ClusterName that of its cluster; see ring.CheckName.
	Name, ClusterName string
	// ID is the node's incarnation: lives and dies with the disk.
	ID ring.ID
	// Boot is random, drawn at each start.
	Boot uint64
	// Starts counts the starts of this incarnation; a later start's addresses beat those of an earlier one.
	Starts uint64
	Zone   string
	Weight uint32
	// Partitions is what a new cluster is born with; one that exists keeps its own.
	Partitions int

	// BindGossip is the host:port that gossip listens on, UDP and TCP; port 0 takes a free one.
	BindGossip string
	// Advertise holds the addresses that others use. Its Gossip may be empty: the address that was bound. Its Epoch is
	// set from Starts.
	Advertise ring.Addrs
	// Join holds gossip addresses or DNS names, host:port each, of any members, this one included or not.
	Join []string

	Storage Storage
	Caller  Caller
	// HasData says whether the store holds any record or ever did (cheap, may be called often).
	HasData func() bool
	// OnReplaced is called at most once, from its own goroutine, when another incarnation took this node's name: the
	// node must stop serving.
	OnReplaced func(by ring.ID)
	// OnRemoved is called at most once, from its own goroutine, when this node finds that it was removed from the cluster: it must stop serving. why says so to people.
	OnRemoved func(why string)
	Extra     Extra
	Matrix    *fault.Matrix
	Logger    *slog.Logger

	// Network, when set, carries gossip in memory instead of over sockets; BindGossip is the address in it.
	Network *MemNetwork
	// Resolve finds a host's addresses; the default asks the system's resolver, at every try.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Rand is the source of jitter and of random losses, in [0,1), safe for concurrent use.
	Rand func() float64

	Timing Timing
}

// Timing holds the numbers of the membership protocols.
type Timing struct {
	// PushPull is memberlist's interval of whole-state exchanges with one random peer. Its own default of 30 s is too
	// long for what we let it carry (a lost row is repaired by it); the state is a few kB, so 5 s costs nothing.
	PushPull time.Duration
	// Probe is the interval of liveness probes, ProbeTimeout the wait for one answer. A peer is probed once per Probe
	// by every other node as long as there are at most MaxProbes peers.
	Probe, ProbeTimeout time.Duration
	// SuspectAfter is how many unanswered probes in a row make a peer suspect: with the values above a killed node is
	// suspected after 1.5 to 2.5 s, one that pauses for a second is not.
	SuspectAfter int
	// Rejoin is the mean interval (± 30 %) of attempts to reach every absent member and --join address; RejoinSoon the
	// one used until the node is ready.
	Rejoin, RejoinSoon time.Duration
	// DialTimeout bounds a gossip stream from dial to end.
	DialTimeout time.Duration
	// Tick is the pace of the membership steps, beside the events that hasten them.
	Tick time.Duration
	// Grace is how long a founding waits for the members that have not answered once a majority has.
	Grace time.Duration
	// Recall is how long a node without a table whose --join names nobody but itself waits for members that know it before it founds a cluster: it may be the one that all
	// others name, and have lost its disk. Who misses it joins its address again within 1.3 Rejoin, and who does not miss it yet pings it every Probe and is asked within
	// 1.3 RejoinSoon: at most 3.9 s, and the rest is for answers. Until then it grants nobody a vote for a founding either.
	Recall time.Duration
	// Turn is how much later each further candidate proposes when the ones before it do not get the founding done.
	Turn time.Duration
	// Call bounds one request to one node.
	Call time.Duration
	// Batch is how long a change of the ring waits for others to be made with it: nodes that start together join together, and what one joins at, once, moves once.
	Batch time.Duration
	// Stuck is how long a change may be under way before the next one begins all the same: a member that is down must not keep newcomers out.
	Stuck time.Duration
	// Admit is how long a node that came to a cluster waits for its place before it is ready without.
	Admit time.Duration
	// Silence is how long an old incarnation must have been absent before a namesake takes its place.
	Silence time.Duration
}

// MaxProbes is the number of peers that one node probes within Timing.Probe; with more peers the round takes longer.
const MaxProbes = 20

// DefaultConfig returns a Config with every number set and nothing else.
func DefaultConfig() Config {
	return Config{
		Weight:     1,
		Partitions: 256,
		Logger:     slog.Default(),
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Rand: rand.Float64,
		Timing: Timing{
			PushPull:     5 * time.Second,
			Probe:        time.Second,
			ProbeTimeout: 500 * time.Millisecond,
			SuspectAfter: 3,
			Rejoin:       3 * time.Second,
			RejoinSoon:   500 * time.Millisecond,
			DialTimeout:  3 * time.Second,
			Tick:         250 * time.Millisecond,
			Grace:        2 * time.Second,
			Recall:       5 * time.Second,
			Turn:         2 * time.Second,
			Call:         2 * time.Second,
			Batch:        time.Second,
			Stuck:        10 * time.Second,
			Admit:        3 * time.Second,
			Silence:      2 * time.Second,
		},
	}
}

// Validate reports the first field that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.ID.IsZero() || c.Boot == 0:
		return errors.New("cluster: incarnation and boot must not be zero")
	case c.Storage == nil || c.Caller == nil || c.HasData == nil:
		return errors.New("cluster: Storage, Caller and HasData are required")
	}
	if err := c.member().Validate(); err != nil {
		return err
	}
	if err := ring.CheckName(c.ClusterName); err != nil {
		return err
	}
	if err := ring.CheckPartitions(c.Partitions); err != nil {
		return err
	}
	for _, addr := range []string{c.BindGossip, c.Advertise.RPC} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("cluster: address %q: %w", addr, err)
		}
	}
	for _, addr := range c.Join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("cluster: join address %q: %w", addr, err)
		}
	}
	return nil
}

// member is the row that this node would like to have, joining.
func (c *Config) member() ring.Member {
	addrs := c.Advertise
	addrs.Epoch = c.Starts
	return ring.Member{ID: c.ID, Name: c.Name, Zone: c.Zone, Weight: c.Weight, State: ring.Joining, Addrs: addrs}
}
