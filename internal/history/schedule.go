package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// Schedule says what is asked of a cluster and when: puts and gets of probe keys in an open loop. Both arrive as Poisson processes, drawn from a seed
// before anything runs, so that no answer, however late, moves an arrival.
//
// Each key has one writer, the client of one node. Each node's client reads all keys, its own too.
type Schedule struct {
	Clients int     // one a node, numbered from 0
	Keys    int     // numbered from 0; key k is written by client k mod Clients
	Writes  float64 // a second, over all keys
	Reads   float64 // a second, over all keys and clients
	From    int64   // nanoseconds on the clock of the run
	Until   int64

	// QuietFrom is when every QuietEvery-th key, from the first, is written for the last time: from then on only the cluster itself can bring its
	// replicas together, where the other keys are also helped by the next write. QuietEvery 0: never.
	QuietFrom  int64
	QuietEvery int
}

// Bounds of schedules.
const (
	MaxRate     = 100_000   // operations a second
	MaxArrivals = 4_000_000 // of one schedule; a history in memory takes some 400 bytes for each
)

// Arrival is one operation that is due.
type Arrival struct {
	Due    int64
	Kind   Kind // Put or Get
	Client int
	Key    int
}

// Validate reports what is wrong with a schedule.
func (s Schedule) Validate() error {
	switch {
	case s.Clients < 1 || s.Keys < 1:
		return fmt.Errorf("%d clients, %d keys: want at least one", s.Clients, s.Keys)
	case !(s.Writes >= 0 && s.Reads >= 0 && s.Writes+s.Reads > 0 && s.Writes+s.Reads <= MaxRate):
		return fmt.Errorf("%v writes and %v reads a second: want at least one of them, and at most %d together", s.Writes, s.Reads, MaxRate)
	case s.From < 0 || s.Until <= s.From:
		return fmt.Errorf("from %d until %d", s.From, s.Until)
	case s.QuietEvery < 0:
		return errors.New("quiet keys cannot be fewer than none")
	case (s.Writes+s.Reads)*float64(s.Until-s.From)/1e9 > MaxArrivals:
		return fmt.Errorf("more than %d operations", MaxArrivals)
	}
	return nil
}

// Quiet tells whether a key is among those that are not written any more from QuietFrom on.
func (s Schedule) Quiet(key int) bool { return s.QuietEvery > 0 && key%s.QuietEvery == 0 }

// Writer is the client that writes a key.
func (s Schedule) Writer(key int) int { return key % s.Clients }

// Arrivals yields all arrivals in the order of time. It panics if the schedule is not valid.
func (s Schedule) Arrivals(random *rand.Rand) func(yield func(Arrival) bool) {
	if err := s.Validate(); err != nil {
		panic("history: schedule: " + err.Error())
	}
	rate := s.Writes + s.Reads
	return func(yield func(Arrival) bool) {
		for at := float64(s.From); ; {
			at += random.ExpFloat64() * 1e9 / rate
			if at >= float64(s.Until) {
				return
			}
			a := Arrival{Due: int64(at), Kind: Get, Client: random.IntN(s.Clients), Key: random.IntN(s.Keys)}
			if random.Float64()*rate < s.Writes {
				a.Kind, a.Client = Put, s.Writer(a.Key)
				if s.Quiet(a.Key) && a.Due >= s.QuietFrom {
					continue
				}
			}
			if !yield(a) {
				return
			}
		}
	}
}
