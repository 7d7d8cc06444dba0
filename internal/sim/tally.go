package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/check"
)

// What every seed must come up to, so that a pass means something.
const (
	minOpsPerSecond    = 10
	minFaultsPerMinute = 1
)

// busyEnough returns why a run says too little.
func (r *Result) busyEnough() error {
	if rate := float64(len(r.History.Ops)) / r.Simulated.Seconds(); rate < minOpsPerSecond {
		return fmt.Errorf("%.1f operations a simulated second, want %d", rate, minOpsPerSecond)
	}
	if rate := float64(len(r.Plan.Faults)) / r.Simulated.Minutes(); rate < minFaultsPerMinute {
		return fmt.Errorf("%.2f faults a simulated minute, want %d", rate, minFaultsPerMinute)
	}
	return nil
}

// tally sums up what many seeds did.
type tally struct {
	began        time.Time
	seeds        int
	chaos, whole time.Duration
	fates        map[check.Fate]int
	reads        map[check.Outcome]int
	faults       map[string]int
	attempts     int
	leastOps     float64
	unsettled    int
	losses       int
	unread       int // seeds that settled without a read
	stoodIn      int // operations for which fallbacks counted
	alone        int // of them, writes that a fallback coordinated
	linear       check.Linear
	repairs      int64
	hedges, won  int64
}

func newTally() *tally {
	return &tally{began: time.Now(), fates: map[check.Fate]int{}, reads: map[check.Outcome]int{}, faults: map[string]int{}, leastOps: 1e9}
}

func (t *tally) add(r *Result) {
	t.seeds++
	t.chaos += r.Simulated
	t.whole += r.Whole
	a := check.Account(&r.History)
	t.attempts += a.Attempts
	for f, n := range a.Fates {
		t.fates[f] += n
	}
	for o, n := range a.Reads {
		t.reads[o] += n
	}
	for _, f := range r.Plan.Faults {
		t.faults[f.Kind]++
	}
	t.leastOps = min(t.leastOps, float64(len(r.History.Ops))/r.Simulated.Seconds())
	t.unsettled += len(r.History.Unsettled)
	t.losses += len(r.History.Losses)
	t.unread += boolInt(r.Unread)
	t.repairs += r.Repairs.Stale + r.Repairs.Absent + r.Repairs.Siblings + r.Repairs.Vector
	t.hedges, t.won = t.hedges+r.Hedges.Sent, t.won+r.Hedges.Won
	for _, o := range r.History.Ops {
		if o.Fallbacks == 0 {
			continue
		}
		t.stoodIn++
		if o.IsWrite() && !slices.Contains(r.History.Owners[check.KeyName{Bucket: o.Bucket, Key: o.Key}], o.Coordinator) {
			t.alone++
		}
	}
	t.linear.Add(check.Linearizable(&r.History))
}

// String is the sums, a line each.
func (t *tally) String() string {
	var b strings.Builder
	real := time.Since(t.began)
	fmt.Fprintf(&b, "%d seeds, %.2f simulated cluster-hours in %v: %.1f a minute on one core\n", t.seeds, t.whole.Hours(), real.Round(time.Second/10), t.whole.Hours()/real.Minutes())
	fmt.Fprintf(&b, "at least %.1f operations a simulated second; %d keys not settled; %d disks lost; %d seeds settled without a read\n", t.leastOps, t.unsettled, t.losses, t.unread)
	fmt.Fprintf(&b, "%d operations counted fallbacks; of them %d are writes that one coordinated\n", t.stoodIn, t.alone)
	b.WriteString(check.Accounts{Attempts: t.attempts, Fates: t.fates, Reads: t.reads}.String())
	fmt.Fprintln(&b, t.linear)
	fmt.Fprintf(&b, "%d read repairs; %d values hedged, %d of them won\n", t.repairs, t.hedges, t.won)
	for _, kind := range slices.Sorted(maps.Keys(t.faults)) {
		fmt.Fprintf(&b, "%-48s %8d\n", "fault "+kind, t.faults[kind])
	}
	return b.String()
}
