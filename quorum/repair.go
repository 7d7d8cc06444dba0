package quorum

// Comparison is what a coordinator knows once it has merged the replies to a read.
type Comparison struct {
	Owners  Set // in any live layout
	Replied Set // said what they hold, be it nothing
	Equal   Set // what they hold is the merged record
}

// Stale are the nodes that the merged record must be sent to: every owner, synced or not, whose reply differs from it. "Nothing" is a reply that differs.
// An owner that did not reply is not in it, because what it holds is unknown; nor is a fallback, because it is not to keep the key.
func (c Comparison) Stale() Set { return c.Owners & c.Replied &^ c.Equal }
