package node

import (
	"errors"
	"time"

	"github.com/quorate/quorate/cluster"
	"github.com/quorate/quorate/quorum"
)

// Properties are what a bucket says of the requests that do not say it themselves.
type Properties struct {
	N        int          `json:"n"`
	W        quorum.Level `json:"w"`
	R        quorum.Level `json:"r"`
	Sloppy   bool         `json:"sloppy"`
	Conflict string       `json:"conflict"` // "lww" or "siblings"
}

// NamedBucket is one configured bucket.
type NamedBucket struct {
	Name       string     `json:"name"`
	Properties Properties `json:"properties"`
}

// ClusterView is this node's view of the cluster, as GET /cluster shows it.
type ClusterView struct {
	Cluster    string       `json:"cluster"`
	Self       string       `json:"self"`
	Partitions int          `json:"partitions"`
	Layout     LayoutView   `json:"layout"`
	CatchUp    CatchUpView  `json:"catch_up"`
	Repairs    RepairsView  `json:"read_repairs"`
	Hedges     HedgesView   `json:"hedges"`
	Members    []MemberView `json:"members"`
}

// LayoutView is the layouts in force, and how far the ring's change is, if one is under way.
type LayoutView struct {
	Version  string        `json:"version"`            // of the layout above all others, 16 hex digits; empty while there is none
	Settled  bool          `json:"settled"`            // one layout is live, and it is whole
	Live     int           `json:"live"`               // layouts that writes need acknowledgements in
	Progress *ProgressView `json:"progress,omitempty"` // nil when settled
	Waiting  []WaitView    `json:"waiting,omitempty"`
}

// ProgressView is how far a change of the ring is.
type ProgressView struct {
	Done      int     `json:"done"`      // reports of an owner that it has all of a partition
	Of        int     `json:"of"`        // those that the newest layout needs
	Percent   float64 `json:"percent"`   // of them, rounded down to a tenth
	Bytes     int64   `json:"bytes"`     // that the answering node has fetched
	Remaining uint64  `json:"remaining"` // versions that it is known to lack
}

// WaitView is one thing that a change of the ring waits for.
type WaitView struct {
	What string   `json:"what"`
	For  []string `json:"for"` // names
}

// CatchUpView is how far this node is with fetching what it has missed.
type CatchUpView struct {
	Remaining uint64  `json:"remaining"` // versions that it is known to lack; overwritten ones count, and are not fetched
	Rate      float64 `json:"rate"`      // records a second, over the last seconds
}

// RepairsView counts the read repairs that this node has begun since it started, one for each owner that a read found to lack something. The first four
// succeeded, by cause.
type RepairsView struct {
	Stale    int64 `json:"stale"`    // it had an older state
	Absent   int64 `json:"absent"`   // it had answered that it has nothing
	Siblings int64 `json:"siblings"` // each of two lacked what the other had
	Vector   int64 `json:"vector"`   // it had the versions, and lacked what goes with them
	Minority int64 `json:"minority"` // of all these: fewer than half of the replies held what was sent
	Unneeded int64 `json:"unneeded"` // the owner had got it meanwhile
	Failed   int64 `json:"failed"`
	Dropped  int64 `json:"dropped"` // the queue was full
}

// HedgesView counts the values that this node's reads have asked a second replica for, because the first was late.
type HedgesView struct {
	Sent       int64 `json:"sent"`
	Won        int64 `json:"won"`        // of them, those that came first
	Suppressed int64 `json:"suppressed"` // not sent, because too many had been
}

// MemberView is one row of the member table beside what gossip and the store know of it.
type MemberView struct {
	Name       string       `json:"name"`
	ID         string       `json:"id"`
	Zone       string       `json:"zone"`
	Weight     uint32       `json:"weight"`
	Status     string       `json:"status"`   // joining, member, leaving
	Liveness   string       `json:"liveness"` // alive, suspect, dead
	Gaining    bool         `json:"gaining,omitempty"`
	HTTP       string       `json:"http"`
	RPC        string       `json:"rpc"`
	Gossip     string       `json:"gossip"`
	Partitions int          `json:"partitions"`
	Behind     int          `json:"behind"`                // versions that this node knows the member to lack
	Since      time.Time    `json:"behind_since,omitzero"` // it was first seen to lack some
	Handoffs   HandoffsView `json:"handoffs"`
	LastSeen   time.Time    `json:"last_seen,omitzero"`
}

// HandoffsView is what a member holds for owners that it stood in for: exactly, of the node that answers; of another one what it said last, which
// is at most a few seconds old while it answers, and nothing if it has not said anything since this node started.
type HandoffsView struct {
	Count int64 `json:"count"` // keys
	Bytes int64 `json:"bytes"`
}

// RingView is where one key lives, as GET /cluster/ring shows it.
type RingView struct {
	Partition int      `json:"partition"`
	N         int      `json:"n"`
	Owners    []string `json:"owners"`
	Fallbacks []string `json:"fallbacks"`
}

// ErrLeft is delivered by Failed: this node has left the cluster, and the others have all that it held.
var ErrLeft = errors.New("this node has left the cluster")

// What refuses a change of who belongs to the cluster; each may come wrapped.
var (
	ErrLastMember    = cluster.ErrLastMember
	ErrJoining       = cluster.ErrJoining
	ErrUnknownMember = cluster.ErrUnknownMember
	ErrMemberAlive   = cluster.ErrMemberAlive
)

// ErrBadProperty is wrapped by every refusal of bucket properties; the message names the property.
var ErrBadProperty = errors.New("bad bucket property")
