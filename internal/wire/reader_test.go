package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var errCorrupt = errors.New("corrupt")

// TestReadsWhatWasWritten writes parts in any order and reads them back, whole, cut short and with a byte too many.
func TestReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		var read []func(r *Reader) bool
		for range rapid.IntRange(0, 8).Draw(t, "parts") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				v := rapid.Uint64().Draw(t, "number")
				b = binary.AppendUvarint(b, v)
				read = append(read, func(r *Reader) bool { return r.Uvarint(math.MaxUint64) == v })
			case 1:
				v := rapid.Uint64().Draw(t, "u64")
				b = binary.LittleEndian.AppendUint64(b, v)
				read = append(read, func(r *Reader) bool { return r.U64() == v })
			case 2:
				v := rapid.Bool().Draw(t, "flag")
				b = AppendBool(b, v)
				read = append(read, func(r *Reader) bool { return r.Bool() == v })
			case 3:
				v := rapid.StringN(-1, -1, 20).Draw(t, "text")
				b = AppendText(b, v)
				read = append(read, func(r *Reader) bool { return r.Text(20) == v })
			case 4:
				v := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
				b = AppendBytes(b, v)
				read = append(read, func(r *Reader) bool { return string(r.Bytes(20)) == string(v) })
			}
		}
		all := func(b []byte) (right bool, err error) {
			r := Read(b)
			right = true
			for _, fn := range read {
				right = fn(&r) && right
			}
			return right, r.End(errCorrupt)
		}
		if right, err := all(b); !right || err != nil {
			t.Fatalf("read wrong, or %v", err)
		}
		if _, err := all(append(b, 7)); !errors.Is(err, errCorrupt) {
			t.Fatalf("a byte too many: %v", err)
		}
		for n := range b {
			if _, err := all(b[:n]); !errors.Is(err, errCorrupt) {
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			}
		}
	})
}

// TestRefuses has what no encoder writes. After the first fault nothing is read, and that fault is told.
func TestRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []byte
		read func(r *Reader)
		why  string
	}{
		{"a number above its limit", []byte{11}, func(r *Reader) { r.Uvarint(10) }, "bad number"},
		{"a longer form", []byte{0x85, 0}, func(r *Reader) { r.Uvarint(10) }, "bad number"},
		{"a number without an end", []byte{0x80}, func(r *Reader) { r.Uvarint(10) }, "bad number"},
		{"a number of more than 64 bits", []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, func(r *Reader) { r.Uvarint(math.MaxUint64) }, "bad number"},
		{"a flag of two", []byte{2}, func(r *Reader) { r.Bool() }, "bad flag"},
		{"text beyond the end", []byte{3, 'a'}, func(r *Reader) { r.Text(10) }, "cut short"},
		{"an own reason, and a second one", []byte{1, 2}, func(r *Reader) { r.Check(r.Byte() == 2, "not two"); r.Byte() }, "not two"},
	} {
		r := Read(test.in)
		test.read(&r)
		if err := r.End(errCorrupt); err == nil || !errors.Is(err, errCorrupt) || !strings.HasSuffix(err.Error(), test.why) || !r.Failed() || r.Left() != 0 {
			t.Errorf("%s: %v, %d bytes left", test.name, err, r.Left())
		}
	}
}
