package version

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/codec.txt anew: only together with a new format version")

const (
	alice ActorID = 0xa11ce00000000001
	bob   ActorID = 0xb0b0000000000002
)

// noon is a time whose parts are easy to find in a dump.
const noon = 1_700_000_000_000_000<<logicalBits | 5

func goldenRecords() []struct {
	name   string
	record Record
} {
	lww := NewRecord(Write{Dot: Dot{Actor{alice, 3}, 7}, Stamp: Stamp{noon, alice}, Mode: LWW, ContentType: "text/plain", Value: []byte("hello")})
	deleted := NewRecord(Write{Dot: Dot{Actor{bob, 5}, 300}, Stamp: Stamp{noon + 1, bob}, Mode: LWW, Deleted: true, Context: lww.Vector})
	left := NewRecord(Write{Dot: Dot{Actor{alice, 3}, 1}, Stamp: Stamp{noon, alice}, Mode: Siblings, Value: []byte{0, 255}})
	right := NewRecord(Write{Dot: Dot{Actor{bob, 3}, 4}, Stamp: Stamp{noon, bob}, Mode: Siblings, ContentType: "a/b"})
	siblings := Merge(left, right)
	mixed := Merge(siblings, lww)
	beaten := Merge(lww, NewRecord(Write{Dot: Dot{Actor{bob, 3}, 9}, Stamp: Stamp{noon + 9, bob}, Mode: Siblings, Context: lww.Vector}))
	foreign := left
	foreign.Versions = []Version{left.Versions[0]}
	foreign.Versions[0].Stamp.Actor = bob
	var clock Vector
	clock.AddBase(Actor{alice, 3}, 1000)
	clock.AddBase(Actor{alice, 5}, 1)
	return []struct {
		name   string
		record Record
	}{
		{"a key never seen", Record{}},
		{"a key never seen, full", Record{}.Fill(clock)},
		{"one lww value", lww},
		{"one lww value, stripped", lww.Strip(clock)},
		{"one lww value, elided", lww.Elide(0)},
		{"a tombstone that raised n", deleted},
		{"two siblings", siblings},
		{"siblings beside an lww value", mixed},
		{"a sibling that replaced an lww value", beaten},
		{"a stamp of another actor than the dot's", foreign},
	}
}

func goldenVectors() []Vector {
	var one, many Vector
	one.AddBase(Actor{alice, 3}, 127)
	many.AddBase(Actor{alice, 1}, 128)
	for _, c := range []uint64{2, 4, 5, 6, 1000, MaxCounter} {
		many.Add(Dot{Actor{alice, 16}, c})
	}
	many.AddBase(Actor{math.MaxUint64, 3}, MaxCounter)
	return []Vector{{}, one, many}
}

// TestGoldenVectors holds the format still: bytes that were on a disk once are there for ever.
func TestGoldenVectors(t *testing.T) {
	var got strings.Builder
	for _, g := range goldenRecords() {
		b := AppendRecord(nil, g.record)
		fmt.Fprintf(&got, "record: %s\n%v\n%x\n\n", g.name, g.record, b)
	}
	for _, v := range goldenVectors() {
		fmt.Fprintf(&got, "vector:\n%v\n%x\n\n", v, AppendVector(nil, v))
	}
	for _, g := range goldenRecords()[2:4] {
		token := ReadToken(g.record.Fill(goldenVectors()[1]))
		fmt.Fprintf(&got, "token: of bucket b, key k, for %s\n%v seen %v stamp %v\n%s\n\n",
			g.name, token.Vector, token.Seen, token.Stamp, token.Encode("b", "k"))
	}
	const file = "testdata/codec.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Fatalf("the codec changed. Now:\n%s", got.String())
	}
}

