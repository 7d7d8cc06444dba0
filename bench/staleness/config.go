package staleness

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/history"
)

// Config says what to measure.
type Config struct {
	Quorums  []history.Quorum // each on keys of its own, all at the same time
	Scenario Scenario
	Duration time.Duration // of the load: a quarter before the cut, three eighths with it, three eighths after it
	Keys     int           // probe keys a quorum
	Writes   float64       // a second and quorum
	Reads    float64       // a second and quorum
	Repair   bool          // reads repair what they find behind
	Timeout  time.Duration // for the cluster to answer a request
	InFlight int           // requests under way a node; what arrives above that is recorded as failed
	Settle   time.Duration // at most, until all keys can be read from all their replicas in the end
	Seed     uint64        // equal seeds give equal arrivals
}

// DefaultConfig is what the command does without flags.
func DefaultConfig() Config {
	return Config{
		Quorums:  []history.Quorum{{N: 3, W: 1, R: 1}, {N: 3, W: 2, R: 2}},
		Scenario: IsolateOne,
		Duration: time.Minute,
		Keys:     40,
		Writes:   40,  // one a key and second
		Reads:    200, // two quorums together are a tenth of a core on each side: the cluster is to be cut, not loaded
		Repair:   true,
		Timeout:  time.Second, // a person waits no longer; it bounds how long the beginning of a cut is felt
		InFlight: 256,         // 40 arrivals a second and node that all wait for Timeout are 96
		Settle:   time.Minute, // a healed cluster finds itself again within seconds
		Seed:     1,
	}
}

// Bounds of configurations.
const (
	maxDuration = time.Hour // the log of a run is held in memory
	maxKeys     = 10_000
	maxInFlight = 10_000
	maxTimeout  = time.Minute // what a node takes
	maxN        = 16
)

// quietEvery: every fourth key is not written after the heal, so that only the cluster itself can bring its replicas together.
const quietEvery = 4

// graceTime is how much longer a client waits for a node than it gave the node.
const graceTime = 500 * time.Millisecond

// Validate reports what is wrong with a configuration, for a cluster of that many nodes that can be spoken to.
func (c Config) Validate(nodes int) error {
	switch {
	case len(c.Quorums) == 0:
		return errors.New("no quorum is given")
	case c.Duration < time.Second || c.Duration > maxDuration:
		return fmt.Errorf("a duration of %v: want 1s to %v", c.Duration, maxDuration)
	case c.Keys < 1 || c.Keys > maxKeys:
		return fmt.Errorf("%d keys: want 1 to %d", c.Keys, maxKeys)
	case c.Timeout < time.Millisecond || c.Timeout > maxTimeout:
		return fmt.Errorf("a timeout of %v: want 1ms to %v", c.Timeout, maxTimeout)
	case c.InFlight < 1 || c.InFlight > maxInFlight:
		return fmt.Errorf("%d requests under way: want 1 to %d", c.InFlight, maxInFlight)
	case c.Settle < 0:
		return errors.New("the time to settle cannot be negative")
	case nodes < 2 && c.Scenario != None:
		return fmt.Errorf("the scenario %v needs two nodes or more", c.Scenario)
	}
	for i, q := range c.Quorums {
		if q.N < 1 || q.N > maxN || q.W < 1 || q.W > q.N || q.R < 1 || q.R > q.N {
			return fmt.Errorf("quorum %s: want n from 1 to %d, w and r from 1 to n", Name(q), maxN)
		}
		for _, other := range c.Quorums[:i] {
			if other == q {
				return fmt.Errorf("quorum %s is given twice", Name(q))
			}
		}
	}
	perQuorum := c.schedule(max(nodes, 1)).Validate()
	if perQuorum == nil && (c.Writes+c.Reads)*c.Duration.Seconds()*float64(len(c.Quorums)) > history.MaxArrivals {
		perQuorum = fmt.Errorf("more than %d operations", history.MaxArrivals)
	}
	return perQuorum
}

// schedule is that of one quorum. Whatever the scenario, the phases are the same.
func (c Config) schedule(clients int) history.Schedule {
	return history.Schedule{
		Clients: clients, Keys: c.Keys, Writes: c.Writes, Reads: c.Reads,
		Until:     c.Duration.Nanoseconds(),
		QuietFrom: c.healAt().Nanoseconds(), QuietEvery: quietEvery,
	}
}

func (c Config) cutAt() time.Duration  { return c.Duration / 4 }
func (c Config) healAt() time.Duration { return c.Duration / 8 * 5 }

// Name writes a quorum as n/w/r.
func Name(q history.Quorum) string { return fmt.Sprintf("%d/%d/%d", q.N, q.W, q.R) }

// ParseQuorum reads n/w/r, such as 3/2/2.
func ParseQuorum(text string) (history.Quorum, error) {
	words := strings.Split(text, "/")
	var numbers [3]int
	if len(words) == len(numbers) {
		for i, word := range words {
			number, err := strconv.Atoi(word)
			if err != nil {
				break
			}
			numbers[i] = number
		}
	}
	q := history.Quorum{N: numbers[0], W: numbers[1], R: numbers[2]}
	if Name(q) != text {
		return history.Quorum{}, fmt.Errorf("quorum %.40q: want n/w/r, such as 3/2/2", text)
	}
	return q, nil
}
