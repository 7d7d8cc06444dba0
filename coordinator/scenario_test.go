package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// The scenarios in testdata are read as: what is done to a cluster of real coordinators and stores, and what came of
// it. Messages are function calls; a node can be made down (nothing is sent), silent (no answer ever), deaf to acks
// (the request is done and the answer lost), or known to be down. Time is virtual.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, contexts: map[string]*version.Token{}}
			defer w.close()
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				return w.run(d)
			})
		})
	})
}

type world struct {
	t        *testing.T
	nodes    []*scenarioNode
	layout   *ring.Layout
	contexts map[string]*version.Token
}

type scenarioNode struct {
	world     *world
	id        ring.ID
	name      string
	store     *store.Store
	coord     *Coordinator
	hlc       version.HLC
	net       string // "", "down", "silent", "ack-lost"
	knownDown bool
	gaining   bool
	frozen    bool
	noLarge   bool // reads that ask for whole values are not answered
	offset    time.Duration
	skewed    bool
	repaired  []string
}

func (w *world) run(d *datadriven.TestData) string {
	time.Sleep(time.Millisecond) // virtual: no two commands happen within one microsecond of the nodes' clocks
	switch d.Cmd {
	case "cluster":
		var n int
		d.ScanArgs(w.t, "nodes", &n)
		w.open(n)
		return fmt.Sprintf("%d nodes", n)
	case "node":
		return w.change(d)
	case "put", "delete":
		return w.put(d)
	case "get":
		return w.get(d)
	}
	return "unknown command " + d.Cmd
}

func (w *world) open(count int) {
	table, err := ring.NewTable("test", 16)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range count {
		opts := store.DefaultOptions()
		opts.FS, opts.Dir, opts.Partitions = vfs.NewMem(), "data", 16
		next := uint64(i+1) << 32
		opts.Rand = func() uint64 { next++; return next }
		st, err := store.Open(opts)
		if err != nil {
			w.t.Fatal(err)
		}
		n := &scenarioNode{world: w, id: st.Incarnation(), name: fmt.Sprintf("n%d", i+1), store: st}
		cfg := DefaultConfig()
		cfg.Name, cfg.Inline = n.name, 64
		cfg.Now = func() time.Time { return time.Now().Add(n.offset) }
		n.coord = New(cfg, st, n, n, &n.hlc, slog.New(slog.DiscardHandler))
		n.coord.SetRepairer(n)
		w.nodes = append(w.nodes, n)
		if table, err = table.With(ring.Member{ID: n.id, Name: n.name, Weight: 1, State: ring.Active}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.layout = ring.NewLayout(table)
}

func (w *world) close() {
	time.Sleep(time.Minute) // virtual: every message that is still on its way arrives
	for _, n := range w.nodes {
		if err := n.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) node(d *datadriven.TestData) *scenarioNode {
	var name string
	d.ScanArgs(w.t, "on", &name)
	i, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
	if err != nil || i < 1 || i > len(w.nodes) {
		d.Fatalf(w.t, "no node %q", name)
	}
	return w.nodes[i-1]
}

func (w *world) change(d *datadriven.TestData) string {
	n := w.node(d)
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "net":
			n.net = strings.TrimPrefix(a.Vals[0], "up")
		case "known-down":
			n.knownDown = a.Vals[0] == "true"
		case "gaining":
			n.gaining = a.Vals[0] == "true"
		case "large-reads":
			n.noLarge = a.Vals[0] == "fail"
		case "frozen":
			n.frozen = a.Vals[0] == "true"
		case "clock":
			offset, err := time.ParseDuration(a.Vals[0])
			if err != nil {
				d.Fatalf(w.t, "%v", err)
			}
			n.offset = offset
		case "skewed":
			n.skewed = a.Vals[0] == "true"
		}
	}
	return ""
}

func (w *world) options(d *datadriven.TestData) (o Options, p quorum.Params, mode version.Mode, token *version.Token) {
	o.Timeout = time.Second
	p = quorum.Params{N: 3, W: quorum.Quorum, R: quorum.Quorum}
	mode = version.LWW
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "n":
			p.N, _ = strconv.Atoi(a.Vals[0])
		case "w":
			p.W = w.level(d, a.Vals[0])
		case "r":
			p.R = w.level(d, a.Vals[0])
		case "mode":
			mode = map[string]version.Mode{"lww": version.LWW, "siblings": version.Siblings}[a.Vals[0]]
		case "context":
			token = w.contexts[a.Vals[0]] // none was saved by a command that failed: its output says so
		}
	}
	return o, p, mode, token
}

func (w *world) level(d *datadriven.TestData, s string) quorum.Level {
	l, err := quorum.ParseLevel(s)
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	return l
}

func (w *world) save(d *datadriven.TestData, t version.Token) {
	if d.HasArg("save") {
		var name string
		d.ScanArgs(w.t, "save", &name)
		w.contexts[name] = &t
	}
}

func (w *world) put(d *datadriven.TestData) string {
	o, p, mode, token := w.options(d)
	req := &PutRequest{Options: o, Bucket: "b", Key: "k", Token: token, Delete: d.Cmd == "delete", Detail: true}
	if !req.Delete {
		req.Value = []byte(strings.TrimSpace(d.Input))
	}
	res, err := w.node(d).coord.Put(context.Background(), req, p, mode)
	synctest.Wait()
	if err != nil {
		return describe(err)
	}
	w.save(d, res.Token)
	return fmt.Sprintf("ok n=%d w=%d%s\n", res.N, res.W, w.repairs())
}

