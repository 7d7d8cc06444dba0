package http

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/quorum"
)

// keyQuery is the query string of a key request. Whether its parameters fit each other and the bucket is found out by the node, which knows the
// bucket.
type keyQuery struct {
	coordinator.Options
	local, noRepair, detail bool
}

// plainQuery is that of a request which says nothing; it is by far the most frequent.
var plainQuery = keyQuery{Options: coordinator.Options{Timeout: node.DefaultTimeout}}

// parseKeyQuery reads the parameters of a key request; reading tells GET and HEAD, which have two more.
func parseKeyQuery(raw string, reading bool) (keyQuery, error) {
	q := plainQuery
	err := eachParam(raw, func(name, value string) error {
		if known, err := q.set(name, value, reading); known || err != nil {
			return err
		}
		return unknownParam(name)
	})
	return q, err
}

// set applies one parameter; known is false if a request of this kind has none of that name.
func (q *keyQuery) set(name, value string, reading bool) (known bool, err error) {
	switch {
	case name == "n":
		q.N, err = parseN(value)
	case name == "w":
		q.W, err = parseLevel(name, value)
	case name == "r":
		q.R, err = parseLevel(name, value)
	case name == "sloppy":
		var sloppy bool
		sloppy, err = parseBool(name, value)
		q.Sloppy = &sloppy
	case name == "timeout":
		q.Timeout, err = parseTimeout(value)
	case name == "detail":
		q.detail, err = parseBool(name, value)
	case name == "local" && reading:
		q.local, err = parseBool(name, value)
	case name == "repair" && reading:
		var repair bool
		repair, err = parseBool(name, value)
		q.noRepair = !repair
	default:
		return false, nil
	}
	return true, err
}

// eachParam calls set for each parameter of a query string, in order. A name may stand there once.
func eachParam(raw string, set func(name, value string) error) error {
	var few [8]string // no request has more parameters that are known
	seen := few[:0]
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return badRequest("query string: " + err.Error())
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return badRequest("parameter " + quote(name) + ": " + err.Error())
		}
		for _, s := range seen {
			if s == name {
				return badRequest("parameter " + quote(name) + " is given twice")
			}
		}
		seen = append(seen, name)
		if err := set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func unknownParam(name string) error { return badRequest("unknown parameter " + quote(name)) }

func parseN(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > quorum.MaxN || strconv.Itoa(n) != value { // one spelling: no "+3", no "03"
		return 0, badRequest("parameter n: " + quote(value) + " is not an integer from 1 to 16")
	}
	return n, nil
}

func parseLevel(name, value string) (quorum.Level, error) {
	level, err := quorum.ParseLevel(value)
	if err != nil {
		return 0, badRequest("parameter " + name + ": " + quote(value) + " is not one, quorum, all or an integer from 1 to 16")
	}
	return level, nil
}

func parseBool(name, value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badRequest("parameter " + name + ": " + quote(value) + " is neither true nor false")
}

func parseTimeout(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > node.MaxTimeout {
		return 0, badRequest("parameter timeout: " + quote(value) + " is not a duration above 0 and up to 60s, such as 250ms or 2s")
	}
	return d, nil
}

// quote shows what a client sent, at a length that is fit for a message.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
