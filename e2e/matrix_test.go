package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestAvailabilityMatrix kills one node after the other and asks, each time, every question that there is: every n, w and r,
// strict and sloppy, through an owner and through a node that owns nothing of the key, for keys of which 0 to n owners are
// down. The answers are those of judge, to the letter, as soon as the survivors know who is down; in the moment before
// that, a request that cannot be met may also be sent and be answered 504. In the end everybody comes back, and each key
// is what its answers promised.
func TestAvailabilityMatrix(t *testing.T) {
	slow(t)
	t.Parallel()
	for _, row := range []struct {
		size int
		ns   []int
	}{
		{3, []int{3}},    // every member is an owner: nobody can stand in
		{5, []int{3, 5}}, // two others, and none
		{7, []int{5}},
	} {
		t.Run(fmt.Sprintf("%d nodes", row.size), func(t *testing.T) {
			t.Parallel()
			m := &matrix{c: newCluster(t, row.size), down: map[string]bool{}, seen: map[string]bool{}}
			m.sloppy = m.modes(t)
			for _, n := range row.ns {
				m.stock(t, n)
			}
			m.prepare(t)
			m.phase(t, true)
			for _, victim := range m.order[:row.size-1] {
				victim.kill(t)
				m.down[victim.name] = true
				m.phase(t, false)
				m.everybodyKnows(t)
				m.phase(t, true)
			}
			m.complete(t, row.ns)
			m.bringBack(t)
			m.audit(t)
		})
	}
}

// modes are those of the cluster.
func (m *matrix) modes(t *testing.T) []bool {
	t.Helper()
	if a := m.c.nodes[0].put(t, fresh("matrix")+"?sloppy=true", "v"); a.status == http.StatusNotImplemented {
		t.Logf("strict alone: %s", a.body)
		return []bool{false}
	}
	return []bool{false, true}
}

// matrix is one cluster and the keys that it is asked about.
type matrix struct {
	c      *cluster
	keys   []*matrixKey
	order  []*node         // in which they are killed: the owners of one key first
	down   map[string]bool // by name
	turn   int             // walks through the coordinators
	sloppy []bool
	seen   map[string]bool // the cells that were asked about
}

// matrixKey is one key, its owners in order of preference, and what it may hold.
type matrixKey struct {
	path   string
	n      int
	owners []string
	role   role
	value  bool // it may hold its value, which is its path
	empty  bool // or nothing
	sloppy bool // a sloppy request wrote it
}

// role is what a key is for. Keys that are read are the same to the end; one that is written to is asked about
// once, or again if that certainly did nothing.
type role uint8

const (
	readNever role = iota
	readWritten
	readDeleted
	toPut
	toDelete
	roles
)

// enough is how many keys of each role there must be for each set of owners.
func enough(r role, sets int) int {
	if r < toPut {
		return max(2, 20/sets)
	}
	return max(140, 600/sets)
}

// stock finds keys of that n for every set of owners that there is, and settles whom to kill.
func (m *matrix) stock(t *testing.T, n int) {
	t.Helper()
	sets := map[string][]*matrixKey{}
	for drawn := 0; drawn < 5000; drawn++ {
		key := &matrixKey{path: fresh("matrix"), n: n, empty: true}
		view := m.c.nodes[drawn%len(m.c.nodes)].ring(t, key.path, "&n="+strconv.Itoa(n))
		key.owners = view.Owners
		if m.order == nil {
			for _, name := range append(view.Owners, view.Fallbacks...) {
				m.order = append(m.order, m.c.node(name))
			}
		}
		set := slices.Sorted(slices.Values(key.owners))
		name := strings.Join(set, " ")
		sets[name] = append(sets[name], key)
	}
	for _, keys := range sets {
		for r := range roles {
			many := min(enough(r, len(sets)), len(keys))
			for _, key := range keys[:many] {
				key.role = r
				m.keys = append(m.keys, key)
			}
			keys = keys[many:]
		}
	}
}

