package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

// buckets are what the workload writes to: hot keys of both kinds, keys that are written once, and keys with more replicas.
var buckets = map[string]node.Properties{
	"once": {N: 3, W: quorum.Quorum, R: quorum.Quorum, Conflict: "lww"},
	"lww":  {N: 3, W: quorum.Quorum, R: quorum.Quorum, Conflict: "lww"},
	"kept": {N: 3, W: quorum.Quorum, R: quorum.Quorum, Conflict: "siblings"},
	"wide": {N: 5, W: quorum.Quorum, R: quorum.Quorum, Conflict: "lww"},
}

// client is one user: it does one thing after the other, and may send what it has seen of a key along.
type client struct {
	w     *world
	index int
	r     *rand.Rand
	// Of their own, so that what a seed means otherwise does not depend on them.
	loose, moved *rand.Rand
	seq          int
	basis        map[check.KeyName]*check.Op // the newest answer with a context
	once         []string                    // keys that it wrote once
	closed       <-chan struct{}
}

func newClient(w *world, index int, closed <-chan struct{}) *client {
	return &client{w: w, index: index, r: rand.New(rand.NewPCG(w.plan.Seed, 1000+uint64(index))),
		loose: rand.New(rand.NewPCG(w.plan.Seed, 3000+uint64(index))), moved: rand.New(rand.NewPCG(w.plan.Seed, 5000+uint64(index))), basis: map[check.KeyName]*check.Op{}, closed: closed}
}

// work does operations until the chaos is over.
func (c *client) work() {
	pause := time.Duration(c.r.Float64() * float64(c.w.plan.Period))
	for {
		select {
		case <-c.closed:
			return
		case <-time.After(pause):
		}
		began := time.Now()
		c.step()
		pause = max(0, c.w.plan.Period-time.Since(began))
		pause = pause/2 + time.Duration(c.r.Float64()*float64(pause))
	}
}

// step is one operation, drawn.
func (c *client) step() {
	c.seq++
	bucket, key := c.pickKey()
	o := &check.Op{Client: c.index, Bucket: bucket, Key: key, Basis: -1}
	at := c.moves(c.w.nodes[(c.index+boolInt(c.r.IntN(4) == 0)*c.r.IntN(c.w.plan.Nodes))%c.w.plan.Nodes])
	o.Node = at.name
	opts := coordinator.Options{Timeout: []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second}[c.r.IntN(3)]}
	opts.W, opts.R = c.level(), c.level()
	basis := c.basis[check.KeyName{Bucket: bucket, Key: key}]
	if c.r.IntN(5) < 2 {
		basis = nil
	}
	switch d := c.r.IntN(100); {
	case bucket == "once" && len(c.once) > 0 && d < 55 || bucket != "once" && d < 42:
		o.Kind = check.Get
		if basis == nil || bucket == "once" {
			break
		}
	case bucket != "once" && d < 48:
		o.Kind, basis = check.Local, nil
	case bucket != "once" && d < 60:
		o.Kind = check.Delete
	default:
		o.Kind = check.Put
		o.Value = fmt.Sprintf("c%d-%d", c.index, c.seq)
		if bucket == "once" {
			o.Key = fmt.Sprintf("k-%s", o.Value)
			c.once = append(c.once, o.Key)
			basis = nil
		}
	}
	if bucket == "once" {
		basis = nil
	}
	if basis != nil {
		o.Basis = basis.ID
	}
	c.do(at, o, opts, basis)
	if o.Kind == check.Get && o.Outcome == check.OK && bucket != "once" && c.r.IntN(4) == 0 {
		c.modify(at, o, opts)
	}
}

// moves is the node that a client goes to for one of the founders: those that joined get their share, and few still try those that are gone.
func (c *client) moves(founder *simNode) *simNode {
	at := founder
	if i := c.moved.IntN(c.w.plan.places()); i >= c.w.plan.Nodes && c.w.nodes[i].wanted.Load() {
		at = c.w.nodes[i]
	}
	if !at.wanted.Load() && c.moved.IntN(5) > 0 {
		present := c.w.present()
		at = present[c.moved.IntN(len(present))]
	}
	return at
}

