package version

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The dumb model: a replica's knowledge of a key is the explicit set of writes that it has incorporated, each with
// the explicit set of dots that it replaced. No vector, no clock, no interval.

type dotSet map[Dot]bool

type event struct {
	key     int
	stamp   Stamp
	mode    Mode
	deleted bool
	past    dotSet
}

type history map[Dot]*event

func (h history) covered() dotSet {
	all := dotSet{}
	for d, e := range h {
		all[d] = true
		maps.Copy(all, e.past)
	}
	return all
}

func (h history) bar() Stamp {
	var highest Stamp
	for _, e := range h {
		if e.mode == LWW && e.stamp.Compare(highest) > 0 {
			highest = e.stamp
		}
	}
	return highest
}

func (h history) n() (n uint8) {
	for d := range h {
		n = max(n, d.Actor.N)
	}
	return n
}

func (h history) live() []Dot {
	replaced, bar := dotSet{}, h.bar()
	for _, e := range h {
		maps.Copy(replaced, e.past)
	}
	var live []Dot
	for d, e := range h {
		if !replaced[d] && (e.mode != LWW || e.stamp.Compare(bar) >= 0) {
			live = append(live, d)
		}
	}
	slices.SortFunc(live, Dot.Compare)
	return live
}

func merged(a, b history) history {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// snapshot is a full record as it leaves a replica, and what the model says it contains.
type snapshot struct {
	key    int
	record Record
	knows  history
}

type replica struct {
	actor    ActorID
	counters map[uint8]uint64
	offset   time.Duration // of this node's time of day
	hlc      HLC
	clock    Vector
	stored   [2]Record
	knows    [2]history
}

func (r *replica) full(key int) Record { return r.stored[key].Fill(r.clock) }

// client is a session on key 0 or 1: its token, and the explicit dots that the token covers.
type client struct {
	token *Token
	saw   dotSet
}

// world is a few replicas of one partition with two keys, whose counters therefore interleave; messages between them are
// lost, repeated and reordered at will.
type world struct {
	now       time.Time
	nextActor ActorID
	modes     []Mode
	events    history
	replicas  [3]*replica
	clients   [2][3]client
	sent      []snapshot

	overwritten int // deliveries that Overwrite took
}

func newWorld(t *rapid.T, modes []Mode) *world {
	w := &world{now: time.UnixMicro(1_700_000_000_000_000), nextActor: 1, modes: modes, events: history{}}
	for i := range w.replicas {
		offset := rapid.SampledFrom([]time.Duration{0, time.Millisecond, -2 * time.Second, 10 * time.Second}).Draw(t, "offset")
		w.replicas[i] = &replica{offset: offset, knows: [2]history{{}, {}}}
		w.open(w.replicas[i])
	}
	for key := range w.clients {
		for i := range w.clients[key] {
			w.clients[key][i].saw = dotSet{}
		}
	}
	return w
}

// open starts a replica, again or for the first time: its actor is new, so are its counters.
func (w *world) open(r *replica) {
	r.actor, r.counters = w.nextActor*0x9e3779b97f4a7c15, map[uint8]uint64{}
	w.nextActor++
}

func (w *world) drawReplica(t *rapid.T, label string) *replica {
	return w.replicas[rapid.IntRange(0, len(w.replicas)-1).Draw(t, label)]
}

func drawKey(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "key") }

func (w *world) time(r *replica) time.Time { return w.now.Add(r.offset) }

