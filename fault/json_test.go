package fault

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecodeRules(t *testing.T) {
	full := Rule{Peer: "node-2", Direction: In, Kind: Ack, Drop: true, Loss: 0.1, Delay: 20 * time.Millisecond, Dist: Exponential}
	for _, test := range []struct {
		document string
		want     []Rule
	}{
		{`{"rules":[]}`, nil},
		{`{"rules":[{"peer":"*","drop":true}]}`, []Rule{{Peer: Everyone, Drop: true}}},
		{`{"rules":[{"peer":"node-2","direction":"both","kind":"any","drop":false,"loss":0,"delay":"0s","dist":"fixed"}]}`, []Rule{{Peer: "node-2"}}},
		{`{"rules":[{"peer":"node-2","direction":"in","kind":"ack","drop":true,"loss":0.1,"delay":"20ms","dist":"exponential"}]}`, []Rule{full}},
	} {
		got, err := DecodeRules([]byte(test.document))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %+v, %v", test.document, got, err)
		}
	}
	encoded, err := EncodeRules([]Rule{full})
	if want := `{"rules":[{"peer":"node-2","direction":"in","kind":"ack","drop":true,"loss":0.1,"delay":"20ms","dist":"exponential"}]}`; err != nil || string(encoded) != want {
		t.Errorf("encoded %s, %v", encoded, err)
	}
	if encoded, err = EncodeRules(nil); err != nil || string(encoded) != `{"rules":[]}` {
		t.Errorf("no rules encoded as %s, %v", encoded, err)
	}
}

func TestDecodeRulesIsStrict(t *testing.T) {
	for _, bad := range []string{
		``, `[]`, `null`, `{}`, `{"rules":null}`, `{"rules":{}}`, `{"rules":[1]}`, `{"rules":[]} {}`, `{"rules":[]}]`, `{"rule":[]}`,
		`{"rules":[{}]}`,
		`{"rules":[{"peer":""}]}`,
		`{"rules":[{"peer":"a","dorp":true}]}`,
		`{"rules":[{"peer":"a","direction":"up"}]}`,
		`{"rules":[{"peer":"a","kind":"writes"}]}`,
		`{"rules":[{"peer":"a","dist":"normal"}]}`,
		`{"rules":[{"peer":"a","delay":20}]}`,
		`{"rules":[{"peer":"a","delay":"20"}]}`,
		`{"rules":[{"peer":"a","delay":"-20ms"}]}`,
		`{"rules":[{"peer":"a","delay":"2h"}]}`,
		`{"rules":[{"peer":"a","loss":1.5}]}`,
		`{"rules":[{"peer":"a","loss":"0.5"}]}`,
		`{"rules":[` + strings.Repeat(`{"peer":"a"},`, MaxRules) + `{"peer":"a"}]}`,
	} {
		if rules, err := DecodeRules([]byte(bad)); err == nil {
			t.Errorf("%.60s: taken for %+v", bad, rules)
		}
	}
}

func FuzzDecodeRules(f *testing.F) {
	f.Add([]byte(`{"rules":[{"peer":"*","direction":"out","kind":"read","drop":true,"loss":0.25,"delay":"1.5ms","dist":"uniform"}]}`))
	f.Add([]byte(`{"rules":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := DecodeRules(b)
		if err != nil {
			return
		}
		var m Matrix
		if err := m.Set(rules); err != nil {
			t.Fatalf("%+v were read but cannot be set: %v", rules, err)
		}
		encoded, err := EncodeRules(rules)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeRules(encoded); err != nil || !slices.Equal(again, rules) {
			t.Fatalf("%s became %+v, %v", encoded, again, err)
		}
	})
}
