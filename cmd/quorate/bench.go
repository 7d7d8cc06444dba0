package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/bench/load"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster",
		Long: `Measure a cluster: one that runs already, named by --targets, or one of real
processes that is started on this machine for the measurement and ended with it.`,
		Example: `  quorate bench load --nodes 3 --workload b --duration 30s
  quorate bench load --targets http://10.0.0.1:8080,http://10.0.0.2:8080 --rate 2000
  quorate bench staleness --nodes 5 --scenario isolate-one --duration 60s`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchLoad(), newBenchStaleness())
	return cmd
}

// fleetFlags say which cluster to measure.
type fleetFlags struct {
	targets []string
	nodes   int
	data    string
}

func (o *fleetFlags) add(f *pflag.FlagSet) {
	if o.nodes == 0 {
		o.nodes = fleet.DefaultConfig().Nodes
	}
	f.StringSliceVar(&o.targets, "targets", nil, "addresses of nodes that run already, such as http://10.0.0.1:8080")
	f.IntVar(&o.nodes, "nodes", o.nodes, "without --targets: how many nodes to start")
	f.StringVar(&o.data, "data", "", "new directory for data and logs of these nodes (default: a temporary one)")
}

func (o *fleetFlags) validate(f *pflag.FlagSet) error {
	if len(o.targets) > 0 {
		if f.Changed("nodes") || f.Changed("data") {
			return usagef("--targets are nodes that run already; --nodes and --data are for those to be started")
		}
		return nil
	}
	if o.nodes < 1 || o.nodes > fleet.MaxNodes {
		return usagef("--nodes: %d: want 1 to %d", o.nodes, fleet.MaxNodes)
	}
	return nil
}

// open starts or meets the cluster.
func (o *fleetFlags) open(ctx context.Context, allowFaults bool, p *progress) (*fleet.Fleet, error) {
	if len(o.targets) > 0 {
		return fleet.Dial(ctx, o.targets)
	}
	cfg := fleet.DefaultConfig()
	cfg.Nodes, cfg.Dir, cfg.AllowFaults, cfg.Progress = o.nodes, o.data, allowFaults, p.Phase
	return fleet.Start(ctx, cfg)
}

// outDir makes a directory for results. What an earlier run left there is not overwritten.
func outDir(dir string, files ...string) error {
	for _, name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return usagef("--out: %s has a %s already: give another directory, or move it away", dir, name)
		}
	}
	return os.MkdirAll(dir, 0o755)
}

// interruptible ends its context at the first Ctrl-C or SIGTERM, or when the terminal goes away. The second one ends this process at once, and with
// it what it has started; faults that it has set at targets stay.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(parent, signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// measured runs measure on the cluster, and closes it whatever comes of that. Logs of nodes are kept if anything failed but
// by an interruption or a refusal.
func (o *fleetFlags) measured(ctx context.Context, allowFaults bool, p *progress, measure func(context.Context, *fleet.Fleet) error) (err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	f, err := o.open(ctx, allowFaults, p)
	if err == nil {
		err = closing(ctx, f, func() error { return measure(ctx, f) })
	}
	p.end()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// closing closes the cluster after run, also if that panics.
func closing(ctx context.Context, f *fleet.Fleet, run func() error) (err error) {
	done := false
	defer func() {
		failed := !done || err != nil && ctx.Err() == nil && !errors.Is(err, load.ErrRefused)
		if e := f.Close(ctx, failed); err == nil {
			err = e
		}
	}()
	err = run()
	done = true
	return err
}
