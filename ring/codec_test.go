package ring

import (
	"bytes"
	"encoding/binary"
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
		{ID: testID(3), Name: "node-2", Zone: "east", Weight: 300, State: Active},
		{ID: testID(4), Name: "node-4", Zone: "west", Weight: 2, State: Leaving},
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

// asFormat1 is how a version that knew flags wrote a table whose rows all have the same.
func asFormat1(t testing.TB, table Table, flags byte) []byte {
	t.Helper()
	b := table.Encode()
	out := append([]byte{tableFormatFlags}, b[1:len(b)-len(rowsOf(table))]...)
	for _, m := range table.rows {
		row := appendMember(nil, m)
		state := 16 + 1 + len(m.Name) + 1 + len(m.Zone) + len(binary.AppendUvarint(nil, uint64(m.Weight)))
		out = append(append(append(out, row[:state+1]...), flags), row[state+1:]...)
	}
	return out
}

func rowsOf(table Table) (b []byte) {
	for _, m := range table.rows {
		b = appendMember(b, m)
	}
	return b
}

// A table of format 1 is read, unless it says what only it could say.
func TestDecodeFormat1(t *testing.T) {
	want := sampleTable(t)
	for _, test := range []struct {
		name  string
		flags byte
		err   error
	}{
		{"nobody lost a disk", 0, nil},
		{"all have fetched what they own", flagFresh | flagSynced, nil},
		{"somebody has not", flagFresh, ErrUnsynced},
		{"unknown flags", 4, ErrCorrupt},
	} {
		got, err := DecodeTable(asFormat1(t, want, test.flags))
		if !errors.Is(err, test.err) || err == nil && !got.Equal(want) {
			t.Errorf("%s: %v\n%v", test.name, err, got)
		}
	}
	gone, err := Table{}.With(Member{ID: testID(2), Name: "b", Weight: 1, State: Replaced, ReplacedBy: testID(3)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeTable(asFormat1(t, gone, flagFresh)); err != nil {
		t.Errorf("one that is gone need not fetch: %v", err)
	}
}

func FuzzDecodeTable(f *testing.F) {
	f.Add(Table{}.Encode())
	f.Add(sampleTable(f).Encode())
	f.Add([]byte{tableFormat + 1})
	f.Add(asFormat1(f, sampleTable(f), flagFresh|flagSynced))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := DecodeTable(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsynced) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		if b[0] == tableFormat && !bytes.Equal(table.Encode(), b) {
			t.Fatalf("two encodings of one table: %x and %x", b, table.Encode())
		}
		if table.Partitions() <= DefaultPartitions && table.Len() < 20 {
			_ = NewLayout(table).String()
		}
	})
}
