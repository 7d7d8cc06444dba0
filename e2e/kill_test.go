package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// TestKillOne kills each node in turn: two replicas go on answering for w=2 and r=2, everything that needs
// three says so properly, and the node comes back with what it held.
func TestKillOne(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.each(t, func(t *testing.T, victim *node) {
		if testing.Short() && victim != c.nodes[0] {
			t.Skip("not in the short set")
		}
		before, meanwhile := fresh("kill"), fresh("kill")
		c.nodes[0].put(t, before+"?w=3", "before").wants(t, http.StatusNoContent)
		victim.kill(t)
		rest := slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == victim })
		for _, n := range rest {
			n.get(t, before+"?r=2").wantsValue(t, "before").wantsQuorum(t, 3, "r", 2)
			n.put(t, meanwhile+"?w=2", n.name).wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 2)
			n.get(t, meanwhile+"?r=2&repair=false").wantsValue(t, n.name)
			for _, three := range []string{"=3", "=all"} {
				quorumError(t, n.put(t, fresh("kill")+"?w"+three+"&timeout=1s", "v"), 3, true)
				quorumError(t, n.delete(t, fresh("kill")+"?w"+three+"&timeout=1s"), 3, true)
				quorumError(t, n.get(t, before+"?r"+three+"&timeout=1s"), 3, false)
			}
		}
		for _, n := range rest {
			knowsDead(t, n, victim)
		}
		last := rest[1].name
		victim.restart(t)
		victim.get(t, before+"?local=true").wantsValue(t, "before")
		c.waitSettled(t)
		for _, n := range c.nodes {
			eventually(t, healLimit, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
			n.get(t, meanwhile+"?r=3").wantsValue(t, last)
		}
		// The reads above have sent it what it had missed.
		eventually(t, soon, victim.name+" holds what was written meanwhile", func() error {
			if a := victim.get(t, meanwhile+"?local=true"); a.status != http.StatusOK || string(a.body) != last {
				return fmt.Errorf("status %d %.100q", a.status, a.body)
			}
			return nil
		})
	})
}

// knowsDead waits until a node knows that another is down: from then on it answers before it sends anything. It asks for keys that all members own.
func knowsDead(t *testing.T, n, victim *node) {
	t.Helper()
	size := 0
	eventually(t, healLimit, n.name+" knows that "+victim.name+" is dead", func() error {
		v, err := n.view()
		if err != nil {
			return err
		}
		size = len(v.Members)
		if m := v.member(victim.name); m.Liveness != "dead" || m.Status != "member" {
			return fmt.Errorf("it is %q, %q", m.Status, m.Liveness)
		}
		return nil
	})
	everybody := func(level string) string { return fmt.Sprintf("%s?n=%d&%s=%d", fresh("kill"), size, level, size) }
	eventually(t, soon, "503 for what needs everybody", func() error {
		if a := n.put(t, everybody("w")+"&timeout=1s", "v"); a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	p := n.put(t, everybody("w"), "v").wantsWriteProblem(t, http.StatusServiceUnavailable, "quorum-unavailable", "not_written")
	p.wantsReplicas(t, size)
	if p.replica(victim.name) == "ok" || p.replica(victim.name) == "" {
		t.Errorf("%s is down: %+v", victim.name, p)
	}
	n.get(t, everybody("r")).wantsProblem(t, http.StatusServiceUnavailable, "quorum-unavailable").wantsReplicas(t, size)
}

// TestMinorityAlone kills two of three: the last one serves what needs one replica and nothing else.
func TestMinorityAlone(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	path, last := fresh("kill"), c.nodes[1]
	last.put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
	c.nodes[0].kill(t)
	c.nodes[2].kill(t)
	last.get(t, path+"?r=1&timeout=20s").wantsValue(t, "v").wantsQuorum(t, 3, "r", 1)
	last.put(t, fresh("kill")+"?w=1&timeout=20s", "v").wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 1)
	quorumError(t, last.get(t, path+"?r=2&timeout=1s"), 2, false)
	quorumError(t, last.put(t, path+"?w=2&timeout=1s", "x"), 2, true)
	last.get(t, "/readyz").wants(t, http.StatusOK)

	// A node that has data resumes its membership and is ready, cut off or not.
	last.kill(t)
	last.restart(t)
	last.get(t, path+"?r=1").wants(t, http.StatusOK)
	quorumError(t, last.get(t, fresh("kill")+"?r=2&timeout=1s"), 2, false)

	c.nodes[0].restart(t)
	c.nodes[2].restart(t)
	c.waitSettled(t)
	eventually(t, healLimit, "w=3", func() error { return tries(t, last, "w=3") })
}

// TestReadRepairsAbsence takes a replica away during writes: when it is back, a read of all sends it what it
// answered "not found" for, or an older value.
func TestReadRepairsAbsence(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	absent, older, away := fresh("repair"), fresh("repair"), c.nodes[1]
	c.nodes[0].put(t, older+"?w=3", "old").wants(t, http.StatusNoContent)
	away.kill(t)
	c.nodes[0].put(t, absent+"?w=2", "new").wants(t, http.StatusNoContent)
	c.nodes[2].put(t, older+"?w=2", "new").wants(t, http.StatusNoContent)
	away.restart(t)
	c.waitSettled(t)
	for _, path := range []string{absent, older} {
		eventually(t, soon, "the replica is repaired by reads", func() error {
			// What c.nodes[2] last knew of the replica may be older than what it sees in gossip.
			if a := c.nodes[2].get(t, path+"?r=all"); a.status != http.StatusServiceUnavailable {
				a.wantsValue(t, "new")
			}
			if a := away.get(t, path+"?local=true"); string(a.body) != "new" {
				return fmt.Errorf("status %d %.100q", a.status, a.body)
			}
			return nil
		})
	}
}
