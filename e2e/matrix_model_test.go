package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
)

// What the contract says of a request that meets replicas which are down, written down once more: independent of the
// product, and pure.

// question is a request as far as its answer depends on who is up.
type question struct {
	n      int
	level  string // w or r: a number, one, quorum, all
	sloppy bool
}

// standing is who is up, for one key.
type standing struct {
	owners   int // that exist: n, or all members
	ownersUp int
	othersUp int // members that do not own the key: its fallbacks
}

// verdict is what a request gets once everybody knows who is down.
type verdict struct {
	needed    int
	got       int // what a refusal names: those that could have answered, or that did
	met       bool
	fallbacks int // how many have to stand in
}

// finding is what a request is about: a write finds its place anywhere; of a read it depends on whether owners that are up hold something,
// a tombstone included.
type finding uint8

const (
	writes finding = iota
	finds
	findsNothing
)

// judge applies the rules. A word counts the owners that exist, and a number is literal. A strict request counts owners alone. A sloppy one
// lets one fallback stand in for each owner that is down, as far as there are any; but that fallbacks hold nothing of a key tells no read that
// it is absent.
func judge(q question, s standing, f finding) verdict {
	v := verdict{needed: resolve(q.level, s.owners), got: s.ownersUp}
	hoped := s.ownersUp
	if q.sloppy {
		hoped += min(s.owners-s.ownersUp, s.othersUp)
	}
	if f != findsNothing || hoped < v.needed { // in the latter case nothing is sent, and nobody knows what would be found
		v.got = hoped
	}
	v.met = v.got >= v.needed
	if v.met {
		v.fallbacks = max(0, v.needed-s.ownersUp)
	}
	return v
}

func resolve(level string, owners int) int {
	switch level {
	case "one":
		return 1
	case "quorum":
		return owners/2 + 1
	case "all":
		return owners
	}
	number, err := strconv.Atoi(level)
	if err != nil {
		panic(fmt.Sprintf("level %q", level))
	}
	return number
}

// levels are all that may be asked for with that n.
func levels(n int) []string {
	all := []string{"one", "quorum", "all"}
	for number := 1; number <= n; number++ {
		all = append(all, strconv.Itoa(number))
	}
	return all
}

// success is the status of a request that is met, by what the key is for.
func success(method string, of role) int {
	switch {
	case method == http.MethodPut, method == http.MethodDelete:
		return http.StatusNoContent
	case of == readWritten:
		return http.StatusOK
	}
	return http.StatusNotFound
}

func TestMatrixModel(t *testing.T) {
	for _, row := range []struct {
		q    question
		s    standing
		f    finding
		want verdict
	}{
		{question{3, "2", false}, standing{3, 3, 2}, finds, verdict{2, 3, true, 0}},
		{question{3, "quorum", false}, standing{3, 2, 2}, findsNothing, verdict{2, 2, true, 0}},
		{question{3, "quorum", false}, standing{3, 1, 2}, writes, verdict{2, 1, false, 0}},
		{question{3, "all", false}, standing{3, 2, 2}, writes, verdict{3, 2, false, 0}},
		{question{3, "one", false}, standing{3, 0, 2}, finds, verdict{1, 0, false, 0}},
		{question{5, "quorum", false}, standing{5, 3, 0}, writes, verdict{3, 3, true, 0}},
		{question{5, "4", false}, standing{5, 3, 2}, writes, verdict{4, 3, false, 0}},
		{question{5, "all", false}, standing{3, 3, 0}, writes, verdict{3, 3, true, 0}},
		{question{5, "5", false}, standing{3, 3, 0}, writes, verdict{5, 3, false, 0}},
		{question{3, "all", true}, standing{3, 3, 2}, writes, verdict{3, 3, true, 0}},
		{question{3, "2", true}, standing{3, 2, 2}, finds, verdict{2, 3, true, 0}},
		{question{3, "all", true}, standing{3, 2, 2}, writes, verdict{3, 3, true, 1}},
		{question{3, "all", true}, standing{3, 1, 1}, writes, verdict{3, 2, false, 0}},
		{question{3, "quorum", true}, standing{3, 0, 2}, writes, verdict{2, 2, true, 2}},
		{question{3, "one", true}, standing{3, 0, 1}, writes, verdict{1, 1, true, 1}},
		{question{3, "all", true}, standing{3, 2, 0}, writes, verdict{3, 2, false, 0}},
		{question{3, "all", true}, standing{3, 2, 2}, finds, verdict{3, 3, true, 1}},
		{question{3, "all", true}, standing{3, 2, 2}, findsNothing, verdict{3, 2, false, 0}},
		{question{3, "quorum", true}, standing{3, 2, 2}, findsNothing, verdict{2, 2, true, 0}},
		{question{3, "one", true}, standing{3, 0, 2}, findsNothing, verdict{1, 0, false, 0}},
		{question{3, "all", true}, standing{3, 1, 1}, findsNothing, verdict{3, 2, false, 0}},
	} {
		if got := judge(row.q, row.s, row.f); got != row.want {
			t.Errorf("%+v with %+v, %v: %+v, want %+v", row.q, row.s, row.f, got, row.want)
		}
	}
}
