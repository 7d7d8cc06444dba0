package e2e

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What every change of the ring must leave behind, and how the tests wait for it.

// ringLimit bounds how long a change may take at all.
const ringLimit = 2 * time.Minute

// bulk is how many keys lie there before the ring changes.
func bulk() int {
	if os.Getenv("QUORATE_E2E_FULL") != "" {
		return 50_000
	}
	return 1500
}

// waitRing waits until every running node sees one settled layout of exactly the cluster's nodes, each with its fair share.
func (c *cluster) waitRing(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		if err := poll(ringLimit, func() error { return c.ringSettled(n) }); err != nil {
			t.Fatalf("%s does not see the ring settle: %v\n%s", n.name, err, c.views())
		}
	}
	c.sharesFairly(t)
}

// ringSettled returns what n sees that is not as it will be.
func (c *cluster) ringSettled(n *node) error {
	v, err := n.view()
	if err != nil {
		return err
	}
	if !v.Layout.Settled || v.Layout.Live != 1 || len(v.Members) != len(c.nodes) {
		return fmt.Errorf("%d members, want %d; layout %+v", len(v.Members), len(c.nodes), v.Layout)
	}
	for _, other := range c.nodes {
		if m := v.member(other.name); m.Status != "member" || m.Gaining || m.Partitions == nil || *m.Partitions == 0 {
			return fmt.Errorf("%s: %+v", other.name, m)
		}
	}
	return nil
}

// sharesFairly holds the shares to the bound of the placement: no member has more than its fair share, rounded up, and one.
func (c *cluster) sharesFairly(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		v, err := n.view()
		if err != nil {
			t.Fatal(err)
		}
		members := len(v.Members)
		copies := v.Partitions * min(3, members)
		bound, sum := min(v.Partitions, (copies+members-1)/members+1), 0
		for _, m := range v.Members {
			if m.Partitions == nil || *m.Partitions > bound {
				t.Errorf("%s: %s has more than %d partitions: %+v", n.name, m.Name, bound, m)
				continue
			}
			sum += *m.Partitions
		}
		if sum != copies {
			t.Errorf("%s: the members have %d copies of partitions, want %d", n.name, sum, copies)
		}
	}
}

// views is what every node says of the cluster.
func (c *cluster) views() string {
	var text strings.Builder
	for _, n := range slices.Concat(c.nodes, c.gone) {
		if !n.running() {
			fmt.Fprintf(&text, "%s: does not run\n", n.name)
			continue
		}
		v, err := n.view()
		fmt.Fprintf(&text, "%s: %v layout %+v\n", n.name, err, v.Layout)
		for _, m := range v.Members {
			fmt.Fprintf(&text, "    %s %s %s %s gaining=%v behind=%d\n", m.Name, m.ID, m.Status, m.Liveness, m.Gaining, m.Behind)
		}
	}
	return text.String()
}

// holders are the nodes that own a path now.
func (c *cluster) holders(t testing.TB, path string) []string {
	return c.nodes[0].ring(t, path, "&n=3").Owners
}

// heldByOwnersAlone waits until every owner of some keys holds it, and nobody else holds anything of it, as each says of its own store.
func (c *cluster) heldByOwnersAlone(t testing.TB, paths []string) {
	t.Helper()
	for _, path := range paths {
		owners := c.holders(t, path)
		for _, n := range c.nodes {
			owns := slices.Contains(owners, n.name)
			err := poll(healLimit, func() error {
				a := n.get(t, path+"?local=true")
				if owns && a.status == http.StatusOK || !owns && a.absent() && a.header.Get("Quorate-Deleted") == "" {
					return nil
				}
				return fmt.Errorf("status %d %.60q", a.status, a.body)
			})
			if err != nil {
				t.Fatalf("%s, which is owned by %v, on %s: %v\n%s", path, owners, n.name, err, c.views())
			}
		}
	}
}

