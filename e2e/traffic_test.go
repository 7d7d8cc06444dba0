package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// traffic is strict writes and reads of many keys, through every node that takes part, each judged when it is answered. A key has one writer, which
// waits for its answer before it writes again, and many readers.
type traffic struct {
	w, r int
	keys []*register
	end  context.CancelFunc
	done chan struct{}

	mu         sync.Mutex
	nodes      []*node        // that are asked
	ending     map[*node]bool // that may break connections: they are killed, or leave
	patience   time.Duration  // of requests
	accounts   []*account     // of each phase, the present one last
	complaints []string       // the first of what must not be
	more       int            // how many there were beyond
	told       bool           // account has been called
}

const (
	trafficWriters = 8
	trafficReaders = 8
	trafficPause   = 8 * time.Millisecond // between two requests of one of them: the nodes share the machine with their clients
	keysOfWriter   = 40
	mostComplaints = 20
)

// newTraffic begins, through these nodes, with numbers that should see every acknowledged write: w + r > n = 3.
func newTraffic(t testing.TB, w, r int, nodes ...*node) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &traffic{w: w, r: r, end: cancel, done: make(chan struct{}), nodes: nodes, ending: map[*node]bool{}}
	for range trafficWriters * keysOfWriter {
		f.keys = append(f.keys, &register{path: fresh("traffic")})
	}
	f.phase("before")
	var group sync.WaitGroup
	for i := range trafficWriters {
		own := f.keys[i*keysOfWriter : (i+1)*keysOfWriter]
		group.Go(func() { paced(ctx, func(round int) { f.writes(own[round%len(own)], round/len(own)) }) })
	}
	for range trafficReaders {
		group.Go(func() { paced(ctx, func(int) { f.reads(f.keys[rand.IntN(len(f.keys))]) }) })
	}
	go func() {
		group.Wait()
		close(f.done)
	}()
	t.Cleanup(func() {
		f.stop()
		if !f.told {
			f.account(t)
		}
	})
	return f
}

// paced calls again and again, with a pause, until the context ends.
func paced(ctx context.Context, call func(round int)) {
	pause := time.NewTicker(trafficPause)
	defer pause.Stop()
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
			call(round)
		}
	}
}

// stop ends the traffic when what is under way is answered.
func (f *traffic) stop() {
	f.end()
	<-f.done
}

// phase books from now on under a name. Who waits for nodes that are away asks the others little, so requests are impatient.
func (f *traffic) phase(name string) { f.begin(name, false, 500*time.Millisecond) }

// calmPhase is phase for a time in which everybody is up and connected, which may go by without a change being made.
func (f *traffic) calmPhase(name string) { f.begin(name, true, 5*time.Second) }

func (f *traffic) begin(name string, calm bool, patience time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accounts = append(f.accounts, &account{phase: name, calm: calm, errors: map[string]int{}})
	f.patience = patience
}

// through asks these nodes from now on.
func (f *traffic) through(nodes ...*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = slices.Clone(nodes)
	for _, n := range nodes {
		delete(f.ending, n)
	}
}

// expectEnd lets a node break connections, which it may do only if it ends.
func (f *traffic) expectEnd(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ending[n] = true
}

// anyone is a node to ask, whether it may break the connection by now, and how long it may take.
func (f *traffic) anyone() (via *node, ending bool, patience time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	via = f.nodes[rand.IntN(len(f.nodes))]
	return via, f.ending[via], f.patience
}

// book changes the account of the present phase.
func (f *traffic) book(change func(*account)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.accounts[len(f.accounts)-1])
}

// complain keeps what must not be.
func (f *traffic) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.complaints) == mostComplaints {
		f.more++
		return
	}
	phase := f.accounts[len(f.accounts)-1].phase
	f.complaints = append(f.complaints, fmt.Sprintf("%s, phase %q: ", time.Now().Format("15:04:05.000"), phase)+fmt.Sprintf(format, args...))
}

// writes makes the next write of a key, and reads an acknowledged one back.
func (f *traffic) writes(key *register, round int) {
	via, ending, patience := f.anyone()
	method := http.MethodPut
	if round%5 == 4 {
		method = http.MethodDelete
	}
	seq := key.begin(method == http.MethodDelete)
	var body []byte
	if method == http.MethodPut {
		body = key.value(seq)
	}
	a, err := via.send(context.Background(), method, fmt.Sprintf("%s?w=%d&timeout=%s", key.path, f.w, patience), body)
	became, name := acknowledged, ""
	if err != nil || a.status != http.StatusNoContent {
		became, name = f.refused(via, ending, a, err, true)
	}
	if !key.settle(seq, became) {
		f.complain("phantom: %s was seen although write %d of it was answered not_written by %s", key.path, seq, via.name)
		f.book(func(c *account) { c.phantom++ })
	}
	f.book(func(c *account) { c.wrote(became, name) })
	if became == acknowledged && round%2 == 0 {
		f.reads(key)
	}
}

// reads judges one read of a key.
func (f *traffic) reads(key *register) {
	via, ending, patience := f.anyone()
	floor := key.now()
	a, err := via.send(context.Background(), http.MethodGet, fmt.Sprintf("%s?r=%d&timeout=%s", key.path, f.r, patience), nil)
	if err != nil || a.status != http.StatusOK && !a.absent() {
		_, name := f.refused(via, ending, a, err, false)
		f.book(func(c *account) { c.reads++; c.errors[name]++ })
		return
	}
	v := key.judge(floor, a)
	f.book(func(c *account) { c.read(v) })
	if v != seenRight {
		f.complain("%s: %s through %s, after write %d was acknowledged: status %d %.80q; %s", v, key.path, via.name, floor, a.status, a.body, key)
	}
}

