package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
)

// seen is a view of a cluster; members are NAME, or NAME:ID:STATUS.
func seen(by string, layout node.LayoutView, members ...string) node.ClusterView {
	v := node.ClusterView{Cluster: "quorate", Self: by, Layout: layout}
	for _, m := range members {
		name, rest, _ := strings.Cut(m, ":")
		id, status, _ := strings.Cut(rest, ":")
		if id == "" {
			id = "id-" + name
		}
		if status == "" {
			status = "member"
		}
		v.Members = append(v.Members, node.MemberView{Name: name, ID: id, Status: status, Liveness: "alive", HTTP: name})
	}
	return v
}

var (
	settled  = node.LayoutView{Version: "02", Settled: true, Live: 1}
	changing = node.LayoutView{Version: "02", Live: 2, Progress: &node.ProgressView{Done: 1, Of: 8, Percent: 12.5},
		Waiting: []node.WaitView{{What: "owners to fetch what is theirs", For: []string{"b"}}}}
)

func TestDeparture(t *testing.T) {
	refused, draining := errors.New("connection refused"), &kvhttp.Problem{Type: "urn:quorate:draining"}
	leaving := seen("a", changing, "a::leaving", "b", "c")
	without, with := seen("b", settled, "b", "c"), seen("c", changing, "a::leaving", "b", "c")
	for name, r := range map[string]struct {
		looks  []sight
		others map[string]node.ClusterView
		want   string // the last line, or the error
		over   bool
	}{
		"under way":                 {looks: []sight{{view: leaving}}, want: "a is leaving: 12.5 % (1 of 8 reports); waits for owners to fetch what is theirs: b"},
		"dropping":                  {looks: []sight{{view: seen("a", settled, "a::leaving", "b")}}, want: "a is leaving: the others have its data; it drops its own and makes sure that nobody needs it"},
		"says so":                   {looks: []sight{{view: leaving}, {view: seen("a", settled, "b", "c")}}, want: "a has left, and is stopping"},
		"drains":                    {looks: []sight{{view: seen("a", settled, "b", "c")}, {err: draining}}, want: "a has left, and is stopping"},
		"gone, having said so":      {looks: []sight{{view: seen("a", settled, "b", "c")}, {err: refused}}, want: "a has left the cluster; its data directory can be deleted", over: true},
		"gone, others say so":       {looks: []sight{{view: leaving}, {err: refused}}, others: map[string]node.ClusterView{"b": with, "c": without}, want: "a has left the cluster; its data directory can be deleted", over: true},
		"drains, others say so":     {looks: []sight{{view: leaving}, {err: draining}}, others: map[string]node.ClusterView{"b": without}, want: "a has left, and is stopping"},
		"quiet for a moment":        {looks: []sight{{view: leaving}, {err: refused, quiet: changePatience - 1}}, others: map[string]node.ClusterView{"c": with}, want: "a does not answer: it has not left: c has it as leaving, alive"},
		"comes back":                {looks: []sight{{view: leaving}, {err: refused, quiet: changePatience - 1}, {view: leaving}}, others: map[string]node.ClusterView{"c": with}, want: "a is leaving: 12.5 % (1 of 8 reports); waits for owners to fetch what is theirs: b"},
		"died":                      {looks: []sight{{view: leaving}, {err: refused, quiet: changePatience}}, others: map[string]node.ClusterView{"c": with}, want: "a does not answer any more (connection refused), and it has not left: c has it as leaving, alive. Start it again and it goes on leaving; if it is lost: quorate remove a, with the --url of another member", over: true},
		"nobody to ask":             {looks: []sight{{view: leaving}, {err: refused, quiet: changePatience}}, want: "a does not answer any more (connection refused), and no other member can be asked whether it has left. Start it again and it goes on leaving; if it is lost: quorate remove a, with the --url of another member", over: true},
		"who knows nobody":          {looks: []sight{{view: leaving}, {err: refused}}, others: map[string]node.ClusterView{"b": seen("b", settled)}, want: "a does not answer: no other member can be asked whether it has left"},
		"starting":                  {looks: []sight{{view: seen("a", node.LayoutView{})}}, others: map[string]node.ClusterView{"b": with}, want: "a is starting"},
		"starts with an empty disk": {looks: []sight{{view: seen("a", node.LayoutView{})}}, others: map[string]node.ClusterView{"b": without}, want: "a has left the cluster; its data directory can be deleted", over: true},
		"another incarnation":       {looks: []sight{{view: seen("a", settled, "a:other", "b")}}, want: "a has left the cluster; its data directory can be deleted", over: true},
		"another node":              {looks: []sight{{view: with}}, want: "c answers where a did: --url must lead to one node. a goes on leaving", over: true},
	} {
		d := &departure{id: "id-a", name: "a", peers: leaving.Members}
		var got string
		var over bool
		for _, s := range r.looks {
			l, done, err := d.next(s, func(addr string) (node.ClusterView, error) {
				v, ok := r.others[addr]
				if !ok {
					return v, refused
				}
				return v, nil
			})
			got, over = l.text, done
			if err != nil {
				got, over = err.Error(), true
			}
		}
		if got != r.want || over != r.over {
			t.Errorf("%s: %q, over %v; want %q, over %v", name, got, over, r.want, r.over)
		}
	}
}