// The bytes of the file decode to what the file says, whatever the encoder does today.
func TestGoldenVectorsDecode(t *testing.T) {
	file, err := os.ReadFile("testdata/codec.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSpace(string(file)), "\n\n") {
		lines := strings.Split(block, "\n")
		text, last := strings.Join(lines[1:len(lines)-1], "\n"), lines[len(lines)-1]
		var got string
		switch b, _ := hex.DecodeString(last); lines[0][:6] {
		case "record":
			r, err := DecodeRecord(b)
			if err != nil {
				t.Fatalf("%s: %v", lines[0], err)
			}
			got = r.String()
		case "vector":
			v, rest, err := DecodeVector(b)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s: %v", last, err)
			}
			got = v.String()
		default:
			token, err := DecodeToken(last, "b", "k")
			if err != nil {
				t.Fatalf("%s: %v", lines[0], err)
			}
			got = fmt.Sprintf("%v seen %v stamp %v", token.Vector, token.Seen, token.Stamp)
		}
		if got != text {
			t.Errorf("%s: file says\n%s\ndecoded\n%s", lines[0], text, got)
		}
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	records := goldenRecords()
	lww := AppendRecord(nil, records[2].record)
	raw := func(versions ...Version) []byte {
		b := []byte{format, 3, byte(len(versions))}
		for i := range versions {
			b = appendVersion(b, &versions[i])
		}
		return append(b, 0) // an empty vector
	}
	one := Version{Dot: Dot{Actor{alice, 3}, 1}, Stamp: Stamp{noon, alice}, Mode: LWW}
	rival, hollow := one, one
	rival.Dot.Counter, rival.Stamp.Time = 2, noon+1
	hollow.Elided = true
	if _, err := DecodeRecord(raw(one)); err != nil {
		t.Fatal(err)
	}
	change := func(b []byte, at int, to ...byte) []byte {
		c := append([]byte(nil), b...)
		copy(c[at:], to)
		return c
	}
	swapped := records[6].record
	swapped.Versions = []Version{swapped.Versions[1], swapped.Versions[0]}
	huge := append([]byte{format, 3}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
	cases := []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"format of the future", change(lww, 0, format+1)},
		{"n below a dot's", change(lww, 1, 2)},
		{"n above the largest", change(lww, 1, MaxN+1)},
		{"more versions than bytes", huge},
		{"actor zero", change(lww, 3, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"dot with n=0", change(lww, 11, 0)},
		{"counter zero", change(lww, 12, 0)},
		{"no mode", change(lww, 13, 0)},
		{"unknown flag", change(lww, 13, 1|1<<5)},
		{"deleted and elided", change(lww, 13, 1|flagDeleted|flagElided)},
		{"trailing byte", append(change(lww, 0, format), 0)},
		{"versions out of order", AppendRecord(nil, swapped)},
		{"zero stamp spelled out", []byte{format, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"stamp neither there nor absent", []byte{format, 0, 0, 2, 0}},
		{"long integer", []byte{format, 0, 0x80, 0, 0, 0}},
		{"two lww versions with different stamps", raw(one, rival)},
		{"an elided value of no bytes", raw(hollow)},
		{"the dot's own actor spelled out", change(AppendRecord(nil, records[9].record), 22, lww[3:11]...)},
	}
	for _, c := range cases {
		if r, err := DecodeRecord(c.b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", c.name, r, err)
		}
	}
}

func TestAppendRecordPanicsOnBrokenRecord(t *testing.T) {
	r := goldenRecords()[2].record
	r.MaxLWW.Time++
	defer func() {
		if recover() == nil {
			t.Fatal("a record with an lww version below its highest stamp was written")
		}
	}()
	AppendRecord(nil, r)
}

func TestDecodeVectorRefuses(t *testing.T) {
	dot := appendDot(nil, Dot{Actor{alice, 3}, 0})
	entry := func(tail ...byte) []byte { return append(append([]byte{1}, dot...), tail...) }
	top := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	one := appendDot(nil, Dot{Actor{alice, 3}, 1})
	last := append([]byte{1}, appendDot(nil, Dot{Actor{alice, 3}, MaxCounter})...)
	cases := []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"empty entry", entry(0)},
		{"more entries than bytes", []byte{9}},
		{"more intervals than bytes", entry(9, 0, 0)},
		{"interval above the largest counter", append(entry(1), append(top, 0)...)},
		{"interval that starts beyond all integers", append(append(append(last, 1), top...), 5)},
		{"interval that ends above it", append(entry(1, 0), top...)},
		{"one actor twice", append(append(append(append([]byte{2}, one...), 0), one...), 0)},
		{"base above the largest counter", append(append([]byte{1}, appendDot(nil, Dot{Actor{alice, 3}, MaxCounter + 1})...), 0)},
	}
	for _, c := range cases {
		if v, _, err := DecodeVector(c.b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", c.name, v, err)
		}
	}
}
