package layouts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
)

// cluster is a few nodes, by letter, that tell each other what the test says.
type cluster struct {
	t     *testing.T
	known map[rune]State
	place func(Version) Placement
}

func newCluster(t *testing.T, founders string) *cluster {
	c := &cluster{t: t, known: map[rune]State{}}
	placed := map[Hash]*ring.Layout{}
	c.place = func(v Version) Placement {
		if placed[v.Hash()] == nil {
			placed[v.Hash()] = v.Place()
		}
		return placed[v.Hash()]
	}
	var rows []Row
	for _, n := range founders {
		rows = append(rows, row(n, Owns))
	}
	for _, n := range founders {
		c.known[n] = Found(mustVersion(t, testPartitions, rows...)).Record(id(n))
	}
	return c
}

func id(n rune) ring.ID              { return nodeID(int(n - 'a')) }
func row(n rune, s Standing) Row     { return nodeRow(int(n-'a'), s) }
func (c *cluster) view(n rune) *View { return NewView(c.known[n], c.place) }

func (c *cluster) propose(n rune, rows ...Row) error {
	s, err := c.view(n).Propose(id(n), rows...)
	if err == nil {
		c.known[n] = s.Record(id(n))
	}
	return err
}

// talk lets everybody named tell everybody else, until nobody has news.
func (c *cluster) talk(who string) {
	for range who {
		for _, a := range who {
			for _, b := range who {
				c.known[b] = mustMerge(c.t, c.known[b], c.known[a]).Record(id(b))
			}
		}
	}
}

func (c *cluster) sync(n rune) {
	for p := range ring.Partition(testPartitions) {
		v := c.view(n)
		top, _ := v.Top()
		if v.MaySync(id(n), p, v.Peers(id(n), p)) {
			c.known[n] = v.State().Synced(id(n), top.Hash(), p)
		}
	}
}

func (c *cluster) bury(n rune) {
	for _, h := range c.view(n).MayBury() {
		c.known[n] = c.known[n].Bury(h)
	}
}

