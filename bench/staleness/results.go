package staleness

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/history"
)

// Results is what a run found: the document results.json. Times of the run count from the beginning of the load.
type Results struct {
	Format     int             `json:"format"`
	Tool       string          `json:"tool"`
	Build      string          `json:"build"`
	Started    time.Time       `json:"started"`
	Settings   Settings        `json:"settings"`
	Nodes      []Node          `json:"nodes"`
	Incomplete string          `json:"incomplete,omitempty"` // why the run did not come to its end
	Cut        *float64        `json:"cut_s"`                // nil if it did not come to that
	Healed     *float64        `json:"healed_s"`
	End        *float64        `json:"end_s"`
	Lag        *Percentiles    `json:"lag_ms"` // from when operations were due to when they were sent
	Quorums    []QuorumResults `json:"quorums"`
	Broken     []string        `json:"broken"`  // promises of the cluster that did not hold, in words
	Unknown    []string        `json:"unknown"` // what could not be found out, in words
}

// Settings are those of the Config.
type Settings struct {
	Scenario string  `json:"scenario"`
	Duration float64 `json:"duration_s"`
	Keys     int     `json:"keys"`
	Writes   float64 `json:"writes_per_s"`
	Reads    float64 `json:"reads_per_s"`
	Repair   bool    `json:"repair"`
	Timeout  float64 `json:"timeout_ms"`
	InFlight int     `json:"in_flight"`
	Seed     uint64  `json:"seed"`
}

// Node is a node that was spoken to.
type Node struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Side string `json:"side"`
}

// QuorumResults are those of one quorum.
type QuorumResults struct {
	N          int            `json:"n"`
	W          int            `json:"w"`
	R          int            `json:"r"`
	Strict     bool           `json:"strict"` // r + w > n
	Rows       []Row          `json:"rows"`
	FirstStale *float64       `json:"first_stale_s"`
	LastStale  *float64       `json:"last_stale_s"`
	AfterHeal  *float64       `json:"heal_to_last_stale_ms"` // nil if no read after the heal was stale
	CaughtUp   *float64       `json:"heal_to_caught_up_ms"`  // the same, of those that missed what was acknowledged before the heal
	Attempts   int            `json:"attempts"`
	Fates      map[string]int `json:"fates"`
	Overtaken  int            `json:"overtaken"` // acknowledged, and replaced by an older one of unknown outcome
	Replicas   Replicas       `json:"replicas"`
	Timeline   []Line         `json:"timeline"`
}

// Row are the operations of one phase and side.
type Row struct {
	Phase         string       `json:"phase"`
	Side          string       `json:"side"`
	Reads         int          `json:"reads"`
	Fresh         int          `json:"fresh"`
	Stale         int          `json:"stale"`
	Unavailable   int          `json:"unavailable"`
	PFresh        *float64     `json:"p_fresh"`           // of the answered reads; nil if there is none
	Availability  *float64     `json:"read_availability"` // answered reads of all
	K             *Percentiles `json:"k"`                 // of the stale reads
	T             *Percentiles `json:"t_ms"`
	Monotonic     int          `json:"monotonic_violations"`
	OwnWrite      int          `json:"read_your_write_violations"`
	Foreign       int          `json:"foreign_values"`
	ReadTime      *Percentiles `json:"read_ms"` // of the answered reads
	Writes        int          `json:"writes"`
	Acked         int          `json:"acked"`
	Indeterminate int          `json:"indeterminate"`
	NotWritten    int          `json:"not_written"`
	WriteTime     *Percentiles `json:"write_ms"` // of the acknowledged writes
}

// Percentiles are nearest-rank.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Replicas tells how the replicas' own stores compare with the final states.
type Replicas struct {
	Read       int `json:"read"`
	Behind     int `json:"behind"`
	Unreadable int `json:"unreadable"`
}

// Line is the reads of one side over time, in slices of equal width.
type Line struct {
	Side   string   `json:"side"`
	Width  float64  `json:"width_s"`
	Slices [][3]int `json:"slices"` // fresh, stale, unavailable
}

