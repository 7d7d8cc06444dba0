package staleness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/internal/history"
	"github.com/quorate/quorate/quorum"
)

// probe is the client of one node.
type probe struct {
	id     uint32 // from 1
	node   string
	side   string
	client *kvhttp.Client
	seq    atomic.Uint64 // of its write attempts
	room   chan struct{} // holds a token for each request under way
}

// dialect is how a run speaks to nodes: its keys, its values, its clock.
type dialect struct {
	runID   string
	repair  bool
	timeout time.Duration
	clock   history.Clock
}

// bucketOf is where the keys of a quorum are. Nobody else has them: the run's name is in it.
func (d *dialect) bucketOf(q history.Quorum) string {
	return fmt.Sprintf("bench-staleness-%s-n%dw%dr%d", d.runID, q.N, q.W, q.R)
}

func keyName(key int) string { return fmt.Sprintf("probe-%04d", key) }

// valuePrefix begins what a write attempt of this run writes; the attempt's name follows.
func (d *dialect) valuePrefix() string { return "quorate-probe " + d.runID + " " }

func (d *dialect) valueOf(body []byte) history.Value {
	text, ok := strings.CutPrefix(string(body), d.valuePrefix())
	if !ok {
		return history.Value{}
	}
	v, err := history.ParseValue(text)
	if err != nil {
		return history.Value{}
	}
	return v
}

func (d *dialect) now() int64 { return d.clock.At(time.Now()) }

// do does an operation that has everything but its times, outcome and values, and fills these in. It takes at most timeout and graceTime.
func (d *dialect) do(ctx context.Context, p *probe, o *history.Op) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout+graceTime)
	defer cancel()
	options := kvhttp.KeyOptions{N: o.N, Timeout: d.timeout}
	o.Client, o.Node, o.Side = p.id, p.node, p.side
	switch {
	case o.IsWrite():
		options.W = quorum.Level(o.W)
	case o.Local:
		options = kvhttp.KeyOptions{Local: true, Timeout: d.timeout}
	case o.Final:
		options.R, options.NoRepair = quorum.All, true
	default:
		options.R, options.NoRepair = quorum.Level(o.R), !d.repair
	}
	o.NoRepair = options.NoRepair
	o.Invoked = d.now()
	if o.Kind == history.Put {
		_, err := p.client.Put(ctx, o.Bucket, o.Key, strings.NewReader(d.valuePrefix()+o.Value().String()), "text/plain", options)
		o.Returned = d.now()
		o.Outcome, o.Reason = writeOutcome(err)
		return
	}
	answer, err := p.client.Get(ctx, o.Bucket, o.Key, options)
	o.Returned = d.now()
	o.Outcome, o.Reason = readOutcome(err)
	if o.Outcome == history.OK {
		o.Values = d.values(answer)
	}
}

func (d *dialect) values(a kvhttp.Answer) []history.Value {
	if len(a.Siblings) == 0 {
		return []history.Value{d.valueOf(a.Value)}
	}
	var values []history.Value
	for _, s := range a.Siblings {
		values = append(values, d.valueOf(s.Value))
	}
	return values[:min(len(values), history.MaxValues)]
}

// Reasons of our own, beside the names of problems.
const (
	reasonNotSent    = "not-sent" // too many requests were under way
	reasonConnection = "no-connection"
	reasonNoAnswer   = "no-answer"
)

// writeOutcome says what is known of a write: it failed for certain only if the node says so, or never heard of it.
func writeOutcome(err error) (history.Outcome, string) {
	if err == nil {
		return history.Acked, ""
	}
	var p *kvhttp.Problem
	if errors.As(err, &p) {
		if p.Outcome == history.NotWritten.String() {
			return history.NotWritten, p.Name()
		}
		return history.Indeterminate, p.Name()
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return history.NotWritten, reasonConnection
	}
	return history.Indeterminate, reasonNoAnswer
}

func readOutcome(err error) (history.Outcome, string) {
	var p *kvhttp.Problem
	var op *net.OpError
	switch {
	case err == nil:
		return history.OK, ""
	case errors.As(err, &p) && p.Name() == "not-found":
		return history.NotFound, ""
	case errors.As(err, &p):
		return history.Unavailable, p.Name()
	case errors.As(err, &op) && op.Op == "dial":
		return history.Unavailable, reasonConnection
	}
	return history.Unavailable, reasonNoAnswer
}
