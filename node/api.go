package node

import (
	"errors"
	"time"

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
	Members    []MemberView `json:"members"`
}

// LayoutView names the layout in force.
type LayoutView struct {
	Version string `json:"version"` // hash over incarnations, 16 hex digits
	Settled bool   `json:"settled"`
	Waiting string `json:"waiting,omitempty"` // whom a change waits for, in words
}

// CatchUpView is how far this node is with fetching what it has missed.
type CatchUpView struct {
	Remaining uint64  `json:"remaining"` // versions that it is known to lack; overwritten ones count, and are not fetched
	Rate      float64 `json:"rate"`      // records a second, over the last seconds
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

// HandoffsView counts what a fallback holds for others.
type HandoffsView struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// RingView is where one key lives, as GET /cluster/ring shows it.
type RingView struct {
	Partition int      `json:"partition"`
	N         int      `json:"n"`
	Owners    []string `json:"owners"`
	Fallbacks []string `json:"fallbacks"`
}

// ErrBadProperty is wrapped by every refusal of bucket properties; the message names the property.
var ErrBadProperty = errors.New("bad bucket property")
