package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/check"
)

// chaosBuckets are what the clients write to, with what becomes of concurrent writes.
var chaosBuckets = map[string]string{"chaos-once": "lww", "chaos-lww": "lww", "chaos-kept": "siblings"}

// recorder keeps the history.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	ops   []*check.Op
}

func (r *recorder) now() time.Duration { return time.Since(r.began) }

func (r *recorder) add(o *check.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.ID = len(r.ops)
	r.ops = append(r.ops, o)
}

// chaosClient is one user, that does what the simulator's clients do: one thing after the other, mostly with what it has seen.
type chaosClient struct {
	*recorder
	index int
	nodes []*node
	r     *rand.Rand
	seq   int
	basis map[check.KeyName]*check.Op
	once  []string
}

// work does operations until ctx ends.
func (c *chaosClient) work(ctx context.Context) {
	for ctx.Err() == nil {
		c.step()
		time.Sleep(time.Duration(c.r.IntN(40)) * time.Millisecond) // a client that thinks: the machine is to be busy, not full
	}
}

func (c *chaosClient) step() {
	c.seq++
	o := &check.Op{Client: c.index, Basis: -1, Kind: check.Get}
	o.Bucket = []string{"chaos-once", "chaos-lww", "chaos-lww", "chaos-kept", "chaos-kept"}[c.r.IntN(5)]
	o.Key = fmt.Sprintf("k%d", c.r.IntN(12))
	basis := c.basis[check.KeyName{Bucket: o.Bucket, Key: o.Key}]
	d := c.r.IntN(100)
	switch {
	case o.Bucket == "chaos-once" && len(c.once) > 0 && d < 50:
		o.Key, basis = c.once[c.r.IntN(len(c.once))], nil
	case o.Bucket == "chaos-once":
		o.Kind, basis = check.Put, nil
		o.Key = fmt.Sprintf("c%d-%d", c.index, c.seq)
		c.once = append(c.once, o.Key)
	case d < 45:
	case d < 55:
		o.Kind = check.Delete
	default:
		o.Kind = check.Put
	}
	if o.Kind == check.Put {
		o.Value = fmt.Sprintf("c%d-%d", c.index, c.seq)
	}
	if basis == nil || c.r.IntN(4) == 0 {
		basis = nil
	} else {
		o.Basis = basis.ID
	}
	c.do(c.nodes[c.r.IntN(len(c.nodes))], o, "timeout=2s&detail=true", basis)
}

// do runs one operation and records it.
func (c *chaosClient) do(n *node, o *check.Op, query string, basis *check.Op) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var options []option
	if basis != nil {
		options = append(options, seen(basis.Context))
	}
	method := map[check.Kind]string{check.Put: http.MethodPut, check.Delete: http.MethodDelete, check.Get: http.MethodGet}[o.Kind]
	o.Node, o.Invoked = n.name, c.now()
	a, err := n.send(ctx, method, "/kv/"+o.Bucket+"/"+o.Key+"?"+query, []byte(o.Value), options...)
	o.Returned = c.now()
	if err != nil {
		o.Outcome, o.Problem = check.Indeterminate, err.Error()
		if !o.IsWrite() {
			o.Outcome = check.Unavailable
		}
	} else if err := a.conclude(o); err != nil {
		o.Outcome, o.Problem = "", err.Error() // which a checker reports
	}
	c.add(o)
	if o.Context != "" {
		c.basis[check.KeyName{Bucket: o.Bucket, Key: o.Key}] = o
	}
}

// conclude takes down what an answer says.
func (a answer) conclude(o *check.Op) error {
	switch a.status {
	case http.StatusNoContent, http.StatusOK, http.StatusMultipleChoices, http.StatusNotFound:
		return a.succeeded(o)
	}
	p, err := a.problem()
	if err != nil {
		return err
	}
	o.Problem = p.Type
	switch {
	case !o.IsWrite():
		o.Outcome = check.Unavailable
	case p.Outcome == "indeterminate":
		o.Outcome = check.Indeterminate
	case p.Outcome == "not_written":
		o.Outcome = check.NotWritten
	default:
		return fmt.Errorf("status %d of a write without an outcome: %s", a.status, a.body)
	}
	return nil
}

func (a answer) succeeded(o *check.Op) error {
	o.Outcome = check.OK
	if o.IsWrite() {
		o.Outcome = check.Acked
	}
	o.Context, o.Coordinator = a.header.Get("Quorate-Context"), a.header.Get("Quorate-Coordinator")
	for part := range strings.SplitSeq(a.header.Get("Quorate-Quorum"), ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(part), "=")
		value, err := strconv.Atoi(number)
		if field := map[string]*int{"n": &o.N, "w": &o.W, "r": &o.R}[name]; field != nil && err == nil {
			*field = value
		}
	}
	for part := range strings.SplitSeq(a.header.Get("Quorate-Replicas"), ",") {
		if name, rest, _ := strings.Cut(strings.TrimSpace(part), ";"); o.IsWrite() && strings.Contains(rest, "outcome=ok") {
			o.Acks = append(o.Acks, name)
		}
	}
	if err := o.Decode(); err != nil {
		return err
	}
	if !o.IsWrite() {
		values, err := a.values()
		if err != nil {
			return err
		}
		o.Shown = shownOf(o, values)
	}
	return nil
}

// values are those of a read's answer.
func (a answer) values() ([]string, error) {
	switch a.status {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusOK:
		return []string{string(a.body)}, nil
	}
	var list struct {
		Siblings []struct {
			Value string `json:"value"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return nil, err
	}
	var values []string
	for _, s := range list.Siblings {
		b, err := base64.StdEncoding.DecodeString(s.Value)
		if err != nil {
			return nil, err
		}
		values = append(values, string(b))
	}
	return values, nil
}

// shownOf puts dots to values: both come in the order of dots. With a tombstone among the dots that says nothing.
func shownOf(o *check.Op, values []string) []check.Shown {
	var out []check.Shown
	for i, v := range values {
		s := check.Shown{Value: v}
		if len(values) == len(o.Token.Seen) {
			s.Dot = o.Token.Seen[i]
		}
		if chaosBuckets[o.Bucket] == "lww" {
			s.Stamp = o.Token.Stamp
		}
		out = append(out, s)
	}
	if len(values) == 0 && len(o.Token.Seen) == 1 {
		out = append(out, check.Shown{Dot: o.Token.Seen[0], Deleted: true, Stamp: o.Token.Stamp})
	}
	return slices.Clip(out)
}
