package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios judges histories written by hand. A line is an operation on the one key:
//
//	put 1.2 20-30 acked            attempt 1.2 by client 1, sent at 20, ended at 30; or indeterminate, or not_written
//	delete 1.3 40-50 acked         the same
//	get 4 60-70 = 1.2              a read by client 4 that returned 1.2; several values: = 1.2,1.3; no value: = none; failed: failed
//	final 90-95 = 1.2              the read that tells how the key ended
//	local 90-95 = 1.2              a look at one replica
//
// with saw=1.2 at the end for a context that covers 1.2. What is printed is each operation with its verdict.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/judge", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "judge" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			var ops []Op
			for text := range strings.Lines(d.Input) {
				ops = append(ops, parseOp(t, uint64(len(ops)+1), strings.Fields(text)))
			}
			verdicts, err := Judge(ops)
			if err != nil {
				return err.Error() + "\n"
			}
			var out strings.Builder
			for i, text := range slices.Collect(strings.Lines(d.Input)) {
				fmt.Fprintf(&out, "%-28s %s\n", strings.TrimSpace(text), describe(&ops[i], &verdicts[i]))
			}
			if r := CompareReplicas(ops, Quorum{3, 2, 2}); r.Read > 0 {
				fmt.Fprintf(&out, "replicas: %d read, %d behind\n", r.Read, r.Behind)
			}
			return out.String()
		})
	})
}

func parseOp(t *testing.T, id uint64, words []string) Op {
	t.Helper()
	o := Op{ID: id, Bucket: "b", Key: "k", N: 3, W: 2, R: 2}
	fail := func(err error) {
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
	}
	if seen, ok := strings.CutPrefix(words[len(words)-1], "saw="); ok {
		o.Saw = parseValues(t, seen)
		words = words[:len(words)-1]
	}
	if words[0] == "final" || words[0] == "local" {
		o.Final, o.Local = words[0] == "final", words[0] == "local"
		o.Node = fmt.Sprintf("node-%d", id) // each look is at a replica of its own
		words = append([]string{"get", "99"}, words[1:]...)
	}
	fail(o.Kind.UnmarshalText([]byte(words[0])))
	if o.IsWrite() {
		v, err := ParseValue(words[1])
		fail(err)
		o.Client, o.Seq = v.Client, v.Seq
		fail(o.Outcome.UnmarshalText([]byte(words[3])))
	} else {
		client, err := strconv.ParseUint(words[1], 10, 32)
		fail(err)
		o.Client = uint32(client)
		switch last := words[len(words)-1]; last {
		case "failed":
			o.Outcome = Unavailable
		case "none":
			o.Outcome = NotFound
		default:
			o.Outcome, o.Values = OK, parseValues(t, last)
		}
	}
	_, err := fmt.Sscanf(words[2], "%d-%d", &o.Invoked, &o.Returned)
	fail(err)
	o.Due = o.Invoked
	return o
}

func parseValues(t *testing.T, text string) []Value {
	t.Helper()
	var values []Value
	for _, word := range strings.Split(text, ",") {
		v, err := ParseValue(word)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

func describe(o *Op, v *Verdict) string {
	switch {
	case o.IsWrite():
		if v.Overtaken {
			return v.Fate.String() + " overtaken"
		}
		return v.Fate.String()
	case !o.Answered():
		return "unavailable"
	case o.Local:
		return "not judged"
	}
	words := []string{"fresh"}
	if !v.Fresh() {
		words[0] = fmt.Sprintf("stale k=%d t=%d", v.Missed, v.Behind)
	}
	for _, violation := range []struct {
		found bool
		word  string
	}{{v.Monotonic, "not-monotonic"}, {v.OwnWrite, "own-write-missed"}, {v.Session, "session-broken"}, {v.Foreign, "foreign"}} {
		if violation.found {
			words = append(words, violation.word)
		}
	}
	return strings.Join(words, " ")
}
