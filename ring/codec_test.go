package ring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := drawTable(t)
		encoded := table.Encode()
		decoded, err := DecodeTable(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if !decoded.Equal(table) || !bytes.Equal(decoded.Encode(), encoded) {
			t.Fatalf("got:\n%v\nwant:\n%v", decoded, table)
		}
		for cut := range encoded {
			if _, err := DecodeTable(encoded[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d of %d: %v", cut, len(encoded), err)
			}
		}
		if _, err := DecodeTable(append(encoded, 0)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("with a byte too many: %v", err)
		}
	})
}

// sampleTable has every field set somewhere.
func sampleTable(t testing.TB) Table {
	table := tableOf(t, 16, []Member{
		{ID: testID(1), Name: "node-1", Weight: 1, State: Active, Addrs: Addrs{Gossip: "10.0.0.1:7946", RPC: "10.0.0.1:7947", HTTP: "10.0.0.1:8080", Epoch: 3}},
		{ID: testID(2), Name: "node-2", Zone: "east", Weight: 300, State: Replaced, ReplacedBy: testID(3)},
		{ID: testID(3), Name: "node-2", Zone: "east", Weight: 300, State: Active, Fresh: true},
		{ID: testID(4), Name: "node-4", Zone: "west", Weight: 2, State: Leaving, Fresh: true, Synced: true},
		{ID: testID(5), Name: "node-5", Zone: "west", Weight: 2, State: Joining},
	})
	return table.WithFounder(testID(1))
}

// The bytes are a promise to disks and to peers of the adjacent version: this file changes only together with tableFormat.
func TestCodecGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/table.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sampleTable(t).Encode()); got != strings.TrimSpace(string(want)) {
		t.Errorf("the sample table is encoded as\n%s", got)
	}
}

func FuzzDecodeTable(f *testing.F) {
	f.Add(Table{}.Encode())
	f.Add(sampleTable(f).Encode())
	f.Add([]byte{tableFormat + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := DecodeTable(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		if !bytes.Equal(table.Encode(), b) {
			t.Fatalf("two encodings of one table: %x and %x", b, table.Encode())
		}
		if table.Partitions() <= DefaultPartitions && table.Len() < 20 {
			_ = NewLayout(table).String()
		}
	})
}
