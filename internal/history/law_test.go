package history

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// anyOps draws a history of few clients and keys within a short time, so that much of it collides.
func anyOps(t *rapid.T) []Op {
	count := rapid.IntRange(1, 16).Draw(t, "ops")
	ops := make([]Op, count)
	for i := range ops {
		o := &ops[i]
		*o = Op{ID: uint64(i + 1), Client: rapid.Uint32Range(0, 2).Draw(t, "client"), Bucket: "b", Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), N: 3, W: 2, R: 2}
		o.Due = rapid.Int64Range(0, 30).Draw(t, "due")
		o.Invoked = o.Due + rapid.Int64Range(0, 2).Draw(t, "waits")
		o.Returned = o.Invoked + rapid.Int64Range(0, 12).Draw(t, "takes")
		o.Kind = rapid.SampledFrom([]Kind{Put, Put, Put, Delete, Get, Get, Get, Get}).Draw(t, "kind")
		o.Saw = anyValues(t, 0, 1)
		if o.IsWrite() {
			o.Seq = uint64(i + 1)
			o.Outcome = rapid.SampledFrom([]Outcome{Acked, Acked, Indeterminate, NotWritten}).Draw(t, "outcome")
			continue
		}
		o.Outcome = rapid.SampledFrom([]Outcome{OK, OK, OK, NotFound, Unavailable}).Draw(t, "outcome")
		if o.Outcome == OK {
			o.Values = anyValues(t, 1, 2)
		}
		o.Local = rapid.IntRange(0, 5).Draw(t, "local") == 0
		if o.Local {
			o.Node = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")
		}
		o.Final = !o.Local && rapid.IntRange(0, 2).Draw(t, "final") == 0
	}
	// Values must mostly be those of attempts, whose clients are drawn above.
	for i := range ops {
		for _, values := range [][]Value{ops[i].Values, ops[i].Saw} {
			for j, v := range values {
				if target := ops[int(v.Seq)%count]; target.IsWrite() {
					values[j] = target.Value()
				}
			}
		}
	}
	return ops
}

func anyValues(t *rapid.T, least, most int) []Value {
	var values []Value
	for range rapid.IntRange(least, most).Draw(t, "values") {
		values = append(values, Value{9, rapid.Uint64Range(0, 15).Draw(t, "value")})
	}
	return values
}

// oracle says the same as Judge, straight from the definitions: every question goes through the whole history.
type oracle []Op

func (all oracle) attemptsOf(key string) []*Op {
	var found []*Op
	for i := range all {
		if all[i].IsWrite() && all[i].Key == key {
			found = append(found, &all[i])
		}
	}
	return found
}

// shows lists the attempts whose work the read's answer is, or may be.
func (all oracle) shows(r *Op) []*Op {
	var found []*Op
	for _, a := range all.attemptsOf(r.Key) {
		switch {
		case !r.Answered() || a.Invoked > r.Returned:
		case r.Outcome == NotFound && a.Kind == Delete && a.Outcome != NotWritten, a.Kind == Put && slices.Contains(r.Values, a.Value()):
			found = append(found, a)
		}
	}
	return found
}

func (all oracle) ended(a *Op) int64 {
	if a.Outcome != Indeterminate {
		return a.Returned
	}
	end := int64(math.MaxInt64)
	for i := range all {
		if r := &all[i]; r.Key == a.Key && r.Outcome == OK && slices.Contains(all.shows(r), a) {
			end = min(end, max(a.Returned, r.Returned))
		}
	}
	return end
}

// newer tells whether a was sent after everything that the read shows had ended.
func (all oracle) newer(a, r *Op) bool {
	return !slices.ContainsFunc(all.shows(r), func(v *Op) bool { return all.ended(v) >= a.Invoked })
}