// absent says that there is no value, or none any more.
func (a answer) absent() bool {
	p, err := a.problem()
	return a.status == http.StatusNotFound && err == nil && p.Type == "urn:quorate:not-found"
}

// refusals are the problems that a request may meet while the ring changes and members go, with what a write then came to.
var refusals = map[string]struct {
	status int
	became fate
}{
	"quorum-unavailable": {http.StatusServiceUnavailable, notWritten},
	"quorum-timeout":     {http.StatusGatewayTimeout, indeterminate},
	"overloaded":         {http.StatusServiceUnavailable, notWritten},
	"draining":           {http.StatusServiceUnavailable, notWritten},
	"not-ready":          {http.StatusServiceUnavailable, notWritten},
}

// refused says what became of a request that was not met, and by what name it is booked. It complains about what is not documented.
func (f *traffic) refused(via *node, ending bool, a answer, err error, write bool) (became fate, name string) {
	if err != nil {
		f.mu.Lock()
		ending = ending || f.ending[via]
		f.mu.Unlock()
		if !ending {
			f.complain("%s is to go on, and broke the connection: %v", via.name, err)
		}
		return indeterminate, "connection"
	}
	p, err := a.problem()
	if err != nil {
		f.complain("%v", err)
		return indeterminate, "undocumented"
	}
	name = strings.TrimPrefix(p.Type, "urn:quorate:")
	row, known := refusals[name]
	outcome := ""
	if write {
		outcome = row.became.String()
	}
	if !known || a.status != row.status || p.Outcome != outcome {
		f.complain("%s: status %d, outcome %q: %s", a.request, a.status, p.Outcome, a.body)
	}
	if p.Outcome == notWritten.String() {
		return notWritten, name // it is held to what it says
	}
	return indeterminate, name
}

// audit reads every key through every one of some nodes, after the traffic has stopped: what was acknowledged last, or a later write, is there.
func (f *traffic) audit(t testing.TB, nodes ...*node) {
	t.Helper()
	f.stop()
	f.phase("audit")
	err := inParallel(t.Context(), 16, len(nodes)*len(f.keys), func(ctx context.Context, i int) error {
		key, via := f.keys[i/len(nodes)], nodes[i%len(nodes)]
		var a answer
		err := poll(soon, func() (err error) {
			a, err = via.send(ctx, http.MethodGet, key.path+"?r=2", nil)
			if err == nil && a.status != http.StatusOK && !a.absent() {
				err = fmt.Errorf("%s: status %d %.300s", a.request, a.status, a.body)
			}
			return err
		})
		if err != nil {
			return err
		}
		v := key.judge(key.now(), a)
		f.book(func(c *account) {
			c.read(v)
			if v == seenStale {
				c.lost++
			}
		})
		if v != seenRight {
			f.complain("%s at the end: %s through %s: status %d %.80q; %s", v, key.path, via.name, a.status, a.body, key)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// account prints what was done, and fails the test for each thing that must not be.
func (f *traffic) account(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = true
	t.Logf("n=3, w=%d, r=%d\n%s", f.w, f.r, table(f.accounts))
	for _, complaint := range f.complaints {
		t.Error(complaint)
	}
	if f.more > 0 {
		t.Errorf("and %d more", f.more)
	}
	for _, c := range f.accounts {
		// A connection breaks only with a node that has left, or there is a complaint already: then it is nobody of those who are up.
		if all, met := c.writes+c.reads-c.errors["connection"], c.acknowledged+c.right; c.calm && (met == 0 || met < all-all/50) {
			t.Errorf("phase %q, with everybody up: %d of %d requests were met, want 98 %%", c.phase, met, all)
		}
	}
}

// account is the sum of what a phase has brought.
type account struct {
	phase                                  string
	writes, acknowledged, open, notWritten int
	reads, right, stale, phantom, lost     int
	errors                                 map[string]int // by the name of the problem
	calm                                   bool           // everybody was up and connected: nearly everything is to be met
}

func (c *account) wrote(became fate, name string) {
	c.writes++
	switch became {
	case acknowledged:
		c.acknowledged++
		return
	case notWritten:
		c.notWritten++
	default:
		c.open++
	}
	c.errors[name]++
}

func (c *account) read(v verdictOfRead) {
	c.reads++
	switch v {
	case seenRight:
		c.right++
	case seenStale:
		c.stale++
	case seenPhantom:
		c.phantom++
	}
}

func table(accounts []*account) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "phase\twrites\tacknowledged\tindeterminate\tnot written\treads\tright\tstale\tphantom\tlost\terrors")
	sum := &account{phase: "all", errors: map[string]int{}}
	row := func(c *account) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t", c.phase, c.writes, c.acknowledged, c.open, c.notWritten, c.reads, c.right, c.stale, c.phantom, c.lost)
		for _, name := range slices.Sorted(maps.Keys(c.errors)) {
			fmt.Fprintf(w, "%s %d  ", name, c.errors[name])
			if c != sum {
				sum.errors[name] += c.errors[name]
			}
		}
		fmt.Fprintln(w)
	}
	for _, c := range accounts {
		row(c)
		sum.writes, sum.acknowledged, sum.open, sum.notWritten = sum.writes+c.writes, sum.acknowledged+c.acknowledged, sum.open+c.open, sum.notWritten+c.notWritten
		sum.reads, sum.right, sum.stale, sum.phantom, sum.lost = sum.reads+c.reads, sum.right+c.right, sum.stale+c.stale, sum.phantom+c.phantom, sum.lost+c.lost
	}
	row(sum)
	w.Flush()
	return text.String()
}
