package staleness

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/quorate/quorate/internal/history"
)

// TestReport prints what a small run found: one key a quorum, written and read every 100 ms, while node-2 is cut off from second 2 to second 5. At 3/1/1
// its client is shown what was there before the cut, until half a second after the heal; at 3/2/2 it gets errors.
func TestReport(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Duration, cfg.Keys = 8*time.Second, 1
	results := &Results{Settings: Settings{Scenario: cfg.Scenario.String(), Duration: 8, Keys: 1, Writes: 10, Reads: 20, Repair: true},
		Nodes: []Node{{"node-1", "http://127.0.0.1:8001", rest}, {"node-2", "http://127.0.0.1:8002", isolated}}}
	if _, err := newResults(cfg, results, handMade(cfg)); err != nil {
		t.Fatal(err)
	}
	datadriven.RunTest(t, "testdata/report.txt", func(t *testing.T, d *datadriven.TestData) string {
		var out strings.Builder
		if d.Cmd == "broken" {
			results.Broken = append(results.Broken, strings.TrimSpace(d.Input))
		}
		if err := results.Print(&out); err != nil {
			t.Fatal(err)
		}
		// Lines are aligned with spaces that editors remove.
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		return strings.Join(lines, "\n") + "\n"
	})
}

func handMade(cfg Config) history.Log {
	const ms = 1_000_000
	log := history.Log{Marks: []history.Mark{{Name: markLoad, At: 0}, {Name: markCut, At: 2000 * ms}, {Name: markHealed, At: 5000 * ms}, {Name: markEnd, At: 8000 * ms}}}
	add := func(q history.Quorum, client uint32, at, takes int64, o history.Op) {
		o.ID, o.Client, o.N, o.W, o.R, o.Bucket, o.Key = uint64(len(log.Ops)+1), client, q.N, q.W, q.R, Name(q), "k"
		o.Due, o.Invoked, o.Returned = at*ms, at*ms, (at+takes)*ms
		o.Side, o.Node = rest, "node-1"
		if client == 2 {
			o.Side, o.Node = isolated, "node-2"
		}
		switch {
		case o.Final || o.Local:
			o.Phase = phaseFinal
		case at < 2000:
			o.Phase = phaseBefore
		case at < 5000:
			o.Phase = phaseDuring
		default:
			o.Phase = phaseAfter
		}
		log.Ops = append(log.Ops, o)
	}
	for i, q := range cfg.Quorums {
		value := func(seq uint64) []history.Value { return []history.Value{{Client: 1, Seq: uint64(i)*1000 + seq}} }
		var newest, behind uint64
		for at := int64(0); at < 8000; at += 100 {
			newest++
			add(q, 1, at, 5, history.Op{Kind: history.Put, Seq: uint64(i)*1000 + newest, Outcome: history.Acked})
			add(q, 1, at+50, 2, history.Op{Kind: history.Get, Outcome: history.OK, Values: value(newest)})
			cut := at >= 2000 && at < 5500
			if !cut {
				behind = newest
			}
			if cut && q.Strict() {
				add(q, 2, at+50, 2, history.Op{Kind: history.Get, Outcome: history.Unavailable, Reason: "quorum-unavailable"})
			} else {
				add(q, 2, at+50, 2, history.Op{Kind: history.Get, Outcome: history.OK, Values: value(behind)})
			}
		}
		add(q, 2, 9000, 2, history.Op{Kind: history.Get, Outcome: history.OK, Values: value(newest - 1), Local: true})
		add(q, 1, 9100, 2, history.Op{Kind: history.Get, Outcome: history.OK, Values: value(newest), Final: true})
	}
	return log
}

// TestFatesAddUp counts the attempts in the log, and says so if the fates are others.
func TestFatesAddUp(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Duration, cfg.Keys = 8*time.Second, 1
	results := &Results{}
	if _, err := newResults(cfg, results, handMade(cfg)); err != nil {
		t.Fatal(err)
	}
	q := results.Quorums[0]
	if q.Attempts != 80 || len(results.Broken) > 0 {
		t.Fatalf("%d attempts, broken: %v", q.Attempts, results.Broken)
	}
	q.Fates[history.Superseded.String()]--
	if results.judge(cfg.Quorums[0], &q); len(results.Broken) != 1 || !strings.Contains(results.Broken[0], "79 fates of 80 write attempts") {
		t.Errorf("broken: %v", results.Broken)
	}
}

// TestPicture: the SVG is XML, with a panel for each quorum and side.
func TestPicture(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Duration, cfg.Keys = 8*time.Second, 1
	results := &Results{Settings: Settings{Scenario: cfg.Scenario.String(), Duration: 8}}
	if _, err := newResults(cfg, results, handMade(cfg)); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(results.SVG())))
	labels := map[string]int{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			labels[string(text)]++
		}
	}
	for label, want := range map[string]int{"3/1/1": 2, "3/2/2": 2, rest: 2, isolated: 2, "cut": 1, "healed": 1, "stale": 1} {
		if labels[label] != want {
			t.Errorf("%q is there %d times, want %d", label, labels[label], want)
		}
	}
}
