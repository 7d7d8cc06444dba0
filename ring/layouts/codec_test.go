package layouts

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/ring"
)

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		encoded := s.Encode()
		decoded, err := Decode(encoded)
		if err != nil {
			t.Fatalf("%v of\n%v", err, s)
		}
		if !decoded.Equal(s) || !bytes.Equal(decoded.Encode(), encoded) {
			t.Fatalf("got:\n%v\nwant:\n%v", decoded, s)
		}
		for cut := range encoded {
			if _, err := Decode(encoded[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d of %d: %v", cut, len(encoded), err)
			}
		}
		if _, err := Decode(append(encoded, 0)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("with a byte too many: %v", err)
		}
	})
}

// sampleState has a layout in every stage of its life, and reports of every kind.
func sampleState(t rapid.TB) State {
	first := mustVersion(t, 16, nodeRow(0, Owns), nodeRow(1, Owns))
	zoned := nodeRow(2, Owns)
	zoned.Zone, zoned.Weight, zoned.Placed, zoned.Losses = "east", 300, 2, 1
	second, err := first.Join(mustVersion(t, 16, zoned))
	if err != nil {
		t.Fatal(err)
	}
	third, err := second.Join(mustVersion(t, 16, nodeRow(3, Owns), nodeRow(1, Replaced)))
	if err != nil {
		t.Fatal(err)
	}
	other := mustVersion(t, 16, nodeRow(4, Owns))
	s := mustMerge(t, Found(first), State{layouts: []layout{{version: other, whole: true}}})
	for _, v := range []Version{second, third} {
		if s, err = s.with(v); err != nil {
			t.Fatal(err)
		}
	}
	s = s.Record(nodeID(0)).Record(nodeID(4))
	for p := range 16 {
		s = s.Synced(nodeID(0), third.hash, ring.Partition(p))
	}
	return s.Synced(nodeID(2), third.hash, 9)
}

// The bytes are a promise to disks and to peers of the adjacent version: this file changes only together with format.
func TestCodecGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/state.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sampleState(t).Encode()); got != strings.TrimSpace(string(want)) {
		t.Errorf("the sample state is encoded as\n%s", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(State{}.Encode())
	f.Add(sampleState(f).Encode())
	f.Add([]byte{format + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatalf("two encodings of one state: %x and %x", b, s.Encode())
		}
		if len(s.layouts) > 8 {
			return
		}
		v := NewView(s, func(v Version) Placement {
			if v.partitions > 256 {
				return fixed("")
			}
			return v.Place()
		})
		_ = v.String()
		for _, l := range v.live {
			for _, r := range l.version.rows {
				v.MaySync(r.ID, 0, nil)
				v.MayDrop(r.ID, 0, 3, nil)
				v.MayExit(r.ID)
			}
		}
		v.MayBury()
	})
}