// prepare writes what is to be read and deleted later to all owners.
func (m *matrix) prepare(t *testing.T) {
	t.Helper()
	err := inParallel(t.Context(), 16, len(m.keys), func(ctx context.Context, i int) error {
		key, via := m.keys[i], m.c.nodes[i%len(m.c.nodes)]
		if key.role == readNever || key.role == toPut {
			return nil
		}
		query := fmt.Sprintf("?n=%d&w=all&timeout=30s", key.n)
		if err := answers(ctx, via, http.MethodPut, key.path+query, key.path, http.StatusNoContent); err != nil {
			return err
		}
		key.value, key.empty = true, false
		if key.role != readDeleted {
			return nil
		}
		key.value, key.empty = false, true
		return answers(ctx, via, http.MethodDelete, key.path+query, "", http.StatusNoContent)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answers returns what is wrong if the status is another.
func answers(ctx context.Context, n *node, method, path, body string, status int) error {
	a, err := n.send(ctx, method, path, []byte(body))
	if err == nil && a.status != status {
		err = fmt.Errorf("%s: status %d, want %d: %.300s", a.request, a.status, status, a.body)
	}
	return err
}

// everybodyKnows waits until each survivor refuses what needs all members, naming as many as there are.
func (m *matrix) everybodyKnows(t *testing.T) {
	t.Helper()
	size, status := len(m.c.nodes), http.StatusServiceUnavailable
	if len(m.down) == 0 {
		status = http.StatusNotFound
	}
	for _, n := range m.up() {
		eventually(t, healLimit, n.name+" knows who is down", func() error {
			a := n.get(t, fmt.Sprintf("/kv/matrix/all?n=%d&r=all&timeout=1s", size))
			p, err := a.problem()
			if err == nil && (a.status != status || len(m.down) > 0 && (p.Got == nil || *p.Got != size-len(m.down))) {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
}

func (m *matrix) up() []*node {
	return slices.DeleteFunc(slices.Clone(m.c.nodes), func(n *node) bool { return m.down[n.name] })
}

// standing is who is up for a key.
func (m *matrix) standing(key *matrixKey) standing {
	s := standing{owners: len(key.owners)}
	for _, name := range key.owners {
		if !m.down[name] {
			s.ownersUp++
		}
	}
	s.othersUp = len(m.c.nodes) - len(m.down) - s.ownersUp
	return s
}

// cell is one question as it is put: about a key, through a node.
type cell struct {
	question
	standing
	method string
	key    *matrixKey
	via    *node
	known  bool            // who is down, to everybody
	down   map[string]bool // by name
}

func (c *cell) String() string {
	return cellName(c.method, c.question, c.owners-c.ownersUp, slices.Contains(c.key.owners, c.via.name))
}

// phase puts every question once, many at a time.
func (m *matrix) phase(t *testing.T, known bool) {
	t.Helper()
	cells := m.cells(known)
	err := inParallel(t.Context(), 8, len(cells), func(ctx context.Context, i int) error {
		if err := cells[i].ask(ctx); err != nil {
			return fmt.Errorf("%v: %w", &cells[i], err)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%d of %d nodes are down, and everybody knows: %v\n%v", len(m.down), len(m.c.nodes), known, err)
	}
	t.Logf("%d of %d nodes down, known to all: %v: %d questions", len(m.down), len(m.c.nodes), known, len(cells))
	for i := range cells {
		m.seen[cells[i].String()] = true
	}
}

// cells lays out all questions that the nodes which are up now leave open. No key is written to twice in one phase.
func (m *matrix) cells(known bool) []cell {
	var cells []cell
	for role, methods := range map[role][]string{
		readNever: reading, readWritten: reading, readDeleted: reading, toPut: {http.MethodPut}, toDelete: {http.MethodDelete},
	} {
		for _, keys := range m.alike(role) {
			next := 0
			for _, q := range m.questions(keys[0].n) {
				for _, method := range methods {
					for _, owner := range []bool{true, false} {
						if next == len(keys) && role >= toPut {
							break // there are too few left: complete will tell if that leaves a gap
						}
						key := keys[next%len(keys)]
						if via := m.coordinator(key, owner); via != nil {
							cells = append(cells, cell{q, m.standing(key), method, key, via, known, m.down})
							next++
						}
					}
				}
			}
		}
	}
	return cells
}

// questions are all that can be asked with that n.
func (m *matrix) questions(n int) []question {
	var all []question
	for _, level := range levels(n) {
		for _, sloppy := range m.sloppy {
			all = append(all, question{n, level, sloppy})
		}
	}
	return all
}

var reading = []string{http.MethodGet, http.MethodHead}

// alike are the keys of a role that can be asked about, by n and by how many of their owners are up.
func (m *matrix) alike(r role) map[alike][]*matrixKey {
	keys := map[alike][]*matrixKey{}
	for _, key := range m.keys {
		asked := r == toPut && key.value || r == toDelete && key.empty // and something may have come of it
		if key.role == r && !asked {
			k := alike{key.n, m.standing(key).ownersUp}
			keys[k] = append(keys[k], key)
		}
	}
	return keys
}

type alike struct{ n, ownersUp int }

// coordinator takes, in turn, a node that is up and owns the key, or does not; nil if there is none.
func (m *matrix) coordinator(key *matrixKey, owner bool) *node {
	may := slices.DeleteFunc(m.up(), func(n *node) bool { return slices.Contains(key.owners, n.name) != owner })
	if len(may) == 0 {
		return nil
	}
	m.turn++
	return may[m.turn%len(may)]
}
