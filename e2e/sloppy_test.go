package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Writes and reads that go on while owners are away, and what becomes of the writes when they are back.

// place is a key by those who own it and those who may stand in.
type place struct {
	path              string
	owners, fallbacks []*node
}

// somewhere picks a new key, of a bucket.
func (c *cluster) somewhere(t testing.TB, bucket string) place {
	t.Helper()
	p := place{path: fresh(bucket)}
	ring := c.nodes[0].ring(t, p.path, "&n=3")
	for _, n := range c.nodes {
		if slices.Contains(ring.Owners, n.name) {
			p.owners = append(p.owners, n)
		} else {
			p.fallbacks = append(p.fallbacks, n)
		}
	}
	return p
}

// besides picks another key of the same owners.
func (c *cluster) besides(t testing.TB, p place, bucket string) place {
	t.Helper()
	for range 10_000 {
		if q := c.somewhere(t, bucket); slices.Equal(q.owners, p.owners) {
			return q
		}
	}
	t.Fatalf("no other key has the owners of %s", p.path)
	return place{}
}

// wantsFallbacks fails unless Quorate-Quorum counts fallbacks as wanted among what answered.
func (a answer) wantsFallbacks(t testing.TB, kind string, needed, fallbacks int) answer {
	t.Helper()
	numbers := map[string]int{}
	for member := range strings.SplitSeq(a.must(t, "Quorate-Quorum"), ", ") {
		name, text, _ := strings.Cut(member, "=")
		numbers[name], _ = strconv.Atoi(text)
	}
	counted := map[string]string{"w": "acks", "r": "replies"}[kind]
	if numbers["n"] != 3 || numbers[kind] != needed || numbers[counted] < needed || numbers[counted] > 3 || numbers["fallbacks"] != fallbacks {
		t.Fatalf("%s: Quorate-Quorum %q, want n=3, %s=%d, fallbacks=%d", a.request, a.header.Get("Quorate-Quorum"), kind, needed, fallbacks)
	}
	return a
}

// arrives waits until every owner holds a value, and nobody reads it but each of them its own store.
func (p place) arrives(t *testing.T, value string) {
	t.Helper()
	for _, n := range p.owners {
		eventually(t, healLimit, n.name+" holds what was written while it was away", func() error {
			if a := n.get(t, p.path+"?local=true"); a.status != http.StatusOK || string(a.body) != value {
				return fmt.Errorf("status %d %.100q", a.status, a.body)
			}
			return nil
		})
	}
}

// handsOff waits until a node keeps nothing for others any more, by what it says of itself.
func (n *node) handsOff(t *testing.T) {
	t.Helper()
	eventually(t, healLimit, n.name+" has delivered everything", func() error {
		if count, bytes := n.keeps(t); count > 0 || bytes > 0 {
			return fmt.Errorf("it keeps %d keys of %d bytes", count, bytes)
		}
		return nil
	})
}

// keeps is how much a node keeps for others.
func (n *node) keeps(t testing.TB) (count, bytes int) {
	t.Helper()
	var v struct {
		Members []struct {
			Name     string `json:"name"`
			Handoffs struct {
				Count int `json:"count"`
				Bytes int `json:"bytes"`
			} `json:"handoffs"`
		} `json:"members"`
	}
	n.get(t, "/cluster").wants(t, http.StatusOK).decode(t, &v)
	for _, m := range v.Members {
		if m.Name == n.name {
			return m.Handoffs.Count, m.Handoffs.Bytes
		}
	}
	t.Fatalf("%s is not among its own members", n.name)
	return 0, 0
}

// knows waits until a node answers a read of owners that have come back: it may have delivered what it kept for one of them, and not have heard yet of another.
func (n *node) knows(t *testing.T, path string, status int) {
	t.Helper()
	eventually(t, healLimit, n.name+" knows that the owners are back", func() error {
		return answers(t.Context(), n, http.MethodGet, path, "", status)
	})
}

