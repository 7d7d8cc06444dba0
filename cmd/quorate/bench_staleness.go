package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/bench/staleness"
)

// stalenessOptions are the flags of bench staleness.
type stalenessOptions struct {
	fleetFlags
	cfg      staleness.Config
	scenario string
	quorums  []string
	dir      string
}

func newBenchStaleness() *cobra.Command {
	o := &stalenessOptions{fleetFlags: fleetFlags{nodes: 5}, cfg: staleness.DefaultConfig()}
	o.scenario = o.cfg.Scenario.String()
	for _, q := range o.cfg.Quorums {
		o.quorums = append(o.quorums, staleness.Name(q))
	}
	cmd := &cobra.Command{
		Use:   "staleness",
		Short: "Measure how stale reads are, and what becomes of writes, under a partition",
		Long: `Write and read probe keys through every node while a part of the cluster is cut
off and healed again, and tell per quorum, phase and side of the cut: how probable a
fresh read was, by how many acknowledged writes (k) and by how much time (t) the others
were behind, what was unavailable, and what became of every write attempt.

A read is stale if a write was acknowledged before the read was sent, and the read
returned something older. Writes of unknown outcome never count as acknowledged,
failed reads are unavailability. Each key has one writer; each node has one client,
which reads through that node alone. Arrivals never wait for answers, and times count
from when each was due: there is no coordinated omission.

The scenarios are none; isolate-one, which cuts the last node off; and halves. A cut
begins after a quarter of the duration and takes three eighths of it. With --targets
it needs nodes that run with --allow-faults; the probe keys are deleted at the end.

The command fails if a promise did not hold: an acknowledged write was lost, something
refused or replaced came up, or a read was stale although r + w > n.`,
		Example: `  quorate bench staleness --nodes 5 --scenario isolate-one --duration 60s
  quorate bench staleness --quorums 3/1/1 --repair=false --scenario halves --out result
  quorate bench staleness --targets http://10.0.0.1:8080,http://10.0.0.2:8080 --scenario none`,
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(cmd.Flags()); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), newProgress(cmd.ErrOrStderr()))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.fleetFlags.add(f)
	o.add(f)
	return cmd
}

func (o *stalenessOptions) add(f *pflag.FlagSet) {
	c := &o.cfg
	f.StringVar(&o.scenario, "scenario", o.scenario, "none, isolate-one or halves")
	f.StringSliceVar(&o.quorums, "quorums", o.quorums, "n/w/r, all measured at the same time on keys of their own")
	f.DurationVar(&c.Duration, "duration", c.Duration, "of the load, cut and heal included")
	f.BoolVar(&c.Repair, "repair", c.Repair, "reads repair the replicas that they find behind")
	f.IntVar(&c.Keys, "keys", c.Keys, "probe keys a quorum; every fourth is not written after the heal")
	f.Float64Var(&c.Writes, "writes", c.Writes, "a second and quorum")
	f.Float64Var(&c.Reads, "reads", c.Reads, "a second and quorum")
	f.DurationVar(&c.Timeout, "timeout", c.Timeout, "time for the cluster to answer a request")
	f.IntVar(&c.InFlight, "in-flight", c.InFlight, "requests under way a node; what is due above that counts as failed")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "equal seeds give equal arrivals")
	f.StringVar(&o.dir, "out", "", "directory for results.json, ops.ndjson and staleness.svg (default ./quorate-bench-<time>)")
}

// validate puts the flags together.
func (o *stalenessOptions) validate(f *pflag.FlagSet) error {
	if err := o.fleetFlags.validate(f); err != nil {
		return err
	}
	scenario, err := staleness.ParseScenario(o.scenario)
	if err != nil {
		return usagef("--scenario: %w", err)
	}
	o.cfg.Scenario, o.cfg.Quorums = scenario, nil
	for _, text := range o.quorums {
		q, err := staleness.ParseQuorum(text)
		if err != nil {
			return usagef("--quorums: %w", err)
		}
		o.cfg.Quorums = append(o.cfg.Quorums, q)
	}
	nodes := o.nodes
	if len(o.targets) > 0 {
		nodes = len(o.targets)
	}
	if err := o.cfg.Validate(nodes); err != nil {
		return &usageError{err}
	}
	for _, q := range o.cfg.Quorums { // targets may be only some of the nodes
		if len(o.targets) == 0 && max(q.W, q.R) > o.nodes {
			return usagef("--quorums: %s cannot be reached with --nodes %d", staleness.Name(q), o.nodes)
		}
	}
	return nil
}

func (o *stalenessOptions) run(ctx context.Context, out io.Writer, p *progress) error {
	dir := o.dir
	if dir == "" {
		dir = "quorate-bench-" + time.Now().Format("20060102-150405")
	}
	if err := outDir(dir, staleness.ResultsFile, staleness.LogFile, staleness.PictureFile); err != nil { // a mistake in it is better known before the measurement than after
		return err
	}
	defer os.Remove(dir) // if nothing came to be in it
	return o.measured(ctx, o.cfg.Scenario != staleness.None, p, func(ctx context.Context, f *fleet.Fleet) error {
		results, log, err := staleness.Run(ctx, f, o.cfg, p)
		p.end()
		if len(log.Ops) == 0 {
			return err
		}
		if results != nil {
			results.Build = buildLine()
			err = errors.Join(err, results.Print(out))
		}
		files, saveErr := staleness.Save(dir, results, log)
		err = errors.Join(err, saveErr)
		if len(files) > 0 {
			p.Phase(fmt.Sprintf("in %s: %s", dir, strings.Join(files, ", ")))
		}
		if results == nil {
			return err
		}
		if wrong := append(results.Broken, results.Unknown...); len(wrong) > 0 {
			err = errors.Join(err, errors.New(strings.Join(wrong, "; ")))
		}
		return err
	})
}
