package ring

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid marks a member, a name or a number that no table can hold.
var ErrInvalid = errors.New("not valid")

// Bounds of a row. They keep a table of MaxMembers rows below 6 MiB on the wire.
const (
	MaxName   = 128  // bytes of a member's, zone's or cluster's name; a host name on Linux has at most 64
	MaxAddr   = 280  // bytes of an address: a DNS name of 253 and a port
	MaxWeight = 1000 // beyond this ratio the smallest member would hold nothing even at 4,096 partitions
)

// State is how far a member has come. It only grows, so every order of hearing about changes ends in the same state. Who owns data the layouts say (package
// layouts); of incarnations that they know, a table's states only repeat it.
type State uint8

// The states, in their order.
const (
	Joining  State = iota + 1 // known, coordinates, owns nothing
	Active                    // owns its share ("member" in the status)
	Leaving                   // still owns, and is handing over
	Left                      // handed everything over and went
	Removed                   // declared lost by an operator, and that counts
	Replaced                  // its disk was lost: a namesake with another incarnation took its place
)

var stateNames = [...]string{Joining: "joining", Active: "member", Leaving: "leaving", Left: "left", Removed: "removed", Replaced: "replaced"}

// String is the word of the status for s.
func (s State) String() string {
	if s < Joining || s > Replaced {
		return fmt.Sprintf("state(%d)", uint8(s))
	}
	return stateNames[s]
}

// Owns reports whether a member in this state is part of the layout.
func (s State) Owns() bool { return s == Active || s == Leaving }

// Gone reports whether a member in this state takes no further part in the cluster.
func (s State) Gone() bool { return s >= Left }

// Addrs says where a member is reached. Epoch counts the starts of its data directory: among two sets of addresses the later start's are right.
type Addrs struct {
	Gossip, RPC, HTTP string
	Epoch             uint64
}

// Member is one row of the table, and comparable with ==.
type Member struct {
	ID         ID
	Name, Zone string
	Weight     uint32 // share of the data relative to the others', 1 to MaxWeight
	State      State
	Addrs      Addrs

	// ReplacedBy is the incarnation that took this one's place, for a member that is Replaced.
	ReplacedBy ID
}

// Validate reports, wrapping ErrInvalid, why m cannot be a row of a table.
func (m Member) Validate() error {
	if m.ID.IsZero() {
		return fmt.Errorf("ring: member %.40q without an incarnation: %w", m.Name, ErrInvalid)
	}
	if err := checkName("name", m.Name); err != nil {
		return err
	}
	if m.Zone != "" {
		if err := checkName("zone", m.Zone); err != nil {
			return err
		}
	}
	if m.Weight < 1 || m.Weight > MaxWeight {
		return fmt.Errorf("ring: member %s: weight %d: %w: want 1 to %d", m.Name, m.Weight, ErrInvalid, MaxWeight)
	}
	if m.State < Joining || m.State > Replaced {
		return fmt.Errorf("ring: member %s: %v: %w", m.Name, m.State, ErrInvalid)
	}
	for _, addr := range [...]string{m.Addrs.Gossip, m.Addrs.RPC, m.Addrs.HTTP} {
		if err := checkAddr(addr); err != nil {
			return fmt.Errorf("ring: member %s: %w", m.Name, err)
		}
	}
	return nil
}

// CheckName reports, wrapping ErrInvalid, why name cannot name a member or a cluster: 1 to MaxName of A-Z a-z 0-9 . _ : -
// The alphabet is what fits unescaped in a header, a URL and a log line; it has no "*", which stands for every peer in fault rules.
func CheckName(name string) error { return checkName("name", name) }

func checkName(what, name string) error {
	if len(name) < 1 || len(name) > MaxName {
		return fmt.Errorf("ring: %s of %d bytes: %w: want 1 to %d", what, len(name), ErrInvalid, MaxName)
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:-", c) >= 0 {
			continue
		}
		return fmt.Errorf("ring: %s %q: %w: want A-Z a-z 0-9 . _ : -", what, name, ErrInvalid)
	}
	return nil
}

func checkAddr(addr string) error {
	if len(addr) > MaxAddr {
		return fmt.Errorf("address of %d bytes: %w: at most %d", len(addr), ErrInvalid, MaxAddr)
	}
	for i := range len(addr) {
		if addr[i] <= ' ' || addr[i] > '~' {
			return fmt.Errorf("address %q: %w: want printable ASCII", addr, ErrInvalid)
		}
	}
	return nil
}

// join is the least row that knows all that a and b know; both are of one incarnation.
// What the member says of itself is one unit, decided by its latest start; what others say of it only grows.
func (m Member) join(other Member) Member {
	out := m
	if m.compareSelf(other) < 0 {
		out = other
	}
	out.State = max(m.State, other.State)
	if out.ReplacedBy = m.ReplacedBy; m.ReplacedBy.Compare(other.ReplacedBy) < 0 {
		out.ReplacedBy = other.ReplacedBy
	}
	return out
}

// compareSelf orders what two rows say in the member's own words. The epoch decides; the rest only breaks ties that an honest member never makes,
// so that even then every node ends with the same row.
func (m Member) compareSelf(other Member) int {
	return cmp.Or(
		cmp.Compare(m.Addrs.Epoch, other.Addrs.Epoch),
		cmp.Compare(m.Name, other.Name),
		cmp.Compare(m.Zone, other.Zone),
		cmp.Compare(m.Weight, other.Weight),
		cmp.Compare(m.Addrs.Gossip, other.Addrs.Gossip),
		cmp.Compare(m.Addrs.RPC, other.Addrs.RPC),
		cmp.Compare(m.Addrs.HTTP, other.Addrs.HTTP),
	)
}

// String is one line: name, incarnation, state, and what is unusual about it.
func (m Member) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s %v", m.Name, m.ID.Short(), m.State)
	if m.Zone != "" {
		fmt.Fprintf(&b, " zone=%s", m.Zone)
	}
	if m.Weight != 1 {
		fmt.Fprintf(&b, " weight=%d", m.Weight)
	}
	if !m.ReplacedBy.IsZero() {
		fmt.Fprintf(&b, " replaced-by=%s", m.ReplacedBy.Short())
	}
	return b.String()
}
