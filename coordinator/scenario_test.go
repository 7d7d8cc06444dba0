package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
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
	layout   *ring.Layout // the founding one
	places   places
	contexts map[string]*version.Token
}

type scenarioNode struct {
	world     *world
	id        ring.ID
	name      string
	store     *store.Store
	coord     *Coordinator
	hands     crowded
	hlc       version.HLC
	net       string // "", "down", "silent", "ack-lost"
	knownDown bool
	zone      string
	frozen    bool
	noLarge   bool // reads that ask for whole values are not answered
	offset    time.Duration
	skewed    bool
	diskFull  bool // for repairs
	stall     *stall
	knows     knowledge
	place     time.Duration // by this its answers come later than those of the nodes before it
	answers   time.Duration // how late its answers come
	large     time.Duration // how late those that bring whole values come
	repaired  atomic.Int64  // records that read repair has brought
	counted   map[string]int64
}

func (w *world) run(d *datadriven.TestData) string {
	time.Sleep(time.Millisecond) // virtual: no two commands happen within one microsecond of the nodes' clocks
	switch d.Cmd {
	case "cluster":
		var n int
		d.ScanArgs(w.t, "nodes", &n)
		members := n
		d.MaybeScanArgs(w.t, "members", &members)
		w.open(n, members)
		return fmt.Sprintf("%d nodes", n)
	case "node":
		return w.change(d)
	case "put", "delete":
		return w.put(d)
	case "get":
		return w.get(d)
	case "wait": // for what has been begun
		time.Sleep(5 * time.Second)
		return strings.TrimSpace(w.repairs())
	case "change":
		return w.changeLayout(d)
	case "meet":
		w.tell(w.all().State(), w.nodes)
		return w.nodes[0].groups()
	case "whole":
		return w.whole(d)
	case "bury":
		return w.bury(d)
	case "groups":
		return w.node(d).groups()
	case "order":
		return w.order()
	case "hand-offs":
		return w.node(d).handOffs()
	case "deliver":
		return w.node(d).deliver()
	}
	return "unknown command " + d.Cmd
}

// open makes a cluster of the first so many members; the other nodes are joining.
func (w *world) open(count, members int) {
	for i := range count {
		place := time.Duration(i+1) * 10 * time.Microsecond
		opts := store.DefaultOptions()
		stall := new(stall)
		opts.FS, opts.Dir, opts.Partitions = errorfs.Wrap(vfs.NewMem(), stall), "data", 16
		next := uint64(i+1) << 32
		opts.Rand = func() uint64 { next++; return next }
		st, err := store.Open(opts)
		if err != nil {
			w.t.Fatal(err)
		}
		n := &scenarioNode{world: w, id: st.Incarnation(), name: fmt.Sprintf("n%d", i+1), store: st, place: place, stall: stall, counted: map[string]int64{}}
		cfg := DefaultConfig()
		cfg.Name, cfg.Inline, cfg.MaxOwnReads = n.name, 64, 2
		cfg.Now = func() time.Time { return time.Now().Add(n.offset) }
		cfg.Rand = func() float64 { return 0.5 } // or the last try before the time is up is now and then too late for its answer
		n.coord = New(cfg, scenarioStore{st, n}, n, n, &n.hlc, slog.New(slog.DiscardHandler))
		n.coord.SetRepairer(n)
		n.hands.HandOffs = st
		n.coord.SetHandOffs(&n.hands)
		w.nodes = append(w.nodes, n)
	}
	w.found(members)
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
		case "gaining": // it has lost what it held, and all others have heard so
			if a.Vals[0] == "true" {
				w.propose(n, w.nodes, n.row(layouts.Owns, 1))
			} else {
				w.settle()
			}
		case "zone":
			n.zone = a.Vals[0]
		case "large-reads":
			n.noLarge = a.Vals[0] == "fail"
		case "hand-off-space":
			n.hands.full = a.Vals[0] == "full"
		case "frozen":
			n.frozen = a.Vals[0] == "true"
		case "clock":
			n.offset = w.duration(d, a.Vals[0])
		case "skewed":
			n.skewed = a.Vals[0] == "true"
		case "answers":
			n.answers = w.duration(d, a.Vals[0])
		case "large-answers":
			n.large = w.duration(d, a.Vals[0])
		case "disk":
			n.diskFull = a.Vals[0] == "full"
			n.stall.set(a.Vals[0] == "hangs")
		}
	}
	return ""
}

