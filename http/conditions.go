package http

import (
	"net/http"
	"strings"
)

// conditions are the preconditions of a request (RFC 9110, section 13). They are compared with what a read shows just before: another writer
// may come between, which an available store cannot prevent.
type conditions struct {
	ifMatch, ifNoneMatch []etag // nil = not given
}

// etag is one entity tag of a condition, or the star.
type etag struct {
	tag  string // with its quotes; "*" for any
	weak bool
}

func parseConditions(h http.Header) (conditions, error) {
	var c conditions
	match, none := h["If-Match"], h["If-None-Match"]
	if match == nil && none == nil {
		return c, nil
	}
	var err error
	if c.ifMatch, err = parseETags("If-Match", match); err != nil {
		return c, err
	}
	c.ifNoneMatch, err = parseETags("If-None-Match", none)
	return c, err
}

func (c *conditions) given() bool { return c.ifMatch != nil || c.ifNoneMatch != nil }

// matches and unmodified evaluate the two conditions against the current tag, "" if there is no value. Weak tags never match strongly; our
// tags are all strong, so a weak one matches weakly if the rest is equal.
func (c *conditions) matches(current string) bool {
	return c.ifMatch == nil || current != "" && anyTag(c.ifMatch, current, false)
}

func (c *conditions) unmodified(current string) bool {
	return c.ifNoneMatch != nil && current != "" && anyTag(c.ifNoneMatch, current, true)
}

func anyTag(tags []etag, current string, weakly bool) bool {
	for _, t := range tags {
		if t.tag == "*" || t.tag == current && (weakly || !t.weak) {
			return true
		}
	}
	return false
}

// parseETags reads a list of entity tags, or "*" alone.
func parseETags(header string, values []string) ([]etag, error) {
	if values == nil {
		return nil, nil
	}
	tags := []etag{}
	rest := strings.Trim(strings.Join(values, ","), " \t,")
	if rest == "*" {
		return append(tags, etag{tag: "*"}), nil
	}
	for rest != "" {
		var t etag
		rest, t.weak = strings.CutPrefix(rest, "W/")
		end := -1
		if strings.HasPrefix(rest, `"`) {
			end = strings.IndexByte(rest[1:], '"') + 2
		}
		if end < 2 {
			return nil, badRequest(header + `: want entity tags such as "abc", W/"abc", or * alone`)
		}
		t.tag, rest = rest[:end], rest[end:]
		tags = append(tags, t)
		next := strings.TrimLeft(rest, " \t,")
		if next != "" && !strings.Contains(rest[:len(rest)-len(next)], ",") {
			return nil, badRequest(header + ": entity tags are separated by commas")
		}
		rest = next
	}
	if len(tags) == 0 {
		return nil, badRequest(header + " is empty")
	}
	return tags, nil
}
