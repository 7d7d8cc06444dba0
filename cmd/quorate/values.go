package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/quorate/quorate/quorum"
)

// levelFlag is a quorum.Level on a command line.
type levelFlag struct{ level *quorum.Level }

// String implements pflag.Value.
func (f levelFlag) String() string {
	if f.level == nil || *f.level == 0 {
		return ""
	}
	return f.level.String()
}

// Set implements pflag.Value.
func (f levelFlag) Set(s string) (err error) {
	if s == "majority" { // the word of everyday for the same
		s = "quorum"
	}
	*f.level, err = quorum.ParseLevel(s)
	return err
}

// Type implements pflag.Value.
func (levelFlag) Type() string { return "one|quorum|all|INT" }

// sizeFlag is a number of bytes on a command line, such as 8MiB.
type sizeFlag struct{ bytes *int }

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// maxSize is exact as a float64, and more than any disk has.
const maxSize = min(1<<50, math.MaxInt)

// String implements pflag.Value.
func (f sizeFlag) String() string {
	if f.bytes == nil {
		return ""
	}
	switch n := *f.bytes; {
	case n > 0 && n%(1<<30) == 0:
		return strconv.Itoa(n>>30) + "GiB"
	case n > 0 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "MiB"
	}
	return strconv.Itoa(*f.bytes)
}

// Set implements pflag.Value.
func (f sizeFlag) Set(s string) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*unit.bytes > maxSize || n*unit.bytes != math.Trunc(n*unit.bytes) {
			break
		}
		*f.bytes = int(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 8MiB, 512KiB or 1000000", s)
}

// Type implements pflag.Value.
func (sizeFlag) Type() string { return "SIZE" }

// sizesFlag is one number of bytes on a command line, or the smallest and the largest: 100, 1KiB, 100-2000.
type sizesFlag struct{ least, most *int }

// String implements pflag.Value.
func (f sizesFlag) String() string {
	if f.least == nil {
		return ""
	}
	if *f.least == *f.most {
		return sizeFlag{f.least}.String()
	}
	return sizeFlag{f.least}.String() + "-" + sizeFlag{f.most}.String()
}

// Set implements pflag.Value.
func (f sizesFlag) Set(s string) error {
	least, most, isRange := strings.Cut(s, "-")
	if !isRange {
		most = least
	}
	if err := (sizeFlag{f.least}).Set(least); err != nil {
		return err
	}
	return sizeFlag{f.most}.Set(most)
}

// Type implements pflag.Value.
func (sizesFlag) Type() string { return "SIZE[-SIZE]" }