func (w *world) duration(d *datadriven.TestData, s string) time.Duration {
	v, err := time.ParseDuration(s)
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	return v
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
		case "sloppy":
			p.Sloppy = true
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
		return brief(d, describe(err))
	}
	w.save(d, res.Token)
	return fmt.Sprintf("ok n=%d w=%d%s%s\n%s", res.N, res.W, stood(res.Acks, res.Fallbacks), w.repairs(), list(d, res.Replicas))
}

func (w *world) get(d *datadriven.TestData) string {
	o, p, _, token := w.options(d)
	req := &GetRequest{Options: o, Bucket: "b", Key: "k", Token: token, Local: d.HasArg("local"), NoRepair: d.HasArg("no-repair"), Detail: true}
	res, err := w.node(d).coord.Get(context.Background(), req, p)
	if err != nil {
		time.Sleep(2 * settleGrace) // virtual: read repair of what did answer
		synctest.Wait()
		return brief(d, describe(err)+w.repairs())
	}
	early := w.arrived()
	time.Sleep(2 * settleGrace)
	synctest.Wait()
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
	return fmt.Sprintf("%s (n=%d r=%d%s)%s%s\n%s", what, res.N, res.R, stood(res.Replies, res.Fallbacks), early, w.repairs(), list(d, res.Replicas))
}

// arrived says which nodes a repair has reached before the answer left.
func (w *world) arrived() string {
	var names []string
	for _, n := range w.nodes {
		for range n.repaired.Swap(0) {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " awaits " + strings.Join(names, " ")
}

// repairs says which nodes a repair has reached since then, and what was counted since the last command.
func (w *world) repairs() string {
	var out strings.Builder
	for _, n := range w.nodes {
		for range n.repaired.Swap(0) {
			out.WriteString(" " + n.name)
		}
	}
	if out.Len() > 0 {
		return " repairs" + out.String() + w.counts()
	}
	return w.counts()
}

func (w *world) counts() string {
	var what []string
	for _, n := range w.nodes {
		add := func(name string, now int64) {
			if more := now - n.counted[name]; more > 0 {
				what = append(what, fmt.Sprintf("%d %s", more, name))
			}
			n.counted[name] = now
		}
		n.coord.Stats.Repairs.Each(func(c quorum.Cause, outcome string, count int64) { add(c.String()+" "+outcome, count) })
		add("minority", n.coord.Stats.Repairs.Minority())
	}
	if len(what) == 0 {
		return ""
	}
	return " (" + strings.Join(what, ", ") + ")"
}

// scenarioStore notes what read repair brings.
type scenarioStore struct {
	*store.Store
	n *scenarioNode
}

func (s scenarioStore) Mend(k store.Key, incoming version.Record) (store.Result, error) {
	if s.n.diskFull {
		return store.Result{}, store.ErrNoSpace
	}
	s.n.repaired.Add(1)
	return s.Store.Mend(k, incoming)
}

// stall holds up what is to become durable on one node's disk.
type stall struct {
	over atomic.Pointer[chan struct{}] // closed when the disk goes on; nil while it works
}

func (s *stall) set(hangs bool) {
	over := make(chan struct{})
	if !hangs {
		if old := s.over.Swap(nil); old != nil {
			close(*old)
		}
		return
	}
	s.over.Store(&over)
}

// MaybeError implements errorfs.Injector.
func (s *stall) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if over := s.over.Load(); over != nil {
			<-*over
		}
	}
	return nil
}

func (s *stall) String() string { return "stall" }

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
	s.WriteString(replicaLines(e.Replicas))
	return s.String()
}

// brief leaves out who did what, where that depends on the order of events of one moment.
func brief(d *datadriven.TestData, s string) string {
	if d.HasArg("brief") {
		s, _, _ = strings.Cut(s, "\n")
	}
	return s
}

