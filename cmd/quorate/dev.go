package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/child"
)

// Ports of node i of a dev cluster: its client API at base+i-1, gossip and node-to-node 100 and 200 above that.
const (
	devHost      = "127.0.0.1"
	gossipOffset = 100
	rpcOffset    = 200
	maxDevNodes  = 100
	maxPort      = 65535
)

const (
	devReadyTime = time.Minute      // after which a node that is not ready is worth a word
	devStopTime  = 12 * time.Second // for the nodes to drain; they take at most drainTime
)

// devOptions are the flags of dev.
type devOptions struct {
	nodes, base int
	data        string
	allowFaults bool
}

func newDev() *cobra.Command {
	o := devOptions{nodes: 3, base: 8001}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine",
		Long: `Run a whole cluster on this machine, each node its own process so that it can be
killed, until Ctrl-C or SIGTERM, which stops them all.

Node i serves clients on port http-base + i - 1, gossip on the port 100 above, and
other nodes on the port 200 above. Each writes its log to DIR/node-i.log and its data
to DIR/node-i. Without --data, DIR is temporary and removed at the end.

A node that dies is reported, with the command that starts it again.`,
		Example: `  quorate dev
  quorate dev --nodes 5 --http-base 9001 --data /tmp/five --allow-faults`,
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return runDev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.nodes, "nodes", o.nodes, "number of nodes")
	f.IntVar(&o.base, "http-base", o.base, "port of the first node's client API")
	f.StringVar(&o.data, "data", "", "directory for data and logs (default: a temporary one)")
	f.BoolVar(&o.allowFaults, "allow-faults", false, "enable the fault endpoint of each node")
	return cmd
}

func (o *devOptions) validate() error {
	if o.nodes < 1 || o.nodes > maxDevNodes {
		return usagef("--nodes: %d: want 1 to %d", o.nodes, maxDevNodes)
	}
	if o.base < 1 || o.base+rpcOffset+o.nodes-1 > maxPort {
		return usagef("--http-base: %d: ports from there to %d above must exist", o.base, rpcOffset+o.nodes-1)
	}
	return nil
}

// devCluster is the nodes of one dev command.
type devCluster struct {
	dir   string
	own   bool // dir is temporary
	specs []child.Spec
	nodes []*child.Process // those that were started
	out   io.Writer

	ready, exited chan *child.Process // room for every node, so that none ever waits to be heard
}

func runDev(ctx context.Context, o devOptions, out io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	c, err := newDevCluster(o, out)
	if err != nil {
		return err
	}
	defer c.cleanUp()
	if err := c.start(); err != nil {
		c.stop(signals)
		return err
	}
	err = c.watch(ctx, signals)
	c.stop(signals)
	return err
}