// counters are the values of a metric, by node.
func (c *cluster) counters(t testing.TB, series string) map[*node]float64 {
	t.Helper()
	values := map[*node]float64{}
	for _, n := range c.nodes {
		for line := range strings.Lines(string(n.get(t, "/metrics").wants(t, http.StatusOK).body)) {
			if text, ours := strings.CutPrefix(strings.TrimSpace(line), series+" "); ours {
				value, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatalf("%s: %q: %v", n.name, line, err)
				}
				values[n] = value
			}
		}
		if _, found := values[n]; !found {
			t.Fatalf("%s has no metric %s", n.name, series)
		}
	}
	return values
}

// grown is by how much those who are still there have counted on.
func grown(before, after map[*node]float64) (sum float64) {
	for n, value := range after {
		sum += value - before[n]
	}
	return sum
}

// leave asks a node to leave.
func (n *node) leave(t testing.TB) {
	t.Helper()
	n.do(t, http.MethodPost, "/cluster/leave", nil).wants(t, http.StatusAccepted)
	n.proc.wanted = true
}

// leaves waits until a node that was asked to leave has ended, properly.
func (c *cluster) leaves(t testing.TB, n *node) {
	t.Helper()
	if err := poll(ringLimit, func() error {
		if n.running() {
			return errNotYet
		}
		return nil
	}); err != nil {
		t.Fatalf("%s does not go\n%s", n.name, c.views())
	}
	n.client.forget()
	line, said := n.proc.lines.find("left ")
	if code := n.proc.exit(t); code != 0 || !said || !strings.Contains(line, "name="+n.name) {
		t.Fatalf("%s left with exit status %d, and said %q", n.name, code, n.proc.lines.all())
	}
	c.without(n)
}

// remove asks a node to take another out of the ring.
func (n *node) remove(t testing.TB, name, query string) answer {
	t.Helper()
	return n.do(t, http.MethodPost, "/cluster/remove/"+name+query, nil)
}

// endsRemoved waits until a node that runs finds itself removed, and ends.
func (c *cluster) endsRemoved(t testing.TB, n *node) {
	t.Helper()
	if err := poll(healLimit, func() error {
		if n.running() {
			return errNotYet
		}
		return nil
	}); err != nil {
		t.Fatalf("%s does not find itself removed\n%s", n.name, c.views())
	}
	n.client.forget()
	if code := n.proc.exit(t); code != 1 || !strings.Contains(tail(n.log, 10), "removed") {
		t.Errorf("%s: exit status %d, want 1, and a log that says why:\n%s", n.name, code, tail(n.log, 10))
	}
}

// refusesToServe starts a node whose data directory is of no use any more: it ends by itself, with status 1 and a word in its log, and is never ready.
func (n *node) refusesToServe(t testing.TB, word string) {
	t.Helper()
	n.start(t)
	n.proc.wanted = true
	if code := n.proc.exit(t); code != 1 || n.ready() || !strings.Contains(tail(n.log, 3), word) {
		t.Errorf("%s: exit status %d, want 1; ready: %v; its log wants %q:\n%s", n.name, code, n.ready(), word, tail(n.log, 5))
	}
}

// TestRingChanges keeps up strict traffic while the ring goes through every change that there is: two join, one leaves, one is killed and removed, one
// loses its disk, and last one leaves while another joins.
func TestRingChanges(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	held, _ := write(t, bulk(), "3", c.nodes...)
	f := newTraffic(t, 2, 2, c.nodes...)

	f.calmPhase("two join")
	c.join(t, f, 2)
	c.heldByOwnersAlone(t, held[:200])

	f.calmPhase("one leaves")
	leaver := c.nodes[1]
	f.expectEnd(leaver)
	leaver.leave(t)
	c.leaves(t, leaver)
	f.through(c.nodes...)
	c.waitRing(t)
	c.heldByOwnersAlone(t, held[:200])

	f.phase("one is killed and removed")
	dead := c.nodes[2]
	f.expectEnd(dead)
	dead.kill(t)
	f.through(slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == dead })...)
	c.removes(t, c.nodes[0], dead)
	c.waitRing(t)

	f.phase("one loses its disk")
	wiped := c.nodes[1]
	f.expectEnd(wiped)
	wiped.kill(t)
	wiped.wipe(t)
	wiped.restart(t)
	f.through(c.nodes...)
	c.waitRing(t)

	f.calmPhase("one joins, one leaves")
	leaver = c.nodes[0]
	newcomer := c.add(t)
	newcomer.restart(t)
	f.expectEnd(leaver)
	leaver.leave(t)
	f.through(slices.Clone(c.nodes)...)
	f.expectEnd(leaver)
	c.leaves(t, leaver)
	f.through(c.nodes...)
	c.waitRing(t)

	f.audit(t, c.nodes...)
	f.account(t)
	c.heldByOwnersAlone(t, held[:200])
	c.holdsAll(t, held)
}

