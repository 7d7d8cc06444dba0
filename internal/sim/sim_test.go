package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Int("seeds", 0, "how many seeds to run; 0: a few")
	first = flag.Uint64("first", 1, "the first of them")
	step  = flag.Uint64("step", 1, "the distance from each to the next")
	one   = flag.Uint64("seed", 0, "run this seed alone, and print its trace")
	chaos = flag.Duration("chaos", time.Minute, "how long the clients and the faults of a seed go on")
	only  = flag.String("only", "", "comma-separated kinds of faults; empty: all")
)

// beforeRun is set where mutations are compiled in.
var beforeRun = func() error { return nil }

func TestMain(m *testing.M) {
	flag.Parse()
	// One P: the order of events depends less on chance, and Go 1.26's race detector crashes when two Ps fire timers of one bubble at
	// the same moment. Two cores are used by two processes.
	runtime.GOMAXPROCS(1)
	if err := beforeRun(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func options() Options {
	o := Options{Chaos: *chaos}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	return o
}

// simulated runs one seed.
func simulated(t *testing.T, seed uint64, log func(string)) Result {
	t.Helper()
	return simulatedPlan(t, NewPlan(seed, options()), log)
}

func simulatedPlan(t *testing.T, p Plan, log func(string)) Result {
	t.Helper()
	var r Result
	alive, stop := watchdog(p.Seed)
	defer stop()
	synctest.Test(t, func(*testing.T) { r = simulate(p, log, alive) })
	return r
}

// watchdog ends the program when alive is not called for a minute of real time: a bubble that hangs does so for ever. It does not ask how long a
// seed takes, which is a matter of the machine.
func watchdog(seed uint64) (alive, stop func()) {
	var beats atomic.Int64
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if beats.Swap(0) == 0 {
					panic(fmt.Sprintf("seed %d hangs", seed))
				}
			}
		}
	}()
	return func() { beats.Add(1) }, func() { close(done) }
}

// TestSeeds runs a number of seeds.
func TestSeeds(t *testing.T) {
	count := *seeds
	if count == 0 {
		count = 4
	}
	sum := newTally()
	for i := range uint64(count) {
		seed := *first + i**step
		r := simulated(t, seed, nil)
		sum.add(&r)
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		if err := r.busyEnough(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	t.Log(sum)
}

// TestOne prints the trace of one seed.
func TestOne(t *testing.T) {
	if *one == 0 {
		t.Skip("no -seed")
	}
	r := simulated(t, *one, func(line string) { os.Stdout.WriteString(line + "\n") })
	for _, v := range r.Violations {
		t.Errorf("seed %d: %v", *one, v)
	}
}
