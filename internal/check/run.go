package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Partition is ring's.
type Partition = ring.Partition

// Kind is what an operation asked for.
type Kind string

// The kinds. Local reads one replica and nothing else.
const (
	Put    Kind = "put"
	Delete Kind = "delete"
	Get    Kind = "get"
	Local  Kind = "local"
)

// Outcome is what its client may conclude.
type Outcome string

// The outcomes: three of a write, two of a read.
const (
	Acked         Outcome = "acked"
	Indeterminate Outcome = "indeterminate"
	NotWritten    Outcome = "not_written"
	OK            Outcome = "ok"
	Unavailable   Outcome = "unavailable"
)

// Shown is one version in an answer.
type Shown struct {
	Dot     version.Dot   `json:"dot"` // zero: not known
	Value   string        `json:"value,omitempty"`
	Deleted bool          `json:"deleted,omitempty"`
	Stamp   version.Stamp `json:"stamp"` // zero: not known
}

// Op is one operation of one client. Times are of one clock that only grows. Values are unique in a history.
type Op struct {
	ID          int           `json:"id"` // its index in the history
	Client      int           `json:"client"`
	Kind        Kind          `json:"kind"`
	Bucket      string        `json:"bucket"`
	Key         string        `json:"key"`
	Value       string        `json:"value,omitempty"`
	Node        string        `json:"node"`
	Basis       int           `json:"basis"` // the operation whose answer's context was sent; -1: none
	Invoked     time.Duration `json:"invoked"`
	Returned    time.Duration `json:"returned"`
	Outcome     Outcome       `json:"outcome"`
	Problem     string        `json:"problem,omitempty"` // why it did not succeed
	N           int           `json:"n,omitempty"`       // as counted in the answer
	W           int           `json:"w,omitempty"`
	R           int           `json:"r,omitempty"`
	Coordinator string        `json:"coordinator,omitempty"`
	Acks        []string      `json:"acks,omitempty"`      // owners that said the write is on their disk
	StandIns    []StandIn     `json:"stand_ins,omitempty"` // fallbacks that said so, in the place of owners
	Sloppy      bool          `json:"sloppy,omitempty"`    // fallbacks may stand in
	Fallbacks   int           `json:"fallbacks,omitempty"` // of what was counted, how many stood in
	Context     string        `json:"context,omitempty"`   // of the answer
	// Foundings are those that the node which was asked knew of when it was, a bit each: two clusters may be founded, and become one. 0: there is one.
	Foundings uint64  `json:"foundings,omitempty"`
	Shown     []Shown `json:"shown,omitempty"`

	Token version.Token `json:"-"` // Context, decoded
}

// StandIn is a fallback that took a write on for an owner.
type StandIn struct {
	Node string `json:"node"`
	For  string `json:"for"`
}

// IsWrite reports whether the operation changes the key.
func (o *Op) IsWrite() bool { return o.Kind == Put || o.Kind == Delete }

// String describes the operation on one line.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d client %d %s %s/%s", o.ID, o.Client, o.Kind, o.Bucket, o.Key)
	if o.Value != "" {
		fmt.Fprintf(&b, " %q", o.Value)
	}
	if o.Basis >= 0 {
		fmt.Fprintf(&b, " having seen #%d", o.Basis)
	}
	fmt.Fprintf(&b, " at %s, %v to %v: %s", o.Node, o.Invoked, o.Returned, o.Outcome)
	if o.Problem != "" {
		fmt.Fprintf(&b, " (%s)", o.Problem)
	}
	if o.N > 0 {
		fmt.Fprintf(&b, " n=%d w=%d r=%d", o.N, o.W, o.R)
	}
	if len(o.Acks) > 0 {
		fmt.Fprintf(&b, " on %s", strings.Join(o.Acks, " "))
	}
	for _, s := range o.StandIns {
		fmt.Fprintf(&b, ", on %s for %s", s.Node, s.For)
	}
	if o.Fallbacks > 0 {
		fmt.Fprintf(&b, ", fallbacks=%d", o.Fallbacks)
	}
	for _, s := range o.Shown {
		if s.Deleted {
			fmt.Fprintf(&b, " [%v deleted %v]", s.Dot, s.Stamp)
		} else {
			fmt.Fprintf(&b, " [%v %q %v]", s.Dot, s.Value, s.Stamp)
		}
	}
	if o.IsWrite() && len(o.Token.Seen) == 1 {
		fmt.Fprintf(&b, " made %v %v", o.Token.Seen[0], o.Token.Stamp)
	}
	return b.String()
}

// Decode reads the answer's context into Token.
func (o *Op) Decode() error {
	if o.Context == "" {
		return nil
	}
	t, err := version.DecodeToken(o.Context, o.Bucket, o.Key)
	if err != nil {
		return fmt.Errorf("check: the context of %v: %w", o, err)
	}
	o.Token = t
	return nil
}

// KeyName names a key.
type KeyName struct{ Bucket, Key string }