// waits are what node n waits for: words, and for whom.
func (c *cluster) waits(n rune) string {
	var parts []string
	for _, w := range c.view(n).Waits() {
		part := w.What + ":"
		for _, id := range w.For {
			part += " " + string(rune('a'+id[0]-1))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func (c *cluster) expect(n rune, want string) {
	c.t.Helper()
	if got := c.waits(n); got != want {
		c.t.Errorf("%c waits for %q, want %q\n%v", n, got, want, c.view(n))
	}
}

// A join from its first word to its last, and what it waits for at each step.
func TestLifeOfAJoin(t *testing.T) {
	c := newCluster(t, "abc")
	if v := c.view('a'); !v.Settled() || len(v.WriteGroups(0, 3)) != 1 || !v.MayChange() {
		t.Fatalf("founded:\n%v", v)
	}
	if err := c.propose('a', row('d', Owns)); err != nil {
		t.Fatal(err)
	}
	c.talk("abd")
	c.expect('d', "members to record the new layout: c; owners to fetch what is theirs: a b c d")
	c.sync('d')
	if done, _ := c.view('d').Progress(); done != 0 {
		t.Errorf("%d reports before the fence", done)
	}
	c.talk("abcd")
	c.expect('d', "owners to fetch what is theirs: a b c d")
	v := c.view('a')
	for p := range ring.Partition(testPartitions) {
		before, _ := v.groupOf(p, true), v.groupOf(p, false)
		if !slices.Equal(before, v.ReadGroups(p, 3)[0].Owners) || len(v.ReadGroups(p, 3)) != 1 {
			t.Errorf("partition %d is read from %v", p, v.ReadGroups(p, 3))
		}
	}
	for _, n := range "abcd" {
		c.sync(n)
	}
	c.talk("abd")
	if done, of := c.view('d').Progress(); done != 6 || of != 8 {
		t.Errorf("progress %d of %d", done, of)
	}
	c.expect('d', "owners to fetch what is theirs: c")
	c.talk("abcd")
	c.bury('a')
	if v := c.view('a'); !v.Settled() || len(v.Waits()) > 0 {
		t.Errorf("not settled:\n%v", v)
	}
}

// groupOf is the owners of a partition for three replicas in the whole layout, or in the top one.
func (v *View) groupOf(p ring.Partition, whole bool) []ring.ID {
	for i, l := range v.live {
		if l.maximal == whole && (whole || i == v.top) {
			return l.place.Owners(p, 3)
		}
	}
	return nil
}

// Whoever has not said that it reads in the new layout only keeps the old one alive, and is named.
func TestThirdTracker(t *testing.T) {
	c := newCluster(t, "abc")
	if err := c.propose('a', row('d', Owns)); err != nil {
		t.Fatal(err)
	}
	c.talk("abcd")
	for _, n := range "abcd" {
		c.sync(n)
	}
	c.talk("abd") // they lack c's reports still
	c.known['a'] = mustMerge(t, c.known['a'], c.known['c']).Record(id('a'))
	c.talk("abd")
	c.expect('a', "members to read in the new layout only: c")
	c.bury('a')
	if v := c.view('a'); v.Settled() || len(v.Live()) != 2 {
		t.Errorf("buried without c's word:\n%v", v)
	}
}

func TestRemovalNeedsAMajority(t *testing.T) {
	c := newCluster(t, "abcd")
	if err := c.propose('a', row('d', Removed)); err != nil {
		t.Fatal(err)
	}
	if c.view('a').Lost(id('d')) {
		t.Error("removed on one node's word")
	}
	c.expect('a', "a majority to record that d is removed: b c; members to record the new layout: b c d; owners to fetch what is theirs: a b c")
	c.talk("ab")
	if c.view('a').Lost(id('d')) {
		t.Error("two of four are no majority")
	}
	c.talk("abc")
	if !c.view('a').Lost(id('d')) || c.view('a').Member(id('d')) {
		t.Error("three of four are a majority")
	}
	forced := newCluster(t, "ab")
	if err := forced.propose('a', row('b', Forced)); err != nil {
		t.Fatal(err)
	}
	if !forced.view('a').Lost(id('b')) {
		t.Error("forced out, and waited for")
	}
	forced.sync('a')
	forced.known['a'] = forced.known['a'].Record(id('a'))
	forced.bury('a')
	if v := forced.view('a'); !v.Settled() {
		t.Errorf("alone, and not settled:\n%v", v)
	}
}

func TestChangesThatMeetBecomeOne(t *testing.T) {
	c := newCluster(t, "abcd")
	for n, r := range map[rune]Row{'a': row('c', Leaves), 'b': row('d', Leaves)} {
		if err := c.propose(n, r); err != nil {
			t.Fatal(err)
		}
	}
	c.talk("ab")
	v := c.view('a')
	if _, ok := v.Top(); ok || v.MayChange() {
		t.Errorf("one of two changes is above the other:\n%v", v)
	}
	c.expect('a', "a member to make one of the changes that met:")
	if err := c.propose('a', row('e', Owns)); !errors.Is(err, ErrDivided) {
		t.Errorf("a change on top of two: %v", err)
	}
	if _, ok, _ := v.Unify(id('e')); ok {
		t.Error("a stranger makes layouts")
	}
	s, ok, err := v.Unify(id('a'))
	if !ok || err != nil {
		t.Fatal(err)
	}
	c.known['a'] = s.Record(id('a'))
	top, ok := c.view('a').Top()
	if !ok || !slices.Equal(top.Owners(), []ring.ID{id('a'), id('b')}) || len(c.view('a').Live()) != 4 {
		t.Errorf("they became\n%v", c.view('a'))
	}
	if c.view('a').MayChange() {
		t.Error("four layouts are live, and a fifth may come")
	}
	if err := c.propose('a', row('e', Owns)); !errors.Is(err, ErrBusy) {
		t.Errorf("a fifth layout: %v", err)
	}
	if err := c.propose('a', row('d', Forced)); err != nil {
		t.Errorf("a loss waits for others: %v", err)
	}
}

func TestProposeRefuses(t *testing.T) {
	c := newCluster(t, "ab")
	if _, err := c.view('a').Propose(id('c'), row('c', Owns)); !errors.Is(err, ErrNotMember) {
		t.Errorf("a stranger changes the layout: %v", err)
	}
	if _, err := c.view('a').Propose(id('a'), Row{}); !errors.Is(err, ring.ErrInvalid) {
		t.Errorf("a row of nobody: %v", err)
	}
	if s, err := c.view('a').Propose(id('a'), row('b', Owns)); err != nil || !s.Equal(c.known['a']) {
		t.Errorf("nothing new made\n%v, %v", s, err)
	}
}

// Whoever left may go once the layouts that it owned under are dead.
func TestLeaving(t *testing.T) {
	c := newCluster(t, "abc")
	if err := c.propose('c', row('c', Leaves)); err != nil {
		t.Fatal(err)
	}
	if v := c.view('c'); v.MayExit(id('c')) || !v.Member(id('c')) || v.MayDrop(id('c'), 0, 3, []ring.ID{id('a'), id('b')}) {
		t.Error("gone before it handed over")
	}
	c.talk("abc")
	c.sync('a')
	c.sync('b')
	c.talk("abc")
	c.bury('a')
	c.talk("abc")
	v := c.view('c')
	if !v.MayExit(id('c')) || v.Member(id('c')) || !v.Settled() {
		t.Errorf("may not go:\n%v", v)
	}
	if v.MayDrop(id('c'), 0, 3, []ring.ID{id('a')}) || !v.MayDrop(id('c'), 0, 3, []ring.ID{id('a'), id('b')}) {
		t.Error("drops what b has not been shown, or not what all have")
	}
	if v := c.view('a'); v.MayExit(id('a')) || v.MayDrop(id('a'), 0, 3, []ring.ID{id('b')}) {
		t.Error("an owner goes")
	}
}

// The groups of a view are what a tally counts in.
func TestGroupsFitATally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := NewView(drawState(t), func(v Version) Placement { return v.Place() })
		n := rapid.IntRange(1, quorum.MaxN).Draw(t, "n")
		writes, reads := v.WriteGroups(0, n), v.ReadGroups(0, n)
		if len(reads) > len(writes) || len(writes) > len(v.Live()) {
			t.Fatalf("%d groups to read, %d to write, of %d layouts", len(reads), len(writes), len(v.Live()))
		}
		for _, g := range reads {
			if !slices.ContainsFunc(writes, func(w Group) bool { return sameMembers(g.Owners, w.Owners) }) {
				t.Fatalf("%v is read and not written: %v", g, writes)
			}
		}
		same := NewView(v.State(), func(v Version) Placement { return v.Place() })
		if same.Digest() != v.Digest() || fmt.Sprint(same) != fmt.Sprint(v) {
			t.Fatal("one state, two views")
		}
	})
}

