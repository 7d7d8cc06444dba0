package e2e

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// siblingsBucket returns the name of a bucket that keeps concurrent values, known to every node.
func siblingsBucket(t *testing.T, c *cluster) string {
	t.Helper()
	const name = "siblings"
	c.nodes[0].put(t, "/buckets/"+name, `{"conflict":"siblings"}`).wants(t, http.StatusOK)
	for _, n := range c.nodes {
		eventually(t, soon, n.name+" knows the bucket", func() error {
			var b bucket
			n.get(t, "/buckets/"+name).wants(t, http.StatusOK).decode(t, &b)
			if b.Conflict != "siblings" {
				return fmt.Errorf("conflict is %q", b.Conflict)
			}
			return nil
		})
	}
	return name
}

// siblingList is the body of a 300.
type siblingList struct {
	Siblings []struct {
		Value       []byte    `json:"value"`
		ContentType string    `json:"content_type"`
		ETag        string    `json:"etag"`
		Timestamp   time.Time `json:"timestamp"`
	} `json:"siblings"`
}

// wantsValues fails unless the key has exactly these live values: none is 404, one 200, more 300.
func (a answer) wantsValues(t testing.TB, values ...string) answer {
	t.Helper()
	switch len(values) {
	case 0:
		return a.wants(t, http.StatusNotFound)
	case 1:
		return a.wantsValue(t, values[0])
	}
	a.wants(t, http.StatusMultipleChoices)
	var list siblingList
	a.decode(t, &list)
	var got []string
	for _, s := range list.Siblings {
		got = append(got, string(s.Value))
	}
	slices.Sort(got)
	slices.Sort(values)
	if !slices.Equal(got, values) {
		t.Fatalf("%s: siblings %q, want %q", a.request, got, values)
	}
	a.token(t)
	a.must(t, "ETag")
	a.wantsQuorum(t, 3, "r", 2)
	return a
}

// TestSiblings holds the row "GET, several siblings": two clients write without having seen each other, and a
// third, who has seen both, settles it.
func TestSiblings(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path, other := fresh(name), c.nodes[0]
		if n == other {
			other = c.nodes[1]
		}
		n.put(t, path, "one", with("Content-Type", "text/one")).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "one")
		other.put(t, path, "two", with("Content-Type", "text/two")).wants(t, http.StatusNoContent)
		for _, reader := range c.nodes {
			a := reader.get(t, path).wantsValues(t, "one", "two")
			var list siblingList
			a.decode(t, &list)
			for _, s := range list.Siblings {
				if s.ContentType != "text/"+string(s.Value) || s.ETag == "" || s.Timestamp.IsZero() {
					t.Errorf("sibling %+v", s)
				}
			}
			reader.do(t, http.MethodHead, path, nil).wants(t, http.StatusMultipleChoices).token(t)
		}
		token := n.get(t, path).token(t)
		other.put(t, path, "settled", seen(token)).wants(t, http.StatusNoContent)
		for _, reader := range c.nodes {
			reader.get(t, path).wantsValues(t, "settled")
		}
	})
}

// TestSiblingsMultipart asks for the siblings as multipart/mixed.
func TestSiblingsMultipart(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh(name)
		want := map[string]string{"text/a": everyByte(), "text/b": "--boundary\r\n\r\n", "text/c": ""}
		for kind, value := range want {
			n.put(t, path, value, with("Content-Type", kind)).wants(t, http.StatusNoContent)
		}
		a := n.get(t, path, with("Accept", "multipart/mixed")).wants(t, http.StatusMultipleChoices)
		media, parameters, err := mime.ParseMediaType(a.header.Get("Content-Type"))
		if err != nil || media != "multipart/mixed" {
			t.Fatalf("Content-Type %q", a.header.Get("Content-Type"))
		}
		parts := multipart.NewReader(strings.NewReader(string(a.body)), parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			value, err := io.ReadAll(part)
			if err != nil {
				t.Fatal(err)
			}
			kind := part.Header.Get("Content-Type")
			if expected, ok := want[kind]; !ok || expected != string(value) {
				t.Errorf("part %q holds %q", kind, value)
			}
			delete(want, kind)
		}
		if len(want) != 0 {
			t.Errorf("missing parts: %q", want)
		}
	})
}

// TestPutReplacesOnlyWhatItHasSeen writes with contexts that are older than what is there.
func TestPutReplacesOnlyWhatItHasSeen(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh(name)
		one := n.put(t, path, "1").wants(t, http.StatusNoContent).token(t)
		two := n.put(t, path, "2").wants(t, http.StatusNoContent).token(t)
		n.get(t, path).wantsValues(t, "1", "2")
		// The answer to the second PUT saw both, but its client has never seen "1".
		n.put(t, path, "3", seen(two)).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "1", "3")
		n.put(t, path, "4", seen(one)).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "3", "4")
		// What is covered never comes back, whoever writes with it again.
		n.put(t, path, "5", seen(one)).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "3", "4", "5")
		both := n.get(t, path).token(t)
		n.put(t, path, "6", seen(both)).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "6")
	})
}