func (all oracle) verdict(o *Op) Verdict {
	var v Verdict
	if o.IsWrite() {
		v.Fate = all.fate(o)
		v.Overtaken = v.Fate == LWWOverwritten && all.overtaken(o)
	}
	if !o.Answered() || o.Local {
		return v
	}
	v.Foreign = o.Outcome == OK && slices.ContainsFunc(o.Values, func(value Value) bool {
		return !slices.ContainsFunc(all.shows(o), func(a *Op) bool { return a.Value() == value })
	})
	for _, a := range all.attemptsOf(o.Key) {
		if a.Outcome == Acked && a.Returned < o.Invoked && all.newer(a, o) {
			v.Missed++
			v.Behind = max(v.Behind, o.Invoked-a.Returned)
			v.OwnWrite = v.OwnWrite || a.Client == o.Client
		}
		v.Session = v.Session || slices.Contains(o.Saw, a.Value()) && all.newer(a, o)
	}
	for i := range all {
		if r := &all[i]; r.Key == o.Key && r.Client == o.Client && r.Outcome == OK && !r.Local && r.Returned < o.Invoked {
			v.Monotonic = v.Monotonic || slices.ContainsFunc(all.shows(r), func(a *Op) bool { return all.newer(a, o) })
		}
	}
	return v
}

func (all oracle) final(key string) *Op {
	var last *Op
	for i := range all {
		o := &all[i]
		if o.Final && o.Answered() && o.Key == key && (last == nil || o.Returned > last.Returned || o.Returned == last.Returned && later(o, last)) {
			last = o
		}
	}
	return last
}

// later breaks ties of two final reads that ended together.
func later(a, b *Op) bool { return a.Invoked > b.Invoked || a.Invoked == b.Invoked && a.ID > b.ID }

// seen tells whether a read shows the attempt. Nothing shows an acknowledged delete if it was looked for afterwards.
func (all oracle) seen(a *Op) bool {
	for i := range all {
		r := &all[i]
		switch {
		case r.Key != a.Key:
		case a.Kind == Put && slices.Contains(all.shows(r), a):
			return true
		case a.Kind == Delete && a.Outcome == Acked && r.Outcome == NotFound && !r.Local && r.Invoked > a.Returned:
			return true
		}
	}
	return false
}

func (all oracle) exists(key string, what func(a *Op) bool) bool {
	return slices.ContainsFunc(all.attemptsOf(key), what)
}

func (all oracle) present(a, end *Op) bool {
	switch {
	case a.Kind == Put || end.Outcome == OK:
		return slices.Contains(all.shows(end), a)
	case a.Outcome == Acked:
		return !all.exists(a.Key, func(d *Op) bool { return d.Kind == Delete && d.Outcome == Acked && d.Invoked > a.Returned })
	case a.Outcome == Indeterminate:
		return !all.exists(a.Key, func(d *Op) bool { return d.Kind == Delete && d.Outcome == Acked }) &&
			all.exists(a.Key, func(p *Op) bool { return p.Kind == Put && (p.Outcome == Acked || all.seen(p)) })
	}
	return false
}

func (all oracle) fate(a *Op) Fate {
	end := all.final(a.Key)
	if end != nil {
		return all.fateBy(a, end)
	}
	switch fate := all.fateBy(a, all.partial(a.Key)); fate {
	case Lost, Unseen, Refused, Resurrected:
		return Undetermined
	default:
		return fate
	}
}

// overtaken tells whether all that is there was given up before the attempt was sent.
func (all oracle) overtaken(a *Op) bool {
	end := all.final(a.Key)
	if end == nil {
		end = all.partial(a.Key)
	}
	for _, w := range all.shows(end) {
		if w.Outcome != Indeterminate || w.Returned >= a.Invoked {
			return false
		}
	}
	return true
}

// partial is what the last looks at single replicas show together, without what is replaced by others of it.
func (all oracle) partial(key string) *Op {
	state := &Op{Kind: Get, Key: key, Outcome: OK, Returned: math.MaxInt64}
	if all.exists(key, func(d *Op) bool { return d.Kind == Delete && d.Outcome != NotWritten }) {
		return state
	}
	last := map[string]*Op{}
	for i := range all {
		o := &all[i]
		tooEarly := all.exists(key, func(a *Op) bool { return a.Outcome == Acked && a.Returned >= o.Invoked })
		if o.Key == key && o.Local && o.Answered() && !tooEarly && (last[o.Node] == nil || later(o, last[o.Node]) || o.Returned > last[o.Node].Returned) &&
			(last[o.Node] == nil || o.Returned >= last[o.Node].Returned) {
			last[o.Node] = o
		}
	}
	var held []*Op
	for _, look := range last {
		held = append(held, all.shows(look)...)
	}
	for _, a := range held {
		if !slices.ContainsFunc(held, func(w *Op) bool { return w != a && (w.Invoked > all.ended(a) || slices.Contains(w.Saw, a.Value())) }) {
			state.Values = append(state.Values, a.Value())
		}
	}
	return state
}

