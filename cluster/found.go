package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/ring"
)

// sighting is what a node told of itself in answer to a probe.
type sighting struct {
	ID    ring.ID
	Name  string
	Empty bool // it holds no member table
}

// foundView is all that the decision to propose a founding depends on.
type foundView struct {
	self     sighting
	size     int        // distinct members that --join names, this one included
	answered []sighting // those of them that answered lately, this one included
	since    time.Time  // when so many of so many as now had answered first
	retry    time.Time  // no proposal before this: the last one failed
	now      time.Time
	timing   Timing
}

// alone reports whether --join names nobody but this node.
func (v foundView) alone() bool { return v.size == 1 }

// recalls reports whether this node still waits for members that know it: until it has, it takes no part in a founding, neither its own nor another's.
func (v foundView) recalls() bool {
	return v.alone() && v.now.Before(v.since.Add(v.timing.Recall))
}

// mayPropose decides whether this node proposes a founding now; if not, why, for people. But for recalls, which
// voters heed too, it is about politeness only: what keeps two foundings apart is the vote.
func mayPropose(v foundView) (bool, string) {
	answered := slices.Clone(v.answered)
	slices.SortFunc(answered, func(a, b sighting) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.ID.Compare(b.ID))
	})
	rank := 0
	for i, s := range answered {
		switch {
		case !s.Empty:
			return false, fmt.Sprintf("waiting for the member table of %s", s.Name)
		case s.ID == v.self.ID:
			rank = i
		case s.Name == v.self.Name && s.ID.Compare(v.self.ID) < 0:
			return false, fmt.Sprintf("another node named %s, %s, is waiting for the same cluster", s.Name, s.ID.Short())
		}
	}
	if 2*len(answered) <= v.size {
		return false, fmt.Sprintf("%d of the %d members that --join names have answered, more than half are needed", len(answered), v.size)
	}
	if v.recalls() {
		return false, "waiting for members that know this node, before founding a cluster"
	}
	due := v.since.Add(time.Duration(rank) * v.timing.Turn)
	if len(answered) < v.size {
		due = due.Add(v.timing.Grace)
	}
	if v.now.Before(due) || v.now.Before(v.retry) {
		return false, fmt.Sprintf("founding the cluster with %d of %d members", len(answered), v.size)
	}
	return true, fmt.Sprintf("proposing a cluster of %d of %d members", len(answered), v.size)
}

// foundingTable is what a proposer proposes when its quorum has accepted nothing yet: all who promised become members at once,
// so no layout with fewer owners ever exists. Of two nodes of one name only the lower ID takes part.
func foundingTable(cluster string, partitions int, rows []ring.Member) (ring.Table, error) {
	t, err := ring.NewTable(cluster, partitions)
	if err != nil {
		return ring.Table{}, err
	}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b ring.Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.ID.Compare(b.ID))
	})
	rows = slices.CompactFunc(rows, func(a, b ring.Member) bool { return a.Name == b.Name })
	for _, m := range rows {
		m.State = ring.Active
		if t, err = t.With(m); err != nil {
			return ring.Table{}, err
		}
	}
	return t.WithFounder(rows[0].ID), nil
}
