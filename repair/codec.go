package repair

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/wire"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// The bounds of what a message may carry; those of the client API.
const (
	maxBucket = 64
	maxKey    = 1024
)

func appendHeader(b []byte, digest uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, wireVersion), digest)
}

// appendPartitions writes ascending partitions as gaps.
func appendPartitions(b []byte, ps []ring.Partition) []byte {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	least := ring.Partition(0)
	for _, p := range ps {
		b = binary.AppendUvarint(b, uint64(p-least))
		least = p + 1
	}
	return b
}

// appendBits writes eight a byte, the lowest bit first.
func appendBits(b []byte, set []bool) []byte {
	for i := range set {
		if i%8 == 0 {
			b = append(b, 0)
		}
		b[len(b)-1] |= flag(set[i]) << (i % 8)
	}
	return b
}

func appendDot(b []byte, d version.Dot) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, d.Actor.N), uint64(d.Actor.ID))
	return binary.LittleEndian.AppendUint64(b, d.Counter)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// decoder reads the messages of this package.
type decoder struct{ wire.Reader }

func (d *decoder) version() { d.speaks(wireVersion) }

func (d *decoder) speaks(want byte) {
	if v := d.Byte(); !d.Failed() && v != want {
		d.Fail(fmt.Sprintf("format version %d, this node speaks %d", v, want))
	}
}

func (d *decoder) header() uint64 {
	d.version()
	return d.U64()
}

func (d *decoder) partition() ring.Partition {
	return ring.Partition(d.Uvarint(ring.MaxPartitions - 1))
}

func (d *decoder) partitions() []ring.Partition {
	var out []ring.Partition
	least := uint64(0)
	for range d.Uvarint(ring.MaxPartitions) {
		p := least + d.Uvarint(ring.MaxPartitions)
		if p >= ring.MaxPartitions {
			d.Fail("no such partition")
		}
		if d.Failed() {
			return nil
		}
		out = append(out, ring.Partition(p))
		least = p + 1
	}
	return out
}

func (d *decoder) bits(count int) []bool {
	b := d.Take(uint64(count+7) / 8)
	if d.Failed() {
		return nil
	}
	out := make([]bool, count)
	for i := range out {
		out[i] = b[i/8]>>(i%8)&1 == 1
	}
	if count%8 > 0 && b[len(b)-1]>>(count%8) != 0 {
		d.Fail("more bits than there are things")
	}
	return out
}

// leasts reads an n for each of some partitions.
func (d *decoder) leasts(count int) []uint8 {
	out := bytes.Clone(d.Take(uint64(count)))
	if slices.ContainsFunc(out, func(n uint8) bool { return n < 1 || n > version.MaxN }) {
		d.Fail("no such n")
	}
	return out
}

func (d *decoder) hashes(count int) []uint64 {
	out := make([]uint64, count)
	for i := range out {
		out[i] = d.U64()
	}
	return out
}

func (d *decoder) dot() version.Dot {
	dot := version.Dot{Actor: version.Actor{N: d.Byte(), ID: version.ActorID(d.U64())}, Counter: d.U64()}
	if dot.Actor.N > version.MaxN || dot.Counter > version.MaxCounter {
		d.Fail("bad dot")
	}
	return dot
}

func (d *decoder) vector() (v version.Vector) {
	d.Part(func(b []byte) (rest []byte, err error) {
		v, rest, err = version.DecodeVector(b)
		return rest, err
	})
	return v
}
