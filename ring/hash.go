package ring

import (
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// MaxPartitions bounds Q. At 4,096 a 100-member cluster still has 40 partitions and more per member and replica; more would only make clocks and trees cost more.
const MaxPartitions = 4096

// DefaultPartitions is the Q of a cluster that did not ask for another.
const DefaultPartitions = 256

// Partition is one of the Q equal parts of the hash space.
type Partition uint16

// CheckPartitions reports whether q may be a cluster's number of partitions: a power of two from 1 to MaxPartitions.
func CheckPartitions(q int) error {
	if q < 1 || q > MaxPartitions || q&(q-1) != 0 {
		return fmt.Errorf("ring: %d partitions: %w: want a power of two from 1 to %d", q, ErrInvalid, MaxPartitions)
	}
	return nil
}

// Hash places a key in the 64-bit hash space: XXH64 with seed 0 of the bucket's name, a zero byte and the key. A bucket's name holds no zero byte, so
// no two keys share an input. testdata/hash.txt has vectors for other implementations.
func Hash(bucket, key string) uint64 {
	var d xxhash.Digest
	d.Reset()
	// Writing to a Digest never fails.
	_, _ = d.WriteString(bucket)
	_, _ = d.Write(separator[:])
	_, _ = d.WriteString(key)
	return d.Sum64()
}

var separator = [1]byte{0}

// PartitionOf is the partition of a hash among q: its topmost bits, so that a partition is one contiguous range of the hash space. q must have passed CheckPartitions.
func PartitionOf(hash uint64, q int) Partition {
	return Partition(hash >> (64 - bits.TrailingZeros(uint(q))))
}
