package repair

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

func sampleMessages() map[byte][]byte {
	dot := version.Dot{Actor: alice, Counter: 7}
	rec := version.NewRecord(version.Write{Dot: dot, Mode: version.LWW, Value: []byte("v"), Stamp: version.Stamp{Time: 5, Actor: 1}})
	clock := bases(3, 9)
	clock.Add(version.Dot{Actor: bob, Counter: 12})
	some := []section{{3, version.Vector{}, []logged{{"b", "k", rec}}}, {4, clock, []logged{{"b", "k", rec}, {"b", "\x00", rec}}}}
	return map[byte][]byte{
		0: (&compare{Digest: 5, Root: 6, Salt: 1 << 60, Width: 8, Hashes: []byte("12345678")}).append(nil),
		1: (&compared{Partitions: []ring.Partition{0, 3, 4, 4095}}).append(nil),
		2: (&open{Digest: 5, Hold: true, Partitions: []ring.Partition{255}, Columns: []uint64{7, 8, 9, 10}}).append(nil),
		3: (&opened{Session: 7, Holds: []bool{true, false, true}, Differ: []bool{true, false}, Rows: onlyIn([]bool{true, false}, clock, bases(1, 0), version.Vector{}),
			Holed: [][]version.Entry{nil, clock.Entries()[1:], nil}}).append(nil),
		4: (&next{Digest: 5, Session: 1 << 50, Bytes: 1 << 14, At: 12, After: dot}).append(nil),
		5: (&next{Digest: 5, Session: 1 << 50, First: true, Wanted: []bool{true, false, true}, Known: [][]version.Entry{append(lacks(bases(1, 0), clock), version.Entry{Actor: version.Actor{ID: 3, N: 3}}), nil}}).append(nil),
		7: (&open{Digest: 5, Hold: true, Former: true, Partitions: []ring.Partition{3, 255}, Least: []uint8{1, 3}, Columns: []uint64{7}}).append(nil),
		8: (&show{Digest: 5, Partitions: []ring.Partition{3, 255}, Least: []uint8{1, 3}, Clocks: []version.Vector{clock, {}}}).append(nil),
		9: (&shown{Held: []bool{true, false, true}}).append(nil),
		6: (&page{Last: true, Pressure: 150, At: 4, After: dot, Sections: some}).append(nil),
	}
}

// onlyIn are clocks less the actors of columns that do not differ.
func onlyIn(differ []bool, clocks ...version.Vector) []version.Vector {
	for i := range clocks {
		clocks[i] = inColumns(clocks[i], differ)
	}
	return clocks
}

const kinds = 10

// decodeAndAppend decodes a message of a kind and encodes what came out.
func decodeAndAppend(kind byte, b []byte) ([]byte, error) {
	var m interface{ append(b []byte) []byte }
	var err error
	switch kind {
	case 0:
		var c compare
		c, err = decodeCompare(b)
		m = &c
	case 1:
		var c compared
		c, err = decodeCompared(b)
		m = &c
	case 2, 7:
		var o open
		o, err = decodeOpen(b)
		m = &o
	case 3:
		var o opened
		o, err = decodeOpened(b, 3, 2)
		m = &o
	case 4, 5:
		var n next
		n, err = decodeNext(b)
		m = &n
	case 8:
		var s show
		s, err = decodeShow(b)
		m = &s
	case 9:
		var s shown
		s, err = decodeShown(b, 3)
		m = &s
	default:
		var p page
		p, err = decodePage(b)
		m = &p
	}
	if err != nil {
		return nil, err
	}
	return m.append(nil), nil
}

func TestMessagesRoundTrip(t *testing.T) {
	for kind, b := range sampleMessages() {
		got, err := decodeAndAppend(kind, b)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("message %d: %x, %v; want %x", kind, got, err, b)
		}
		for cut := range b {
			if _, err := decodeAndAppend(kind, b[:cut]); !errors.Is(err, errWire) {
				t.Errorf("message %d cut to %d bytes: %v", kind, cut, err)
			}
		}
		if _, err := decodeAndAppend(kind, append(bytes.Clone(b), 0)); !errors.Is(err, errWire) {
			t.Errorf("message %d with a byte too many: %v", kind, err)
		}
	}
}

// FuzzMessages: no bytes of a peer panic, and what decodes means the same when it is written again.
func FuzzMessages(f *testing.F) {
	for kind, b := range sampleMessages() {
		f.Add(kind, b)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		once, err := decodeAndAppend(kind%kinds, b)
		if err != nil {
			return
		}
		twice, err := decodeAndAppend(kind%kinds, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("message %d: %x, then %x, %v", kind%kinds, once, twice, err)
		}
	})
}
