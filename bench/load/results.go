package load

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/quorate/quorate/bench/workload"
)

// Format is the version of the results document, docs/formats.md.
const Format = 1

// Results is what a run measured, as results.json has it. A figure that could not be read is absent.
type Results struct {
	Format      int          `json:"format"`
	Tool        string       `json:"tool"`
	Build       string       `json:"build,omitempty"` // for the caller to fill in
	Started     time.Time    `json:"started"`         // the window
	Interrupted bool         `json:"interrupted,omitempty"`
	Config      Settings     `json:"config"`
	Preload     *Preload     `json:"preload,omitempty"`
	Window      float64      `json:"window_s"`
	Total       Operations   `json:"total"`
	Operations  []Operations `json:"operations"` // those of the mix
	Siblings    int64        `json:"siblings"`
	Late        *Latency     `json:"late_ms,omitempty"` // an open loop's own: from an arrival to its sending, where a connection was free
	Nodes       []NodeUse    `json:"nodes"`
	Requests    int64        `json:"requests"` // answered in the window, whenever they were to be sent
	ServerCPU   *ServerCPU   `json:"server_cpu,omitempty"`
	Own         *Own         `json:"own,omitempty"`
	Seconds     []Second     `json:"seconds"`
}

// Settings are what was asked for.
type Settings struct {
	Workload     string             `json:"workload,omitempty"` // a to f
	Mix          map[string]float64 `json:"mix"`
	Distribution string             `json:"distribution"`
	Exponent     float64            `json:"exponent"`
	Keys         uint64             `json:"keys"`
	ValueMin     int                `json:"value_bytes_min"`
	ValueMax     int                `json:"value_bytes_max"`
	MaxScan      int                `json:"scan_keys_max"`
	Seed         uint64             `json:"seed"`
	Bucket       string             `json:"bucket"`
	N            int                `json:"n,omitempty"`
	W            string             `json:"w,omitempty"`
	R            string             `json:"r,omitempty"`
	Loop         string             `json:"loop"` // closed, open
	Rate         float64            `json:"rate,omitempty"`
	Connections  int                `json:"connections"`
	Warmup       float64            `json:"warmup_s"`
	Duration     float64            `json:"duration_s"`
	Timeout      float64            `json:"timeout_s,omitempty"`
	Started      bool               `json:"own_cluster"` // the nodes were started for this run
}

// Preload is what was put at the beginning.
type Preload struct {
	Keys    uint64  `json:"keys"`
	Seconds float64 `json:"seconds"`
}

// Operations is what became of the operations of one kind.
type Operations struct {
	Kind      string           `json:"kind"`
	Succeeded int64            `json:"succeeded"`
	NotFound  int64            `json:"not_found"`
	Failed    int64            `json:"failed"`
	Reasons   map[string]int64 `json:"reasons,omitempty"` // of the failed ones
	Rate      float64          `json:"per_s"`             // succeeded and not found
	Latency   *Latency         `json:"latency_ms,omitempty"`
	Failures  *Latency         `json:"failed_latency_ms,omitempty"`
	Histogram string           `json:"histogram,omitempty"` // of Latency in microseconds: HdrHistogram V2, compressed, base64
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	Min   float64 `json:"min"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
}

// NodeUse is what one node did and used in the window.
type NodeUse struct {
	Name     string   `json:"name"`
	URL      string   `json:"url"`
	Requests int64    `json:"requests"` // that it answered in the window
	CPU      *float64 `json:"cpu_s,omitempty"`
	RSS      *uint64  `json:"rss_bytes,omitempty"` // at the end
	Unread   string   `json:"unread,omitempty"`    // why there are none
}

// ServerCPU is that of all nodes together.
type ServerCPU struct {
	Seconds          float64 `json:"seconds"`
	OpsPerSecond     float64 `json:"ops_per_cpu_s"`
	MicrosPerRequest float64 `json:"us_per_request"`
}

// Own is what the load itself used.
type Own struct {
	CPU              float64 `json:"cpu_s"`
	MicrosPerRequest float64 `json:"us_per_request"`
}

// Second is one second of the window.
type Second struct {
	At     float64 `json:"at_s"` // its end, from the beginning of the window
	Rate   float64 `json:"per_s"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Failed int64   `json:"failed"`
}

const millisecond = 1000 // in microseconds

func latencyOf(h *hdr.Histogram) *Latency {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	q := h.ValueAtPercentilesSlice([]float64{50, 90, 95, 99, 99.9, 99.99})
	ms := func(micros int64) float64 { return float64(micros) / millisecond }
	return &Latency{
		Count: h.TotalCount(), Mean: h.Mean() / millisecond, Min: ms(h.Min()), Max: ms(h.Max()),
		P50: ms(q[0]), P90: ms(q[1]), P95: ms(q[2]), P99: ms(q[3]), P999: ms(q[4]), P9999: ms(q[5]),
	}
}

