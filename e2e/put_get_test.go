package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// everyByte is a value that no text conversion survives.
func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// TestPutThenGet holds the rows "PUT stored" and "GET, one value", written through each node and read
// through all.
func TestPutThenGet(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path, value := fresh("rows"), everyByte()+n.name
		stored := n.put(t, path, value, with("Content-Type", "application/x-thing; v=1")).wants(t, http.StatusNoContent)
		stored.wantsQuorum(t, 3, "w", 2)
		stored.token(t)
		tag := stored.must(t, "ETag")
		for _, reader := range c.nodes {
			got := reader.get(t, path).wantsValue(t, value)
			got.wantsQuorum(t, 3, "r", 2)
			got.token(t)
			if kind := got.header.Get("Content-Type"); kind != "application/x-thing; v=1" {
				t.Errorf("%s: Content-Type %q", got.request, kind)
			}
			if got.header.Get("ETag") != tag {
				t.Errorf("%s: ETag %s, the PUT's was %s", got.request, got.header.Get("ETag"), tag)
			}
			if _, err := http.ParseTime(got.must(t, "Last-Modified")); err != nil {
				t.Errorf("%s: Last-Modified: %v", got.request, err)
			}
		}
	})
}

// TestHead expects of HEAD what GET answers, without the body.
func TestHead(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		n.put(t, path, "eleven byte", with("Content-Type", "text/x-eleven")).wants(t, http.StatusNoContent)
		get := n.get(t, path).wantsValue(t, "eleven byte")
		head := n.do(t, http.MethodHead, path, nil).wants(t, http.StatusOK)
		for _, name := range []string{"Content-Type", "ETag", "Last-Modified", "Content-Length"} {
			if head.header.Get(name) != get.header.Get(name) {
				t.Errorf("%s: HEAD has %q, GET has %q", name, head.header.Get(name), get.header.Get(name))
			}
		}
		head.wantsQuorum(t, 3, "r", 2)
		head.token(t)
		absent := n.do(t, http.MethodHead, fresh("rows"), nil).wants(t, http.StatusNotFound)
		absent.token(t)
		if len(head.body)+len(absent.body) != 0 {
			t.Error("an answer to HEAD has a body")
		}
	})
}

// TestAbsentAndDeleted holds the rows "absent, or deleted" and "DELETE done".
func TestAbsentAndDeleted(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		absent := n.get(t, path)
		absent.wantsProblem(t, http.StatusNotFound, "")
		absent.wantsQuorum(t, 3, "r", 2)
		absent.token(t)
		if absent.header.Get("Quorate-Deleted") != "" {
			t.Error("a key that was never written is called deleted")
		}

		nothing := n.delete(t, fresh("rows")).wants(t, http.StatusNoContent)
		nothing.wantsQuorum(t, 3, "w", 2)
		nothing.token(t)

		n.put(t, path, "here").wants(t, http.StatusNoContent)
		gone := n.delete(t, path).wants(t, http.StatusNoContent)
		gone.wantsQuorum(t, 3, "w", 2)
		gone.token(t)
		for _, reader := range c.nodes {
			deleted := reader.get(t, path)
			deleted.wantsProblem(t, http.StatusNotFound, "")
			deleted.token(t)
			if deleted.header.Get("Quorate-Deleted") != "true" {
				t.Errorf("%s: Quorate-Deleted %q", deleted.request, deleted.header.Get("Quorate-Deleted"))
			}
		}
		n.delete(t, path).wants(t, http.StatusNoContent)
		n.put(t, path, "again").wants(t, http.StatusNoContent)
		n.get(t, path).wantsValue(t, "again")
	})
}

// TestLastWriteWins overwrites one key through all nodes in turn: each answer is on the next node the value
// to beat.
func TestLastWriteWins(t *testing.T) {
	c := sharedCluster(t)
	path := fresh("rows")
	for round := range 30 {
		writer, reader := c.nodes[round%3], c.nodes[(round+1)%3]
		value := strings.Repeat("x", round)
		writer.put(t, path, value).wants(t, http.StatusNoContent)
		reader.get(t, path).wantsValue(t, value)
	}
}

// TestNumbersOfARequest reads the numbers that a request asks for back out of Quorate-Quorum. n may be more
// than there are members: the words then count the owners that exist.
func TestNumbersOfARequest(t *testing.T) {
	c := sharedCluster(t)
	rows := []struct {
		query     string
		n, number int
	}{
		{"?%s=one", 3, 1},
		{"?%s=quorum", 3, 2},
		{"?%s=all", 3, 3},
		{"?%s=1", 3, 1},
		{"?%s=3", 3, 3},
		{"?n=1&%s=1", 1, 1},
		{"?n=2&%s=quorum", 2, 2},
		{"?n=5&%s=quorum", 5, 2},
		{"?n=5&%s=all", 5, 3},
		{"?n=16&%s=3", 16, 3},
		{"?%s=2&sloppy=false", 3, 2},
		{"?%s=2&timeout=2500ms", 3, 2},
		{"?%s=2&timeout=60s", 3, 2},
	}
	c.each(t, func(t *testing.T, n *node) {
		for _, row := range rows {
			path := fresh("rows")
			write, read := strings.Replace(row.query, "%s", "w", 1), strings.Replace(row.query, "%s", "r", 1)
			n.put(t, path+write, "v").wants(t, http.StatusNoContent).wantsQuorum(t, row.n, "w", row.number)
			n.get(t, path+read).wantsValue(t, "v").wantsQuorum(t, row.n, "r", row.number)
			n.delete(t, path+write).wants(t, http.StatusNoContent).wantsQuorum(t, row.n, "w", row.number)
		}
	})
}

