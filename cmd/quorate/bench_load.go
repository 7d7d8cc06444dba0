package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quorate/quorate/bench/fleet"
	"github.com/quorate/quorate/bench/load"
	"github.com/quorate/quorate/bench/workload"
	"github.com/quorate/quorate/quorum"
)

// resultsFile is what --out gets.
const resultsFile = "results.json"

// loadOptions are the flags of bench load.
type loadOptions struct {
	fleetFlags
	cfg          load.Config
	shares       [workload.Kinds]float64
	distribution string
	w, r         quorum.Level
	dir          string
	asJSON       bool
}

func newBenchLoad() *cobra.Command {
	o := &loadOptions{cfg: load.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Measure throughput, latency, CPU and memory under a load",
		Long: `Put a load on a cluster and measure throughput, latency by kind of operation,
failures by their reason, and the CPU and memory of each node.

Every key is put once; then the load warms up; then it is measured. The workloads
a to f are YCSB's: a half reads, half updates; b 95 % reads; c reads only; d reads
of the newest, 5 % inserts; e scans; f half reads, half read-modify-writes. Scans
need the listing of keys, which this version does not have: e is refused.

Without --rate the loop is closed: each connection sends its next request when the
last one is answered, so that a slow cluster is asked less often. With --rate it is
open: arrivals come at random at that rate, never wait for answers, and latency
counts from when each was to be sent.

The figures go to standard output, how it goes to standard error.`,
		Example: `  quorate bench load --workload b --duration 30s
  quorate bench load --nodes 5 --rate 2000 --value-size 1KiB --n 3 --w 2 --r 2 --out result
  quorate bench load --targets http://10.0.0.1:8080,http://10.0.0.2:8080 --read 80 --update 20`,
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

func (o *loadOptions) add(f *pflag.FlagSet) {
	c := &o.cfg
	f.StringVar(&c.Name, "workload", c.Name, "a YCSB workload, a to f")
	for k := range o.shares {
		name := workload.Kind(k).String()
		f.Float64Var(&o.shares[k], name, 0, "instead of --workload: share of the "+name+" operations")
	}
	f.Uint64Var(&c.Workload.Keys, "keys", c.Workload.Keys, "keys that exist at the beginning")
	f.Var(sizesFlag{&c.Workload.Values.Min, &c.Workload.Values.Max}, "value-size", "bytes of a value, or of the smallest and largest: 100, 1KiB, 100-2000")
	f.StringVar(&o.distribution, "distribution", "", "of the keys: uniform, zipfian, latest (default: the workload's)")
	f.IntVar(&c.Connections, "connections", c.Connections, "spread over all nodes; the most requests at a time")
	f.Float64Var(&c.Rate, "rate", 0, "arrivals a second of an open loop (default: a closed loop)")
	f.DurationVar(&c.Duration, "duration", c.Duration, "how long to measure")
	f.DurationVar(&c.Warmup, "warmup", c.Warmup, "how long to load before that")
	f.IntVar(&c.N, "n", 0, "replicas (default: the bucket's)")
	f.Var(levelFlag{&o.w}, "w", "acknowledgements that a write waits for (default: the bucket's)")
	f.Var(levelFlag{&o.r}, "r", "replies that a read waits for (default: the bucket's)")
	f.DurationVar(&c.Timeout, "timeout", 0, "time for the cluster to answer a request, at most 60s (default 5s)")
	f.StringVar(&c.Bucket, "bucket", c.Bucket, "bucket of all keys")
	f.Uint64Var(&c.Workload.Seed, "seed", c.Workload.Seed, "equal seeds give equal operations")
	f.BoolVar(&c.Preload, "preload", c.Preload, "put every key once before; false if they are there")
	f.StringVar(&o.dir, "out", "", "directory for results.json")
	f.BoolVar(&o.asJSON, "json", false, "print results.json instead of the table")
}

// validate puts the flags together.
func (o *loadOptions) validate(f *pflag.FlagSet) error {
	if err := o.fleetFlags.validate(f); err != nil {
		return err
	}
	c := &o.cfg
	own := false
	for k := range o.shares {
		own = own || f.Changed(workload.Kind(k).String())
	}
	if own {
		if f.Changed("workload") {
			return usagef("--workload has shares of its own: give either it or shares")
		}
		c.Name, c.Workload.Mix, c.Workload.Distribution = "", workload.Mix(o.shares), workload.Zipfian
	} else {
		mix, distribution, err := workload.Standard(c.Name)
		if err != nil {
			return usagef("--workload: %w", err)
		}
		c.Workload.Mix, c.Workload.Distribution = mix, distribution
	}
	if o.distribution != "" {
		d, err := workload.ParseDistribution(o.distribution)
		if err != nil {
			return usagef("--distribution: %w", err)
		}
		c.Workload.Distribution = d
	}
	if o.w != 0 {
		c.W = o.w.String()
	}
	if o.r != 0 {
		c.R = o.r.String()
	}
	if f.Changed("rate") && c.Rate <= 0 {
		return usagef("--rate: %v: want a positive number", c.Rate)
	}
	if err := c.Validate(); err != nil {
		return &usageError{err}
	}
	return nil
}

func (o *loadOptions) run(ctx context.Context, out io.Writer, p *progress) error {
	if o.dir != "" { // a mistake in it is better known before the measurement than after
		if err := outDir(o.dir, resultsFile); err != nil {
			return err
		}
	}
	return o.measured(ctx, false, p, func(ctx context.Context, f *fleet.Fleet) error {
		results, err := load.Run(ctx, f, o.cfg, p)
		p.end()
		if results == nil {
			return err
		}
		results.Build = buildLine()
		if err == nil && results.Total.Latency == nil {
			err = errors.New("no operation succeeded")
		}
		return errors.Join(err, o.report(out, results, p))
	})
}

// report prints and keeps the results.
func (o *loadOptions) report(out io.Writer, r *load.Results, p *progress) error {
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	document = append(document, '\n')
	if o.dir != "" {
		path := filepath.Join(o.dir, resultsFile)
		if err := os.WriteFile(path, document, 0o644); err != nil {
			return err
		}
		p.Phase("results are in " + path)
	}
	if o.asJSON {
		_, err = out.Write(document)
		return err
	}
	return r.Print(out)
}