func (w *world) get(d *datadriven.TestData) string {
	o, p, _, token := w.options(d)
	req := &GetRequest{Options: o, Bucket: "b", Key: "k", Token: token, Local: d.HasArg("local"), NoRepair: d.HasArg("no-repair"), Detail: true}
	res, err := w.node(d).coord.Get(context.Background(), req, p)
	synctest.Wait()
	if err != nil {
		return describe(err)
	}
	w.save(d, version.ReadToken(res.Record))
	var values []string
	for v := range res.Record.Live() {
		values = append(values, string(v.Value))
	}
	sort.Strings(values)
	what := strings.Join(values, " | ")
	switch {
	case res.Record.IsAbsent():
		what = "absent"
	case res.Record.IsDeleted():
		what = "deleted"
	}
	return fmt.Sprintf("%s (n=%d r=%d)%s\n", what, res.N, res.R, w.repairs())
}

// repairs says which nodes read repair was asked to bring up to date since the last command.
func (w *world) repairs() string {
	var all []string
	for _, n := range w.nodes {
		all = append(all, n.repaired...)
		n.repaired = nil
	}
	if len(all) == 0 {
		return ""
	}
	return " repairs " + strings.Join(all, " ")
}

func describe(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return "NOT AN *Error: " + err.Error()
	}
	var s strings.Builder
	outcome := "not_written"
	if e.Indeterminate {
		outcome = "indeterminate"
	}
	fmt.Fprintf(&s, "%s %s needed=%d got=%d\n", e.Code, outcome, e.Needed, e.Got)
	for _, r := range e.Replicas {
		fmt.Fprintf(&s, "  %s %s\n", r.Name, strings.TrimSpace(string(r.Outcome)+" "+r.Detail))
	}
	return s.String()
}

// Go implements Sender: a message is a call of the handler, unless the receiver's network says otherwise.
func (n *scenarioNode) Go(to ring.ID, kind transport.Kind, body []byte, deadline time.Time, answered func(transport.Response)) {
	done := func(r transport.Response) {
		r.At = time.Now()
		answered(r)
	}
	peer := n.world.byID(to)
	body = append([]byte(nil), body...)
	go func() {
		switch {
		case peer.net == "down" || n.net == "down":
			time.Sleep(time.Millisecond) // answers come before refusals, so that what a request has seen is always the same
			done(transport.Response{Err: transport.ErrUnreachable})
			return
		case peer.noLarge && kind == KindRead && wantsWhole(body):
			done(transport.Response{Err: transport.ErrLost, Sent: true})
			return
		case peer.net == "silent":
			time.Sleep(time.Until(deadline) + time.Millisecond) // the transport notices a little late
			done(transport.Response{Err: transport.ErrTimeout, Sent: true})
			return
		}
		answer := make(chan transport.Response, 1)
		peer.serve(transport.NewRequest(n.id, kind, body, deadline, func(s transport.Status, b []byte) {
			answer <- transport.Response{Status: s, Body: append([]byte(nil), b...), Sent: true}
		}))
		r := <-answer
		if peer.net == "ack-lost" {
			time.Sleep(time.Millisecond)
			r = transport.Response{Err: transport.ErrLost, Sent: true}
		}
		done(r)
	}()
}

func wantsWhole(body []byte) bool {
	m, err := decodeKeyMessage(body, false)
	return err == nil && m.Inline == wholeRecord
}

func (w *world) byID(id ring.ID) *scenarioNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	w.t.Fatalf("no node %v", id)
	return nil
}

func (n *scenarioNode) serve(req transport.Request) {
	switch req.Kind {
	case KindWrite, KindRepair:
		n.coord.ServeWrite(req)
	case KindRead:
		n.coord.ServeRead(req)
	case KindForward:
		n.coord.ServeForward(req)
	case KindHello:
		n.coord.ServeHello(req)
	}
}

// View implements Membership, as do the methods that follow.
func (n *scenarioNode) View() *View {
	v := &View{Layout: n.world.layout, Hash: n.world.layout.Hash(), Self: n.id, Peers: map[ring.ID]Peer{}}
	for _, p := range n.world.nodes {
		v.Peers[p.id] = Peer{Name: p.name, Down: p.knownDown, Gaining: p.gaining}
	}
	return v
}

func (n *scenarioNode) Enter(uint64) Entry {
	if n.frozen {
		return Frozen
	}
	return Entered
}
func (n *scenarioNode) Leave()                        {}
func (n *scenarioNode) Table() []byte                 { return nil }
func (n *scenarioNode) Reconcile(ring.ID, []byte)     {}
func (n *scenarioNode) Skewed() (time.Duration, bool) { return n.offset, n.skewed }

// Repair implements Repairer: it sends at once, and notes to whom.
func (n *scenarioNode) Repair(k store.Key, rec version.Record, to, holders []ring.ID) {
	for _, id := range to {
		n.repaired = append(n.repaired, n.world.byID(id).name)
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		whole, err := n.coord.Complete(ctx, k, rec, holders)
		if err != nil {
			return
		}
		for _, id := range to {
			_ = n.coord.Send(ctx, k, whole, id, time.Now().Add(time.Second)) // a receiver that is down stays stale
		}
	}()
}
