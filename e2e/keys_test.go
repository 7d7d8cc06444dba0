package e2e

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// escapeAll percent-encodes every byte.
func escapeAll(key string) string {
	var b strings.Builder
	for i := range len(key) {
		const hex = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(hex[key[i]>>4])
		b.WriteByte(hex[key[i]&15])
	}
	return b.String()
}

// TestKeys writes keys of every shape. What follows the bucket is data, never path arithmetic; each spelling
// of a key finds it, and no other key does.
func TestKeys(t *testing.T) {
	c := sharedCluster(t)
	rows := []struct{ spelling, key string }{
		{"plain", "plain"},
		{"a/b/c", "a/b/c"},
		{"a%2Fb%2fd", "a/b/d"},
		{"/leading", "/leading"},
		{"//two", "//two"},
		{"trailing/", "trailing/"},
		{"in//side", "in//side"},
		{"..", ".."},
		{".", "."},
		{"../../cluster", "../../cluster"},
		{"a/../b", "a/../b"},
		{"a/./b", "a/./b"},
		{"%2e%2e/x", "../x"},
		{"space%20and+plus", "space and+plus"},
		{"question%3Fmark%23hash", "question?mark#hash"},
		{"percent%25", "percent%"},
		{"%2525", "%25"},
		{"nul%00inside", "nul\x00inside"},
		{"line%0D%0Abreak", "line\r\nbreak"},
		{"%FF%FE", "\xff\xfe"},
		{"caf%C3%A9", "café"},
		{"semi;colon=eq&amp", "semi;colon=eq&amp"},
		{url.PathEscape(everyByte()), everyByte()},
		{strings.Repeat("k", 1024), strings.Repeat("k", 1024)},
		{strings.Repeat("%00", 1024), strings.Repeat("\x00", 1024)},
	}
	c.each(t, func(t *testing.T, n *node) {
		bucket := "/kv/keys-" + n.name + "/"
		for _, row := range rows {
			n.put(t, bucket+row.spelling, row.key).wants(t, http.StatusNoContent)
		}
		for _, row := range rows {
			for _, reader := range c.nodes {
				reader.get(t, bucket+row.spelling).wantsValue(t, row.key)
				reader.get(t, bucket+escapeAll(row.key)).wantsValue(t, row.key)
			}
		}
		for _, row := range rows {
			n.delete(t, bucket+row.spelling).wants(t, http.StatusNoContent)
			n.get(t, bucket+escapeAll(row.key)).wants(t, http.StatusNotFound)
		}
	})
}

// TestBucketsDoNotMix writes one key into buckets whose names and keys would run together if they were
// simply joined.
func TestBucketsDoNotMix(t *testing.T) {
	n := sharedCluster(t).nodes[0]
	paths := []string{"/kv/ab/c", "/kv/a/bc", "/kv/a/b/c", "/kv/a.b/c", "/kv/A/bc", "/kv/ab/%00c"}
	for _, path := range paths {
		n.put(t, path, path).wants(t, http.StatusNoContent)
	}
	for _, path := range paths {
		n.get(t, path).wantsValue(t, path)
	}
}

// TestNamesOutOfBounds holds the rows "bad bucket or key" and "key too large".
func TestNamesOutOfBounds(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		for _, bucket := range []string{"b", "0", "A.b_c-9", strings.Repeat("x", 64)} {
			n.put(t, "/kv/"+bucket+"/k", "v").wants(t, http.StatusNoContent)
			n.get(t, "/kv/"+bucket+"/k").wantsValue(t, "v")
		}
		for _, bucket := range []string{strings.Repeat("x", 65), ".a", "-a", "..", "a%20b", "a+b", "caf%C3%A9", "a%00", "a:b", "*"} {
			path := "/kv/" + bucket + "/k"
			n.put(t, path, "v").wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
			n.delete(t, path).wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
			n.get(t, path).wantsProblem(t, http.StatusBadRequest, "")
			n.do(t, http.MethodHead, path, nil).wants(t, http.StatusBadRequest)
		}
		n.put(t, "/kv/rows/", "v").wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
		n.delete(t, "/kv/rows/").wantsWriteProblem(t, http.StatusBadRequest, "", "not_written")
		for _, key := range []string{strings.Repeat("k", 1025), strings.Repeat("%00", 1025), strings.Repeat("long/", 1000)} {
			n.put(t, "/kv/rows/"+key, "v").wantsWriteProblem(t, http.StatusRequestURITooLong, "", "not_written")
			n.get(t, "/kv/rows/"+key).wantsProblem(t, http.StatusRequestURITooLong, "")
			n.delete(t, "/kv/rows/"+key).wantsWriteProblem(t, http.StatusRequestURITooLong, "", "not_written")
		}
	})
}

const maxValue = 8 << 20

// TestValueSizes stores the empty value and the largest, and holds the row "value too large", whether the
// length is announced or not.
func TestValueSizes(t *testing.T) {
	c := sharedCluster(t)
	largest := strings.Repeat("0123456789abcdef", maxValue/16)
	c.each(t, func(t *testing.T, n *node) {
		empty, big, over := fresh("rows"), fresh("rows"), fresh("rows")
		n.put(t, empty, "").wants(t, http.StatusNoContent)
		n.put(t, big, largest).wants(t, http.StatusNoContent)
		for _, reader := range c.nodes {
			reader.get(t, empty).wantsValue(t, "")
			reader.get(t, big).wantsValue(t, largest)
		}
		n.put(t, over, largest+"!").wantsWriteProblem(t, http.StatusRequestEntityTooLarge, "", "not_written")
		unannounced := func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(largest+"!")), -1
		}
		n.put(t, over, "", unannounced).wantsWriteProblem(t, http.StatusRequestEntityTooLarge, "", "not_written")
		n.get(t, over).wants(t, http.StatusNotFound)
		n.delete(t, big).wants(t, http.StatusNoContent)
	})
}

// TestUnannouncedLength stores a body that comes in chunks.
func TestUnannouncedLength(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		path, value := fresh("rows"), strings.Repeat("chunk ", 10_000)
		chunked := func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(value)), -1
		}
		n.put(t, path, "", chunked).wants(t, http.StatusNoContent)
		n.get(t, path).wantsValue(t, value)
	})
}
