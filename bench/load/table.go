package load

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the results for a person.
func (r *Results) Print(out io.Writer) error {
	loop := "Closed loop: latency counts from the sending; a slow cluster is asked less often, so its bad moments are sampled too rarely."
	if r.Config.Loop == "open" {
		loop = "Open loop: latency counts from the intended arrival, waiting for a connection included."
	}
	if r.Interrupted {
		fmt.Fprintf(out, "INTERRUPTED: only %.1f s of %.0f s were measured.\n", r.Window, r.Config.Duration)
	}
	fmt.Fprintf(out, "%s\n\n", loop)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "operation\tops/s\tdone\tnot found\tfailed\tp50 ms\tp90\tp99\tp99.9\tmax\t")
	for _, o := range r.Operations {
		o.row(w)
	}
	if len(r.Operations) > 1 {
		r.Total.row(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if share := r.Total.failedShare(); share > tellFailed {
		fmt.Fprintf(out, "%.1f %% of all operations failed or were not sent: the percentiles above are of the others alone\n", share*100)
	}
	for _, reason := range r.Total.reasons() {
		fmt.Fprintf(out, "failed: %d × %s\n", r.Total.Reasons[reason], reason)
	}
	if f := r.Total.Failures; f != nil {
		fmt.Fprintf(out, "failed operations took %.3f ms at p50, %.3f ms at p99; they are in no column of milliseconds above\n", f.P50, f.P99)
	}
	if r.Siblings > 0 {
		fmt.Fprintf(out, "%d reads were answered with several concurrent values\n", r.Siblings)
	}
	if r.Late != nil {
		fmt.Fprintf(out, "this program itself was late by %.3f ms at p50, %.3f ms at p99, which is in the latencies\n", r.Late.P50, r.Late.P99)
	}
	return r.printUse(out)
}

// tellFailed is the share of failed operations from which on the percentiles of the others mislead: p99 is no more that of all.
const tellFailed = 0.01

func (o *Operations) failedShare() float64 {
	return float64(o.Failed) / float64(max(1, o.Succeeded+o.NotFound+o.Failed))
}

func (o *Operations) row(w io.Writer) {
	fmt.Fprintf(w, "%s\t%.0f\t%d\t%d\t%d\t", o.Kind, o.Rate, o.Succeeded, o.NotFound, o.Failed)
	if l := o.Latency; l != nil {
		fmt.Fprintf(w, "%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", l.P50, l.P90, l.P99, l.P999, l.Max)
		return
	}
	fmt.Fprintln(w, "-\t-\t-\t-\t-\t")
}

func (r *Results) printUse(out io.Writer) error {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\trequests\tCPU s\tresident MB\t")
	for _, n := range r.Nodes {
		if n.CPU == nil {
			fmt.Fprintf(w, "%s\t%d\t-\t-\t\n", n.Name, n.Requests)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.0f\t\n", n.Name, n.Requests, *n.CPU, float64(*n.RSS)/1e6)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if n.Unread != "" {
			fmt.Fprintln(out, n.Unread)
		}
	}
	if s := r.ServerCPU; s != nil {
		fmt.Fprintf(out, "%.0f operations per CPU-second of the nodes, %.1f µs of CPU per request\n", s.OpsPerSecond, s.MicrosPerRequest)
	}
	if r.Own != nil {
		fmt.Fprintf(out, "this program itself used %.1f µs of CPU per request\n", r.Own.MicrosPerRequest)
	}
	return nil
}