// TestNumbersOutOfReach asks for more replicas than there are members: a number is literal.
func TestNumbersOutOfReach(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		n.put(t, path+"?n=5&w=4", "v").
			wantsWriteProblem(t, http.StatusServiceUnavailable, "quorum-unavailable", "not_written").wantsReplicas(t, 4)
		n.get(t, path+"?n=5&r=4").
			wantsProblem(t, http.StatusServiceUnavailable, "quorum-unavailable").wantsReplicas(t, 4)
		n.get(t, path).wants(t, http.StatusNotFound)
	})
}

// TestKeyRemembersItsN writes a key with n=3 and asks for it with n=1: the larger number counts.
func TestKeyRemembersItsN(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		n.put(t, path+"?n=2", "two").wants(t, http.StatusNoContent)
		n.put(t, path+"?n=3", "three").wants(t, http.StatusNoContent)
		n.get(t, path+"?n=1&r=1").wantsValue(t, "three").wantsQuorum(t, 3, "r", 1)
		n.get(t, path+"?n=2&r=quorum").wantsValue(t, "three").wantsQuorum(t, 3, "r", 2)
	})
}

// TestOneReplica writes keys with n=1 through each node: the owner coordinates, and nobody else keeps a copy.
func TestOneReplica(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		for range 10 {
			path := fresh("rows")
			owner := n.ring(t, path, "&n=1").Owners[0]
			stored := n.put(t, path+"?n=1", "only").wants(t, http.StatusNoContent)
			if by := stored.header.Get("Quorate-Coordinator"); by != owner {
				t.Errorf("%s: coordinated by %s, the owner is %s", stored.request, by, owner)
			}
			for _, holder := range c.nodes {
				local := holder.get(t, path+"?local=true")
				if want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[holder.name == owner]; local.status != want {
					t.Errorf("%s: status %d, want %d; the owner is %s", local.request, local.status, want, owner)
				}
				holder.get(t, path+"?n=1").wantsValue(t, "only")
			}
		}
	})
}

// TestLocal reads each node's own store after a write that all of them have acknowledged.
func TestLocal(t *testing.T) {
	c := sharedCluster(t)
	path := fresh("rows")
	c.nodes[0].put(t, path+"?w=3", "everywhere").wants(t, http.StatusNoContent)
	c.each(t, func(t *testing.T, n *node) {
		n.get(t, path+"?local=true").wantsValue(t, "everywhere")
		n.do(t, http.MethodHead, path+"?local=true", nil).wants(t, http.StatusOK)
		n.get(t, fresh("rows")+"?local=true").wants(t, http.StatusNotFound)
	})
}

// replicaEntry is one member of Quorate-Replicas.
var replicaEntry = regexp.MustCompile(`^(node-[123]);outcome=(ok|timeout|unreachable|refused|error|not-sent);ms=\d+(\.\d{1,3})?(;behind=\d+)?$`)

// TestDetail asks which replicas were asked and how they answered.
func TestDetail(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("rows")
		n.put(t, path+"?w=all", "v").wants(t, http.StatusNoContent)
		a := n.get(t, path+"?r=all&detail=true&repair=false").wantsValue(t, "v")
		names := map[string]bool{}
		for entry := range strings.SplitSeq(a.must(t, "Quorate-Replicas"), ", ") {
			match := replicaEntry.FindStringSubmatch(entry)
			if match == nil || match[2] != "ok" {
				t.Fatalf("Quorate-Replicas: entry %q", entry)
			}
			names[match[1]] = true
		}
		if len(names) != 3 {
			t.Errorf("Quorate-Replicas names %d replicas of 3: %s", len(names), a.header.Get("Quorate-Replicas"))
		}
		if n.get(t, path).header.Get("Quorate-Replicas") != "" {
			t.Error("Quorate-Replicas although nobody asked")
		}
	})
}

// TestLastModified lies between before the write and after it, give or take the second that HTTP counts in.
func TestLastModified(t *testing.T) {
	n := sharedCluster(t).nodes[0]
	path, before := fresh("rows"), time.Now()
	n.put(t, path, "v").wants(t, http.StatusNoContent)
	after := time.Now()
	modified, err := http.ParseTime(n.get(t, path).wantsValue(t, "v").must(t, "Last-Modified"))
	if err != nil {
		t.Fatal(err)
	}
	if modified.Before(before.Add(-2*time.Second)) || modified.After(after.Add(2*time.Second)) {
		t.Errorf("Last-Modified %v, written between %v and %v", modified, before, after)
	}
}
