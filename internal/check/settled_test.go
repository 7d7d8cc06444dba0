package check

import (
	"strings"
	"testing"
	"time"
)

func TestSettled(t *testing.T) {
	for name, c := range map[string]struct {
		run  Run
		want string // part of what is reported; "" for nothing
	}{
		"all is well": {Run{
			Rings:   []Ring{{Node: "a", Layout: "x", Settled: true}, {Node: "b", Layout: "x", Settled: true}},
			Exits:   []Exit{{Node: "c", At: 1, Done: 2}},
			Reports: []Report{{Node: "a", Layout: "x", At: 1, Done: 3}, {Node: "a", Layout: "y", At: 2}, {Node: "b", Layout: "x", At: 3}},
		}, ""},
		"still waiting":     {Run{Rings: []Ring{{Node: "a", Waits: "b to record"}}}, "b to record"},
		"two layouts":       {Run{Rings: []Ring{{Node: "a", Layout: "x", Settled: true}, {Node: "b", Layout: "y", Settled: true}}}, "under y"},
		"a stray":           {Run{Rings: []Ring{{Node: "a", Settled: true, Strays: []Partition{7}}}}, "[7]"},
		"a leaver stays":    {Run{Exits: []Exit{{Node: "c", At: 1}}}, "still there"},
		"a leaver fails":    {Run{Exits: []Exit{{Node: "c", At: 1, Done: 2, Reason: "removed"}}}, "ended otherwise"},
		"nobody listens":    {Run{Refused: []string{"leave c"}}, "leave c"},
		"a report goes":     {Run{Reports: []Report{{Node: "a", Layout: "x", At: 2, Done: 2}, {Node: "a", Layout: "x", At: 1, Done: 3}}}, "at 2ns"},
		"it went with disk": {Run{Reports: []Report{{Node: "a", Layout: "x", At: 3, Done: 2}, {Node: "a", Layout: "x", At: 1, Done: 3}}, Losses: []Loss{{Node: "a", At: 2}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			for _, v := range All(&c.run) {
				found = append(found, v.String())
			}
			got := strings.Join(found, "\n")
			if (got != "") != (c.want != "") || !strings.Contains(got, c.want) {
				t.Errorf("reported %q, want %q", got, c.want)
			}
		})
	}
}

func TestTenures(t *testing.T) {
	key := KeyName{"b", "k"}
	r := Run{Owners: map[KeyName][]string{key: {"b"}}, Tenures: map[KeyName]map[string][]Tenure{key: {"a": {{0, 10}, {20, 30}}, "b": {{5, Ever}}}},
		Losses: []Loss{{Node: "a", At: 12}, {Node: "b", At: 40, Silent: true}, {Node: "c", At: 13}}}
	for _, c := range []struct {
		node     string
		from, to time.Duration
		want     bool
	}{{"a", 0, 10, true}, {"a", 2, 25, false}, {"a", 12, 13, false}, {"a", 21, 29, true}, {"b", 6, Ever, true}, {"b", 4, 6, false}, {"c", 1, 2, false}} {
		if got := r.kept(key, c.node, c.from, c.to); got != c.want {
			t.Errorf("%s kept the key from %d to %d: %v", c.node, c.from, c.to, got)
		}
	}
	if all, silent, late := r.lost(key, 0, false), r.lost(key, 0, true), r.lost(key, 31, false); all != 2 || silent != 1 || late != 1 {
		t.Errorf("lost %d, silently %d, after the first had gone %d", all, silent, late)
	}
	r.Tenures = nil
	if !r.kept(key, "b", 0, Ever) || r.kept(key, "a", 0, 1) {
		t.Error("without tenures the owners are those at the end")
	}
}