func TestRemoval(t *testing.T) {
	refused := errors.New("connection refused")
	old := settled
	old.Version = "01"
	done := "a is out of the ring, and the ring has settled"
	for name, r := range map[string]struct {
		before string
		s      sight
		want   string
		over   bool
	}{
		"not heard here yet":   {"01", sight{view: seen("b", old, "a", "b")}, "a is being removed: begins", false},
		"row gone, layout old": {"01", sight{view: seen("b", old, "b")}, "a is being removed: begins", false},
		"under way":            {"01", sight{view: seen("b", changing, "b")}, "a is being removed: 12.5 % (1 of 8 reports); waits for owners to fetch what is theirs: b", false},
		"settled":              {"01", sight{view: seen("b", settled, "b")}, done, true},
		"a namesake came":      {"01", sight{view: seen("b", settled, "a:other", "b")}, done, true},
		"it was joining":       {"", sight{view: seen("b", old, "b")}, done, true},
		"quiet for a moment":   {"01", sight{err: refused}, "the node at --url does not answer", false},
		"quiet for too long":   {"01", sight{err: refused, quiet: changePatience}, "the removal was accepted; the node at --url does not answer any more, so ask another for its status: connection refused", true},
	} {
		l, over, err := (&removal{name: "a", id: "id-a", version: r.before}).next(r.s, nil)
		got := l.text
		if err != nil {
			got, over = err.Error(), true
		}
		if got != r.want || over != r.over {
			t.Errorf("%s: %q, over %v; want %q, over %v", name, got, over, r.want, r.over)
		}
	}
}

