package containers

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// register is a key with one writer, that counts.
type register struct {
	path  string
	acked atomic.Int64 // the highest number acknowledged
	tried atomic.Int64 // the highest number sent
}

// excuse is the moment of a fault: the time that the command took which caused it.
type excuse struct {
	what     string
	from, to time.Time
}

// failure is a request that was not answered as it should be.
type failure struct {
	from, to time.Time
	text     string
}

// traffic writes and reads with w=2, r=2 of n=3 through all nodes that may be used, for as long as it runs.
type traffic struct {
	mu       sync.Mutex
	nodes    []*node
	all      []*register
	excuses  []excuse
	failures []failure
	stale    []string

	writes, reads atomic.Int64
	stopping      chan struct{}
	group         sync.WaitGroup
}

const (
	workers   = 8
	registers = 40 // of each worker
	// pace is a worker's pause between a write and its reads: some hundred requests a second altogether, which leaves a machine
	// with two cores room for what is tested.
	pace = 20 * time.Millisecond
	// patience of one request: longer than the 4 to 5 s after which a connection to a silent node is given up.
	patience = "timeout=20s"
	// slack is what an excuse is longer than its command: a write is handed to an owner that has answered in the last 20 ms.
	slack = 50 * time.Millisecond
)

// maxShown bounds how many complaints of a kind are printed.
const maxShown = 10

// startTraffic begins at once.
func startTraffic(nodes []*node) *traffic {
	l := &traffic{nodes: slices.Clone(nodes), stopping: make(chan struct{})}
	for worker := range workers {
		l.group.Go(func() { l.work(worker) })
	}
	return l
}

// stop returns when the last request has ended.
func (l *traffic) stop() {
	close(l.stopping)
	l.group.Wait()
}

// without keeps the traffic from a node that is to go, as a load balancer does; with lets it in again.
func (l *traffic) without(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = slices.DeleteFunc(slices.Clone(l.nodes), func(other *node) bool { return other == n })
}

func (l *traffic) with(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = append(slices.Clone(l.nodes), n)
}

// fault runs what breaks a node, which the traffic is kept from afterwards, and excuses what is under way meanwhile.
func (l *traffic) fault(n *node, what string, strike func()) {
	from := time.Now()
	strike()
	l.without(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.excuses = append(l.excuses, excuse{what, from, time.Now().Add(slack)})
}

func (l *traffic) pick() *node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[rand.IntN(len(l.nodes))]
}

func (l *traffic) register(path string) *register {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &register{path: path}
	l.all = append(l.all, r)
	return r
}

func (l *traffic) any() *register {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[rand.IntN(len(l.all))]
}

func (l *traffic) work(worker int) {
	mine := make([]*register, registers)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := 0; ; i++ {
		slot := i % registers
		if mine[slot] == nil {
			mine[slot] = l.register(fmt.Sprintf("/kv/fleet/%d-%d-%d", worker, slot, i))
		}
		if !l.write(mine[slot]) {
			// What became of it is unknown, and it may become that later: the key is left to what it was.
			mine[slot] = nil
		} else {
			l.read(mine[slot])
		}
		l.read(l.any())
		select {
		case <-l.stopping:
			return
		case <-tick.C:
		}
	}
}

func (l *traffic) write(r *register) bool {
	number := r.tried.Add(1)
	n, from := l.pick(), time.Now()
	a, err := n.send(http.MethodPut, r.path+"?n=3&w=2&"+patience, strconv.FormatInt(number, 10))
	if err == nil && a.status == http.StatusNoContent {
		r.acked.Store(number)
		l.writes.Add(1)
		return true
	}
	l.failed(from, "PUT", n, r, a, err)
	return false
}

func (l *traffic) read(r *register) {
	n, from, least := l.pick(), time.Now(), r.acked.Load()
	a, err := n.send(http.MethodGet, r.path+"?n=3&r=2&"+patience, "")
	if complaint, ok := r.judge(a, err, least); !ok {
		l.failed(from, "GET", n, r, a, err)
	} else if complaint != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stale = append(l.stale, fmt.Sprintf("%s through %s at %s: %s", r.path, n.name, from.Format(time.TimeOnly), complaint))
	}
	l.reads.Add(1)
}

// judge says what is wrong with the value that was read; ok is false if none was.
func (r *register) judge(a answer, err error, least int64) (complaint string, ok bool) {
	switch {
	case err != nil:
		return "", false
	case a.status == http.StatusNotFound && least == 0:
		return "", true
	case a.status == http.StatusNotFound:
		return fmt.Sprintf("not found, and %d was acknowledged", least), true
	case a.status != http.StatusOK:
		return "", false
	}
	got, err := strconv.ParseInt(a.body, 10, 64)
	if most := r.tried.Load(); err != nil || got < least || got > most {
		return fmt.Sprintf("read %q, want %d to %d", a.body, least, most), true
	}
	return "", true
}

func (l *traffic) failed(from time.Time, method string, n *node, r *register, a answer, err error) {
	text := fmt.Sprintf("%s %s through %s at %s: status %d %.300s %v", method, r.path, n.name, from.Format("15:04:05.000"), a.status, a.body, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, failure{from, time.Now(), text})
}

// report fails the test for everything that a client must not see, and reads every key once more through every node.
func (l *traffic) report(t *testing.T, nodes []*node) {
	t.Helper()
	excused, unexcused := map[string]int{}, 0
	for _, f := range l.failures {
		i := slices.IndexFunc(l.excuses, func(e excuse) bool { return !f.from.After(e.to) && !f.to.Before(e.from) })
		if i < 0 {
			if unexcused++; unexcused <= maxShown {
				t.Errorf("an error without excuse: %s", f.text)
			}
			continue
		}
		excused[l.excuses[i].what]++
	}
	if unexcused > maxShown {
		t.Errorf("and %d more", unexcused-maxShown)
	}
	lost := 0
	for i, r := range l.all {
		for j := range nodes {
			n := nodes[(i+j)%len(nodes)]
			a, err := n.send(http.MethodGet, r.path+"?n=3&r=2&"+patience, "")
			complaint, ok := r.judge(a, err, r.acked.Load())
			if !ok {
				t.Errorf("GET %s through %s after all: status %d %.300s %v", r.path, n.name, a.status, a.body, err)
			} else if complaint != "" {
				lost++
				t.Errorf("lost: %s through %s: %s", r.path, n.name, complaint)
			}
		}
	}
	for _, s := range l.stale[:min(maxShown, len(l.stale))] {
		t.Errorf("stale: %s", s)
	}
	t.Logf("%d writes acknowledged and %d reads, %d keys: %d lost, %d stale, %d errors, of them excused: %v", l.writes.Load(), l.reads.Load(),
		len(l.all), lost, len(l.stale), len(l.failures), excused)
}
