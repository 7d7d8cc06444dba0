package workload

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// zipf draws ranks from 1: rank k with a probability proportional to k^-s, by rejection-inversion. The number of ranks is an argument of each
// draw, since keys are added meanwhile; a change of it costs one logarithm and one exponential.
type zipf struct {
	s         float64
	integral1 float64 // of the density up to 1.5, less the first rank's mass
	shortcut  float64 // a rank this close above the draw is taken without looking
	ranks     uint64  // for which integralN holds
	integralN float64
}

func newZipf(s float64) zipf {
	z := zipf{s: s}
	z.integral1 = z.integral(1.5) - 1
	z.shortcut = 2 - z.inverse(z.integral(2.5)-z.density(2))
	return z
}

// draw returns a rank from 1 to n, n > 0. It takes 1.1 tries in the mean.
func (z *zipf) draw(r *rand.Rand, n uint64) uint64 {
	if z.ranks != n {
		z.ranks, z.integralN = n, z.integral(float64(n)+0.5)
	}
	for {
		u := z.integralN + r.Float64()*(z.integral1-z.integralN)
		x := z.inverse(u)
		rank := min(max(math.Floor(x+0.5), 1), float64(n))
		if rank-x <= z.shortcut || u >= z.integral(rank+0.5)-z.density(rank) {
			return uint64(rank)
		}
	}
}

// density is x^-s.
func (z *zipf) density(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// integral is one of density: (x^(1-s) - 1) / (1-s), or log x for s = 1, and exact beside it.
func (z *zipf) integral(x float64) float64 {
	l := math.Log(x)
	if t := (1 - z.s) * l; math.Abs(t) > 1e-8 {
		return math.Expm1(t) / t * l
	}
	return l
}

// inverse is that of integral.
func (z *zipf) inverse(y float64) float64 {
	t := max(y*(1-z.s), -1) // below by rounding only
	if math.Abs(t) > 1e-8 {
		return math.Exp(math.Log1p(t) / t * y)
	}
	return math.Exp(y)
}

// scatter is a permutation of 0 to n-1 that takes neighbours far apart.
type scatter struct{ n, factor uint64 }

func newScatter(n uint64) scatter {
	const golden = 0.6180339887498949 // multiples of it, modulo 1, are spread most evenly
	factor := uint64(float64(n)*golden) | 1
	for gcd(factor, n) != 1 {
		factor += 2
	}
	return scatter{n: n, factor: factor % n}
}

func (s scatter) of(i uint64) uint64 {
	hi, lo := bits.Mul64(i, s.factor)
	_, rest := bits.Div64(hi%s.n, lo, s.n)
	return rest
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
