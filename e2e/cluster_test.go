package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// cluster is a set of nodes on this machine that were given the same --join list.
type cluster struct {
	name  string
	base  string // folder of the data directories and the logs
	flags []string
	nodes []*node
	gone  []*node // that were of the cluster, and have left or were removed
	up    bool    // all of them have been up and settled
}

// node is one place of a cluster: its name, addresses and data, whether or not a process runs there.
type node struct {
	name    string
	cluster string
	data    string
	log     string
	http    string
	gossip  string
	rpc     string
	join    []string
	flags   []string
	before  []string // a command to run the node under, such as ip netns exec

	proc   *process // the latest, nil if never started
	client *client
}

// newCluster starts nodes with these flags beside the usual ones and waits until every one sees all of them
// as members. They are gone when the test ends, and their logs are printed if it failed.
func newCluster(t *testing.T, size int, flags ...string) *cluster {
	t.Helper()
	c := layOut(t, t.TempDir(), size, flags...)
	c.endWith(t)
	c.launch(t)
	return c
}

// endWith ends the cluster when the test ends, and fails it if a node had ended by itself or panicked.
func (c *cluster) endWith(t *testing.T) {
	t.Helper()
	c.watch(t)
	t.Cleanup(func() {
		for _, complaint := range c.shutdown() {
			t.Error(complaint)
		}
	})
}

var clusters atomic.Int64

// layOut prepares a cluster without starting it. A node that is alone has no --join.
func layOut(t testing.TB, base string, size int, flags ...string) *cluster {
	t.Helper()
	c := &cluster{name: fmt.Sprintf("e2e-%d-%d", os.Getpid(), clusters.Add(1)), base: base, flags: flags}
	var join []string
	for range size {
		n := c.add(t)
		join = append(join, n.gossip)
	}
	for _, n := range c.nodes {
		if size > 1 {
			n.join = join
		}
	}
	return c
}

// add prepares one more node. It joins the ones before it.
func (c *cluster) add(t testing.TB) *node {
	t.Helper()
	n := &node{
		name:    fmt.Sprintf("node-%d", len(c.nodes)+len(c.gone)+1),
		cluster: c.name,
		flags:   c.flags,
		client:  newClient(),
	}
	for _, before := range c.nodes {
		n.join = append(n.join, before.gossip)
	}
	n.data = filepath.Join(c.base, n.name)
	n.log = filepath.Join(c.base, n.name+".log")
	n.newAddresses(t)
	c.nodes = append(c.nodes, n)
	return n
}

// launch starts all nodes at once and waits until they have settled, all of them being owners.
func (c *cluster) launch(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	c.waitSettled(t)
	// Who was late when the cluster was founded joins it: as long as that goes on, owners are fewer.
	for _, n := range c.nodes {
		eventually(t, healLimit, n.name+" sees one layout, of all", func() error { return c.ringSettled(n) })
	}
	c.up = true
}

// waitSettled waits until every running node sees every node of the cluster as a member, alive exactly if
// its process runs.
func (c *cluster) waitSettled(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		eventually(t, healLimit, n.name+" sees the cluster as it is", func() error {
			return c.seenRightly(n)
		})
	}
}

// seenRightly returns what n sees wrongly.
func (c *cluster) seenRightly(n *node) error {
	view, err := n.view()
	if err != nil {
		return err
	}
	if len(view.Members) != len(c.nodes) {
		return fmt.Errorf("%d members, want %d", len(view.Members), len(c.nodes))
	}
	for _, other := range c.nodes {
		m := view.member(other.name)
		if m.Status != "member" || (m.Liveness == "alive") != other.running() || strings.TrimPrefix(m.HTTP, "http://") != other.http {
			return fmt.Errorf("%s is %q, %q at %q; it runs: %v at %q", other.name, m.Status, m.Liveness, m.HTTP, other.running(), other.http)
		}
	}
	return nil
}

// without takes a node out of those that the cluster should have.
func (c *cluster) without(n *node) {
	c.nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(other *node) bool { return other == n })
	c.gone = append(c.gone, n)
}

// node is the one of that name, nil if there is none.
func (c *cluster) node(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// each runs a test once per node.
func (c *cluster) each(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	for _, n := range c.nodes {
		t.Run(n.name, func(t *testing.T) { test(t, n) })
	}
}

// killAll kills every running node before any of them can notice another's end.
func (c *cluster) killAll(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if n.running() {
			n.proc.signal(syscall.SIGKILL)
		}
	}
	for _, n := range c.nodes {
		n.proc.exit(t)
		n.client.forget()
	}
}

// watch prints the ends of the logs if the test fails.
func (c *cluster) watch(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, n := range slices.Concat(c.nodes, c.gone) {
			t.Logf("end of the log of %s (running: %v):\n%s", n.name, n.running(), tail(n.log, 40))
		}
	})
}