// write is one PUT or DELETE of a client at a coordinator. The model's verdict comes first, then that of the package.
func (w *world) write(t *rapid.T, r *replica, key int, c *client, useToken bool, mode Mode, n uint8) {
	local := r.full(key)
	n = max(n, local.N)
	dot := Dot{Actor{r.actor, n}, r.counters[n] + 1}
	request, seen := (*Token)(nil), dotSet{}
	if useToken && c.token != nil {
		request, seen = c.token, c.saw
	}
	e := &event{key: key, mode: mode, deleted: rapid.Bool().Draw(t, "deleted"), past: maps.Clone(seen)}
	if mode == LWW {
		maps.Copy(e.past, r.knows[key].covered())
	}
	in := Write{Dot: dot, Mode: mode, Deleted: e.deleted, Value: []byte{byte(dot.Counter)}}
	after := local.MaxStamp()
	if request != nil {
		in.Context, after = request.Vector, Later(after, request.Stamp)
	}
	in.Stamp = r.hlc.Next(w.time(r), after, r.actor)
	e.stamp = in.Stamp
	for d := range e.past {
		if w.events[d].stamp.Compare(in.Stamp) >= 0 {
			t.Fatalf("stamp %v of %v does not exceed that of %v in its past", in.Stamp, dot, d)
		}
	}
	refuse := false
	for _, d := range r.knows[key].live() {
		refuse = refuse || local.N > 0 && d.Actor.N < n && !e.past[d]
	}
	before := clone(local)
	result, err := Supersede(local, in)
	requireEqual(t, before, local, "Supersede changed its argument")
	if (err != nil) != refuse {
		t.Fatalf("write of n=%d over\n%v\nerror %v, model refuses: %v", n, local, err, refuse)
	}
	if err != nil {
		return
	}
	w.checkSupersede(t, local, in, result)
	r.counters[n]++
	w.events[dot] = e
	r.knows[key] = merged(r.knows[key], history{dot: e})
	r.clock.Add(dot)
	r.stored[key] = result.Strip(r.clock)
	w.putToken(t, r.knows[key], result, c, request, seen, key, dot)
}

func (w *world) checkSupersede(t *rapid.T, local Record, in Write, result Record) {
	if in.Mode == LWW {
		in.Context = union(local.Vector, in.Context)
	}
	requireEqual(t, Merge(local, NewRecord(in)), result, "Supersede is not the merge of the write")
}

func (w *world) putToken(t *rapid.T, knows history, result Record, c *client, request *Token, seen dotSet, key int, own Dot) {
	saw := knows.covered()
	for _, d := range knows.live() {
		if d != own && !seen[d] {
			delete(saw, d)
		}
	}
	token := PutToken(result, request, own)
	w.checkCovers(t, key, token.Vector, saw, "token of a PUT")
	c.token, c.saw = &token, saw
}

func (w *world) read(t *rapid.T, r *replica, key int, c *client) {
	full := r.full(key)
	if c.token != nil && len(w.modes) == 1 && Satisfied(*c.token, full) {
		for d := range c.saw {
			if e := w.events[d]; !full.Covers(d) && (e.mode != LWW || e.stamp.Compare(full.MaxLWW) >= 0) {
				t.Fatalf("session is satisfied without %v by\n%v", d, full)
			}
		}
	}
	token := ReadToken(full)
	if !Satisfied(token, full) {
		t.Fatalf("a record does not satisfy its own token:\n%v", full)
	}
	c.token, c.saw = &token, r.knows[key].covered()
}

func (w *world) send(r *replica, key int) {
	w.sent = append(w.sent, snapshot{key, r.full(key), maps.Clone(r.knows[key])})
}

// deliver merges a record that was sent, as a replica does: the clock receives the dots that came alive.
func (w *world) deliver(t *rapid.T, r *replica, s snapshot) {
	short, ok := Overwrite(r.stored[s.key], s.record, r.clock, r.actor)
	barred := CheckRaise(r.full(s.key), s.record) != nil
	w.absorb(t, r, s)
	for _, v := range s.record.Versions {
		r.clock.Add(v.Dot)
	}
	r.stored[s.key] = r.full(s.key).Strip(r.clock)
	if !ok {
		return
	}
	w.overwritten++
	if requireEqual(t, r.stored[s.key], short, "Overwrite against Merge"); barred {
		t.Fatalf("Overwrite takes what CheckRaise refuses: %v", s.record)
	}
}

func (w *world) absorb(t *rapid.T, r *replica, s snapshot) {
	local := r.full(s.key)
	for _, v := range s.record.Versions {
		r.hlc.Observe(w.time(r), v.Stamp)
	}
	both := merged(r.knows[s.key], s.knows)
	refuse := false
	for _, d := range both.live() {
		refuse = refuse || local.N > 0 && s.record.N > local.N && d.Actor.N < s.record.N
	}
	if err := CheckRaise(local, s.record); (err != nil) != refuse {
		t.Fatalf("CheckRaise of\n%v\nover\n%v: %v, model refuses: %v", s.record, local, err, refuse)
	}
	r.stored[s.key] = Merge(local, s.record).Strip(r.clock)
	r.knows[s.key] = both
}

