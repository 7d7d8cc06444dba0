package staleness

import (
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/quorate/quorate/bench/fleet"
	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/internal/history"
)

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(5); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Config){
		"no quorum":         func(c *Config) { c.Quorums = nil },
		"w above n":         func(c *Config) { c.Quorums[0].W = 4 },
		"r of 0":            func(c *Config) { c.Quorums[0].R = 0 },
		"n of 17":           func(c *Config) { c.Quorums[0].N = 17 },
		"a quorum twice":    func(c *Config) { c.Quorums[1] = c.Quorums[0] },
		"a blink":           func(c *Config) { c.Duration = time.Millisecond },
		"a day":             func(c *Config) { c.Duration = 24 * time.Hour },
		"no keys":           func(c *Config) { c.Keys = 0 },
		"no operations":     func(c *Config) { c.Writes, c.Reads = 0, 0 },
		"negative reads":    func(c *Config) { c.Reads = -1 },
		"too many a second": func(c *Config) { c.Reads = 1e9 },
		"too many at all":   func(c *Config) { c.Duration, c.Reads = time.Hour, 1000 },
		"no timeout":        func(c *Config) { c.Timeout = 0 },
		"no request":        func(c *Config) { c.InFlight = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if cfg.Validate(5) == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if DefaultConfig().Validate(1) == nil {
		t.Error("a cut through one node: accepted")
	}
}

func TestParseQuorum(t *testing.T) {
	if q, err := ParseQuorum("5/3/2"); err != nil || q != (history.Quorum{N: 5, W: 3, R: 2}) {
		t.Errorf("%v, %v", q, err)
	}
	for _, text := range []string{"", "3", "3/2", "3/2/2/1", "3/2/x", "3/2/ 2", "03/2/2", "-3/-2/-2x", "3/2/99999999999999999999"} {
		if _, err := ParseQuorum(text); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

func TestSides(t *testing.T) {
	nodes := func(names ...string) (list []fleet.Node) {
		for _, name := range names {
			list = append(list, fleet.Node{Name: name})
		}
		return list
	}
	for _, c := range []struct {
		scenario Scenario
		nodes    []fleet.Node
		members  []string
		want     map[string]string
	}{
		{None, nodes("a", "b"), []string{"a", "b"}, map[string]string{"a": "all", "b": "all"}},
		{IsolateOne, nodes("a", "b", "c"), []string{"a", "b", "c"}, map[string]string{"a": "rest", "b": "rest", "c": "isolated"}},
		{Halves, nodes("a", "b", "c"), []string{"a", "b", "c"}, map[string]string{"a": "half-1", "b": "half-2", "c": "half-2"}},
		{Halves, nodes("a", "b"), []string{"a", "b", "c"}, map[string]string{"a": "half-1", "b": "half-2", "c": "half-2"}},
	} {
		side := c.scenario.sides(c.nodes, c.members)
		if !reflect.DeepEqual(side, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.scenario, c.nodes, side, c.want)
		}
		for name := range side {
			for _, rule := range cutRules(name, side) {
				if side[rule.Peer] == side[name] || !rule.Drop || rule.Validate() != nil {
					t.Errorf("%v: rule of %s: %+v", c.scenario, name, rule)
				}
			}
		}
	}
}

func TestOutcomes(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	problem := func(name, outcome string) error {
		return &kvhttp.Problem{Type: "urn:quorate:" + name, Status: 503, Outcome: outcome}
	}
	for _, c := range []struct {
		err         error
		write, read history.Outcome
		reason      string
	}{
		{nil, history.Acked, history.OK, ""},
		{problem("quorum-timeout", "indeterminate"), history.Indeterminate, history.Unavailable, "quorum-timeout"},
		{problem("overloaded", "not_written"), history.NotWritten, history.Unavailable, "overloaded"},
		{problem("internal", ""), history.Indeterminate, history.Unavailable, "internal"}, // who does not say that it was not written, may have written
		{refused, history.NotWritten, history.Unavailable, "no-connection"},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, history.Indeterminate, history.Unavailable, "no-answer"},
	} {
		if outcome, reason := writeOutcome(c.err); outcome != c.write || reason != c.reason {
			t.Errorf("write, %v: %v, %q", c.err, outcome, reason)
		}
		if outcome, reason := readOutcome(c.err); outcome != c.read || reason != c.reason {
			t.Errorf("read, %v: %v, %q", c.err, outcome, reason)
		}
	}
	if outcome, _ := readOutcome(problem("not-found", "")); outcome != history.NotFound {
		t.Errorf("404: %v", outcome)
	}
}

// TestOnlyOurValues: what another run wrote, or nobody, is not taken for one of ours.
func TestOnlyOurValues(t *testing.T) {
	d := dialect{runID: "20260102-030405"}
	for text, want := range map[string]history.Value{
		d.valuePrefix() + "3.17":             {Client: 3, Seq: 17},
		d.valuePrefix() + "3.17 ":            {},
		"quorate-probe 20260102-030406 3.17": {},
		"":                                   {},
	} {
		if got := d.valueOf([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
