package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/check"
)

const (
	chaosNodes   = 5
	chaosClients = 16
)

// chaos is a cluster of real processes that clients use while things go wrong.
type chaos struct {
	*cluster
	net   *network      // nil without root: then cuts are the product's own fault rules
	netem bool          // the kernel can make lines slow; else the fault rules do
	fill  func() func() // fills the disk of the last node, and returns what makes room; nil where no disk can be mounted
	r     *rand.Rand
	count map[string]int
}

// TestChaos is the simulator's workload on real processes, in network namespaces where root allows: kill -9, SIGSTOP, cut and slow lines,
// a full disk. The same checkers judge the history, which QUORATE_CHAOS_HISTORY keeps as NDJSON.
func TestChaos(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("QUORATE_CHAOS"))
	if err != nil {
		t.Skip("QUORATE_CHAOS says how long, such as 2m")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &chaos{cluster: layOut(t, t.TempDir(), chaosNodes, "--allow-faults"), r: rand.New(rand.NewPCG(seed, 1)), count: map[string]int{}}
	if probeNamespace() == nil {
		c.net = plug(t, c.cluster)
		c.secondSwitch(t)
		if err := c.nodes[0].shape(true); err != nil {
			t.Logf("slow lines are fault rules: %v", err)
		} else if err := c.nodes[0].shape(false); err != nil {
			t.Fatal(err)
		} else {
			c.netem = true
		}
	}
	if probeMount() == nil {
		disk := mountSmall(t, smallDisk)
		c.nodes[chaosNodes-1].data = filepath.Join(disk, "data")
		c.fill = func() func() { return fill(t, disk) }
	}
	c.endWith(t)
	c.launch(t)
	for name, conflict := range chaosBuckets {
		c.nodes[0].put(t, "/buckets/"+name, fmt.Sprintf(`{"n":3,"conflict":%q}`, conflict)).wants(t, http.StatusOK)
	}
	run := c.run(t, length, seed)
	found := check.All(run)
	for _, v := range found {
		t.Error(v)
	}
	t.Logf("%d operations in %v; faults: %v\n%v", len(run.Ops), length, c.count, check.Account(run))
	keepHistory(t, run)
}

// run lets clients work while things go wrong, then heals, and takes down what every replica holds.
func (c *chaos) run(t *testing.T, length time.Duration, seed uint64) *check.Run {
	t.Helper()
	rec := &recorder{began: time.Now()}
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var clients sync.WaitGroup
	for i := range chaosClients {
		client := &chaosClient{recorder: rec, index: i, nodes: c.nodes, r: rand.New(rand.NewPCG(seed, 100+uint64(i))), basis: map[check.KeyName]*check.Op{}}
		clients.Go(func() { client.work(ctx) })
	}
	for ctx.Err() == nil {
		c.misfortune(t, ctx)
	}
	clients.Wait()
	c.waitSettled(t)
	run := &check.Run{Ops: rec.ops, Siblings: map[string]bool{"chaos-kept": true}, Owners: map[check.KeyName][]string{},
		Partitions: map[check.KeyName]check.Partition{}}
	c.settle(t, run)
	return run
}

