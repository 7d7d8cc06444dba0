package staleness

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/quorate/quorate/internal/history"
)

// Print writes the results for a person: tables, pictures of the reads over time, and what did not hold.
func (r *Results) Print(out io.Writer) error {
	var s strings.Builder
	r.printHead(&s)
	for i := range r.Quorums {
		r.Quorums[i].printRows(&s)
		r.printTimeline(&s, &r.Quorums[i])
		r.Quorums[i].printWindow(&s, r)
	}
	r.printFates(&s)
	r.printVerdict(&s)
	_, err := io.WriteString(out, s.String())
	return err
}

func (r *Results) printHead(s *strings.Builder) {
	set := &r.Settings
	if r.Incomplete != "" {
		fmt.Fprintf(s, "INCOMPLETE: %s; this is what had been measured until then\n", r.Incomplete)
	}
	fmt.Fprintf(s, "%d nodes, scenario %s, %.0f s; per quorum: keys %d, writes %.4g/s, reads %.4g/s, ", len(r.Nodes), set.Scenario, set.Duration, set.Keys, set.Writes, set.Reads)
	if set.Repair {
		s.WriteString("reads repair\n")
	} else {
		s.WriteString("reads do not repair\n")
	}
	if set.Scenario != None.String() {
		fmt.Fprintf(s, "cut %s, healed %s:", moment(r.Cut), moment(r.Healed))
		for _, n := range r.Nodes {
			fmt.Fprintf(s, " %s=%s", n.Name, n.Side)
		}
		s.WriteByte('\n')
	}
	s.WriteString("open loop: no arrival waited for an answer, and times count from when each was due (no coordinated omission)")
	if r.Lag != nil {
		fmt.Fprintf(s, "; sent %.1f ms late at p99, %.1f ms at most", r.Lag.P99, r.Lag.Max)
	}
	s.WriteString("\n")
}

func (q *QuorumResults) name() string { return Name(history.Quorum{N: q.N, W: q.W, R: q.R}) }

func (q *QuorumResults) printRows(s *strings.Builder) {
	promise := "r + w ≤ n: reads may be stale"
	if q.Strict {
		promise = "r + w > n: no read may be stale"
	}
	fmt.Fprintf(s, "\nn/w/r %s (%s)\n", q.name(), promise)
	t := tabwriter.NewWriter(s, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\tside\treads\tfresh\tstale\tfailed\tP(fresh)\tavailable\tk p50/p99/max\tt p50/p99/max ms\tnot monotonic\town write missed\tms p50/p99\t")
	for _, row := range q.Rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t\n", row.Phase, row.Side, row.Reads, row.Fresh, row.Stale, row.Unavailable,
			probability(row.PFresh), percent(row.Availability), row.K.three(0), row.T.three(1), row.Monotonic, row.OwnWrite, row.ReadTime.two())
	}
	fmt.Fprintln(t, "phase\tside\twrites\tacked\tunknown\trefused\t\tavailable\t\t\t\t\tms p50/p99\t")
	for _, row := range q.Rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t\t%s\t\t\t\t\t%s\t\n", row.Phase, row.Side, row.Writes, row.Acked, row.Indeterminate, row.NotWritten,
			percent(share(row.Acked, row.Writes)), row.WriteTime.two())
	}
	t.Flush() // into a strings.Builder, which takes everything
}

func (q *QuorumResults) printWindow(s *strings.Builder, r *Results) {
	switch {
	case q.LastStale == nil:
		s.WriteString("no read was stale")
	default:
		fmt.Fprintf(s, "stale reads from %.2f s to %.2f s", *q.FirstStale, *q.LastStale)
	}
	switch {
	case r.Settings.Scenario == None.String() || r.Healed == nil:
	case q.AfterHeal == nil:
		s.WriteString("; none after the heal")
	default:
		fmt.Fprintf(s, "; the last one %.0f ms after the heal", *q.AfterHeal)
		if q.CaughtUp == nil {
			s.WriteString("; what was acknowledged before the heal was never missed after it")
		} else {
			fmt.Fprintf(s, "; what was acknowledged before the heal was missed for %.0f ms after it", *q.CaughtUp)
		}
	}
	if q.LastStale != nil && r.End != nil && *r.End-*q.LastStale < r.Settings.Duration/timelineSlices {
		s.WriteString("; the run ended before that did")
	}
	if q.Replicas.Read > 0 {
		fmt.Fprintf(s, "\nin the end %d of %d replicas hold something else than all of them together", q.Replicas.Behind, q.Replicas.Read)
	} else {
		s.WriteString("\nin the end no replica could be compared with all of them together")
	}
	if q.Replicas.Unreadable > 0 {
		fmt.Fprintf(s, " (%d could not be read)", q.Replicas.Unreadable)
	}
	s.WriteByte('\n')
}

