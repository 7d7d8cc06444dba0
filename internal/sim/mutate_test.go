//go:build mutate

package sim

import (
	"flag"
	"maps"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/mutation"
)

var (
	sin   = flag.String("mutation", "", "commit this sin in TestSeeds and TestOne; TestMutations: try this one alone")
	tries = flag.Int("tries", 60, "seeds for one mutation at most")
)

// caughtBy says which checker must see a mutation, and within how many seeds.
var caughtBy = map[string]struct {
	checker string
	within  int
	only    string // kinds of faults that the plan is limited to, for a sin that needs rare company
}{
	"ack-before-sync":     {"output", 20, "crash-in-write"},
	"send-before-sync":    {"output", 20, "crash-in-write"},
	"reuse-dot":           {"dots", 60, ""},
	"merged-context":      {"regular", 20, ""},
	"stamp-below-context": {"sessions", 60, "behind"},
	"drop-siblings":       {"regular", 20, ""},
	"skip-absent-repair":  {"equal", 20, ""},
	"count-non-owner":     {"regular", 20, ""},
	"count-gaining":       {"regular", 20, "wipe,loss"},
	"plain-vector":        {"clocks", 20, ""},
	"value-beats-delete":  {"resurrection", 60, "cut-off"},
	"forget-session":      {"sessions", 20, ""},
	"answer-unbacked":     {"taken-back", 20, ""},
	"claim-not-written":   {"accounts", 20, ""},
	"one-ack-less":        {"regular", 20, ""},
	"leak-pending":        {"bounds", 20, ""},
	"adopt-before-data":   {"equal", 20, ""},
	"adopt-from-gaining":  {"adopted", 60, ""},
	"clock-from-context":  {"clocks", 20, ""},

	"serve-before-synced":  {"regular", 20, ""},
	"quorum-of-one-layout": {"regular", 60, ""},
	"skip-the-fence":       {"fence", 20, "join,slow-disk"},
	"drop-before-exchange": {"dropped", 20, ""},
	"no-third-tracker":     {"regular", 20, "join,half-told"},
	"hold-forever":         {"settled", 20, ""},

	"count-stand-in-in-strict-mode":       {"regular", 20, ""},
	"forget-hand-off-before-confirmation": {"lost", 60, ""},
}

func init() {
	beforeRun = func() error { return mutation.Set(*sin) }
}

// TestMutations proves that the checkers can see: each sin is seen by the checker that is there for it, within the seeds stated.
func TestMutations(t *testing.T) {
	names := slices.Sorted(maps.Keys(mutation.All))
	if *sin != "" {
		names = []string{*sin}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want, known := caughtBy[name]
			if !known {
				t.Fatal("no checker is named for it")
			}
			if err := mutation.Set(name); err != nil {
				t.Fatal(err)
			}
			defer func() {
				*only = ""
				_ = mutation.Set("") // no sin: there always is that
			}()
			*only = want.only
			firstBy := map[string]int{}
			for seed := 1; seed <= max(want.within, *tries) && firstBy[want.checker] == 0; seed++ {
				for _, v := range simulated(t, uint64(seed), nil).Violations {
					if firstBy[v.Checker] == 0 {
						firstBy[v.Checker] = seed
						t.Logf("seed %d: %.600s", seed, v)
					}
				}
			}
			t.Logf("caught: %v", firstBy)
			if at := firstBy[want.checker]; at == 0 || at > want.within {
				t.Errorf("%s sees it at seed %d (0: never), want within %d", want.checker, at, want.within)
			}
		})
	}
}