// TestDeleteWithAndWithoutContext holds what a DELETE removes in a siblings bucket.
func TestDeleteWithAndWithoutContext(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh(name)
		one := n.put(t, path, "1").wants(t, http.StatusNoContent).token(t)
		n.put(t, path, "2").wants(t, http.StatusNoContent)
		n.delete(t, path, seen(one)).wants(t, http.StatusNoContent)
		// A tombstone beside a live value is not shown.
		n.get(t, path).wantsValues(t, "2")
		n.put(t, path, "3").wants(t, http.StatusNoContent)
		n.get(t, path).wantsValues(t, "2", "3")
		n.delete(t, path).wants(t, http.StatusNoContent)
		gone := n.get(t, path).wantsValues(t)
		if gone.header.Get("Quorate-Deleted") != "true" {
			t.Error("not called deleted")
		}
		n.put(t, path, "4").wants(t, http.StatusNoContent)
		for _, reader := range c.nodes {
			reader.get(t, path).wantsValues(t, "4")
		}
	})
}

// TestCreateOnlyAmongSiblings refuses to add a sibling where there is a value.
func TestCreateOnlyAmongSiblings(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh(name)
		n.put(t, path, "1", with("If-None-Match", "*")).wants(t, http.StatusNoContent)
		n.put(t, path, "2", with("If-None-Match", "*")).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		n.get(t, path).wantsValues(t, "1")
		n.put(t, path, "2").wants(t, http.StatusNoContent)
		both := n.get(t, path).wantsValues(t, "1", "2").must(t, "ETag")
		n.put(t, path, "3").wants(t, http.StatusNoContent)
		n.delete(t, path, with("If-Match", both)).wantsWriteProblem(t, http.StatusPreconditionFailed, "", "not_written")
		n.get(t, path).wantsValues(t, "1", "2", "3")
	})
}

// TestNoSiblingExplosion has two clients write in turn, each with nothing but the context of its own last
// write: there are never more values than clients.
func TestNoSiblingExplosion(t *testing.T) {
	c := sharedCluster(t)
	path := fresh(siblingsBucket(t, c))
	tokens := [2]string{}
	for round := range 40 {
		client := round % 2
		value := fmt.Sprintf("client %d round %d", client, round)
		options := []option{}
		if tokens[client] != "" {
			options = append(options, seen(tokens[client]))
		}
		writer := c.nodes[round%3]
		tokens[client] = writer.put(t, path, value, options...).wants(t, http.StatusNoContent).token(t)
		if round == 0 {
			continue
		}
		before := fmt.Sprintf("client %d round %d", 1-client, round-1)
		c.nodes[(round+1)%3].get(t, path).wantsValues(t, value, before)
	}
}

// TestRaisingNBesideSiblings holds the row 409: a write of a larger n must replace everything there. Who
// coordinates may be an owner that the larger n has just made one, and learn from the others only what is in
// the way: the outcome then says that its own copy may be seen.
func TestRaisingNBesideSiblings(t *testing.T) {
	c := sharedCluster(t)
	name := siblingsBucket(t, c)
	c.each(t, func(t *testing.T, n *node) {
		path := fresh(name)
		one := n.put(t, path+"?n=2", "1").wants(t, http.StatusNoContent).token(t)
		n.put(t, path+"?n=2", "2").wants(t, http.StatusNoContent)
		outcomes := ""
		for _, options := range [][]option{nil, {seen(one)}} {
			p := n.put(t, path+"?n=3", "3", options...).wantsProblem(t, http.StatusConflict, "siblings")
			outcomes += p.Outcome + " "
		}
		n.get(t, path+"?n=2&r=2").wants(t, http.StatusMultipleChoices)
		all := n.get(t, path+"?n=3&r=3").wants(t, http.StatusMultipleChoices)
		var list siblingList
		all.decode(t, &list)
		for _, s := range list.Siblings {
			if string(s.Value) == "3" && !strings.Contains(outcomes, "indeterminate") {
				t.Errorf("%q is there, the outcomes were %s", s.Value, outcomes)
			}
		}
		n.put(t, path+"?n=3", "4", seen(all.token(t))).wants(t, http.StatusNoContent).wantsQuorum(t, 3, "w", 2)
		n.get(t, path).wantsValues(t, "4")
	})
}
