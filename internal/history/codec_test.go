package history

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// sample has every field of the format.
var sample = Log{
	Marks: []Mark{{"cut", 3_000}, {"healed", 9_000}},
	Ops: []Op{
		{ID: 1, Client: 2, Seq: 1, Kind: Put, Bucket: "probe", Key: "k-1", N: 3, W: 2, R: 2, Due: 100, Invoked: 110, Returned: 900, Node: "node-1", Side: "rest", Phase: "before", Outcome: Acked},
		{ID: 2, Client: 2, Seq: 2, Kind: Delete, Bucket: "probe", Key: "k-1", N: 3, W: 2, R: 2, Due: 3_100, Invoked: 3_110, Returned: 8_000, Node: "node-1", Side: "rest", Phase: "during",
			Outcome: Indeterminate, Reason: "quorum-timeout", Saw: []Value{{2, 1}}},
		{ID: 3, Client: 4, Kind: Get, Bucket: "probe", Key: "k-1", N: 3, W: 2, R: 2, Due: 9_100, Invoked: 9_110, Returned: 9_500, Node: "node-2", Side: "isolated", Phase: "final",
			Outcome: OK, Values: []Value{{2, 1}, {}}, NoRepair: true, Local: true, Final: true},
	},
}

const sampleText = `{"format":"quorate-ops","version":1,"marks":[{"name":"cut","at_ns":3000},{"name":"healed","at_ns":9000}]}
{"id":1,"client":2,"seq":1,"kind":"put","bucket":"probe","key":"k-1","n":3,"w":2,"r":2,"due_ns":100,"invoked_ns":110,"returned_ns":900,"node":"node-1","side":"rest","phase":"before","outcome":"acked"}
{"id":2,"client":2,"seq":2,"kind":"delete","bucket":"probe","key":"k-1","n":3,"w":2,"r":2,"due_ns":3100,"invoked_ns":3110,"returned_ns":8000,"node":"node-1","side":"rest","phase":"during","outcome":"indeterminate","reason":"quorum-timeout","saw":["2.1"]}
{"id":3,"client":4,"kind":"get","bucket":"probe","key":"k-1","n":3,"w":2,"r":2,"due_ns":9100,"invoked_ns":9110,"returned_ns":9500,"node":"node-2","side":"isolated","phase":"final","outcome":"ok","values":["2.1","0.0"],"no_repair":true,"local":true,"final":true}
`

func TestGoldenLog(t *testing.T) {
	var out bytes.Buffer
	if err := Encode(&out, sample); err != nil {
		t.Fatal(err)
	}
	if out.String() != sampleText {
		t.Errorf("encoded:\n%s\nwant:\n%s", out.String(), sampleText)
	}
	l, err := Decode(strings.NewReader(sampleText))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l, sample) {
		t.Errorf("decoded:\n%+v\nwant:\n%+v", l, sample)
	}
}

func TestDecodeRefuses(t *testing.T) {
	lines := strings.SplitAfter(sampleText, "\n")
	for what, text := range map[string]string{
		"nothing":              "",
		"no header":            lines[1],
		"another format":       strings.Replace(sampleText, "quorate-ops", "jepsen", 1),
		"another version":      strings.Replace(sampleText, `"version":1`, `"version":2`, 1),
		"an unknown field":     strings.Replace(sampleText, `"seq":1`, `"sequence":1`, 1),
		"an unknown outcome":   strings.Replace(sampleText, `"acked"`, `"done"`, 1),
		"a read's outcome":     strings.Replace(sampleText, `"acked"`, `"ok"`, 1),
		"a read with a number": strings.Replace(sampleText, `"client":4,`, `"client":4,"seq":1,`, 1),
		"times out of order":   strings.Replace(sampleText, `"returned_ns":900,`, `"returned_ns":109,`, 1),
		"a strange value":      strings.Replace(sampleText, `"2.1","0.0"`, `"2.01"`, 1),
		"two on a line":        strings.Replace(sampleText, "}\n{\"id\":2", "} {\"id\":2", 1),
		"half a line":          sampleText[:len(sampleText)-20],
		"a long line":          lines[0] + strings.Repeat(" ", maxLine+1) + lines[1],
	} {
		if _, err := Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(strings.ReplaceAll(sampleText, "k-1", "\\u0000é<&>")))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Decode(bytes.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Encode(&out, l); err != nil {
			t.Fatalf("decoded, and not encoded: %v", err)
		}
		again, err := Decode(&out)
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Fatalf("came back as %+v, %v\nwas %+v", again, err, l)
		}
	})
}