func secondOf(c *counts, took time.Duration) Second {
	t := c.total()
	s := Second{Rate: perSecond(t.Succeeded+t.NotFound, took), Failed: t.Failed}
	if l := latencyOf(t.Answered); l != nil {
		s.P50, s.P99 = l.P50, l.P99
	}
	return s
}

func perSecond(count int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(count) / d.Seconds()
}

func operationsOf(kind string, t *tally, took time.Duration) Operations {
	o := Operations{
		Kind: kind, Succeeded: t.Succeeded, NotFound: t.NotFound, Failed: t.Failed, Reasons: maps.Clone(t.Reasons),
		Rate: perSecond(t.Succeeded+t.NotFound, took), Latency: latencyOf(t.Answered), Failures: latencyOf(t.Failures),
	}
	if o.Latency != nil {
		if encoded, err := t.Answered.Encode(hdr.V2CompressedEncodingCookieBase); err == nil {
			o.Histogram = string(encoded)
		}
	}
	return o
}

// results puts together what was measured.
func (r *run) results(w *window) *Results {
	took := w.ended.Sub(w.began)
	out := &Results{
		Format: Format, Tool: "quorate bench load", Started: w.began.UTC(), Interrupted: w.ended.Before(r.till),
		Config: r.cfg.settings(r.fleet.Started()), Window: took.Seconds(),
		Total: operationsOf("total", w.counts.total(), took), Operations: []Operations{},
		Siblings: w.counts.siblings, Late: latencyOf(w.counts.late), Seconds: w.seconds,
	}
	for k := range w.counts.kinds {
		if r.cfg.Workload.Mix[k] > 0 {
			out.Operations = append(out.Operations, operationsOf(workload.Kind(k).String(), &w.counts.kinds[k], took))
		}
	}
	r.addUsage(out, w)
	return out
}

func (r *run) addUsage(out *Results, w *window) {
	for _, n := range w.sent.requests {
		out.Requests += n
	}
	all, sum := true, 0.0
	for i, n := range r.fleet.Nodes() {
		use := NodeUse{Name: n.Name, URL: n.URL, Requests: w.sent.requests[i]}
		err := cmp.Or(w.before.failed[i], w.after.failed[i])
		if err == nil && w.after.nodes[i].CPUSeconds < w.before.nodes[i].CPUSeconds {
			err = fmt.Errorf("%s was started again during the window: what it used is not known", n.Name)
		}
		if err != nil {
			use.Unread, all = err.Error(), false
		} else {
			cpu, rss := w.after.nodes[i].CPUSeconds-w.before.nodes[i].CPUSeconds, w.after.nodes[i].RSSBytes
			use.CPU, use.RSS = &cpu, &rss
			sum += cpu
		}
		out.Nodes = append(out.Nodes, use)
	}
	if all && sum > 0 && out.Requests > 0 {
		out.ServerCPU = &ServerCPU{
			Seconds:          sum,
			OpsPerSecond:     float64(w.sent.answered) / sum,
			MicrosPerRequest: sum * 1e6 / float64(out.Requests),
		}
	}
	if w.before.ownErr == nil && w.after.ownErr == nil && out.Requests > 0 {
		own := w.after.own - w.before.own
		out.Own = &Own{CPU: own.Seconds(), MicrosPerRequest: float64(own.Microseconds()) / float64(out.Requests)}
	}
}

func (c Config) settings(started bool) Settings {
	s := Settings{
		Workload: c.Name, Mix: map[string]float64{}, Distribution: c.Workload.Distribution.String(), Exponent: c.Workload.Exponent,
		Keys: c.Workload.Keys, ValueMin: c.Workload.Values.Min, ValueMax: c.Workload.Values.Max, MaxScan: c.Workload.MaxScan, Seed: c.Workload.Seed,
		Bucket: c.Bucket, N: c.N, W: c.W, R: c.R, Loop: "closed", Rate: c.Rate, Connections: c.Connections,
		Warmup: c.Warmup.Seconds(), Duration: c.Duration.Seconds(), Timeout: c.Timeout.Seconds(), Started: started,
	}
	if c.open() {
		s.Loop = "open"
	}
	for k, share := range c.Workload.Mix {
		if share > 0 {
			s.Mix[workload.Kind(k).String()] = share
		}
	}
	return s
}

// line is the second for a person.
func (s Second) line(measuring bool) string {
	phase := "warm-up"
	if measuring {
		phase = fmt.Sprintf("%5.0f s", s.At)
	}
	return fmt.Sprintf("%s  %8.0f ops/s  p50 %8.3f ms  p99 %8.3f ms  failed %d", phase, s.Rate, s.P50, s.P99, s.Failed)
}

// reasons are those of all kinds, the most frequent first.
func (o Operations) reasons() []string {
	return slices.SortedFunc(maps.Keys(o.Reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(o.Reasons[b], o.Reasons[a]), cmp.Compare(a, b))
	})
}
