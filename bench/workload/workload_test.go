package workload

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func config(change func(*Config)) Config {
	c := DefaultConfig()
	change(&c)
	return c
}

func TestStreamsAreDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := config(func(c *Config) {
			c.Mix = Mix{1, 2, 3, 4, 5}
			c.Distribution = rapid.SampledFrom([]Distribution{Uniform, Zipfian, Latest}).Draw(t, "distribution")
			c.Seed = rapid.Uint64().Draw(t, "seed")
			c.Values = Sizes{10, 1000}
		})
		i := rapid.Uint64().Draw(t, "stream")
		a, b, other := NewStream(c, i), NewStream(c, i), NewStream(c, i+1)
		differs := false
		for n := range uint64(100) {
			x := a.Next(c.Keys + n)
			if y := b.Next(c.Keys + n); x != y {
				t.Fatalf("operation %d is %+v and %+v", n, x, y)
			}
			differs = differs || x != other.Next(c.Keys+n)
		}
		if !differs {
			t.Fatal("another stream is the same")
		}
	})
}

func TestKeysExist(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := config(func(c *Config) {
			c.Mix = Mix{1, 1, 1, 1, 1}
			c.Distribution = rapid.SampledFrom([]Distribution{Uniform, Zipfian, Latest}).Draw(t, "distribution")
			c.Exponent = rapid.SampledFrom([]float64{0.01, 0.5, 0.99, 1, 1.01, 2, 5}).Draw(t, "exponent")
			c.Keys = rapid.Uint64Range(1, 5000).Draw(t, "keys")
			c.Values = Sizes{5, 7}
			c.MaxScan = 3
		})
		s := NewStream(c, 0)
		for range 200 {
			exist := c.Keys + rapid.Uint64Range(0, 100).Draw(t, "new")
			op := s.Next(exist)
			writes := op.Kind == Update || op.Kind == Insert || op.Kind == ReadModifyWrite
			if op.Key >= exist || writes && (op.Size < 5 || op.Size > 7) || (op.Kind == Scan) != (op.Scan >= 1) || op.Scan > 3 {
				t.Fatalf("%+v of %d keys", op, exist)
			}
		}
	})
}

// chiSquared is Pearson's statistic of counts against shares, in multiples of its standard deviation above its mean.
func chiSquared(counts, shares []float64) float64 {
	total, sum := 0.0, 0.0
	for _, n := range counts {
		total += n
	}
	for i, n := range counts {
		want := shares[i] * total
		sum += (n - want) * (n - want) / want
	}
	free := float64(len(counts) - 1)
	return (sum - free) / math.Sqrt(2*free)
}

const (
	draws   = 400_000
	unlucky = 5 // standard deviations; the seeds are fixed, so this holds for ever or never
)

func TestMixProportions(t *testing.T) {
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		mix, _, err := Standard(name)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStream(config(func(c *Config) { c.Mix, c.Distribution = mix, Uniform }), 0)
		var counts [Kinds]float64
		for range draws {
			counts[s.Next(10_000).Kind]++
		}
		var seen, want []float64
		for k, share := range mix {
			if share == 0 && counts[k] != 0 {
				t.Errorf("%s: %v of %v, which is not in it", name, counts[k], Kind(k))
			} else if share != 0 {
				seen, want = append(seen, counts[k]), append(want, share)
			}
		}
		if len(seen) > 1 && chiSquared(seen, want) > unlucky {
			t.Errorf("%s: %v, want shares of %v", name, counts, mix)
		}
	}
}

// zipfShares are the probabilities of ranks 1 to n.
func zipfShares(n int, s float64) []float64 {
	shares, sum := make([]float64, n), 0.0
	for k := range shares {
		shares[k] = math.Pow(float64(k+1), -s)
		sum += shares[k]
	}
	for k := range shares {
		shares[k] /= sum
	}
	return shares
}

func TestZipfianIsExact(t *testing.T) {
	for _, exponent := range []float64{0.5, 0.99, 1, 1.5} {
		for _, keys := range []int{1, 2, 3, 500} {
			s := NewStream(config(func(c *Config) { c.Mix, c.Keys, c.Exponent = Mix{Read: 1}, uint64(keys), exponent }), 7)
			counts := make([]float64, keys)
			for range draws {
				counts[s.Next(uint64(keys)).Key]++
			}
			byRank := make([]float64, keys)
			for rank := range byRank {
				byRank[rank] = counts[s.scatter.of(uint64(rank))]
			}
			if keys > 1 && chiSquared(byRank, zipfShares(keys, exponent)) > unlucky {
				t.Errorf("exponent %v, %d keys: %v over its mean", exponent, keys, chiSquared(byRank, zipfShares(keys, exponent)))
			}
		}
	}
}