// String writes bucket and key as in a path.
func (k KeyName) String() string { return k.Bucket + "/" + k.Key }

// Copy is what one replica holds of one key at the end.
type Copy struct {
	Shown  []Shown
	Vector version.Vector // full: with the clock's bases
	N      uint8
	MaxLWW version.Stamp
	Hidden []version.Dot // held too, and not told which of the values or whether a tombstone
}

// Replica is the final state of one node.
type Replica struct {
	Node   string
	Clocks map[ring.Partition]version.Vector // nil: not known
	Copies map[KeyName]Copy
	// Damaged are the keys that it cannot read, and says so.
	Damaged map[KeyName]bool
	// Held is what it still keeps for owners, each by its name, and what of the key that knows of.
	Held map[KeyName]map[string]version.Vector
}

// Start is what a node found on its disk when it started.
type Start struct {
	Node   string
	At     time.Duration
	Clocks map[ring.Partition]version.Vector
	// Former are the actors of its earlier starts.
	Former []version.ActorID
}

// Loss is a disk that no longer holds all that it once confirmed.
type Loss struct {
	Node string
	At   time.Duration
	// Silent: the node does not know of it, and answers from what is left.
	Silent bool
}

// Gauge is the size of something bounded, as a node reported it.
type Gauge struct {
	Node, Name string
	At         time.Duration
	Value      float64
	Bound      float64
}

// Run is all that was recorded of one run.
type Run struct {
	Ops        []*Op
	Replicas   []Replica
	Starts     []Start
	Losses     []Loss
	Gauges     []Gauge
	Adoptions  []Adoption
	Siblings   map[string]bool      // buckets that keep siblings; the others are lww
	Owners     map[KeyName][]string // at the end
	Partitions map[KeyName]ring.Partition
	// Tenures say for every node that ever owned a key when it kept its replica. Nil: owners were the same all the time.
	Tenures map[KeyName]map[string][]Tenure
	// Rings, Reports and Exits are what nodes said of the layouts.
	Rings   []Ring
	Reports []Report
	Exits   []Exit
	Early   []Early
	Loose   []Loose
	Refused []string // what operators wanted and never got
	// Unsettled are the keys that could not be read from all owners at the end.
	Unsettled map[KeyName]bool
}

// lost counts the owners of a key, former ones too, that lost their disks at or after since; silently, if that matters.
func (r *Run) lost(key KeyName, since time.Duration, silent bool) int {
	var nodes []string
	for _, l := range r.Losses {
		if l.At >= since && (l.Silent || !silent) && r.owned(key, l.Node, since) && !slices.Contains(nodes, l.Node) {
			nodes = append(nodes, l.Node)
		}
	}
	return len(nodes)
}

// gone reports whether a write may be lost because the disks with it are: of a strict one w owners, whoever they are; of one that counted
// fallbacks w of those that said that they have it.
func (r *Run) gone(w *write, key KeyName) bool {
	if w.Fallbacks == 0 {
		return r.lost(key, w.Invoked, false) >= w.W
	}
	count := 0
	for _, node := range w.vouchers() {
		if r.lostAt(node, w.Invoked, 1<<62) {
			count++
		}
	}
	return count >= w.W
}

// vouchers are all who said that a write is on their disk.
func (o *Op) vouchers() []string {
	all := slices.Clone(o.Acks)
	for _, s := range o.StandIns {
		all = append(all, s.Node)
	}
	return all
}

// lostAt reports whether a node lost its disk between two times.
func (r *Run) lostAt(node string, from, to time.Duration) bool {
	return slices.ContainsFunc(r.Losses, func(l Loss) bool { return l.Node == node && l.At >= from && l.At <= to })
}

// Violation is one contradiction.
type Violation struct {
	Checker string
	Text    string
}

// String is the checker and what it found.
func (v Violation) String() string { return v.Checker + ": " + v.Text }

// Checker is one kind of contradiction that it looks for.
type Checker struct {
	Name string
	Find func(m *Model, report func(format string, args ...any))
}

// Checkers are all of them.
var Checkers = []Checker{
	{"accounts", accounts},
	{"lost", lost},
	{"regular", regular},
	{"sessions", sessions},
	{"taken-back", takenBack},
	{"siblings", siblings},
	{"resurrection", resurrection},
	{"dots", dots},
	{"output", output},
	{"clocks", clocks},
	{"equal", equal},
	{"adopted", adopted},
	{"handoffs", handoffs},
	{"settled", settled},
	{"fence", fence},
	{"dropped", dropped},
	{"bounds", bounds},
}

// maxReported bounds what one checker says of one run: a product that is broken is broken a thousand times.
const maxReported = 5

// All runs every checker.
func All(r *Run) []Violation {
	m := NewModel(r)
	var found []Violation
	for _, c := range Checkers {
		count := 0
		c.Find(m, func(format string, args ...any) {
			if count++; count <= maxReported {
				found = append(found, Violation{Checker: c.Name, Text: fmt.Sprintf(format, args...)})
			}
		})
	}
	return found
}
