package workload

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Sizes are the bounds of what a value may have, both included; all between are alike.
type Sizes struct{ Min, Max int }

// Bounds of a workload.
const (
	MaxKeys  = 1 << 40  // loaded at the beginning
	MaxValue = 30 << 20 // bytes, the most that any node takes
)

// Config describes a workload.
type Config struct {
	Mix          Mix
	Distribution Distribution
	Exponent     float64 // of zipfian and latest
	Keys         uint64  // that exist at the beginning
	Values       Sizes   // bytes
	MaxScan      int     // keys; a scan takes 1 to this many
	Seed         uint64
}

// DefaultConfig is YCSB's workload A on 10,000 keys.
func DefaultConfig() Config {
	mix, distribution, _ := Standard("a")
	return Config{
		Mix: mix, Distribution: distribution,
		Exponent: 0.99, // YCSB's
		Keys:     10_000,
		Values:   Sizes{100, 100},
		MaxScan:  100, // YCSB's
		Seed:     1,
	}
}

// Validate reports what is wrong with a configuration.
func (c Config) Validate() error {
	if err := c.Mix.Validate(); err != nil {
		return err
	}
	switch {
	case int(c.Distribution) >= len(distributionNames):
		return fmt.Errorf("distribution %v", c.Distribution)
	case !(c.Exponent > 0 && c.Exponent <= 5):
		return fmt.Errorf("exponent %v: want above 0, at most 5", c.Exponent)
	case c.Keys < 1 || c.Keys > MaxKeys:
		return fmt.Errorf("%d keys: want 1 to %d", c.Keys, uint64(MaxKeys))
	case c.Values.Min < 0 || c.Values.Max < c.Values.Min || c.Values.Max > MaxValue:
		return fmt.Errorf("values of %d to %d bytes: want 0 to %d, the smaller first", c.Values.Min, c.Values.Max, MaxValue)
	case c.MaxScan < 1:
		return fmt.Errorf("scans of at most %d keys", c.MaxScan)
	}
	return nil
}

// Op is what to do next.
type Op struct {
	Kind Kind
	Key  uint64 // which of the keys; a new one's number is the caller's to choose
	Size int    // bytes of the value, for kinds that write
	From uint64 // where in Values.Of the value begins
	Scan int    // how many keys
}

// Stream is one sequence of operations. It is not safe for concurrent use: each connection has its own.
type Stream struct {
	cfg        Config
	rand       *rand.Rand
	cumulative [Kinds]float64
	zipf       zipf
	scatter    scatter
}

// NewStream returns stream number i of a valid configuration.
func NewStream(c Config, i uint64) *Stream {
	s := &Stream{cfg: c, rand: rand.New(rand.NewPCG(c.Seed, i)), zipf: newZipf(c.Exponent), scatter: newScatter(c.Keys)}
	sum := 0.0
	for k, share := range c.Mix {
		sum += share
		s.cumulative[k] = sum
	}
	return s
}

// Next returns the next operation. exist is how many keys there are, at least Config.Keys.
func (s *Stream) Next(exist uint64) Op {
	op := Op{Kind: s.kind()}
	if op.Kind != Insert {
		op.Key = s.key(exist)
	}
	switch op.Kind {
	case Update, Insert, ReadModifyWrite:
		op.Size, op.From = s.Value()
	case Scan:
		op.Scan = 1 + s.rand.IntN(s.cfg.MaxScan)
	}
	return op
}

// Value returns size and beginning of a value.
func (s *Stream) Value() (size int, from uint64) {
	return s.cfg.Values.Min + s.rand.IntN(s.cfg.Values.Max-s.cfg.Values.Min+1), s.rand.Uint64()
}

// Exp returns a draw of the exponential distribution with mean 1: the gaps between arrivals that do not know of each other.
func (s *Stream) Exp() float64 { return s.rand.ExpFloat64() }

func (s *Stream) kind() Kind {
	at := s.rand.Float64() * s.cumulative[Kinds-1]
	last := Kind(0)
	for k, share := range s.cfg.Mix {
		if share == 0 {
			continue
		}
		if last = Kind(k); at < s.cumulative[k] {
			break
		}
	}
	return last
}

func (s *Stream) key(exist uint64) uint64 {
	switch s.cfg.Distribution {
	case Zipfian:
		return s.scatter.of(s.zipf.draw(s.rand, s.cfg.Keys) - 1)
	case Latest:
		return exist - s.zipf.draw(s.rand, exist)
	default:
		return s.rand.Uint64N(exist)
	}
}

// AppendKey appends the name of a key: key and at least eight digits.
func AppendKey(dst []byte, key uint64) []byte {
	dst = append(dst, "key"...)
	for least := uint64(1e7); key < least && least > 1; least /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, key, 10)
}
