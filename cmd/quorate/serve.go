package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring"
)

// memoryLimit is where the collector begins to work harder, unless GOMEMLIMIT says something else: what a busy node needs lies far below, and
// what bursts of large values leave behind, which may be as much as what is live, does not pile up above.
const memoryLimit = 768 << 20

// gcPercent, unless GOGC says something else, lets the heap grow to three times what is live before it is collected: 2 % less CPU for 20 MB
// more of a node that holds little, and memoryLimit bounds what one may take that holds much.
const gcPercent = 200

// drainTime bounds an orderly stop. It outlasts the default time-out of a request; orchestrators kill after 10 s or more.
const drainTime = 9 * time.Second

func newServe() *cobra.Command {
	cfg := node.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node",
		Long: `Run one node until SIGTERM or SIGINT, which drains it; a second one stops it at once.

Every flag can also be given as an environment variable (--max-value as
QUORATE_MAX_VALUE) and in the YAML file that --config names, under its own name.
A flag beats the environment, and that beats the file. A variable that begins with
QUORATE_ and names no flag has no effect, and the log warns of it.

Without --join and with an empty data directory the node is a cluster of one. All
nodes may be given the same --join list, themselves included: no node is special,
and there is nothing to bootstrap. Name three or more: the list is what keeps a
node whose disk was lost from founding a cluster of its own. A restart is not a
leave: the node stays an owner of its data while it is away. After 'quorate leave'
the node hands its data over, says on standard output that it has left, and exits
with 0.

When the node can serve, one line is printed on standard output:

  ready name=node-1 http=127.0.0.1:8080 gossip=127.0.0.1:7946 rpc=127.0.0.1:7947`,
		Example: `  quorate serve
  quorate serve --name node-1 --http :8080 --gossip :7946 --rpc :7947 \
    --advertise node-1.example.net --join node-1.example.net:7946,node-2.example.net:7946`,
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd.Flags(), os.LookupEnv); err != nil {
				return err
			}
			if err := nameNode(&cfg); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return &usageError{err}
			}
			cfg.Logger = slog.New(logHandler(cmd.ErrOrStderr()))
			if strange := strangeVariables(cmd.Flags(), os.Environ()); len(strange) > 0 {
				cfg.Logger.Warn("environment variables that are no settings of quorate serve have no effect", "names", strange)
			}
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(memoryLimit)
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&cfg.Name, "name", "", "unique, stable node name (default: host name)")
	f.StringVar(&cfg.Data, "data", cfg.Data, "data directory")
	f.StringVar(&cfg.HTTP, "http", cfg.HTTP, "client API listen address")
	f.StringVar(&cfg.Gossip, "gossip", cfg.Gossip, "gossip listen address, UDP and TCP")
	f.StringVar(&cfg.RPC, "rpc", cfg.RPC, "node-to-node listen address")
	f.StringVar(&cfg.Advertise, "advertise", "", "host, or host:port forms, that other nodes and clients reach it by")
	f.StringSliceVar(&cfg.Join, "join", nil, "comma-separated gossip addresses or DNS names of any members")
	f.StringVar(&cfg.Cluster, "cluster", cfg.Cluster, "cluster name; nodes of another cluster are refused")
	f.StringVar(&cfg.Zone, "zone", "", "failure domain label")
	f.Uint32Var(&cfg.Weight, "weight", cfg.Weight, "share of the data")
	f.IntVar(&cfg.Partitions, "partitions", cfg.Partitions, "a power of two up to 4096; only a new cluster takes it")
	f.Var(sizeFlag{&cfg.MaxValue}, "max-value", "largest value")
	f.IntVar(&cfg.N, "n", cfg.N, "replicas of a key, unless its bucket or request says otherwise")
	f.Var(levelFlag{&cfg.W}, "w", "acknowledgements that a write waits for, likewise")
	f.Var(levelFlag{&cfg.R}, "r", "replies that a read waits for, likewise")
	f.Var(sizeFlag{&cfg.Store.MaxHandOffs}, "max-handoffs", "disk space for what is kept for other nodes while they are down (sloppy writes)")
	f.BoolVar(&cfg.AllowFaults, "allow-faults", false, "enable the fault endpoint; for tests")
	f.String(configFlag, "", "YAML file with settings")
	return cmd
}

func nameNode(cfg *node.Config) error {
	if cfg.Name != "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return usagef("--name: the host has no name: %w", err)
	}
	cfg.Name = name
	return nil
}

// logHandler writes for people on a terminal and for machines elsewhere.
func logHandler(w io.Writer) slog.Handler {
	if isTerminal(w) {
		return slog.NewTextHandler(w, nil)
	}
	return slog.NewJSONHandler(w, nil)
}

// serve runs a node until a signal, ctx, or a failure that it cannot live with.
func serve(ctx context.Context, cfg node.Config, out io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	listener, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		return fmt.Errorf("client API: %w", err)
	}
	n, err := node.New(cfg)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server, err := kvhttp.NewServer(kvhttp.DefaultConfig(), n, cfg.Logger.With("part", "http"))
	if err != nil {
		return errors.Join(err, listener.Close(), n.Close(ctx))
	}
	server.Open(listener) // before the node is ready: probes are answered, requests refused with the reason
	err = live(ctx, cfg, n, listener.Addr().String(), out, signals)
	if errors.Is(err, node.ErrLeft) {
		err = bidFarewell(cfg, out, signals, farewellTime)
	}

	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	go func() {
		<-signals
		os.Exit(exitFailed)
	}()
	cfg.Logger.Info("draining")
	server.Drain() // new requests are refused; the node serves those under way until the server has closed
	return errors.Join(err, server.Close(stopping), n.Close(stopping))
}

// farewellTime is how long a node that has left still shows that it has, so that whoever waits for it need not guess why it is gone.
const farewellTime = 2 * time.Second

// bidFarewell says that the node has left, and returns after that time, or a signal.
func bidFarewell(cfg node.Config, out io.Writer, signals <-chan os.Signal, last time.Duration) error {
	cfg.Logger.Info("left the cluster; the data directory is of no use any more and can be deleted", "name", cfg.Name, "data", cfg.Data)
	if _, err := fmt.Fprintf(out, "left name=%s; its data directory %s can be deleted\n", cfg.Name, cfg.Data); err != nil {
		return fmt.Errorf("say that the node has left: %w", err)
	}
	select {
	case <-signals:
	case <-time.After(last):
	}
	return nil
}

// process is the node as live sees it.
type process interface {
	Start(ctx context.Context, httpAddr string) error
	WaitReady(ctx context.Context) error
	Failed() <-chan error
	Name() string
	Addrs() ring.Addrs
}

// live starts the node, says when it is ready, and returns when it is to stop: nil if it was asked to, node.ErrLeft if it has left.
func live(ctx context.Context, cfg node.Config, n process, httpAddr string, out io.Writer, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := n.Start(ctx, httpAddr); err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() { ready <- n.WaitReady(ctx) }()
	for {
		select {
		case err := <-ready:
			if err != nil {
				return nil // ctx ended
			}
			ready = nil
			a := n.Addrs()
			if _, err := fmt.Fprintf(out, "ready name=%s http=%s gossip=%s rpc=%s\n", n.Name(), a.HTTP, a.Gossip, a.RPC); err != nil {
				return fmt.Errorf("say that the node is ready: %w", err)
			}
			cfg.Logger.Info("ready", "name", n.Name(), "http", a.HTTP, "gossip", a.Gossip, "rpc", a.RPC)
		case err := <-n.Failed():
			return err
		case s := <-signals:
			cfg.Logger.Info("stopping", "signal", s.String())
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