func newDevCluster(o devOptions, out io.Writer) (*devCluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &devCluster{dir: o.data, out: out, ready: make(chan *child.Process, o.nodes), exited: make(chan *child.Process, o.nodes)}
	if c.dir == "" {
		c.own = true
		c.dir, err = os.MkdirTemp("", "quorate-dev-")
	} else if c.dir, err = filepath.Abs(c.dir); err == nil {
		err = os.MkdirAll(c.dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	c.specs = devSpecs(self, o, c.dir)
	for _, s := range c.specs {
		if err := s.PortsFree(); err != nil {
			c.cleanUp()
			return nil, fmt.Errorf("%w; choose other ports with --http-base", err)
		}
	}
	return c, nil
}

// devSpecs lays the nodes out on ports that follow each other.
func devSpecs(self string, o devOptions, dir string) []child.Spec {
	specs := make([]child.Spec, o.nodes)
	var join, flags []string
	for i := range specs {
		join = append(join, addrAt(o.base+gossipOffset+i))
	}
	if o.allowFaults {
		flags = append(flags, "--allow-faults")
	}
	for i := range specs {
		specs[i] = child.Spec{
			Binary: self, Name: fmt.Sprintf("node-%d", i+1), Dir: dir,
			HTTP: addrAt(o.base + i), Gossip: addrAt(o.base + gossipOffset + i), RPC: addrAt(o.base + rpcOffset + i),
			Flags: flags,
		}
		if o.nodes > 1 { // one alone has nobody to wait for
			specs[i].Join = join
		}
	}
	return specs
}

func addrAt(port int) string { return net.JoinHostPort(devHost, strconv.Itoa(port)) }

// start starts all nodes, and says what they are.
func (c *devCluster) start() error {
	if c.own {
		fmt.Fprintf(c.out, "data and logs are in %s, which is removed at the end\n", c.dir)
	} else {
		fmt.Fprintf(c.out, "data and logs are in %s\n", c.dir)
	}
	for _, s := range c.specs {
		n, err := child.Start(s)
		if err != nil {
			return fmt.Errorf("start %s: %w", s.Name, err)
		}
		c.nodes = append(c.nodes, n)
		go c.report(n)
		fmt.Fprintf(c.out, "%s  pid %-7d http://%s  log %s\n", n.Name, n.PID(), n.HTTP, n.LogPath())
	}
	return nil
}

// report sends the node to ready when it says so, and to exited when it has ended.
func (c *devCluster) report(n *child.Process) {
	select {
	case <-n.Ready():
		c.ready <- n
	case <-n.Ended():
	}
	<-n.Ended()
	c.exited <- n
}

// watch reports what becomes of the nodes until it is time to stop.
func (c *devCluster) watch(ctx context.Context, signals <-chan os.Signal) error {
	late := time.NewTimer(devReadyTime)
	defer late.Stop()
	readyNodes, alive := 0, len(c.nodes)
	for {
		select {
		case <-c.ready:
			if readyNodes++; readyNodes == len(c.nodes) {
				c.sayReady()
			}
		case n := <-c.exited:
			fmt.Fprintf(c.out, "%s (pid %d) has ended: %s\n  its log is %s; to start it again:\n  %s\n",
				n.Name, n.PID(), n.State(), n.LogPath(), n.CommandLine())
			if alive--; alive == 0 {
				return errors.New("all nodes have ended")
			}
		case <-late.C:
			if readyNodes < len(c.nodes) {
				fmt.Fprintf(c.out, "only %d of %d nodes are ready after %v; their logs tell why\n", readyNodes, len(c.nodes), devReadyTime)
			}
		case <-signals:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *devCluster) sayReady() {
	first, last := c.nodes[0], c.nodes[len(c.nodes)-1]
	fmt.Fprintf(c.out, `ready: %d nodes. To try:
  curl -i -X PUT --data-binary 'hello' http://%s/kv/demo/greeting
  curl -i 'http://%s/kv/demo/greeting?detail=true'
  curl -s http://%s/cluster
Ctrl-C stops all.
`, len(c.nodes), first.HTTP, last.HTTP, first.HTTP)
}

// stop asks all nodes to drain, and waits for them; a second signal or too long a wait kills them.
func (c *devCluster) stop(signals <-chan os.Signal) {
	fmt.Fprintln(c.out, "stopping")
	for _, n := range c.nodes {
		n.Signal(syscall.SIGTERM)
	}
	enough := time.NewTimer(devStopTime)
	defer enough.Stop()
	for _, n := range c.nodes {
		select {
		case <-n.Ended():
			continue
		case <-signals:
		case <-enough.C:
		}
		for _, n := range c.nodes {
			n.Signal(os.Kill)
		}
		<-n.Ended()
	}
}

// cleanUp removes a temporary directory, unless somebody has started one of its nodes again by hand.
func (c *devCluster) cleanUp() {
	if !c.own {
		return
	}
	for _, n := range c.nodes {
		if conn, err := net.DialTimeout("tcp", n.HTTP, time.Second); err == nil {
			conn.Close()
			fmt.Fprintf(c.out, "%s is kept: something still serves http://%s\n", c.dir, n.HTTP)
			return
		}
	}
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintf(c.out, "%s could not be removed: %v\n", c.dir, err)
	}
}
