package cluster

import (
	"slices"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// Duty is what a member does about the layouts by itself, and what it remembers of them between its steps. It is not safe for concurrent use.
type Duty struct {
	Timing Timing

	top   layouts.Hash // zero while there is none
	since time.Time    // when that became the top
	due   time.Time    // when something to propose was seen first; zero while there is nothing
}

// stewardView is all that the decision to change the layouts depends on.
type stewardView struct {
	self  ring.ID
	zone  string // as configured
	heavy uint32 // weight, as configured
	table ring.Table
	rings *layouts.View
	live  func(ring.ID) Liveness
	since time.Time // when the present top became the top, or when there was none
	due   time.Time // when something to propose was seen first
	now   time.Time
	Timing
}

// rank is how many live members come before this one. Any member may do what there is to do; the order only keeps them from doing it all at once.
func (v stewardView) rank() int {
	rank := 0
	for _, id := range v.rings.Members() {
		if id.Compare(v.self) < 0 && v.live(id) == Alive {
			rank++
		}
	}
	return rank
}

// unifies reports whether it is this node's turn to make changes that have met one.
func (v stewardView) unifies() bool {
	_, ok := v.rings.Top()
	return !ok && !v.rings.Deserted() && v.rings.Member(v.self) && !v.now.Before(v.since.Add(time.Duration(v.rank())*v.Turn))
}

// newcomers are the rows of those who wait for a place and run, ordered by name. Of two of one name it is the one that the table chooses, and none while somebody owns under it.
func (v stewardView) newcomers() []layouts.Row {
	taken := make(map[string]bool)
	for _, id := range known(v.rings) {
		if row, _ := v.rings.Row(id); row.Standing == layouts.Owns {
			taken[row.Name] = true
		}
	}
	var rows []layouts.Row
	for _, m := range v.table.Present() {
		chosen, _ := v.table.ByName(m.Name)
		_, placed := v.rings.Row(m.ID)
		if !placed && !taken[m.Name] && chosen.ID == m.ID && v.live(m.ID) == Alive {
			rows = append(rows, rowOf(m))
		}
	}
	return rows
}

// leavers are the rows of those who want to leave and run, ordered by name. If nobody else owned then, nor comes now, the last by name stays until somebody does.
func (v stewardView) leavers(newcomers bool) []layouts.Row {
	top, _ := v.rings.Top()
	left := len(top.Owners())
	var rows []layouts.Row
	for _, m := range v.table.Present() {
		row, _ := v.rings.Row(m.ID)
		if m.State != ring.Leaving || row.Standing != layouts.Owns || v.live(m.ID) != Alive || left == 1 && !newcomers {
			continue
		}
		left--
		row.Standing = layouts.Leaves
		rows = append(rows, row)
	}
	return rows
}

// moved is this node's own row with the zone and weight that it is configured with, if it owns with others.
func (v stewardView) moved() []layouts.Row {
	row, ok := v.rings.Row(v.self)
	if !ok || row.Standing != layouts.Owns || row.Zone == v.zone && row.Weight == v.heavy {
		return nil
	}
	row.Zone, row.Weight = v.zone, v.heavy
	row.Placed++
	return []layouts.Row{row}
}

// ownTurns is how many nodes have their turn with what is their own in the time of one of the others' turns: long enough for the news of one's to reach the next.
const ownTurns = 10

// proposes returns what this node should propose now, as one change: everyone who waits. It lets a change under way end first, unless that is stuck. wanted says that there is
// something to propose, now or later, by this node or another.
func (v stewardView) proposes() (rows []layouts.Row, wanted bool) {
	newcomers, own := v.newcomers(), v.moved()
	others := append(newcomers, v.leavers(len(newcomers) > 0)...)
	if len(others)+len(own) == 0 {
		return nil, false
	}
	turn := time.Duration(v.rank()) * v.Turn
	if len(own) > 0 {
		turn /= ownTurns // nobody else can propose what is this node's own; but others may have the like at the same time
	}
	switch {
	case !v.rings.Member(v.self) || !v.rings.MayChange():
		return nil, true
	case v.now.Before(v.due.Add(v.Batch + turn)):
		return nil, true
	case !v.rings.Settled() && v.now.Before(v.since.Add(v.Stuck+turn)):
		return nil, true
	}
	return append(others, own...), true
}

// Task is a change of the layouts that is to be made now.
type Task struct {
	What   string
	With   []string // whom it gives a place, sorted
	Change func(*layouts.View) (layouts.State, error)
}

// Step returns what is to be done now, nil for nothing; there may be more when that is done. self is the row of this node as it is configured.
func (d *Duty) Step(self ring.Member, t ring.Table, v *layouts.View, live func(ring.ID) Liveness, now time.Time) *Task {
	top, _ := v.Top()
	if d.since.IsZero() || d.top != top.Hash() {
		d.top, d.since = top.Hash(), now
	}
	if !v.Member(self.ID) {
		return nil
	}
	if len(v.MayBury()) > 0 {
		return &Task{What: "burying dead layouts", Change: buried}
	}
	at := stewardView{self: self.ID, zone: self.Zone, heavy: self.Weight, table: t, rings: v, live: live, since: d.since, due: d.due, now: now, Timing: d.Timing}
	if at.unifies() {
		return &Task{What: "making changes that met one", Change: func(v *layouts.View) (layouts.State, error) {
			state, _, err := v.Unify(self.ID)
			return state, err
		}}
	}
	rows, wanted := at.proposes()
	switch {
	case !wanted:
		d.due = time.Time{}
	case d.due.IsZero():
		d.due = now
	case len(rows) > 0:
		d.due = time.Time{}
		task := Task{What: "proposing a layout", Change: func(v *layouts.View) (layouts.State, error) { return v.Propose(self.ID, rows...) }}
		for _, r := range rows {
			task.With = append(task.With, r.Name)
		}
		slices.Sort(task.With)
		return &task
	}
	return nil
}

// stepRings does what there is to do about the layouts. What it changes wakes the steward again.
func (c *Cluster) stepRings() {
	task := c.duty.Step(c.cfg.member(), c.Table(), c.held.View(), c.Liveness, time.Now())
	if task == nil {
		return
	}
	if len(task.With) > 0 {
		c.log.Info(task.What, "with", task.With)
	}
	c.sayOrWarn(task.What, task.Change)
}

// buried is the state without what may be buried.
func buried(v *layouts.View) (layouts.State, error) {
	s := v.State()
	for _, h := range v.MayBury() {
		s = s.Bury(h)
	}
	return s, nil
}

// sayOrWarn is say for what is tried again in the next step.
func (c *Cluster) sayOrWarn(what string, fn func(*layouts.View) (layouts.State, error)) {
	if err := c.say(fn); err != nil && c.saveFailed.allow() {
		c.log.Error("the layouts did not change", "doing", what, "err", err)
	}
}