// resultsFormat is the version of the document.
const resultsFormat = 1

// timelineSlices is how many slices a timeline has: as many as a terminal has room for.
const timelineSlices = 60

// setting is what is known of the run beside its log.
func (r *runner) setting(started time.Time) *Results {
	c := r.cfg
	results := &Results{
		Format: resultsFormat, Tool: "quorate bench staleness", Started: started.UTC(),
		Settings: Settings{Scenario: c.Scenario.String(), Duration: c.Duration.Seconds(), Keys: c.Keys, Writes: c.Writes, Reads: c.Reads,
			Repair: c.Repair, Timeout: millis(c.Timeout.Nanoseconds()), InFlight: c.InFlight, Seed: c.Seed},
	}
	for _, n := range r.fleet.Nodes() {
		results.Nodes = append(results.Nodes, Node{n.Name, n.URL, r.side[n.Name]})
	}
	return results
}

// newResults judges the log, which has the mark load, and sums it up.
func newResults(cfg Config, results *Results, log history.Log) (*Results, error) {
	verdicts, err := history.Judge(log.Ops)
	if err != nil {
		return nil, fmt.Errorf("judge the log: %w", err)
	}
	start := markAt(log.Marks, markLoad)
	at := func(mark string) *float64 {
		moment := markAt(log.Marks, mark)
		if moment == never {
			return nil
		}
		second := seconds(moment - start)
		return &second
	}
	results.Cut, results.Healed, results.End = at(markCut), at(markHealed), at(markEnd)
	results.Broken, results.Unknown = []string{}, []string{}
	var lags []int64
	for i := range log.Ops {
		if o := &log.Ops[i]; o.Due >= start && o.Phase != phaseFinal {
			lags = append(lags, o.Invoked-o.Due)
		}
	}
	results.Lag = percentiles(history.NewSpread(lags), millis)
	rows := history.Summarize(log.Ops, verdicts)
	for _, q := range cfg.Quorums {
		results.Quorums = append(results.Quorums, quorumResults(cfg, q, log, verdicts, rows))
		results.judge(q, &results.Quorums[len(results.Quorums)-1])
	}
	return results, nil
}

func quorumResults(cfg Config, q history.Quorum, log history.Log, verdicts []history.Verdict, rows []history.Row) QuorumResults {
	out := QuorumResults{N: q.N, W: q.W, R: q.R, Strict: q.Strict(), Fates: map[string]int{}}
	for _, phase := range []string{phaseBefore, phaseDuring, phaseAfter} {
		for _, side := range cfg.Scenario.Sides() {
			i := slices.IndexFunc(rows, func(r history.Row) bool { return r.Group == history.Group{Quorum: q, Phase: phase, Side: side} })
			if i >= 0 {
				out.Rows = append(out.Rows, newRow(&rows[i]))
			}
		}
	}
	start, healed := markAt(log.Marks, markLoad), markAt(log.Marks, markHealed)
	if w := history.StaleWindow(log.Ops, verdicts, q, 0, math.MaxInt64); w.Stale > 0 {
		from, to := seconds(w.First-start), seconds(w.Last-start)
		out.FirstStale, out.LastStale = &from, &to
	}
	afterHeal := func(ackedBefore int64) *float64 {
		w := history.StaleWindow(log.Ops, verdicts, q, healed, ackedBefore)
		if w.Stale == 0 {
			return nil
		}
		after := millis(w.Last - healed)
		return &after
	}
	out.AfterHeal, out.CaughtUp = afterHeal(math.MaxInt64), afterHeal(healed)
	out.Overtaken = history.CountOvertaken(log.Ops, verdicts, q)
	fates := history.CountFates(log.Ops, verdicts, q)
	for i := range log.Ops { // by itself: the fates are held against it
		if o := &log.Ops[i]; o.IsWrite() && (history.Quorum{N: o.N, W: o.W, R: o.R}) == q {
			out.Attempts++
		}
	}
	for _, fate := range history.AllFates() {
		out.Fates[fate.String()] = fates[fate]
	}
	replicas := history.CompareReplicas(log.Ops, q)
	out.Replicas = Replicas{Read: replicas.Read, Behind: replicas.Behind, Unreadable: replicas.Failed}
	end := cfg.Duration.Nanoseconds()
	width := (end + timelineSlices - 1) / timelineSlices
	for _, side := range cfg.Scenario.Sides() {
		line := Line{Side: side, Width: seconds(width)}
		for _, s := range history.Timeline(log.Ops, verdicts, q, side, start, width, end) {
			line.Slices = append(line.Slices, [3]int{s.Fresh, s.Stale, s.Unavailable})
		}
		out.Timeline = append(out.Timeline, line)
	}
	return out
}

