package history

import (
	"cmp"
	"slices"
)

// Quorum is n, w and r.
type Quorum struct{ N, W, R int }

// Strict tells whether every read overlaps every write.
func (q Quorum) Strict() bool { return q.R+q.W > q.N }

// Group is what operations are summed up by.
type Group struct {
	Quorum Quorum
	Phase  string
	Side   string
}

// Row sums up the operations of a group. Reads are Fresh + Stale + Unavailable, writes Acked + Indeterminate + NotWritten.
type Row struct {
	Group
	Reads, Fresh, Stale, Unavailable         int
	Missed                                   Spread // k, of the stale reads
	Behind                                   Spread // t, of the stale reads, in ns
	Monotonic, OwnWrite, Session, Foreign    int    // violations; a read may have several
	ReadTime                                 Spread // of the answered reads, from when they were due, in ns
	Writes, Acked, Indeterminate, NotWritten int
	WriteTime                                Spread // of the acknowledged writes, from when they were due, in ns
}

// Answered is how many reads have an answer.
func (r *Row) Answered() int { return r.Fresh + r.Stale }

// Spread is a distribution: nearest-rank percentiles of Count values. All are 0 if there is none.
type Spread struct {
	Count              int
	P50, P90, P99, Max int64
}

// NewSpread sorts the values, and sums them up.
func NewSpread(values []int64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	rank := func(percent int) int64 { return values[(len(values)*percent+99)/100-1] }
	return Spread{Count: len(values), P50: rank(50), P90: rank(90), P99: rank(99), Max: values[len(values)-1]}
}

// groupValues are the distributions of a row while it grows.
type groupValues struct {
	row                                 Row
	missed, behind, readTime, writeTime []int64
}

// Summarize sums up each group, in the order of quorum, first appearance of the phase, and side. Local reads are left out. The verdicts are Judge's.
func Summarize(ops []Op, verdicts []Verdict) []Row {
	groups := map[Group]*groupValues{}
	phases := map[string]int{}
	for i := range ops {
		o := &ops[i]
		if o.Local {
			continue
		}
		at := Group{Quorum{o.N, o.W, o.R}, o.Phase, o.Side}
		g := groups[at]
		if g == nil {
			g = &groupValues{row: Row{Group: at}}
			groups[at] = g
		}
		if _, ok := phases[o.Phase]; !ok {
			phases[o.Phase] = len(phases)
		}
		if o.IsWrite() {
			g.write(o)
		} else {
			g.read(o, &verdicts[i])
		}
	}
	var rows []Row
	for _, g := range groups {
		g.row.Missed, g.row.Behind = NewSpread(g.missed), NewSpread(g.behind)
		g.row.ReadTime, g.row.WriteTime = NewSpread(g.readTime), NewSpread(g.writeTime)
		rows = append(rows, g.row)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(a.Quorum.Compare(b.Quorum), cmp.Compare(phases[a.Phase], phases[b.Phase]), cmp.Compare(a.Side, b.Side))
	})
	return rows
}

// Compare orders quorums by n, then w, then r.
func (q Quorum) Compare(other Quorum) int {
	return cmp.Or(cmp.Compare(q.N, other.N), cmp.Compare(q.W, other.W), cmp.Compare(q.R, other.R))
}

func (g *groupValues) write(o *Op) {
	g.row.Writes++
	switch o.Outcome {
	case Acked:
		g.row.Acked++
		g.writeTime = append(g.writeTime, o.Latency())
	case Indeterminate:
		g.row.Indeterminate++
	case NotWritten:
		g.row.NotWritten++
	}
}

func (g *groupValues) read(o *Op, v *Verdict) {
	g.row.Reads++
	if !o.Answered() {
		g.row.Unavailable++
		return
	}
	g.readTime = append(g.readTime, o.Latency())
	if v.Fresh() {
		g.row.Fresh++
	} else {
		g.row.Stale++
		g.missed = append(g.missed, int64(v.Missed))
		g.behind = append(g.behind, v.Behind)
	}
	for _, violation := range []struct {
		found bool
		count *int
	}{{v.Monotonic, &g.row.Monotonic}, {v.OwnWrite, &g.row.OwnWrite}, {v.Session, &g.row.Session}, {v.Foreign, &g.row.Foreign}} {
		if violation.found {
			*violation.count++
		}
	}
}