// misfortune is one fault from begin to end.
func (c *chaos) misfortune(t *testing.T, ctx context.Context) {
	t.Helper()
	i := c.r.IntN(len(c.nodes))
	n := c.nodes[i]
	pause := func(least, spread float64) {
		timer := time.NewTimer(time.Duration((least + spread*c.r.Float64()) * float64(time.Second)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	kinds := []string{"kill", "kill", "kill two", "stop", "partition", "partition", "cut off", "slow", "full disk"}
	kind := kinds[c.r.IntN(len(kinds))]
	if c.fill == nil && kind == "full disk" {
		kind = "kill"
	}
	c.count[kind]++
	switch kind {
	case "kill":
		n.kill(t)
		pause(0.5, 4)
		n.restart(t)
	case "kill two":
		other := c.nodes[(i+1)%len(c.nodes)]
		n.kill(t)
		other.kill(t)
		pause(0.5, 3)
		n.restart(t)
		other.restart(t)
	case "stop":
		n.pause()
		pause(1, 6)
		n.resume()
	case "partition":
		c.partition(t, []int{i, (i + 1) % len(c.nodes)}, true)
		pause(2, 6)
		c.partition(t, []int{i, (i + 1) % len(c.nodes)}, false)
	case "cut off":
		c.partition(t, []int{i}, true)
		pause(2, 6)
		c.partition(t, []int{i}, false)
	case "slow":
		c.slow(t, n, true)
		pause(2, 6)
		c.slow(t, n, false)
	case "full disk":
		release := c.fill()
		pause(2, 4)
		release()
	}
	pause(0.5, 2)
}

// secondSwitch is where a partition plugs the lines of one side in.
func (c *chaos) secondSwitch(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"link", "add", "other", "type", "bridge"}, {"link", "set", "other", "up"}} {
		if err := ip(append([]string{"-n", c.net.space}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// partition cuts the nodes of one side off from the others, or joins them again.
func (c *chaos) partition(t *testing.T, side []int, apart bool) {
	t.Helper()
	if c.net == nil {
		for _, i := range side {
			var rules []rule
			for j, other := range c.nodes {
				if apart && j != side[0] && j != side[len(side)-1] {
					rules = append(rules, cut(other.name))
				}
			}
			c.nodes[i].breaks(t, rules...)
		}
		return
	}
	into := "switch"
	if apart {
		into = "other"
	}
	for _, i := range side {
		if err := ip("-n", c.net.space, "link", "set", c.net.port(i), "master", into); err != nil {
			t.Fatal(err)
		}
	}
}

// slow makes a node's line late and lossy, or good again.
func (c *chaos) slow(t *testing.T, n *node, on bool) {
	t.Helper()
	if !c.netem {
		if !on {
			n.breaks(t)
			return
		}
		n.breaks(t, rule{Peer: "*", Direction: "both", Kind: "any", Loss: 0.05, Delay: "60ms", Dist: "exponential"})
		return
	}
	if err := n.shape(on); err != nil {
		t.Fatal(err)
	}
}

// shape lets the kernel do it, where it can.
func (n *node) shape(on bool) error {
	args := []string{"netns", "exec", n.before[3], "tc", "qdisc", "del", "dev", "data", "root"}
	if on {
		args = append(args[:4], "qdisc", "add", "dev", "data", "root", "netem", "delay", "60ms", "40ms", "loss", "5%")
	}
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// settle reads every key from all its owners, twice, and then what each of them holds by itself.
func (c *chaos) settle(t *testing.T, run *check.Run) {
	t.Helper()
	var names []check.KeyName
	known := map[check.KeyName]bool{}
	for _, o := range run.Ops {
		if name := (check.KeyName{Bucket: o.Bucket, Key: o.Key}); !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	for range 2 {
		err := inParallel(t.Context(), 16, len(names), func(ctx context.Context, i int) error {
			path := "/kv/" + names[i].Bucket + "/" + names[i].Key + "?r=all&timeout=10s"
			return poll(soon, func() error {
				a, err := c.nodes[i%len(c.nodes)].send(ctx, http.MethodGet, path, nil)
				if err == nil && a.status >= http.StatusInternalServerError {
					err = fmt.Errorf("%s: %d %s", a.request, a.status, a.body)
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // for the repairs that the reads queued, which nobody reports the end of
	}
	byName := map[string]*node{}
	for _, n := range c.nodes {
		byName[n.name] = n
		run.Replicas = append(run.Replicas, check.Replica{Node: n.name, Copies: map[check.KeyName]check.Copy{}})
	}
	for _, name := range names {
		at := c.nodes[0].ring(t, "/kv/"+name.Bucket+"/"+name.Key, "")
		run.Owners[name], run.Partitions[name] = at.Owners, check.Partition(at.Partition)
		for i := range run.Replicas {
			for _, owner := range run.Owners[name] {
				if owner == run.Replicas[i].Node {
					run.Replicas[i].Copies[name] = byName[owner].holds(t, name)
				}
			}
		}
	}
}

// holds is what a node has of a key in its own store.
func (n *node) holds(t *testing.T, name check.KeyName) check.Copy {
	t.Helper()
	o := &check.Op{Kind: check.Local, Bucket: name.Bucket, Key: name.Key, Node: n.name, Basis: -1}
	if err := n.get(t, "/kv/"+name.Bucket+"/"+name.Key+"?local=true").conclude(o); err != nil {
		t.Fatal(err)
	}
	held := check.Copy{Shown: o.Shown, Vector: o.Token.Vector}
	if chaosBuckets[name.Bucket] == "lww" {
		held.MaxLWW = o.Token.Stamp
	}
	if len(o.Shown) != len(o.Token.Seen) {
		held.Hidden = o.Token.Seen
	}
	return held
}

// keepHistory writes the history where QUORATE_CHAOS_HISTORY says, an operation a line.
func keepHistory(t *testing.T, run *check.Run) {
	t.Helper()
	path := os.Getenv("QUORATE_CHAOS_HISTORY")
	if path == "" {
		return
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, o := range run.Ops {
		if err := enc.Encode(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