// shutdown kills what runs and returns what was wrong with the processes as such.
func (c *cluster) shutdown() []string {
	var complaints []string
	for _, n := range slices.Concat(c.nodes, c.gone) {
		if n.proc == nil {
			continue
		}
		if !n.running() && !n.proc.wanted {
			complaints = append(complaints, fmt.Sprintf("%s ended by itself: %v", n.name, n.proc.err))
		}
		n.proc.signal(syscall.SIGKILL)
		<-n.proc.ended
		n.client.forget()
		complaints = append(complaints, logComplaints(n.log)...)
		n.keepLog(c)
	}
	return complaints
}

// keepLog copies the log to where QUORATE_E2E_LOGS wants it.
func (n *node) keepLog(c *cluster) {
	dir := os.Getenv("QUORATE_E2E_LOGS")
	if dir == "" {
		return
	}
	if text, err := os.ReadFile(n.log); err == nil {
		// Keeping logs is a convenience: a folder that cannot be written fails no test.
		_ = os.WriteFile(filepath.Join(dir, c.name+"-"+n.name+".log"), text, 0o644)
	}
}

// args is the command line of the node.
func (n *node) args() []string {
	args := []string{
		"serve", "--name", n.name, "--data", n.data, "--cluster", n.cluster,
		"--http", n.http, "--gossip", n.gossip, "--rpc", n.rpc,
	}
	if len(n.join) > 0 {
		args = append(args, "--join", strings.Join(n.join, ","))
	}
	return append(args, n.flags...)
}

// start starts the process and does not wait for it.
func (n *node) start(t testing.TB) {
	t.Helper()
	if n.running() {
		t.Fatalf("%s runs already", n.name)
	}
	argv := append(append([]string(nil), n.before...), binaryPath(t))
	p, err := startProcess(n.log, nil, append(argv, n.args()...)...)
	if err != nil {
		t.Fatal(err)
	}
	n.proc = p
}

// waitReady waits for the ready line and returns it.
func (n *node) waitReady(t testing.TB) string {
	t.Helper()
	var line string
	eventually(t, startLimit, n.name+" prints its ready line", func() error {
		var found bool
		if line, found = n.proc.lines.find("ready "); found {
			return nil
		}
		if !n.proc.running() {
			t.Fatalf("%s ended before it was ready: %v\n%s", n.name, n.proc.err, tail(n.log, 40))
		}
		return fmt.Errorf("nothing yet")
	})
	return line
}

// ready says whether the ready line has been printed.
func (n *node) ready() bool {
	_, found := n.proc.lines.find("ready ")
	return found
}

// running says whether a process of the node runs, stopped or not.
func (n *node) running() bool { return n.proc != nil && n.proc.running() }

// kill ends the node as a power cut would.
func (n *node) kill(t testing.TB) {
	t.Helper()
	n.proc.signal(syscall.SIGKILL)
	n.proc.exit(t)
	n.client.forget()
}

// stop asks the node to end and returns its exit status.
func (n *node) stop(t testing.TB) int {
	t.Helper()
	n.proc.signal(syscall.SIGTERM)
	code := n.proc.exit(t)
	n.client.forget()
	return code
}

// pause stops the process where it is; resume lets it go on. Its sockets stay open meanwhile.
func (n *node) pause()  { n.proc.signal(syscall.SIGSTOP) }
func (n *node) resume() { n.proc.signal(syscall.SIGCONT) }

// restart starts the node again on what it has on disk and waits until it is ready.
func (n *node) restart(t testing.TB) {
	t.Helper()
	n.start(t)
	n.waitReady(t)
}

// wipe removes the data of a node that does not run.
func (n *node) wipe(t testing.TB) {
	t.Helper()
	if n.running() {
		t.Fatalf("%s still runs", n.name)
	}
	if err := os.RemoveAll(n.data); err != nil {
		t.Fatal(err)
	}
}

// newAddresses gives the node other ports, to be used from its next start on.
func (n *node) newAddresses(t testing.TB) {
	t.Helper()
	n.http, n.gossip, n.rpc = freeAddress(t), freeAddress(t), freeAddress(t)
}

// ports hands out each port once per run. The range lies below the one that kernels take the ports of
// outgoing connections from, so that no such connection sits on the port of a node that is down just now.
var ports = struct {
	mu   sync.Mutex
	next int
}{next: 12000 + rand.IntN(18000)}

// freeAddress returns a loopback address on which both TCP and UDP are free.
func freeAddress(t testing.TB) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range 1000 {
		if ports.next++; ports.next >= 32000 {
			ports.next = 12000
		}
		address := fmt.Sprintf("127.0.0.1:%d", ports.next)
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		tcp.Close()
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		udp.Close()
		return address
	}
	t.Fatal("no free port")
	return ""
}
