package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/coordinator"
)

// testNode is one node of a cluster inside the test process, on loopback ports and a file system in memory.
type testNode struct {
	*Node
	cfg Config
	fs  *vfs.MemFS
}

// ports hands out each port once per run. They lie below those that kernels choose themselves: a node that is to come back, or is still to start, finds
// its port as free as it was, whoever opens connections or listens on port 0 meanwhile. And they are none of those of package e2e, which runs beside this one.
var ports = struct {
	mu   sync.Mutex
	next int
}{next: 10_000 + rand.IntN(2_000)}

// freeAddress returns an address on which both TCP and UDP are free.
func freeAddress(t *testing.T) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range 2_000 {
		if ports.next++; ports.next >= 12_000 {
			ports.next = 10_000
		}
		address := fmt.Sprint("127.0.0.1:", ports.next)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		p, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		p.Close()
		return address
	}
	t.Fatal("no free port")
	return ""
}

// startCluster starts nodes that all get the same --join list, and waits until each is ready and sees all as members.
func startCluster(t *testing.T, count int) []*testNode {
	t.Helper()
	nodes := make([]*testNode, count)
	var join []string
	for i := range nodes {
		cfg := DefaultConfig()
		cfg.Name, cfg.Data = fmt.Sprintf("node-%d", i+1), "data"
		cfg.Gossip, cfg.RPC = freeAddress(t), "127.0.0.1:0"
		cfg.AllowFaults = true
		cfg.Logger = slog.New(slog.DiscardHandler)
		nodes[i] = &testNode{cfg: cfg, fs: vfs.NewCrashableMem()}
		join = append(join, cfg.Gossip)
	}
	for _, n := range nodes {
		n.cfg.Join = join
	}
	startAll(t, nodes)
	waitMembers(t, nodes)
	return nodes
}

func startAll(t *testing.T, nodes []*testNode) {
	t.Helper()
	for _, n := range nodes {
		n.cfg.Store.FS = n.fs
		node, err := New(n.cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.Node = node
		t.Cleanup(func() { closeNode(node) })
		if err := node.Start(t.Context(), "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, n := range nodes {
		if err := n.WaitReady(ctx); err != nil {
			_, reason := n.Ready()
			t.Fatalf("%s is not ready: %s", n.Name(), reason)
		}
	}
}

func closeNode(n *Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return n.Close(ctx)
}

func waitMembers(t *testing.T, nodes []*testNode) {
	t.Helper()
	eventually(t, "all nodes to see all as members, alive and under one layout", func() bool {
		for _, n := range nodes {
			c := n.Cluster()
			if len(c.Members) != len(nodes) || c.Layout.Version != nodes[0].Cluster().Layout.Version {
				return false
			}
			for _, m := range c.Members {
				if m.Status != "member" || m.Liveness != "alive" {
					return false
				}
			}
		}
		return true
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func put(n *testNode, bucket, key, value string) error {
	_, err := n.Put(context.Background(), coordinator.PutRequest{Bucket: bucket, Key: key, Value: []byte(value)})
	return err
}

func get(n *testNode, bucket, key string) (string, error) {
	res, err := n.Get(context.Background(), coordinator.GetRequest{Bucket: bucket, Key: key})
	if err != nil {
		return "", err
	}
	for v := range res.Record.Live() {
		return string(v.Value), nil
	}
	return "", errAbsent
}

var errAbsent = errors.New("absent")

func TestAnyNodeTakesAPutAndAGet(t *testing.T) {
	nodes := startCluster(t, 3)
	for i, n := range nodes {
		if err := put(n, "b", fmt.Sprint(i), "v"+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		for i := range nodes {
			if v, err := get(n, "b", fmt.Sprint(i)); err != nil || v != "v"+fmt.Sprint(i) {
				t.Errorf("%s: key %d: %q, %v", n.Name(), i, v, err)
			}
		}
	}
}

// All nodes lose power at one moment under load: what was not synced is gone, what was acknowledged is not.
func TestAcknowledgedWritesSurvivePowerLossOfAllNodes(t *testing.T) {
	count := 10_000
	if testing.Short() {
		count = 1_000
	}
	nodes := startCluster(t, 3)
	acked, stop := load(t, nodes, count)
	clones := make([]*vfs.MemFS, len(nodes))
	for i, n := range nodes {
		clones[i] = n.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	}
	stop()
	for _, n := range nodes {
		if err := closeNode(n.Node); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		n.fs = clones[i]
	}
	startAll(t, nodes)
	waitMembers(t, nodes)
	lost := 0
	for key, want := range acked {
		if v, err := get(nodes[len(key)%len(nodes)], "load", key); err != nil || v != want {
			lost++
			if lost <= 5 {
				t.Errorf("key %s: %q, %v; want %q", key, v, err, want)
			}
		}
	}
	t.Logf("%d acknowledged, %d lost", len(acked), lost)
}

// load writes from many goroutines through all nodes until count writes were acknowledged, and returns those. Writers
// go on until stop, so that the power fails in the middle of something.
func load(t *testing.T, nodes []*testNode, count int) (_ map[string]string, stop func()) {
	t.Helper()
	var (
		mu      sync.Mutex
		acked   = make(map[string]string)
		reached = make(chan struct{})
		done    = make(chan struct{})
		writers sync.WaitGroup
	)
	for w := range 32 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				key, value := fmt.Sprintf("%d-%d", w, i), fmt.Sprintf("value %d of %d", i, w)
				if put(nodes[i%len(nodes)], "load", key, value) != nil {
					continue
				}
				mu.Lock()
				if len(acked) < count {
					if acked[key] = value; len(acked) == count {
						close(reached)
					}
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-reached:
	case <-time.After(time.Minute):
		t.Fatal("the load did not finish")
	}
	mu.Lock()
	defer mu.Unlock()
	return acked, func() { close(done); writers.Wait() }
}