// TestSloppyStandsIn kills two owners of a key. What strict quorums refuse, sloppy ones do, and say how; the owners come back, and have it without
// anybody reading.
func TestSloppyStandsIn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5)
	p := c.somewhere(t, "sloppy")
	first, second := p.fallbacks[0], p.fallbacks[1]
	p.owners[0].kill(t)
	p.owners[1].kill(t)

	quorumError(t, first.put(t, p.path+"?w=2&timeout=1s", "strict"), 2, true)
	a := first.put(t, p.path+"?w=3&sloppy=true&detail=true", "stood in for").wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 3, 2)
	replicas := a.must(t, "Quorate-Replicas")
	for _, f := range p.fallbacks {
		if !strings.Contains(replicas, f.name+";outcome=ok") {
			t.Errorf("%s stood in and is not in %s", f.name, replicas)
		}
	}
	for _, o := range p.owners[:2] {
		if !strings.Contains(replicas, ";for="+o.name) {
			t.Errorf("somebody stood in for %s: %s", o.name, replicas)
		}
	}
	// A strict read of two meets one owner; that one has it. Sloppy, the others' places count too.
	quorumError(t, second.get(t, p.path+"?r=2&timeout=1s"), 2, false)
	second.get(t, p.path+"?r=3&sloppy=true").wantsValue(t, "stood in for").wantsFallbacks(t, "r", 3, 2)
	second.get(t, p.path+"?r=1").wantsValue(t, "stood in for").wantsQuorum(t, 3, "r", 1)
	for _, f := range p.fallbacks {
		if count, bytes := f.keeps(t); count != 1 || bytes == 0 {
			t.Errorf("%s keeps %d keys, %d bytes", f.name, count, bytes)
		}
		f.get(t, p.path+"?local=true").wants(t, http.StatusNotFound)
	}

	p.owners[0].restart(t)
	p.owners[1].restart(t)
	p.arrives(t, "stood in for")
	first.handsOff(t)
	second.handsOff(t)
	first.knows(t, p.path+"?r=3", http.StatusOK)
	first.get(t, p.path+"?r=3").wantsValue(t, "stood in for").wantsQuorum(t, 3, "r", 3)
}

// TestSloppyWithoutOwners kills every owner of some keys. A fallback coordinates; both fallbacks lose their power before the owners are back, and
// deliver all the same. The bucket says sloppy, so the requests need not.
func TestSloppyWithoutOwners(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5)
	for _, n := range c.nodes[:1] {
		n.put(t, "/buckets/loose", `{"sloppy":true}`).wants(t, http.StatusOK)
	}
	for _, n := range c.nodes {
		eventually(t, soon, n.name+" knows the bucket", func() error {
			if a := n.get(t, "/buckets/loose"); !strings.Contains(string(a.body), `"sloppy":true`) {
				return fmt.Errorf("%s", a.body)
			}
			return nil
		})
	}
	p := c.somewhere(t, "loose")
	never, deleted, few := c.besides(t, p, "loose"), c.besides(t, p, "loose"), c.besides(t, p, "loose")
	p.fallbacks[0].put(t, deleted.path+"?w=3", "old").wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 3, 0)
	for _, o := range p.owners {
		o.kill(t)
	}
	one, two := p.fallbacks[0], p.fallbacks[1]
	quorumError(t, one.put(t, p.path+"?sloppy=false&timeout=1s", "strict"), 2, true)
	put := one.put(t, p.path+"?w=2", "first").wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 2, 2)
	if by := put.must(t, "Quorate-Coordinator"); by != one.name {
		t.Errorf("coordinated by %s, want %s", by, one.name)
	}
	two.get(t, p.path+"?r=2", seen(put.token(t))).wantsValue(t, "first").wantsFallbacks(t, "r", 2, 2)
	two.put(t, p.path+"?w=2", "second", seen(put.token(t))).wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 2, 2)
	two.delete(t, deleted.path+"?w=2").wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 2, 2)
	one.get(t, deleted.path).wants(t, http.StatusNotFound).must(t, "Quorate-Deleted")
	// What no fallback holds may be at the owners: nobody can say that it is not there.
	quorumError(t, one.get(t, never.path+"?timeout=1s"), 2, false)
	quorumError(t, one.put(t, few.path+"?w=3&timeout=1s", "two fallbacks for three owners"), 3, true)

	one.kill(t)
	two.kill(t)
	one.restart(t)
	two.restart(t)
	eventually(t, soon, "a read after the restart", func() error {
		if a := one.get(t, p.path+"?r=2"); a.status != http.StatusOK || string(a.body) != "second" {
			return fmt.Errorf("status %d %.100q", a.status, a.body)
		}
		return nil
	})
	for _, o := range p.owners {
		o.restart(t)
	}
	p.arrives(t, "second")
	for _, o := range p.owners {
		eventually(t, healLimit, o.name+" knows of the delete", func() error {
			if a := o.get(t, deleted.path+"?local=true"); a.status != http.StatusNotFound {
				return fmt.Errorf("status %d %.100q", a.status, a.body)
			}
			return nil
		})
	}
	one.handsOff(t)
	two.handsOff(t)
	one.knows(t, never.path, http.StatusNotFound)
}