// TestChangeLines: where lines stay, only what matters makes a new one.
func TestChangeLines(t *testing.T) {
	at := func(percent float64, bytes int64, waits ...string) line {
		l := node.LayoutView{Progress: &node.ProgressView{Of: 1000, Done: int(10 * percent), Percent: percent, Bytes: bytes}}
		if len(waits) > 0 {
			l.Waiting = []node.WaitView{{What: "it", For: waits}}
		}
		return changeText(seen("a", l, "a", "b"))
	}
	lines := []line{at(1.1, 0), at(1.2, 1<<20), at(1.2, 1<<20, "b"), at(2, 3<<30, "b", "gone (down)"), at(2, 3<<30, "b", "gone (down)")}
	for terminal, want := range map[bool]string{
		false: "1.1 % (11 of 1000 reports)\n" +
			"1.2 % (12 of 1000 reports), a has fetched 1.0 MiB; waits for it: b\n" +
			"2.0 % (20 of 1000 reports), a has fetched 3.0 GiB; waits for it: b, gone (down)\n" +
			"done\n",
		true: eraseLine + "1.1 % (11 of 1000 reports)" +
			eraseLine + "1.2 % (12 of 1000 reports), a has fetched 1.0 MiB" +
			eraseLine + "1.2 % (12 of 1000 reports), a has fetched 1.0 MiB; waits for it: b" +
			eraseLine + "2.0 % (20 of 1000 reports), a has fetched 3.0 GiB; waits for it: b, gone (down)" +
			eraseLine + "done\n",
	} {
		var out bytes.Buffer
		c := &changeLine{progress: newProgress(&out)}
		c.progress.terminal = terminal
		for _, l := range lines {
			c.tell(l, false)
		}
		c.tell(stay("done"), true)
		if out.String() != want {
			t.Errorf("terminal %v:\n%q, want\n%q", terminal, out.String(), want)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// script serves /cluster with one view after the other, the last one for ever, and notes what else is asked. It ends when it is out of
// views, if it is to.
type script struct {
	*httptest.Server
	views  []node.ClusterView
	busy   int // so many times what else is asked is 503 ring-busy
	status int // and then this
	ends   bool
	asked  []string
}

func newScript(t *testing.T, s *script) *script {
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/cluster":
			s.asked = append(s.asked, r.Method+" "+r.RequestURI)
			if s.busy > 0 {
				s.busy--
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"type":"urn:quorate:ring-busy","title":"t","status":503,"detail":"others first"}`)
				return
			}
			if s.status >= 400 {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(s.status)
				fmt.Fprintf(w, `{"type":"urn:quorate:refused","title":"t","status":%d,"detail":"no"}`, s.status)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			return
		case len(s.views) > 1:
		case s.ends && s.views == nil:
			panic(http.ErrAbortHandler)
		}
		if err := json.NewEncoder(w).Encode(s.views[0]); err != nil {
			t.Error(err)
		}
		if len(s.views) > 1 || s.ends {
			s.views = slices.Delete(s.views, 0, 1)
		}
		if len(s.views) == 0 {
			s.views = nil
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestLeaveCommand(t *testing.T) {
	member, leaving, left := seen("a", settled, "a", "b"), seen("a", changing, "a::leaving", "b"), seen("a", settled, "b")
	s := newScript(t, &script{views: []node.ClusterView{member, leaving, left}, ends: true})
	const told = `a is leaving: 12.5 % (1 of 8 reports); waits for owners to fetch what is theirs: b
a has left, and is stopping
a has left the cluster; its data directory can be deleted
`
	if status, out, errOut := quorate(t, "", "leave", "--url", s.URL); status != 0 || out != "" || errOut != told || !slices.Equal(s.asked, []string{"POST /cluster/leave"}) {
		t.Errorf("%d, %q, it asked %q\n%s", status, out, s.asked, errOut)
	}

	s = newScript(t, &script{views: []node.ClusterView{member}, status: 409})
	if status, _, errOut := quorate(t, "", "leave", "--url", s.URL); status != 1 || errOut != "quorate: refused: no\n" {
		t.Errorf("%d, %q", status, errOut)
	}
	s = newScript(t, &script{views: []node.ClusterView{seen("a", node.LayoutView{})}})
	if status, _, errOut := quorate(t, "", "leave", "--url", s.URL); status != 1 || errOut != "quorate: a is in no cluster yet\n" || s.asked != nil {
		t.Errorf("%d, %q", status, errOut)
	}
	s = newScript(t, &script{views: []node.ClusterView{member, leaving}})
	if status, _, errOut := quorate(t, "", "leave", "--no-wait", "--url", s.URL); status != 0 || errOut != "" || len(s.asked) != 1 {
		t.Errorf("%d, %q", status, errOut)
	}
	if status, _, errOut := quorate(t, "", "leave", "--timeout", "300ms", "--url", s.URL); status != 1 || !strings.HasSuffix(errOut,
		"quorate: not done after 300ms; the change goes on, and `quorate status` shows it\n") {
		t.Errorf("%d, %q", status, errOut)
	}
}

// TestLeaveOfABusyRing: it is asked again until there is room, unless nobody is to wait.
func TestLeaveOfABusyRing(t *testing.T) {
	member, left := seen("a", settled, "a", "b"), seen("a", settled, "b")
	s := newScript(t, &script{views: []node.ClusterView{member, left}, ends: true, busy: 2})
	const told = `not begun: as many changes of the ring as can be are under way
a has left, and is stopping
a has left the cluster; its data directory can be deleted
`
	if status, _, errOut := quorate(t, "", "leave", "--url", s.URL); status != 0 || errOut != told || len(s.asked) != 3 {
		t.Errorf("%d, it asked %q\n%s", status, s.asked, errOut)
	}
	for _, flags := range [][]string{{"--no-wait"}, {"--timeout", "100ms"}} {
		s = newScript(t, &script{views: []node.ClusterView{member}, busy: 9})
		if status, _, errOut := quorate(t, "", append([]string{"leave", "--url", s.URL}, flags...)...); status != 1 || !strings.HasSuffix(errOut, "ring-busy: others first\n") || len(s.asked) != 1 {
			t.Errorf("%v: %d, it asked %q\n%s", flags, status, s.asked, errOut)
		}
	}
}

// TestLeaveAsksTheOthers has a node that ends without having said that it has left.
func TestLeaveAsksTheOthers(t *testing.T) {
	other := newScript(t, &script{views: []node.ClusterView{seen("b", settled, "b")}})
	member := seen("a", settled, "a", "b")
	member.Members[1].HTTP = strings.TrimPrefix(other.URL, "http://")
	s := newScript(t, &script{views: []node.ClusterView{member}, ends: true})
	if status, _, errOut := quorate(t, "", "leave", "--url", s.URL); status != 0 || errOut != "a has left the cluster; its data directory can be deleted\n" {
		t.Errorf("%d, %q", status, errOut)
	}
}

func TestRemoveCommand(t *testing.T) {
	before := settled
	before.Version = "01"
	member, changing, done := seen("b", before, "a", "b"), seen("b", changing, "b"), seen("b", settled, "b")
	s := newScript(t, &script{views: []node.ClusterView{member, changing, done}})
	const told = `a is being removed: 12.5 % (1 of 8 reports); waits for owners to fetch what is theirs: b
a is out of the ring, and the ring has settled
`
	if status, out, errOut := quorate(t, "", "remove", "a", "--url", s.URL); status != 0 || out != "" || errOut != told || !slices.Equal(s.asked, []string{"POST /cluster/remove/a"}) {
		t.Errorf("%d, %q, it asked %q\n%s", status, out, s.asked, errOut)
	}
	s = newScript(t, &script{views: []node.ClusterView{member}})
	if status, _, errOut := quorate(t, "", "remove", "a", "--force", "--no-wait", "--url", s.URL); status != 0 || errOut != "" ||
		!slices.Equal(s.asked, []string{"POST /cluster/remove/a?force=true"}) {
		t.Errorf("%d, %q, it asked %q", status, errOut, s.asked)
	}
	s = newScript(t, &script{views: []node.ClusterView{member}, status: 404})
	if status, _, errOut := quorate(t, "", "remove", "z", "--url", s.URL); status != 1 || errOut != "quorate: refused: no\n" {
		t.Errorf("%d, %q", status, errOut)
	}
}

// TestFarewell: what is said of a node that has left, and that a signal cuts the wait short.
func TestFarewell(t *testing.T) {
	var out, log bytes.Buffer
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Data = "a", "/data"
	cfg.Logger = newTestLogger(&log)
	signals := interrupted()
	if err := bidFarewell(cfg, &out, signals, time.Hour); err != nil || out.String() != "left name=a; its data directory /data can be deleted\n" ||
		!strings.Contains(log.String(), "can be deleted") {
		t.Errorf("%v, %q, %q", err, out.String(), log.String())
	}
	if err := bidFarewell(cfg, &out, nil, 0); err != nil {
		t.Error(err)
	}
}
