//go:build !mutate

package mutation

// The mutations, none of which is in this build.
const (
	AckBeforeSync     = false // a replica acknowledges a write before it is on its disk
	SendBeforeSync    = false // a coordinator sends a write before its own copy is on disk
	ReuseDot          = false // a store goes on under the actor of its last opening, so a counter that its disk took back is used again
	MergedContext     = false // the context of a PUT's answer covers siblings that the client has not seen
	StampBelowContext = false // a write's stamp need not exceed that of its context
	DropSiblings      = false // a merge keeps one of several siblings
	SkipAbsentRepair  = false // an owner that answered "not found" is not repaired
	CountNonOwner     = false // a coordinator that owns nothing of the key counts itself in an owner's place
	CountGaining      = false // an owner that lost its disk counts for r
	PlainVector       = false // a clock that receives a counter believes to have received all below it
	ValueBeatsDelete  = false // a merge keeps a value that a tombstone covers
	ForgetSession     = false // a read does not wait for what its context has seen
	ClaimNotWritten   = false // a write that was made and then failed is answered as not written
	OneAckLess        = false // a write is acknowledged with one acknowledgement less than w
	LeakPending       = false // the table of writes on their way to the disk never shrinks
)
