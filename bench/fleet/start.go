package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Config says which cluster to start.
type Config struct {
	Binary      string // the quorate program; this one if empty
	Nodes       int
	Dir         string   // for data and logs, new or empty, kept at the end; temporary if empty
	AllowFaults bool     // --allow-faults
	Flags       []string // more flags of serve, the same for all

	ReadyTime time.Duration     // the longest that all may take to be ready
	StopTime  time.Duration     // the longest that they may take to drain before they are killed
	Progress  func(text string) // is told how the start goes, a line at a time; may be nil
}

// MaxNodes bounds a cluster on one machine.
const MaxNodes = 100

// DefaultConfig is a cluster of three.
func DefaultConfig() Config {
	return Config{
		Nodes:     3,
		ReadyTime: time.Minute,      // a founding takes 1 to 3 s; a busy machine or a hundred nodes take longer
		StopTime:  12 * time.Second, // serve drains for at most 9 s
	}
}

// Validate reports what is wrong with a configuration.
func (c Config) Validate() error {
	switch {
	case c.Nodes < 1 || c.Nodes > MaxNodes:
		return fmt.Errorf("%d nodes: want 1 to %d", c.Nodes, MaxNodes)
	case c.ReadyTime <= 0 || c.StopTime <= 0:
		return errors.New("time to be ready and to stop must be positive")
	}
	return nil
}

func (c Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// portTries bounds how often a cluster is started anew because somebody took a port that was free.
const portTries = 3

// Start starts a cluster and waits until every node can serve. Whatever it returns, it leaves nothing behind that Close would not end.
func Start(ctx context.Context, cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		cfg.Binary = self
	}
	o := &owned{cfg: cfg, dir: cfg.Dir}
	if err := o.makeDir(); err != nil {
		return nil, err
	}
	var err error
	for range portTries {
		var retry bool
		if retry, err = o.start(ctx); err == nil {
			break
		} else if !retry {
			return nil, errors.Join(err, o.close(ctx, ctx.Err() == nil))
		}
		cfg.say("%v: choosing other ports", err)
		if err := o.discard(); err != nil {
			return nil, errors.Join(err, o.close(ctx, ctx.Err() == nil))
		}
	}
	if err != nil {
		return nil, errors.Join(err, o.close(ctx, ctx.Err() == nil))
	}
	f, err := o.fleet(ctx)
	if err != nil {
		return nil, errors.Join(err, o.close(ctx, ctx.Err() == nil))
	}
	return f, nil
}