// join starts nodes at once, sends them the traffic, if there is any, and waits until they own their share.
func (c *cluster) join(t testing.TB, f *traffic, count int) (newcomers []*node) {
	t.Helper()
	for range count {
		n := c.add(t)
		n.start(t)
		newcomers = append(newcomers, n)
	}
	for _, n := range newcomers {
		n.waitReady(t)
	}
	if f != nil {
		f.through(c.nodes...)
	}
	c.waitRing(t)
	return newcomers
}

// removes takes a dead node out of the ring as soon as it is known to be dead, asking another.
func (c *cluster) removes(t testing.TB, n, dead *node) {
	t.Helper()
	eventually(t, healLimit, dead.name+" is removed", func() error {
		if a := n.remove(t, dead.name, ""); a.status != http.StatusAccepted {
			a.wantsProblem(t, http.StatusConflict, "member-alive")
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	c.without(dead)
}

// holdsAll reads everything that was written before, through every node.
func (c *cluster) holdsAll(t *testing.T, held batch) {
	t.Helper()
	for _, n := range c.nodes {
		if wrong := held.missing(t, n, "?r=2"); wrong > 0 {
			t.Errorf("%d of %d keys are not read through %s", wrong, len(held), n.name)
		}
	}
}

// TestBytesMoved changes the ring of a quiet cluster: what the nodes fetch is at most a tenth more than what the two layouts differ by.
func TestBytesMoved(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	const size = 4096
	paths := make([]string, bulk())
	for i := range paths {
		paths[i] = fresh("moved")
		a, err := c.nodes[i%3].insists(t.Context(), http.MethodPut, paths[i]+"?w=3", []byte(strings.Repeat(strconv.Itoa(i%10), size)))
		if err != nil {
			t.Fatal(err)
		}
		a.wants(t, http.StatusNoContent)
	}
	owners := func() map[string][]string {
		all := map[string][]string{}
		for _, path := range paths {
			all[path] = c.holders(t, path)
		}
		return all
	}
	const records, bytes = `quorate_exchange_records_total{direction="in"}`, "quorate_exchange_fetched_bytes_total"
	change := func(what string, do func()) {
		t.Helper()
		before, hadRecords, hadBytes := owners(), c.counters(t, records), c.counters(t, bytes)
		do()
		gained := 0
		for path, after := range owners() {
			for _, name := range after {
				if !slices.Contains(before[path], name) {
					gained++
				}
			}
		}
		moved, fetched := grown(hadRecords, c.counters(t, records)), grown(hadBytes, c.counters(t, bytes))
		perRecord := float64(size + len(paths[0]))
		t.Logf("%s: %d copies change hands; %.0f records fetched (%.3f of that), %.0f bytes (%.3f of their values and keys)", what, gained,
			moved, moved/float64(gained), fetched, fetched/(float64(gained)*perRecord))
		if gained == 0 || moved < float64(gained) || moved > 1.1*float64(gained) || fetched > 1.1*float64(gained)*perRecord {
			t.Errorf("%s: the nodes fetched too much, or too little", what)
		}
		c.heldByOwnersAlone(t, paths[:200])
	}
	change("two join", func() { c.join(t, nil, 2) })
	change("one leaves", func() {
		leaver := c.nodes[1]
		leaver.leave(t)
		c.leaves(t, leaver)
		c.waitRing(t)
	})
}
