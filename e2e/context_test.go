package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestReadYourWrites reads with the context of a write through the other nodes, from a single replica each:
// whichever answers, it is the write that must be seen, or its delete.
func TestReadYourWrites(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("sessions")
		for round := range 20 {
			value := fmt.Sprint("round ", round)
			token := n.put(t, path+"?w=1", value).wants(t, http.StatusNoContent).token(t)
			for _, reader := range c.nodes {
				reader.get(t, path+"?r=1", seen(token)).wantsValue(t, value)
			}
		}
		token := n.delete(t, path+"?w=1").wants(t, http.StatusNoContent).token(t)
		for _, reader := range c.nodes {
			reader.get(t, path+"?r=1", seen(token)).wants(t, http.StatusNotFound)
		}
	})
}

// TestMonotonicReads carries the context of each read to the next node, while another client writes: the
// value never goes back.
func TestMonotonicReads(t *testing.T) {
	c := sharedCluster(t)
	path := fresh("sessions")
	token := c.nodes[0].put(t, path, "0000").wants(t, http.StatusNoContent).token(t)
	last := "0000"
	for round := 1; round <= 50; round++ {
		c.nodes[round%3].put(t, path+"?w=1", fmt.Sprintf("%04d", round)).wants(t, http.StatusNoContent)
		got := c.nodes[(round+1)%3].get(t, path+"?r=1", seen(token)).wants(t, http.StatusOK)
		if value := string(got.body); value < last {
			t.Fatalf("round %d: read %s after %s", round, value, last)
		}
		last, token = string(got.body), got.token(t)
	}
}

// TestContextBeatsClocks overwrites and deletes with the context of what was read.
func TestContextBeatsClocks(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("sessions")
		token := n.get(t, path).wants(t, http.StatusNotFound).token(t)
		for round := range 9 {
			value := fmt.Sprint("round ", round)
			token = c.nodes[round%3].put(t, path, value, seen(token)).wants(t, http.StatusNoContent).token(t)
			n.get(t, path).wantsValue(t, value)
		}
		c.nodes[0].delete(t, path, seen(token)).wants(t, http.StatusNoContent)
		n.get(t, path).wants(t, http.StatusNotFound)
	})
}

// TestBadContexts holds the row "bad context": what is not a context of this very key, made by this cluster.
func TestBadContexts(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path, other := fresh("sessions"), fresh("sessions")
		token := n.put(t, path, "v").wants(t, http.StatusNoContent).token(t)
		foreign := n.put(t, other, "v").wants(t, http.StatusNoContent).token(t)
		elsewhere := strings.Replace(path, "/sessions/", "/sessions-2/", 1)
		otherBucket := n.put(t, elsewhere, "v").wants(t, http.StatusNoContent).token(t)

		middle := len(token) / 2
		swapped := "A"
		if token[middle] == 'A' {
			swapped = "B"
		}
		rows := map[string]string{
			"not base64":     "!!!",
			"too short":      "AAAA",
			"truncated":      token[:len(token)-3],
			"lengthened":     token + "AAAA",
			"one letter off": token[:middle] + swapped + token[middle+1:],
			"twice":          token + token,
			"of another key": foreign,
			"of a namesake":  otherBucket,
			"very long":      strings.Repeat("A", 8000),
		}
		for name, bad := range rows {
			a := n.get(t, path, seen(bad))
			if a.status != http.StatusBadRequest {
				t.Errorf("%s: status %d", name, a.status)
				continue
			}
			a.wantsProblem(t, http.StatusBadRequest, "")
			n.put(t, path, "x", seen(bad)).wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
			n.delete(t, path, seen(bad)).wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
		}
		n.get(t, path).wantsValue(t, "v")
	})
}

// TestCreateOnly holds `If-None-Match: *` on a write: only where there is nothing, or nothing any more.
func TestCreateOnly(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path, only := fresh("conditions"), with("If-None-Match", "*")
		n.put(t, path, "first", only).wants(t, http.StatusNoContent)
		n.put(t, path, "second", only).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		n.get(t, path).wantsValue(t, "first")
		n.delete(t, path).wants(t, http.StatusNoContent)
		n.put(t, path, "third", only).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValue(t, "third")
	})
}

// TestIfMatch holds "precondition not met" for writes that name what they replace.
func TestIfMatch(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("conditions")
		n.put(t, path, "x", with("If-Match", "*")).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		first := n.put(t, path, "first").wants(t, http.StatusNoContent).must(t, "ETag")
		second := n.put(t, path, "second", with("If-Match", first)).wants(t, http.StatusNoContent).must(t, "ETag")
		if first == second {
			t.Fatalf("two values have the ETag %s", first)
		}
		for _, writer := range c.nodes {
			writer.put(t, path, "x", with("If-Match", first)).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
			writer.delete(t, path, with("If-Match", first)).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		}
		n.get(t, path).wantsValue(t, "second")
		n.put(t, path, "third", with("If-Match", `"nonsense", `+second)).wants(t, http.StatusNoContent)
		n.put(t, path, "fourth", with("If-Match", "*")).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValue(t, "fourth")
		n.put(t, path, "x", with("If-None-Match", n.get(t, path).must(t, "ETag"))).
			wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		n.delete(t, path, with("If-Match", n.get(t, path).must(t, "ETag"))).wants(t, http.StatusNoContent)
		n.get(t, path).wants(t, http.StatusNotFound)
	})
}

// TestConditionalGet holds the row "`If-None-Match` matches on GET".
func TestConditionalGet(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh("conditions")
		tag := n.put(t, path, "v").wants(t, http.StatusNoContent).must(t, "ETag")
		if !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) {
			t.Errorf("ETag %s is not a strong one", tag)
		}
		for _, value := range []string{tag, `"nonsense", ` + tag, "W/" + tag, "*"} {
			a := n.get(t, path, with("If-None-Match", value)).wants(t, http.StatusNotModified)
			if len(a.body) != 0 || a.header.Get("ETag") != tag {
				t.Errorf("If-None-Match: %s: ETag %q, %d bytes", value, a.header.Get("ETag"), len(a.body))
			}
			n.do(t, http.MethodHead, path, nil, with("If-None-Match", value)).wants(t, http.StatusNotModified)
		}
		n.get(t, path, with("If-None-Match", `"nonsense"`)).wantsValue(t, "v")
		n.get(t, path, with("If-Match", tag)).wantsValue(t, "v")
		n.get(t, path, with("If-Match", `"nonsense"`)).wantsProblem(t, http.StatusPreconditionFailed, "")
		n.put(t, path, "w").wants(t, http.StatusNoContent)
		n.get(t, path, with("If-None-Match", tag)).wantsValue(t, "w")
	})
}
