//go:build mutate

package mutation

import "fmt"

// The mutations; see off.go for what each does.
var (
	AckBeforeSync      bool
	SendBeforeSync     bool
	ReuseDot           bool
	MergedContext      bool
	StampBelowContext  bool
	DropSiblings       bool
	SkipAbsentRepair   bool
	CountNonOwner      bool
	CountGaining       bool
	PlainVector        bool
	ValueBeatsDelete   bool
	ForgetSession      bool
	AnswerUnbacked     bool
	ClaimNotWritten    bool
	OneAckLess         bool
	ForgetHandOff      bool
	LeakPending        bool
	AdoptBeforeData    bool
	AdoptFromGaining   bool
	ClockFromContext   bool
	SkipFence          bool
	DropUnshown        bool
	NoThirdTracker     bool
	HoldForever        bool
	CountStandInStrict bool
	ServeBeforeSynced  bool
	QuorumOfOneLayout  bool
)

// All are the mutations by the names that tests and docs/simulation.md use.
var All = map[string]*bool{
	"ack-before-sync":                     &AckBeforeSync,
	"send-before-sync":                    &SendBeforeSync,
	"reuse-dot":                           &ReuseDot,
	"merged-context":                      &MergedContext,
	"stamp-below-context":                 &StampBelowContext,
	"drop-siblings":                       &DropSiblings,
	"skip-absent-repair":                  &SkipAbsentRepair,
	"count-non-owner":                     &CountNonOwner,
	"count-gaining":                       &CountGaining,
	"plain-vector":                        &PlainVector,
	"value-beats-delete":                  &ValueBeatsDelete,
	"forget-session":                      &ForgetSession,
	"answer-unbacked":                     &AnswerUnbacked,
	"claim-not-written":                   &ClaimNotWritten,
	"one-ack-less":                        &OneAckLess,
	"leak-pending":                        &LeakPending,
	"forget-hand-off-before-confirmation": &ForgetHandOff,
	"adopt-before-data":                   &AdoptBeforeData,
	"adopt-from-gaining":                  &AdoptFromGaining,
	"clock-from-context":                  &ClockFromContext,
	"skip-the-fence":                      &SkipFence,
	"drop-before-exchange":                &DropUnshown,
	"no-third-tracker":                    &NoThirdTracker,
	"hold-forever":                        &HoldForever,
	"count-stand-in-in-strict-mode":       &CountStandInStrict,
	"serve-before-synced":                 &ServeBeforeSynced,
	"quorum-of-one-layout":                &QuorumOfOneLayout,
}

// Set commits one sin and no other; "" none. It must not be called while a node runs.
func Set(name string) error {
	sin := All[name]
	if name != "" && sin == nil {
		return fmt.Errorf("mutation: there is no %q", name)
	}
	for _, other := range All {
		*other = other == sin
	}
	return nil
}