func (all oracle) fateBy(a, end *Op) Fate {
	present, seen := all.present(a, end), all.seen(a)
	cameBack := all.exists(a.Key, func(w *Op) bool {
		return w.Outcome == Acked && all.seen(w) && (all.newer(w, end) || slices.Contains(w.Saw, a.Value()))
	})
	after := func(w *Op) bool { return w.Invoked > all.ended(a) || slices.Contains(w.Saw, a.Value()) }
	winner := func(what func(w *Op) bool) bool {
		return slices.ContainsFunc(all.shows(end), func(w *Op) bool { return w != a && what(w) })
	}
	switch {
	case present && a.Outcome != NotWritten && cameBack:
		return Resurrected
	case a.Outcome == Indeterminate && (present || a.Kind == Put && seen):
		return Recovered
	case a.Outcome == Indeterminate:
		return Unseen
	case a.Outcome == NotWritten && (present || seen):
		return Phantom
	case a.Outcome == NotWritten:
		return Refused
	case present:
		return AckedPresent
	case winner(after):
		return Superseded
	case winner(func(w *Op) bool { return all.ended(w) >= a.Invoked }):
		return LWWOverwritten
	}
	return Lost
}

func TestJudgeAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := anyOps(t)
		verdicts, err := Judge(ops)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ops {
			if want := oracle(ops).verdict(&ops[i]); verdicts[i] != want {
				t.Fatalf("operation %d of\n%+v\nis judged %+v, want %+v", ops[i].ID, ops, verdicts[i], want)
			}
		}
		order := rand.New(rand.NewPCG(1, uint64(len(ops)))).Perm(len(ops))
		shuffled := make([]Op, len(ops))
		for to, from := range order {
			shuffled[to] = ops[from]
		}
		again, err := Judge(shuffled)
		if err != nil {
			t.Fatal(err)
		}
		for to, from := range order {
			if again[to] != verdicts[from] {
				t.Fatalf("in another order, operation %d is judged %+v, was %+v", shuffled[to].ID, again[to], verdicts[from])
			}
		}
	})
}

func TestRowsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := anyOps(t)
		for i := range ops {
			ops[i].R = rapid.IntRange(1, 2).Draw(t, "r")
			ops[i].Side = rapid.SampledFrom([]string{"rest", "isolated"}).Draw(t, "side")
			ops[i].Phase = rapid.SampledFrom([]string{"before", "during", "after"}).Draw(t, "phase")
		}
		verdicts, err := Judge(ops)
		if err != nil {
			t.Fatal(err)
		}
		var reads, writes, local, attempts, stale, unavailable int
		for _, r := range Summarize(ops, verdicts) {
			if r.Reads != r.Fresh+r.Stale+r.Unavailable || r.Writes != r.Acked+r.Indeterminate+r.NotWritten || r.Answered() != r.ReadTime.Count || r.Stale != r.Missed.Count {
				t.Fatalf("row does not add up: %+v", r)
			}
			reads, writes, stale, unavailable = reads+r.Reads, writes+r.Writes, stale+r.Stale, unavailable+r.Unavailable
		}
		var failed int
		for i := range ops {
			if ops[i].Local {
				local++
			} else if ops[i].Outcome == Unavailable {
				failed++
			}
		}
		if reads+writes+local != len(ops) || failed != unavailable {
			t.Fatalf("%d operations: %d reads, %d writes, %d local; %d reads failed, %d are counted", len(ops), reads, writes, local, failed, unavailable)
		}
		for r := 1; r <= 2; r++ {
			fates := CountFates(ops, verdicts, Quorum{3, 2, r})
			for _, count := range fates {
				attempts += count
			}
			if fates[0] > 0 {
				t.Fatalf("a write has no fate: %v", fates)
			}
		}
		if attempts != writes {
			t.Fatalf("%d fates of %d attempts", attempts, writes)
		}
	})
}

