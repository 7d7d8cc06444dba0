package load

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/quorate/quorate/bench/workload"
)

// Config says what load to put on a cluster. Empty N, W and R leave the choice to the bucket.
type Config struct {
	Workload    workload.Config
	Name        string // of the workload, if it is one of YCSB's: a to f
	Bucket      string
	N           int
	W, R        string        // one, quorum, all or a number
	Timeout     time.Duration // asked of the cluster for each request; 0 leaves it at its default
	Connections int           // spread over the nodes; the most requests at a time
	Rate        float64       // arrivals a second of an open loop; 0 is a closed loop
	Warmup      time.Duration
	Duration    time.Duration // of the window
	Preload     bool
}

// Bounds of a configuration.
const (
	MaxConnections = 20_000
	MaxRate        = 1e6
	maxTimeout     = time.Minute // that a node takes
)

// DefaultConfig is YCSB's workload A in a closed loop for half a minute.
func DefaultConfig() Config {
	return Config{
		Workload:    workload.DefaultConfig(),
		Name:        "a",
		Bucket:      "bench",
		Connections: 64, // enough that three nodes on two cores are never idle; docs/performance.md has all figures at 64
		Warmup:      5 * time.Second,
		Duration:    30 * time.Second,
		Preload:     true,
	}
}

// Validate reports what is wrong with a configuration.
func (c Config) Validate() error {
	if err := c.Workload.Validate(); err != nil {
		return err
	}
	switch {
	case c.Bucket == "" || url.PathEscape(c.Bucket) != c.Bucket:
		return fmt.Errorf("bucket %q: want letters, digits, dot, dash and underscore", c.Bucket)
	case c.N < 0:
		return fmt.Errorf("n = %d: want a positive number", c.N)
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return fmt.Errorf("timeout %v: want at most %v", c.Timeout, maxTimeout)
	case c.Connections < 1 || c.Connections > MaxConnections:
		return fmt.Errorf("%d connections: want 1 to %d", c.Connections, MaxConnections)
	case math.IsNaN(c.Rate) || c.Rate < 0 || c.Rate > MaxRate:
		return fmt.Errorf("rate %v: want at most %.0f arrivals a second", c.Rate, float64(MaxRate))
	case c.Warmup < 0:
		return errors.New("the warm-up cannot be negative")
	case c.Duration <= 0:
		return errors.New("the duration must be positive")
	}
	return nil
}

// open tells whether arrivals come whatever the cluster does.
func (c Config) open() bool { return c.Rate > 0 }

// answerTime is what a request may take, with what a node needs to say that it took too long.
func (c Config) answerTime() time.Duration {
	const usual, slack = 5 * time.Second, time.Second
	if c.Timeout == 0 {
		return usual + slack
	}
	return c.Timeout + slack
}
