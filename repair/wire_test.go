package repair

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quorate/quorate/version"
)

func sampleMessages() map[byte][]byte {
	dot := version.Dot{Actor: alice, Counter: 7}
	rec := version.NewRecord(version.Write{Dot: dot, Mode: version.LWW, Value: []byte("v"), Stamp: version.Stamp{Time: 5, Actor: 1}})
	clock := bases(3, 9)
	clock.Add(version.Dot{Actor: bob, Counter: 12})
	return map[byte][]byte{
		0: (&compare{Layout: 5, Hashes: []hashed{{0, 1}, {200, 1 << 60}}}).append(nil),
		1: (&compared{Gaining: true, Clocks: []clocked{{3, clock}, {4, version.Vector{}}}}).append(nil),
		2: (&open{Layout: 5, Partition: 255, Clock: clock}).append(nil),
		3: (&next{Layout: 5, Session: 1 << 50, After: dot}).append(nil),
		4: (&page{Session: 9, Last: true, Pressure: 150, Clock: clock, After: dot, Records: []logged{{"b", "k", rec}, {"b", "\x00", rec}}}).append(nil),
	}
}

// decodeAndAppend decodes a message of a kind and encodes what came out.
func decodeAndAppend(kind byte, b []byte) ([]byte, error) {
	switch kind {
	case 0:
		m, err := decodeCompare(b)
		return m.append(nil), err
	case 1:
		m, err := decodeCompared(b)
		return m.append(nil), err
	case 2:
		m, err := decodeOpen(b)
		return m.append(nil), err
	case 3:
		m, err := decodeNext(b)
		return m.append(nil), err
	}
	m, err := decodePage(b)
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
		once, err := decodeAndAppend(kind%5, b)
		if err != nil {
			return
		}
		twice, err := decodeAndAppend(kind%5, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("message %d: %x, then %x, %v", kind%5, once, twice, err)
		}
	})
}