func TestSpread(t *testing.T) {
	var values []int64
	for v := int64(200); v > 0; v-- {
		values = append(values, v)
	}
	for _, c := range []struct {
		values []int64
		want   Spread
	}{
		{nil, Spread{}},
		{[]int64{7}, Spread{1, 7, 7, 7, 7}},
		{[]int64{3, 1, 2}, Spread{3, 2, 3, 3, 3}},
		{values, Spread{200, 100, 180, 198, 200}},
	} {
		if got := NewSpread(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestTimelineAndWindow(t *testing.T) {
	q := Quorum{3, 1, 1}
	op := func(id uint64, at int64, o Op) Op {
		o.ID, o.Bucket, o.Key, o.N, o.W, o.R, o.Due, o.Invoked, o.Returned, o.Side = id, "b", "k", 3, 1, 1, at, at, at+1, "rest"
		return o
	}
	old, now := []Value{{1, 1}}, []Value{{1, 2}}
	ops := []Op{
		op(1, 0, Op{Client: 1, Seq: 1, Kind: Put, Outcome: Acked}), op(2, 5, Op{Client: 1, Seq: 2, Kind: Put, Outcome: Acked}),
		op(3, 10, Op{Kind: Get, Outcome: OK, Values: old}), op(4, 12, Op{Kind: Get, Outcome: OK, Values: now}), op(5, 19, Op{Kind: Get, Outcome: Unavailable}),
		op(6, 20, Op{Kind: Get, Outcome: OK, Values: old}), op(7, 35, Op{Kind: Get, Outcome: OK, Values: old, Final: true}),
	}
	verdicts, err := Judge(ops)
	if err != nil {
		t.Fatal(err)
	}
	want := []Slice{{}, {Fresh: 1, Stale: 1, Unavailable: 1}, {Stale: 1}, {}}
	if got := Timeline(ops, verdicts, q, "rest", 0, 10, 40); !reflect.DeepEqual(got, want) {
		t.Errorf("timeline %v, want %v", got, want)
	}
	for _, c := range []struct {
		sentFrom, ackedBefore int64
		want                  Window
	}{{0, 100, Window{10, 20, 2}}, {11, 100, Window{20, 20, 1}}, {21, 100, Window{}}, {0, 7, Window{10, 20, 2}}, {0, 6, Window{}}} {
		if got := StaleWindow(ops, verdicts, q, c.sentFrom, c.ackedBefore); got != c.want {
			t.Errorf("sent from %d, acknowledged before %d: %+v, want %+v", c.sentFrom, c.ackedBefore, got, c.want)
		}
	}
}

func TestScheduleIsOpenAndFollowsItsRates(t *testing.T) {
	s := Schedule{Clients: 3, Keys: 10, Writes: 100, Reads: 400, From: 5e9, Until: 105e9, QuietFrom: 55e9, QuietEvery: 5}
	count := map[Kind]int{}
	last := s.From
	for a := range s.Arrivals(rand.New(rand.NewPCG(1, 2))) {
		count[a.Kind]++
		if a.Due < last || a.Due >= s.Until || a.Client < 0 || a.Client >= s.Clients || a.Key < 0 || a.Key >= s.Keys {
			t.Fatalf("%+v after %d", a, last)
		}
		if a.Kind == Put && (a.Client != s.Writer(a.Key) || s.Quiet(a.Key) && a.Due >= s.QuietFrom) {
			t.Fatalf("%+v is not for this writer, or not any more", a)
		}
		last = a.Due
	}
	// 100 s at 400/s; at 100/s for 50 s, then at 80/s, since two keys of ten are quiet: five standard deviations around it.
	if count[Get] < 39_000 || count[Get] > 41_000 || count[Put] < 8_525 || count[Put] > 9_475 {
		t.Errorf("%v arrivals", count)
	}
}