func TestUniformIsUniform(t *testing.T) {
	const keys = 1000
	s := NewStream(config(func(c *Config) { c.Mix, c.Distribution, c.Keys = Mix{Read: 1}, Uniform, keys/2 }), 3)
	counts, shares := make([]float64, keys), make([]float64, keys)
	for range draws {
		counts[s.Next(keys).Key]++ // half of them came later
	}
	for k := range shares {
		shares[k] = 1.0 / keys
	}
	if x := chiSquared(counts, shares); x > unlucky {
		t.Errorf("%v over its mean", x)
	}
}

func TestLatestPrefersTheNewest(t *testing.T) {
	const keys = 300
	s := NewStream(config(func(c *Config) { c.Mix, c.Distribution, c.Keys = Mix{Read: 1}, Latest, 10 }), 3)
	counts := make([]float64, keys)
	for range draws {
		counts[s.Next(keys).Key]++
	}
	slices.Reverse(counts)
	if x := chiSquared(counts, zipfShares(keys, 0.99)); x > unlucky {
		t.Errorf("%v over its mean", x)
	}
}

func TestScatterIsAPermutation(t *testing.T) {
	for n := uint64(1); n < 600; n++ {
		seen, s := make([]bool, n), newScatter(n)
		for i := range n {
			seen[s.of(i)] = true
		}
		if slices.Contains(seen, false) {
			t.Fatalf("of %d some are left out", n)
		}
	}
	big := newScatter(MaxKeys)
	if a, b := big.of(MaxKeys-1), big.of(MaxKeys-2); a >= MaxKeys || b >= MaxKeys || a == b {
		t.Error(a, b)
	}
}

func TestFrontierFollowsAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(0, 10).Draw(t, "first")
		f := NewFrontier(first)
		open, next := []uint64{}, first
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "take") {
				if got := f.Take(); got != next {
					t.Fatalf("took %d, want %d", got, next)
				}
				open, next = append(open, next), next+1
			} else {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				f.End(open[i])
				open = slices.Delete(open, i, i+1)
			}
			want := next
			if len(open) > 0 {
				want = slices.Min(open)
			}
			if f.Exist() != want || len(f.ended) > int(next-f.Exist()) {
				t.Fatalf("%d exist, want %d; %d kept", f.Exist(), want, len(f.ended))
			}
		}
	})
}

func TestValues(t *testing.T) {
	v, same, other := NewValues(1, 100), NewValues(1, 100), NewValues(2, 100)
	for _, from := range []uint64{0, 1, window - 1, window, math.MaxUint64} {
		if got := v.Of(100, from); len(got) != 100 || !bytes.Equal(got, same.Of(100, from)) || bytes.Equal(got, other.Of(100, from)) {
			t.Errorf("from %d: %x", from, got)
		}
	}
	if len(v.Of(0, 5)) != 0 {
		t.Error("a value of nothing has something")
	}
}

func TestAppendKey(t *testing.T) {
	for _, key := range []uint64{0, 1, 9, 10, 17, 9_999_999, 10_000_000, 99_999_999, 100_000_000, math.MaxUint64} {
		if got, want := string(AppendKey([]byte("/"), key)), fmt.Sprintf("/key%08d", key); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Config){
		"no share":       func(c *Config) { c.Mix = Mix{} },
		"negative share": func(c *Config) { c.Mix[Read] = -1 },
		"share NaN":      func(c *Config) { c.Mix[Read] = math.NaN() },
		"shares too big": func(c *Config) { c.Mix = Mix{math.MaxFloat64, math.MaxFloat64} },
		"distribution":   func(c *Config) { c.Distribution = 9 },
		"exponent":       func(c *Config) { c.Exponent = 0 },
		"no keys":        func(c *Config) { c.Keys = 0 },
		"sizes":          func(c *Config) { c.Values = Sizes{2, 1} },
		"huge values":    func(c *Config) { c.Values = Sizes{0, MaxValue + 1} },
		"scan":           func(c *Config) { c.MaxScan = 0 },
	} {
		if err := config(change).Validate(); err == nil {
			t.Errorf("%s: is taken", what)
		}
	}
	if _, _, err := Standard("g"); err == nil {
		t.Error("workload g exists")
	}
	if _, err := ParseDistribution("hot"); err == nil {
		t.Error("distribution hot exists")
	}
	if got := (Mix{Read: 95, Update: 5}).String(); got != "95 % read, 5 % update" {
		t.Error(got)
	}
}