// fateWords explain each fate on a line.
var fateWords = map[history.Fate]string{
	history.AckedPresent:   "acknowledged, and there in the end",
	history.Superseded:     "acknowledged, and replaced by a later write",
	history.LWWOverwritten: "acknowledged, and replaced by one that ran at the same time",
	history.Lost:           "acknowledged, and gone without a reason",
	history.Recovered:      "of unknown outcome, and there or seen",
	history.Unseen:         "of unknown outcome, and never seen",
	history.Refused:        "refused, and never seen",
	history.Phantom:        "refused, and yet there or seen",
	history.Resurrected:    "replaced, and there again",
	history.Undetermined:   "not all replicas could be read in the end, and the others do not tell",
}

func (r *Results) printFates(s *strings.Builder) {
	s.WriteString("\nwhat became of every write attempt\n")
	t := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	line := func(first string, cell func(q *QuorumResults) string, last string) {
		fmt.Fprint(t, first)
		for i := range r.Quorums {
			fmt.Fprint(t, "\t", cell(&r.Quorums[i]))
		}
		fmt.Fprintf(t, "\t%s\n", last)
	}
	line("fate", (*QuorumResults).name, "")
	for _, fate := range history.AllFates() {
		line(fate.String(), func(q *QuorumResults) string { return fmt.Sprint(q.Fates[fate.String()]) }, fateWords[fate])
	}
	line("attempts", func(q *QuorumResults) string { return fmt.Sprint(q.Attempts) }, "in the log; the sum of the fates")
	t.Flush() // into a strings.Builder, which takes everything
}

func (r *Results) printVerdict(s *strings.Builder) {
	s.WriteByte('\n')
	for _, words := range r.Broken {
		fmt.Fprintf(s, "BROKEN %s\n", words)
	}
	for _, words := range r.Unknown {
		fmt.Fprintf(s, "UNKNOWN %s\n", words)
	}
	if len(r.Broken)+len(r.Unknown) == 0 && r.Incomplete == "" {
		s.WriteString("every promise held: no acknowledged write lost, nothing refused or replaced came up, no stale read where r + w > n\n")
	}
}

// nothing stands where there is nothing to say.
const nothing = "–"

// moment is when something happened in the run, if it did.
func moment(second *float64) string {
	if second == nil {
		return "never"
	}
	return fmt.Sprintf("at %.1f s", *second)
}

// probability has as many nines as are true: 0.99996 is not 1.
func probability(p *float64) string {
	switch {
	case p == nil:
		return nothing
	case *p > 0.9999 && *p < 1:
		return ">0.9999"
	}
	return fmt.Sprintf("%.4f", *p)
}

// percent is rounded towards the middle: neither 99.99 % nor 0.01 % looks like all or nothing.
func percent(p *float64) string {
	switch {
	case p == nil:
		return nothing
	case *p > 0.999 && *p < 1:
		return ">99.9%"
	case *p > 0 && *p < 0.001:
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", *p*100)
}

func (p *Percentiles) three(digits int) string {
	if p == nil {
		return nothing
	}
	return fmt.Sprintf("%.*f/%.*f/%.*f", digits, p.P50, digits, p.P99, digits, p.Max)
}

func (p *Percentiles) two() string {
	if p == nil {
		return nothing
	}
	return fmt.Sprintf("%.1f/%.1f", p.P50, p.P99)
}