// CountFates counts what became of the write attempts of a quorum.
func CountFates(ops []Op, verdicts []Verdict, q Quorum) Fates {
	var fates Fates
	for i := range ops {
		if o := &ops[i]; o.IsWrite() && (Quorum{o.N, o.W, o.R}) == q {
			fates[verdicts[i].Fate]++
		}
	}
	return fates
}

// CountOvertaken counts the acknowledged writes of a quorum in whose place an older one of unknown outcome is: its request was late, or it was sent again.
func CountOvertaken(ops []Op, verdicts []Verdict, q Quorum) int {
	count := 0
	for i := range ops {
		if o := &ops[i]; verdicts[i].Overtaken && (Quorum{o.N, o.W, o.R}) == q {
			count++
		}
	}
	return count
}

// Window is when the first and the last stale read were sent; Stale is how many there were.
type Window struct {
	First, Last int64
	Stale       int
}

// StaleWindow finds the stale reads of a quorum that were sent from one moment on and missed a write that was acknowledged before another. Final reads
// are left out: they come when the run is over.
func StaleWindow(ops []Op, verdicts []Verdict, q Quorum, sentFrom, ackedBefore int64) Window {
	var w Window
	for i := range ops {
		o := &ops[i]
		if (Quorum{o.N, o.W, o.R}) != q || o.Local || o.Final || verdicts[i].Fresh() || o.Invoked < sentFrom || o.Invoked-verdicts[i].Behind >= ackedBefore {
			continue
		}
		if w.Stale == 0 || o.Invoked < w.First {
			w.First = o.Invoked
		}
		w.Last = max(w.Last, o.Invoked)
		w.Stale++
	}
	return w
}

// Slice counts the reads of one side that were due within a slice of the run.
type Slice struct{ Fresh, Stale, Unavailable int }

// Timeline counts the reads of a quorum and side in slices of a width, from a start on for a duration; what is due outside is left out, and so are local and
// final reads.
func Timeline(ops []Op, verdicts []Verdict, q Quorum, side string, start, width, duration int64) []Slice {
	line := make([]Slice, (duration+width-1)/width)
	for i := range ops {
		o := &ops[i]
		if o.IsWrite() || o.Local || o.Final || o.Side != side || (Quorum{o.N, o.W, o.R}) != q || o.Due < start || o.Due >= start+duration {
			continue
		}
		s := &line[(o.Due-start)/width]
		switch {
		case !o.Answered():
			s.Unavailable++
		case verdicts[i].Fresh():
			s.Fresh++
		default:
			s.Stale++
		}
	}
	return line
}

// Replicas counts replicas of keys whose end is known, by their last local reads.
type Replicas struct {
	Read   int // answered
	Behind int // of these: show something else than the final state
	Failed int
}

// CompareReplicas holds the last local read of each key and node against the key's final state.
func CompareReplicas(ops []Op, q Quorum) Replicas {
	type place struct{ bucket, key, node string }
	last := map[place]*Op{} // the final read of a key is at no node
	for i := range ops {
		o := &ops[i]
		at := place{bucket: o.Bucket, key: o.Key}
		if o.Local {
			at.node = o.Node
		} else if !o.Final || !o.Answered() {
			continue
		}
		if (Quorum{o.N, o.W, o.R}) == q && (last[at] == nil || o.Returned >= last[at].Returned) {
			last[at] = o
		}
	}
	var count Replicas
	for at, o := range last {
		end := last[place{bucket: at.bucket, key: at.key}]
		switch {
		case !o.Local || end == nil:
		case !o.Answered():
			count.Failed++
		default:
			count.Read++
			if !sameValues(o.Values, end.Values) {
				count.Behind++
			}
		}
	}
	return count
}

// sameValues compares sets.
func sameValues(a, b []Value) bool {
	return !slices.ContainsFunc(a, func(v Value) bool { return !slices.Contains(b, v) }) &&
		!slices.ContainsFunc(b, func(v Value) bool { return !slices.Contains(a, v) })
}
