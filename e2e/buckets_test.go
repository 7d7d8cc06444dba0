package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// bucket is the properties of a bucket in force. Levels come as words or numbers.
type bucket struct {
	N          int    `json:"n"`
	W          any    `json:"w"`
	R          any    `json:"r"`
	Sloppy     *bool  `json:"sloppy"`
	Conflict   string `json:"conflict"`
	Configured *bool  `json:"configured"`
}

// wants fails unless the properties are these.
func (b bucket) wants(t testing.TB, n int, w, r any, conflict string) {
	t.Helper()
	if b.N != n || fmt.Sprint(b.W) != fmt.Sprint(w) || fmt.Sprint(b.R) != fmt.Sprint(r) || b.Conflict != conflict || b.Sloppy == nil || *b.Sloppy {
		t.Fatalf("properties %+v, want n=%d w=%v r=%v conflict=%s sloppy=false", b, n, w, r, conflict)
	}
}

// bucketOf asks for the properties of a bucket.
func (n *node) bucketOf(t testing.TB, name string) bucket {
	t.Helper()
	var b bucket
	n.get(t, "/buckets/"+name).wants(t, http.StatusOK).decode(t, &b)
	return b
}

// waitBucket waits until the node has this n for the bucket.
func (n *node) waitBucket(t testing.TB, name string, want int) {
	t.Helper()
	eventually(t, soon, fmt.Sprintf("%s has n=%d for bucket %s", n.name, want, name), func() error {
		if b := n.bucketOf(t, name); b.N != want {
			return fmt.Errorf("n=%d", b.N)
		}
		return nil
	})
}

// TestBucketProperties configures a bucket on each node: it is in force on all, and gone from all again.
func TestBucketProperties(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		name := "properties-" + n.name
		before := n.bucketOf(t, name)
		before.wants(t, 3, "quorum", "quorum", "lww")
		if before.Configured == nil || *before.Configured {
			t.Errorf("a bucket that nobody configured: %+v", before)
		}

		path := fresh(name)
		n.put(t, path, "kept").wants(t, http.StatusNoContent)
		var result bucket
		n.put(t, "/buckets/"+name, `{"n":2,"w":"all","r":1}`).wants(t, http.StatusOK).decode(t, &result)
		result.wants(t, 2, "all", 1, "lww")
		for _, other := range c.nodes {
			other.waitBucket(t, name, 2)
			other.bucketOf(t, name).wants(t, 2, "all", 1, "lww")
			if !other.listed(t, name) {
				t.Errorf("%s does not list %s", other.name, name)
			}
			under := fresh(name)
			other.put(t, under, "v").wants(t, http.StatusNoContent).wantsQuorum(t, 2, "w", 2)
			other.get(t, under).wantsValue(t, "v").wantsQuorum(t, 2, "r", 1)
			other.put(t, under+"?n=3&w=1", "v").wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 1)
		}

		n.delete(t, "/buckets/"+name).wants(t, http.StatusNoContent)
		for _, other := range c.nodes {
			other.waitBucket(t, name, 3)
			other.get(t, path).wantsValue(t, "kept")
			if other.listed(t, name) {
				t.Errorf("%s still lists %s", other.name, name)
			}
		}
		n.delete(t, "/buckets/"+name).wants(t, http.StatusNoContent)
	})
}

// listed says whether GET /buckets shows the bucket.
func (n *node) listed(t testing.TB, name string) bool {
	t.Helper()
	var list struct {
		Buckets []struct {
			Name       string `json:"name"`
			Properties bucket `json:"properties"`
		} `json:"buckets"`
	}
	n.get(t, "/buckets").wants(t, http.StatusOK).decode(t, &list)
	for _, b := range list.Buckets {
		if b.Name == name {
			return true
		}
	}
	return false
}

// TestBadBucketProperties refuses unknown and bad properties, and changes nothing then.
func TestBadBucketProperties(t *testing.T) {
	c := sharedCluster(t)
	bodies := []string{
		``, `nonsense`, `[]`, `null`, `"n"`, `{"n":3}{"n":2}`, `{"colour":"red"}`, `{"n":3,"colour":"red"}`,
		`{"n":0}`, `{"n":17}`, `{"n":-1}`, `{"n":2.5}`, `{"n":"three"}`, `{"n":1e99}`,
		`{"w":0}`, `{"w":4}`, `{"w":"most"}`, `{"w":true}`, `{"r":0}`, `{"r":4}`, `{"r":"half"}`, `{"n":1,"w":2}`, `{"n":2,"r":3}`,
		`{"sloppy":"yes"}`, `{"conflict":"vector"}`, `{"conflict":1}`, `{"conflict":""}`,
		`{"n":3,` + strings.Repeat(" ", 2<<20) + `"w":1}`,
	}
	c.each(t, func(t *testing.T, n *node) {
		for _, body := range bodies {
			a := n.put(t, "/buckets/refused", body)
			if a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%.60q: status %d %.200s", body, a.status, a.body)
				continue
			}
			a.wantsProblem(t, a.status, "")
		}
		for _, name := range []string{".a", "-a", "a%20b", strings.Repeat("x", 65)} {
			n.get(t, "/buckets/"+name).wantsProblem(t, http.StatusBadRequest, "")
			n.put(t, "/buckets/"+name, `{}`).wantsProblem(t, http.StatusBadRequest, "")
			n.delete(t, "/buckets/"+name).wantsProblem(t, http.StatusBadRequest, "")
		}
		if n.listed(t, "refused") {
			t.Error("a refused bucket is listed")
		}
	})
}

// TestBucketsSurvive restarts nodes one by one and then all of them: properties, once answered for, stay.
func TestBucketsSurvive(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 3)
	c.nodes[0].put(t, "/buckets/stays", `{"n":2,"conflict":"siblings"}`).wants(t, http.StatusOK)
	c.nodes[0].put(t, "/buckets/goes", `{"n":2}`).wants(t, http.StatusOK)
	for _, n := range c.nodes {
		n.waitBucket(t, "stays", 2)
		n.waitBucket(t, "goes", 2)
	}
	c.nodes[2].kill(t)
	// What changes while a node is away reaches it when it is back.
	c.nodes[1].put(t, "/buckets/meanwhile", `{"n":1}`).wants(t, http.StatusOK)
	c.nodes[1].delete(t, "/buckets/goes").wants(t, http.StatusNoContent)
	c.nodes[0].waitBucket(t, "meanwhile", 1)
	c.nodes[2].restart(t)
	check := func() {
		t.Helper()
		for _, n := range c.nodes {
			n.waitBucket(t, "stays", 2)
			n.waitBucket(t, "meanwhile", 1)
			n.waitBucket(t, "goes", 3)
			n.bucketOf(t, "stays").wants(t, 2, "quorum", "quorum", "siblings")
		}
	}
	check()
	c.killAll(t)
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
	check()
}
