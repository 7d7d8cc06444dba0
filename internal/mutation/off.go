//go:build !mutate

package mutation

// The mutations, none of which is in this build.
const (
	AckBeforeSync      = false // a replica acknowledges a write before it is on its disk
	SendBeforeSync     = false // a coordinator sends a write before its own copy is on disk
	ReuseDot           = false // a store goes on under the actor of its last opening, so a counter that its disk took back is used again
	MergedContext      = false // the context of a PUT's answer covers siblings that the client has not seen
	StampBelowContext  = false // a write's stamp need not exceed that of its context
	DropSiblings       = false // a merge keeps one of several siblings
	SkipAbsentRepair   = false // an owner that answered "not found" is not repaired
	CountNonOwner      = false // a coordinator that owns nothing of the key counts itself in an owner's place
	CountGaining       = false // an owner that lost its disk counts for r
	PlainVector        = false // a clock that receives a counter believes to have received all below it
	ValueBeatsDelete   = false // a merge keeps a value that a tombstone covers
	ForgetSession      = false // a read does not wait for what its context has seen
	AnswerUnbacked     = false // a read that is to be on r owners before it is answered does not wait for that
	ClaimNotWritten    = false // a write that was made and then failed is answered as not written
	OneAckLess         = false // a write is acknowledged with one acknowledgement less than w
	ForgetHandOff      = false // a fallback forgets what it kept for an owner before the owner has confirmed it
	LeakPending        = false // the table of writes on their way to the disk never shrinks
	AdoptBeforeData    = false // log exchange adopts clocks before it has fetched what they cover
	AdoptFromGaining   = false // log exchange adopts the clock of an owner that is still fetching itself
	ClockFromContext   = false // a clock takes in the whole vector of a record that came
	SkipFence          = false // log exchange counts although a member of an older layout has not recorded the newest one
	DropUnshown        = false // a former owner drops a set without having shown what it holds
	NoThirdTracker     = false // an old layout is buried as soon as the one above it is whole, whoever may still read in it
	HoldForever        = false // a former owner never drops what it holds
	CountStandInStrict = false // a fallback counts in an owner's place although the request is strict
	ServeBeforeSynced  = false // a read asks the owners of the newest layout, whole or not
	QuorumOfOneLayout  = false // a write needs acknowledgements in the newest layout only
)