// modify is the rest of read, modify, write: a PUT with the context of what was read just now, and a look at what became of it.
func (c *client) modify(at *simNode, read *check.Op, opts coordinator.Options) {
	c.seq++
	put := &check.Op{Client: c.index, Kind: check.Put, Bucket: read.Bucket, Key: read.Key, Node: at.name, Basis: read.ID,
		Value: fmt.Sprintf("c%d-%d", c.index, c.seq)}
	opts.W, opts.R = c.level(), c.level()
	c.do(at, put, opts, read)
	if put.Outcome == check.Acked && c.r.IntN(2) == 0 {
		look := &check.Op{Client: c.index, Kind: check.Get, Bucket: read.Bucket, Key: read.Key, Node: at.name, Basis: put.ID}
		c.do(at, look, opts, put)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *client) pickKey() (bucket, key string) {
	switch d := c.r.IntN(10); {
	case d < 2:
		if len(c.once) == 0 {
			return "once", ""
		}
		return "once", c.once[c.r.IntN(len(c.once))]
	case d < 6:
		bucket = "lww"
	case d < 9:
		bucket = "kept"
	default:
		bucket = "wide"
	}
	return bucket, fmt.Sprintf("k%d", c.r.IntN(c.w.plan.Keys))
}

// level is mostly what the bucket says.
func (c *client) level() quorum.Level {
	switch c.r.IntN(10) {
	case 0:
		return quorum.All
	case 1, 2:
		return 1
	}
	return 0
}

// sloppy is whether fallbacks may stand in: mostly what the bucket says.
func (c *client) sloppy() *bool {
	d := c.loose.IntN(100)
	if d >= c.w.plan.Sloppy && d < 95 {
		return nil
	}
	yes := d < c.w.plan.Sloppy
	return &yes
}

// do runs one operation and records it.
func (c *client) do(at *simNode, o *check.Op, opts coordinator.Options, basis *check.Op) {
	var token *version.Token
	if basis != nil {
		token = &basis.Token
	}
	opts.Sloppy = c.sloppy()
	o.Sloppy = opts.Sloppy != nil && *opts.Sloppy || opts.Sloppy == nil && slices.Contains(c.w.plan.Loose, o.Bucket)
	p := c.w.place(check.KeyName{Bucket: o.Bucket, Key: o.Key})
	l := at.running()
	o.Invoked = c.w.now()
	if l == nil {
		o.Outcome, o.Problem = check.NotWritten, "connection refused"
		if !o.IsWrite() {
			o.Outcome = check.Unavailable
		}
	} else {
		o.Foundings = c.w.foundings(l)
		before := l.replicas(p, buckets[o.Bucket].N)
		if o.IsWrite() {
			c.write(l, o, opts, token)
		} else {
			c.read(l, o, opts, token)
		}
		if o.N > 0 {
			o.N = min(o.N, max(before, l.replicas(p, buckets[o.Bucket].N)))
		}
	}
	o.Returned = c.w.now()
	if l != nil && l.dead.Load() { // the answer never left the node
		*o = check.Op{Client: o.Client, Kind: o.Kind, Bucket: o.Bucket, Key: o.Key, Value: o.Value, Node: o.Node, Basis: o.Basis, Sloppy: o.Sloppy, Foundings: o.Foundings,
			Invoked: o.Invoked, Returned: o.Returned, Outcome: check.Indeterminate, Problem: "no answer"}
		if !o.IsWrite() {
			o.Outcome = check.Unavailable
		}
	}
	c.w.note(o)
	if o.Context != "" && o.Kind != check.Local {
		c.basis[check.KeyName{Bucket: o.Bucket, Key: o.Key}] = o
	}
}

func (c *client) write(l *lifetime, o *check.Op, opts coordinator.Options, token *version.Token) {
	req := coordinator.PutRequest{Options: opts, Bucket: o.Bucket, Key: o.Key, Token: token, Detail: true}
	req.Delete = o.Kind == check.Delete
	if !req.Delete {
		req.Value = []byte(o.Value)
		if c.r.IntN(50) < 5 { // too large to ride along in replies
			req.Value = append(req.Value, make([]byte, 5000)...)
		}
	}
	res, err := l.Put(context.Background(), req)
	if err != nil {
		failed(o, err)
		return
	}
	o.Outcome, o.N, o.W, o.Coordinator, o.Token = check.Acked, res.N, res.W, res.Coordinator, res.Token
	o.Context = res.Token.Encode(o.Bucket, o.Key)
	o.Fallbacks = res.Fallbacks
	for _, r := range res.Replicas {
		switch {
		case r.Outcome != coordinator.OutcomeOK:
		case r.StandsFor != "":
			o.StandIns = append(o.StandIns, check.StandIn{Node: r.Name, For: r.StandsFor})
		default:
			o.Acks = append(o.Acks, r.Name)
		}
	}
}

func (c *client) read(l *lifetime, o *check.Op, opts coordinator.Options, token *version.Token) {
	req := coordinator.GetRequest{Options: opts, Bucket: o.Bucket, Key: o.Key, Token: token, Local: o.Kind == check.Local}
	res, err := l.Get(context.Background(), req)
	if err != nil {
		failed(o, err)
		return
	}
	o.Outcome, o.N, o.R, o.Coordinator = check.OK, res.N, res.R, res.Coordinator
	o.Fallbacks = res.Fallbacks
	o.Token = version.ReadToken(res.Record)
	o.Context = o.Token.Encode(o.Bucket, o.Key)
	o.Shown = shown(res.Record)
}

func shown(r version.Record) (out []check.Shown) {
	for _, v := range r.Versions {
		out = append(out, check.Shown{Dot: v.Dot, Value: valueOf(v), Deleted: v.Deleted, Stamp: v.Stamp})
	}
	return out
}

// valueOf cuts off what only makes a value long.
func valueOf(v version.Version) string {
	for i, b := range v.Value {
		if b == 0 {
			return string(v.Value[:i])
		}
	}
	return string(v.Value)
}

func failed(o *check.Op, err error) {
	var e *coordinator.Error
	if !errors.As(err, &e) {
		panic(fmt.Sprintf("sim: an error that is not the coordinator's: %v", err))
	}
	o.Problem = err.Error()
	switch {
	case !o.IsWrite():
		o.Outcome = check.Unavailable
	case e.Indeterminate:
		o.Outcome = check.Indeterminate
	default:
		o.Outcome = check.NotWritten
	}
}