// Who has lost a part of its disk counts for w and not for r, until it and the others have exchanged.
func TestLoss(t *testing.T) {
	c := newCluster(t, "abc")
	lossy := row('b', Owns)
	lossy.Losses = 1
	if err := c.propose('b', lossy); err != nil {
		t.Fatal(err)
	}
	v := c.view('b')
	reads, writes := v.ReadGroups(0, 3), v.WriteGroups(0, 3)
	if len(reads) != 1 || len(reads[0].Owners) != 3 || len(reads[0].Synced) != 2 || slices.Contains(reads[0].Synced, id('b')) {
		t.Errorf("read from %v", reads)
	}
	if len(writes) != 2 { // with b synced in the new layout, and not in the old one
		t.Errorf("written to %v", writes)
	}
	for _, n := range "abc" {
		if v.Gaining(id(n), 0) == 0 {
			t.Errorf("%c has nothing to fetch", n)
		}
	}
	c.talk("abc")
	for _, n := range "abc" {
		c.sync(n)
	}
	c.talk("abc")
	c.bury('a')
	if v := c.view('a'); !v.Settled() || len(v.ReadGroups(0, 3)[0].Synced) != 3 {
		t.Errorf("not settled:\n%v", v)
	}
}

// Digests tell apart what requests must not be mixed under.
func TestDigest(t *testing.T) {
	c := newCluster(t, "ab")
	founded := c.view('a').Digest()
	if err := c.propose('a', row('b', Leaves)); err != nil {
		t.Fatal(err)
	}
	proposed := c.view('a').Digest()
	c.talk("ab")
	recorded := c.view('a').Digest()
	c.sync('a')
	whole := c.view('a').Digest()
	c.talk("ab")
	c.bury('a')
	buried := c.view('a').Digest()
	if founded == proposed || proposed != recorded || recorded == whole || whole == buried {
		t.Errorf("founded %x, proposed %x, recorded %x, whole %x, buried %x", founded, proposed, recorded, whole, buried)
	}
}

// A removal that no majority can record says that it wants force, and with three members for whom it waits.
func TestRemovalWithoutMajority(t *testing.T) {
	two := newCluster(t, "ab")
	if err := two.propose('a', row('b', Removed)); err != nil {
		t.Fatal(err)
	}
	two.expect('a', "an operator to force the removal of b, as the others are no majority: b; members to record the new layout: b; owners to fetch what is theirs: a")
	if err := two.propose('a', row('b', Forced)); err != nil {
		t.Fatal(err)
	}
	two.sync('a')
	two.talk("a")
	two.bury('a')
	two.expect('a', "")

	three := newCluster(t, "abc")
	if err := three.propose('a', row('c', Removed)); err != nil {
		t.Fatal(err)
	}
	three.expect('a', "a majority to record that c is removed: b; members to record the new layout: b c; owners to fetch what is theirs: a b")
}
