package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// Real sockets on loopback: two nodes found, one warns of a foreign one, and both stop.
func TestRealSockets(t *testing.T) {
	calls := &directCalls{nodes: make(map[string]*Cluster)}
	var log lockedBuffer
	start := func(name, cluster string, i int, join ...string) *Cluster {
		cfg := DefaultConfig()
		cfg.Name, cfg.ClusterName, cfg.ID, cfg.Boot, cfg.Starts = name, cluster, simID(i), uint64(i)+1, 1
		cfg.BindGossip = "127.0.0.1:0"
		cfg.Advertise.RPC = fmt.Sprintf("rpc:%d", i)
		cfg.Join = join
		cfg.Storage, cfg.Caller = newTestDisk(), calls.of(cfg.ID)
		cfg.HasData = func() bool { return false }
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		calls.add(cfg.Advertise.RPC, c)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := c.Stop(ctx); err != nil {
				t.Errorf("stop %s: %v", name, err)
			}
		})
		return c
	}
	a := start("a", "one", 0)
	b := start("b", "one", 1, a.GossipAddr())
	stranger := start("x", "two", 2, a.GossipAddr())
	done := make(chan struct{})
	var once sync.Once
	b.Watch(func() {
		if b.Self().State == ring.Active && b.Liveness(simID(0)) == Alive && strings.Contains(log.String(), "another cluster") {
			once.Do(func() { close(done) })
		}
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case <-done:
			if stranger.Table().Len() != 0 {
				t.Error("the stranger got a table")
			}
			return
		case <-tick.C:
			signal(b.news)
		case <-timeout:
			t.Fatalf("not joined:\n%v\n%s", b.Table(), log.String())
		}
	}
}

// Port 0 is a port that is free for TCP and for UDP, also where many are taken for UDP alone.
func TestPortFreeForBoth(t *testing.T) {
	for range 500 {
		taken, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
	}
	for range 200 {
		s, err := openSockets(netip.MustParseAddrPort("127.0.0.1:0"), memberlistLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

// directCalls is a Caller within the process.
type directCalls struct {
	mu    sync.Mutex
	nodes map[string]*Cluster
}

func (d *directCalls) add(addr string, c *Cluster) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes[addr] = c
}

func (d *directCalls) of(from ring.ID) Caller { return directCaller{d, from} }

type directCaller struct {
	*directCalls
	from ring.ID
}

func (d directCaller) CallAddr(_ context.Context, addr string, kind uint8, body []byte) ([]byte, ring.ID, error) {
	d.mu.Lock()
	to := d.nodes[addr]
	d.mu.Unlock()
	if to == nil {
		return nil, ring.ID{}, fmt.Errorf("nobody at %s", addr)
	}
	resp, err := to.HandleRPC(kind, d.from, body)
	return resp, to.cfg.ID, err
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A header is read to the byte, so that what follows is memberlist's.
func TestHeaderLeavesTheRest(t *testing.T) {
	r := strings.NewReader(string(fromHeader{"test", "n1"}.encode()) + "rest")
	h, err := readHeader(r)
	rest, _ := io.ReadAll(r)
	if err != nil || h != (fromHeader{"test", "n1"}) || string(rest) != "rest" {
		t.Errorf("%v, %v, rest %q", h, err, rest)
	}
}

func TestConfigValidate(t *testing.T) {
	good := func() Config {
		cfg := DefaultConfig()
		cfg.Name, cfg.ClusterName, cfg.ID, cfg.Boot = "a", "c", simID(0), 1
		cfg.BindGossip, cfg.Advertise.RPC = "127.0.0.1:0", "127.0.0.1:1"
		cfg.Storage, cfg.Caller, cfg.HasData = &disk{}, (&directCalls{}).of(simID(0)), func() bool { return false }
		return cfg
	}
	if cfg := good(); cfg.Validate() != nil {
		t.Fatal(cfg.Validate())
	}
	for name, spoil := range map[string]func(*Config){
		"no name":       func(c *Config) { c.Name = "" },
		"slash in name": func(c *Config) { c.Name = "a/b" },
		"no cluster":    func(c *Config) { c.ClusterName = "" },
		"no ID":         func(c *Config) { c.ID = ring.ID{} },
		"no boot":       func(c *Config) { c.Boot = 0 },
		"weight":        func(c *Config) { c.Weight = 0 },
		"partitions":    func(c *Config) { c.Partitions = 100 },
		"no partitions": func(c *Config) { c.Partitions = 0 },
		"bind":          func(c *Config) { c.BindGossip = "host" },
		"rpc":           func(c *Config) { c.Advertise.RPC = "" },
		"join":          func(c *Config) { c.Join = []string{"host"} },
		"storage":       func(c *Config) { c.Storage = nil },
	} {
		cfg := good()
		spoil(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