// stood says how many fallbacks count, if any do.
func stood(got, fallbacks int) string {
	if fallbacks == 0 {
		return ""
	}
	return fmt.Sprintf(" got=%d fallbacks=%d", got, fallbacks)
}

func list(d *datadriven.TestData, replicas []Replica) string {
	if !d.HasArg("detail") {
		return ""
	}
	return replicaLines(replicas)
}

func replicaLines(replicas []Replica) string {
	var s strings.Builder
	for _, r := range replicas {
		line := string(r.Outcome) + " " + r.Detail
		if r.StandsFor != "" {
			line = "for " + r.StandsFor + ": " + line
		}
		fmt.Fprintf(&s, "  %s %s\n", r.Name, strings.TrimSpace(line))
	}
	return s.String()
}

// order is who owns the key of all scenarios, and who may stand in.
func (w *world) order() string {
	var names []string
	for _, id := range w.layout.Order(ring.PartitionOf(ring.Hash("b", "k"), 16)) {
		names = append(names, w.byID(id).name)
	}
	return strings.Join(names, " ") + "\n"
}

// Go implements Sender: a message is a call of the handler, unless the receiver's network says otherwise.
func (n *scenarioNode) Go(to ring.ID, kind transport.Kind, body []byte, deadline time.Time, answered func(transport.Response)) {
	done := func(r transport.Response) {
		r.At = time.Now()
		answered(r)
	}
	peer := n.world.byID(to)
	body = append([]byte(nil), body...)
	whole := kind == KindRead && wantsWhole(body)
	down, net, noLarge := peer.net == "down" || n.net == "down", peer.net, peer.noLarge // as it is now, whatever a test changes next
	late := peer.place + peer.answers                                                   // never two at once, so that what a request has seen is always the same
	if whole {
		late += peer.large
	}
	go func() {
		switch {
		case down:
			time.Sleep(time.Millisecond) // answers come before refusals
			done(transport.Response{Err: transport.ErrUnreachable})
			return
		case noLarge && whole:
			time.Sleep(time.Millisecond)
			done(transport.Response{Err: transport.ErrLost, Sent: true})
			return
		case net == "silent", net == "repairs-silent" && kind == KindRepair:
			time.Sleep(time.Until(deadline) + time.Millisecond) // the transport notices a little late
			done(transport.Response{Err: transport.ErrTimeout, Sent: true})
			return
		}
		answer := make(chan transport.Response, 1)
		peer.serve(transport.NewRequest(n.id, kind, body, deadline, func(s transport.Status, b []byte) {
			answer <- transport.Response{Status: s, Body: append([]byte(nil), b...), Sent: true}
		}))
		r := <-answer
		time.Sleep(min(late, time.Until(deadline)+time.Millisecond))
		if net == "ack-lost" || net == "repairs-lost" && kind == KindRepair {
			time.Sleep(time.Millisecond)
			r = transport.Response{Err: transport.ErrLost, Sent: true}
		}
		if time.Now().After(deadline) {
			r = transport.Response{Err: transport.ErrTimeout, Sent: true}
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
	case KindStand:
		n.coord.ServeStand(req)
	case KindStandRead:
		n.coord.ServeStandRead(req)
	}
}

// View implements Membership, as do the methods that follow.
func (n *scenarioNode) View() *View {
	rings, layout := n.ringsNow()
	v := &View{Rings: rings, Layout: layout, Digest: rings.Digest(), Self: n.id, Peers: map[ring.ID]Peer{}}
	for _, p := range n.world.nodes {
		v.Peers[p.id] = Peer{Name: p.name, Zone: p.zone, Down: p.knownDown || rings.Lost(p.id)}
	}
	return v
}

func (n *scenarioNode) Leave()                        {}
func (n *scenarioNode) Skewed() (time.Duration, bool) { return n.offset, n.skewed }

// Repair implements Repairer: it begins as soon as nothing else can be done.
func (n *scenarioNode) Repair(_ int64, run func(ctx context.Context)) bool {
	go func() {
		time.Sleep(time.Microsecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		run(ctx)
	}()
	return true
}