func newRow(r *history.Row) Row {
	return Row{
		Phase: r.Phase, Side: r.Side,
		Reads: r.Reads, Fresh: r.Fresh, Stale: r.Stale, Unavailable: r.Unavailable,
		PFresh: share(r.Fresh, r.Answered()), Availability: share(r.Answered(), r.Reads),
		K: percentiles(r.Missed, func(k int64) float64 { return float64(k) }), T: percentiles(r.Behind, millis),
		Monotonic: r.Monotonic, OwnWrite: r.OwnWrite, Foreign: r.Foreign, ReadTime: percentiles(r.ReadTime, millis),
		Writes: r.Writes, Acked: r.Acked, Indeterminate: r.Indeterminate, NotWritten: r.NotWritten, WriteTime: percentiles(r.WriteTime, millis),
	}
}

// judge holds what was found against what a cluster promises: no acknowledged write is lost, nothing that was refused or replaced comes up, and where
// r + w > n no read is stale.
func (r *Results) judge(q history.Quorum, found *QuorumResults) {
	stale, foreign, fates := 0, 0, 0
	for _, count := range found.Fates {
		fates += count
	}
	if fates != found.Attempts {
		r.Broken = append(r.Broken, fmt.Sprintf("%s: the tool itself: %d fates of %d write attempts", Name(q), fates, found.Attempts))
	}
	for _, row := range found.Rows {
		stale, foreign = stale+row.Stale, foreign+row.Foreign
	}
	if !q.Strict() {
		stale = 0
	}
	for _, wrong := range []struct {
		count int
		words string
	}{
		{stale, "stale reads, although r + w > n"}, {foreign, "reads of values that nobody wrote there"},
		{found.Fates[history.Lost.String()], "acknowledged writes lost"},
		{found.Fates[history.Phantom.String()], "writes that were refused and yet there"},
		{found.Fates[history.Resurrected.String()], "replaced values that came back"},
	} {
		if wrong.count > 0 {
			r.Broken = append(r.Broken, fmt.Sprintf("%s: %d %s", Name(q), wrong.count, wrong.words))
		}
	}
	if found.Overtaken > 0 {
		r.Unknown = append(r.Unknown, fmt.Sprintf("%s: whether %d acknowledged writes are lost that were replaced by older ones of unknown outcome", Name(q), found.Overtaken))
	}
	if count := found.Fates[history.Undetermined.String()]; count > 0 {
		r.Unknown = append(r.Unknown, fmt.Sprintf("%s: the fates of %d writes: not all replicas of their keys were read in the end", Name(q), count))
	}
}

func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	p := float64(part) / float64(whole)
	return &p
}

func percentiles(s history.Spread, unit func(int64) float64) *Percentiles {
	if s.Count == 0 {
		return nil
	}
	return &Percentiles{unit(s.P50), unit(s.P90), unit(s.P99), unit(s.Max)}
}

// seconds and millis are to the microsecond.
func seconds(ns int64) float64 { return float64(ns/1000) / 1e6 }
func millis(ns int64) float64  { return float64(ns/1000) / 1e3 }
