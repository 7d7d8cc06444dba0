package workload

import (
	"fmt"
	"math"
	"strings"
)

// Kind is a kind of operation.
type Kind uint8

// The kinds.
const (
	Read            Kind = iota // GET of a key that exists
	Update                      // PUT of a key that exists, without having read it
	Insert                      // PUT of a new key
	Scan                        // a run of keys from one that exists
	ReadModifyWrite             // GET, then PUT with the context of its answer
	Kinds           = 5         // how many there are
)

var kindNames = [Kinds]string{"read", "update", "insert", "scan", "read-modify-write"}

// String is the kind's name in tables, results and flags.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("unknown(%d)", k)
	}
	return kindNames[k]
}

// Mix has the share of each kind. Shares count relative to their sum.
type Mix [Kinds]float64

// Validate reports what is wrong with a mix.
func (m Mix) Validate() error {
	sum := 0.0
	for k, share := range m {
		if math.IsNaN(share) || math.IsInf(share, 0) || share < 0 {
			return fmt.Errorf("share of %v is %v: want 0 or more", Kind(k), share)
		}
		sum += share
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return fmt.Errorf("the shares of the kinds sum up to %v: at least one must be above 0", sum)
	}
	return nil
}

// String lists the shares in percent.
func (m Mix) String() string {
	sum := 0.0
	for _, share := range m {
		sum += share
	}
	var parts []string
	for k, share := range m {
		if share > 0 {
			parts = append(parts, fmt.Sprintf("%.4g %% %v", 100*share/sum, Kind(k)))
		}
	}
	return strings.Join(parts, ", ")
}

// Standard returns the mix and the distribution of a core workload of YCSB, A to F.
func Standard(name string) (Mix, Distribution, error) {
	switch strings.ToLower(name) {
	case "a":
		return Mix{Read: 0.5, Update: 0.5}, Zipfian, nil
	case "b":
		return Mix{Read: 0.95, Update: 0.05}, Zipfian, nil
	case "c":
		return Mix{Read: 1}, Zipfian, nil
	case "d":
		return Mix{Read: 0.95, Insert: 0.05}, Latest, nil
	case "e":
		return Mix{Scan: 0.95, Insert: 0.05}, Zipfian, nil
	case "f":
		return Mix{Read: 0.5, ReadModifyWrite: 0.5}, Zipfian, nil
	}
	return Mix{}, 0, fmt.Errorf("workload %q: want one of a, b, c, d, e, f", name)
}

// Distribution says how keys are chosen.
type Distribution uint8

// The distributions.
const (
	Uniform Distribution = iota // all that exist alike
	Zipfian                     // some of those there were at the beginning much more often than others, scattered over all
	Latest                      // the newer, the more often
)

var distributionNames = []string{"uniform", "zipfian", "latest"}

// String is the name in flags and results.
func (d Distribution) String() string {
	if int(d) >= len(distributionNames) {
		return fmt.Sprintf("unknown(%d)", d)
	}
	return distributionNames[d]
}

// ParseDistribution reads a name.
func ParseDistribution(name string) (Distribution, error) {
	for d, n := range distributionNames {
		if n == name {
			return Distribution(d), nil
		}
	}
	return 0, fmt.Errorf("distribution %q: want one of %s", name, strings.Join(distributionNames, ", "))
}