// exchange catches up: all records of one synced snapshot, then its clock.
func (w *world) exchange(t *rapid.T, to, from *replica) {
	if to == from {
		return
	}
	for key := range from.stored {
		w.absorb(t, to, snapshot{key, from.full(key), from.knows[key]})
	}
	to.clock.Merge(from.clock)
}

// check compares every replica with the model.
func (w *world) check(t *rapid.T) {
	for _, r := range w.replicas {
		for key := range r.stored {
			w.checkRecord(t, snapshot{key, r.full(key), r.knows[key]})
		}
	}
}

func (w *world) checkRecord(t *rapid.T, s snapshot) {
	live := s.knows.live()
	if !slices.EqualFunc(s.record.Versions, live, func(v Version, d Dot) bool { return v.Dot == d }) {
		t.Fatalf("live in the model: %v, in the record:\n%v", live, s.record)
	}
	if s.record.N != s.knows.n() || s.record.MaxLWW != s.knows.bar() {
		t.Fatalf("n=%d lww=%v in the model, in the record:\n%v", s.knows.n(), s.knows.bar(), s.record)
	}
	deleted := len(live) > 0
	for _, d := range live {
		deleted = deleted && s.knows[d].deleted
	}
	if s.record.IsDeleted() != deleted || s.record.IsAbsent() != (len(live) == 0) {
		t.Fatalf("deleted in the model: %v, in the record:\n%v", deleted, s.record)
	}
	w.checkCovers(t, s.key, s.record.Vector, s.knows.covered(), "record")
}

// checkCovers compares a vector with a set, over all dots of a key.
func (w *world) checkCovers(t *rapid.T, key int, v Vector, want dotSet, what string) {
	requireNormal(t, v)
	for d, e := range w.events {
		if e.key == key && v.Covers(d) != want[d] {
			t.Fatalf("%s: %v covers %v is %v", what, v, d, !want[d])
		}
	}
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			key := drawKey(t)
			c := &w.clients[key][rapid.IntRange(0, 2).Draw(t, "client")]
			mode := rapid.SampledFrom(w.modes).Draw(t, "mode")
			n := rapid.SampledFrom([]uint8{3, 3, 3, 5}).Draw(t, "n")
			w.write(t, w.drawReplica(t, "coordinator"), key, c, rapid.Bool().Draw(t, "context"), mode, n)
		},
		"read": func(t *rapid.T) {
			key := drawKey(t)
			w.read(t, w.drawReplica(t, "replica"), key, &w.clients[key][rapid.IntRange(0, 2).Draw(t, "client")])
		},
		"send": func(t *rapid.T) { w.send(w.drawReplica(t, "from"), drawKey(t)) },
		"deliver": func(t *rapid.T) {
			if len(w.sent) > 0 {
				w.deliver(t, w.drawReplica(t, "to"), w.sent[rapid.IntRange(0, len(w.sent)-1).Draw(t, "message")])
			}
		},
		"exchange": func(t *rapid.T) { w.exchange(t, w.drawReplica(t, "to"), w.drawReplica(t, "from")) },
		"restart":  func(t *rapid.T) { w.open(w.drawReplica(t, "replica")) },
		"forget":   func(t *rapid.T) { w.drawReplica(t, "replica").clock.Limit(rapid.IntRange(0, 2).Draw(t, "max")) },
		"wait": func(t *rapid.T) {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond)
		},
		"": w.check,
	}
}

var worlds = map[string][]Mode{"lww": {LWW}, "siblings": {Siblings}, "mixed": {LWW, Siblings}}

// LESSONS: dot reuse after a restart (riak_kv #679: every open draws an actor), "DVV together with a naive last-write-wins
// corrupts" (mixed), "a node with its clock ahead makes everyone else's writes and deletes vanish" (offsets of 10 s).
func TestReplicasFollowModel(t *testing.T) {
	for name, modes := range worlds {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) { t.Repeat(newWorld(t, modes).actions()) }))
	}
}

// The law above holds for Overwrite only as far as it is met.
func TestModelMeetsOverwrite(t *testing.T) {
	runs := rapid.Custom(func(t *rapid.T) int {
		w := newWorld(t, worlds["lww"])
		t.Repeat(w.actions())
		return w.overwritten
	})
	met := 0
	for seed := range 300 {
		met += runs.Example(seed)
	}
	if met == 0 {
		t.Fatal("no delivery was one that Overwrite takes")
	}
}
