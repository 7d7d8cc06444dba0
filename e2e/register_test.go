package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// register is one key with one writer, and what became of each of its writes. They are numbered from 1, in the order in which they were made; none began
// before the one before it was answered, so an acknowledged one is later than all with lower numbers, in the order of stamps too.
type register struct {
	path string

	mu     sync.Mutex
	writes []written
	floor  int // the last acknowledged, 0 if none
}

type written struct {
	deletes bool
	became  fate
	seen    bool // by a read
}

// fate is what is known of a write.
type fate uint8

const (
	underWay fate = iota
	acknowledged
	indeterminate // it may be seen, now or later
	notWritten    // it is never seen
)

func (f fate) String() string {
	return [...]string{"under way", "acknowledged", "indeterminate", "not_written"}[f]
}

// value is what a write stores: it says of which key and which write it is.
func (g *register) value(seq int) []byte {
	return fmt.Appendf(nil, "%s %d %s", g.path, seq, strings.Repeat("x", 200))
}

// begin takes the number of the next write.
func (g *register) begin(deletes bool) (seq int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, written{deletes: deletes})
	return len(g.writes)
}

// settle keeps what became of a write; false if it was seen and claims that it never will be.
func (g *register) settle(seq int, became fate) (honest bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := &g.writes[seq-1]
	w.became = became
	if became == acknowledged {
		g.floor = seq
	}
	return became != notWritten || !w.seen
}

// now is the write that whoever begins to read now must see, or a later one.
func (g *register) now() (floor int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.floor
}

// verdictOfRead is what a read has shown.
type verdictOfRead uint8

const (
	seenRight   verdictOfRead = iota
	seenStale                 // less than was acknowledged before it began
	seenPhantom               // what nobody wrote, or what was answered not_written
)

func (v verdictOfRead) String() string { return [...]string{"right", "stale", "phantom"}[v] }

// judge says whether a read that began when floor was the last acknowledged write may answer so.
func (g *register) judge(floor int, a answer) verdictOfRead {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.status == http.StatusNotFound {
		if floor == 0 {
			return seenRight
		}
		for _, w := range g.writes[floor-1:] {
			if w.deletes && w.became != notWritten {
				return seenRight
			}
		}
		return seenStale
	}
	seq := 0
	if _, text, found := strings.Cut(string(a.body), " "); found {
		_, _ = fmt.Sscan(text, &seq) // what is no number stays 0, which nobody wrote
	}
	if seq < 1 || seq > len(g.writes) || string(a.body) != string(g.value(seq)) {
		return seenPhantom
	}
	w := &g.writes[seq-1]
	w.seen = true
	switch {
	case w.deletes, w.became == notWritten:
		return seenPhantom
	case seq < floor:
		return seenStale
	}
	return seenRight
}

// String lists the last writes.
func (g *register) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%d writes, the last:", len(g.writes))
	for i := max(0, len(g.writes)-6); i < len(g.writes); i++ {
		kind := "put"
		if g.writes[i].deletes {
			kind = "delete"
		}
		fmt.Fprintf(&text, " %d %s %s;", i+1, kind, g.writes[i].became)
	}
	return text.String()
}

// TestRegisterJudges holds the judge of reads to its table. Write 1 was acknowledged, 2 is indeterminate, 3 was not written, 4 deleted and was acknowledged,
// 5 was acknowledged, 6 deletes and 7 puts, both open.
func TestRegisterJudges(t *testing.T) {
	g := &register{path: "/kv/b/k"}
	for _, w := range []written{
		{became: acknowledged}, {became: indeterminate}, {became: notWritten}, {deletes: true, became: acknowledged},
		{became: acknowledged}, {deletes: true, became: indeterminate}, {became: underWay},
	} {
		if seq := g.begin(w.deletes); w.became != underWay {
			g.settle(seq, w.became)
		}
	}
	if g.now() != 5 {
		t.Errorf("the last acknowledged is %d, want 5", g.now())
	}
	value := func(seq int) answer { return answer{status: http.StatusOK, body: g.value(seq)} }
	absent := answer{status: http.StatusNotFound}
	for i, row := range []struct {
		floor int
		a     answer
		want  verdictOfRead
	}{
		{0, absent, seenRight},
		{0, value(1), seenRight},
		{0, value(2), seenRight},
		{1, value(2), seenRight},
		{1, absent, seenRight}, // 4 has deleted it meanwhile
		{1, value(3), seenPhantom},
		{0, value(3), seenPhantom},
		{4, value(4), seenPhantom}, // a delete has no value
		{4, value(2), seenStale},
		{4, value(5), seenRight},
		{4, absent, seenRight},
		{5, value(1), seenStale},
		{5, value(5), seenRight},
		{5, value(7), seenRight},
		{5, absent, seenRight}, // 6 may have deleted it
		{7, absent, seenStale},
		{7, value(5), seenStale},
		{0, value(8), seenPhantom},
		{0, answer{status: http.StatusOK, body: []byte("/kv/b/l 1 x")}, seenPhantom},
		{0, answer{status: http.StatusOK}, seenPhantom},
	} {
		if got := g.judge(row.floor, row.a); got != row.want {
			t.Errorf("row %d: %v, want %v", i, got, row.want)
		}
	}
	if g.settle(7, notWritten) {
		t.Error("a write that was seen may say that it was not written")
	}
}