// TestSloppyForANamesake wipes the disk of an owner that a fallback stood in for: the one that has taken its place is served.
func TestSloppyForANamesake(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 5)
	p := c.somewhere(t, "sloppy")
	for _, o := range p.owners {
		o.kill(t)
	}
	p.fallbacks[0].put(t, p.path+"?w=2&sloppy=true", "kept").wants(t, http.StatusNoContent).wantsFallbacks(t, "w", 2, 2)
	p.owners[0].wipe(t)
	for _, o := range p.owners[1:] {
		o.restart(t)
	}
	for _, f := range p.fallbacks {
		eventually(t, healLimit, f.name+" knows that "+p.owners[0].name+" is dead", func() error {
			v, err := f.view()
			if err == nil && v.member(p.owners[0].name).Liveness != "dead" {
				err = errNotYet
			}
			return err
		})
	}
	p.owners[0].start(t)
	p.owners[0].waitReady(t)
	c.waitNobodyGains(t)
	p.arrives(t, "kept")
	for _, f := range p.fallbacks {
		f.handsOff(t)
	}
}

// TestSloppyPastAPausedOwner stops an owner where it is: its connections stay, and it says nothing. A sloppy request does without it.
func TestSloppyPastAPausedOwner(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 4)
	p := c.somewhere(t, "sloppy")
	p.owners[1].put(t, p.path+"?w=3", "before").wants(t, http.StatusNoContent)
	sleeper := p.owners[2]
	sleeper.pause()
	for i := range 5 {
		value := fmt.Sprint("round ", i)
		// On a busy machine another owner may be late as well: then the only fallback can have its place, and the sleeper's stays empty.
		eventually(t, soon, "a write of "+value, func() error {
			a := p.owners[i%2].put(t, p.path+"?w=3&sloppy=true&timeout=20s", value)
			if a.status == http.StatusNoContent {
				a.wantsFallbacks(t, "w", 3, 1)
				return nil
			}
			return fmt.Errorf("status %d %.300s", a.status, a.body)
		})
		eventually(t, soon, "a read of "+value, func() error {
			a := p.fallbacks[0].get(t, p.path+"?r=3&sloppy=true&timeout=20s")
			if a.status == http.StatusOK {
				a.wantsValue(t, value).wantsFallbacks(t, "r", 3, 1)
				return nil
			}
			return fmt.Errorf("status %d %.300s", a.status, a.body)
		})
	}
	sleeper.resume()
	p.arrives(t, "round 4")
	p.fallbacks[0].handsOff(t)
}

// TestSloppySpace lets a fallback run full: it says so, writes nothing, keeps what it had, and has room again when that is delivered.
func TestSloppySpace(t *testing.T) {
	slow(t)
	t.Parallel()
	const limit = 64 << 10
	c := newCluster(t, 4, "--max-handoffs", strconv.Itoa(limit))
	p := c.somewhere(t, "sloppy")
	others := []place{p}
	for range 8 {
		others = append(others, c.besides(t, p, "sloppy"))
	}
	for _, o := range p.owners {
		o.kill(t)
	}
	keeper, value := p.fallbacks[0], strings.Repeat("x", 10<<10)
	var kept []place
	for _, q := range others {
		a := keeper.put(t, q.path+"?w=1&sloppy=true", value)
		if a.status == http.StatusNoContent {
			kept = append(kept, q)
			continue
		}
		a.wantsWriteProblem(t, http.StatusServiceUnavailable, "overloaded", "not_written")
		a.must(t, "Retry-After")
	}
	if len(kept) < 4 || len(kept) == len(others) {
		t.Fatalf("%d of %d values of 10 KiB were kept in 64 KiB", len(kept), len(others))
	}
	if count, bytes := keeper.keeps(t); count != len(kept) || bytes > limit {
		t.Errorf("it keeps %d keys of %d bytes, of %d", count, bytes, len(kept))
	}
	for _, o := range p.owners {
		o.restart(t)
	}
	for _, q := range kept {
		q.arrives(t, value)
	}
	keeper.handsOff(t)
	keeper.knows(t, others[len(others)-1].path, http.StatusNotFound)
}
