package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ask puts the question and returns what is wrong with the answer. It notes what the key may hold from now on.
func (c *cell) ask(ctx context.Context) error {
	level, body := "r", ""
	if c.write() {
		level = "w"
	}
	if c.method == http.MethodPut {
		body = c.key.path
	}
	path := fmt.Sprintf("%s?n=%d&%s=%s&sloppy=%v&timeout=20s", c.key.path, c.n, level, c.level, c.sloppy)
	a, err := c.via.send(ctx, c.method, path, []byte(body))
	if err != nil {
		return err
	}
	v := judge(c.question, c.standing, c.finding())
	if v.met {
		err = c.wantsSuccess(ctx, a, v)
	} else {
		err = c.wantsRefusal(a, v)
	}
	if err != nil {
		return fmt.Errorf("%w\n%d %v\n%.1000s", err, a.status, a.header, a.body)
	}
	return nil
}

func (c *cell) write() bool { return c.key.role >= toPut }

// finding is what an answer to the question would tell.
func (c *cell) finding() finding {
	switch {
	case c.write():
		return writes
	case c.key.role == readNever || c.ownersUp == 0:
		return findsNothing
	}
	return finds
}

// wantsSuccess expects what the key holds, or that it holds what is written now; and the numbers of the answer.
func (c *cell) wantsSuccess(ctx context.Context, a answer, v verdict) error {
	if c.write() {
		c.key.value, c.key.empty = c.method == http.MethodPut, c.method == http.MethodDelete
		c.key.sloppy = c.sloppy
	}
	switch {
	case a.status != success(c.method, c.key.role):
		return fmt.Errorf("want status %d", success(c.method, c.key.role))
	case a.header.Get("Quorate-Context") == "":
		return errors.New("no context")
	case a.header.Get("Quorate-Deleted") != map[bool]string{true: "true"}[c.key.role == readDeleted]:
		return errors.New("Quorate-Deleted is wrong")
	case c.method == http.MethodGet && a.status == http.StatusOK && string(a.body) != c.key.path:
		return errors.New("another value")
	case (c.method == http.MethodPut || a.status == http.StatusOK) != (a.header.Get("ETag") != ""):
		return errors.New("ETag is wrong")
	}
	by := a.header.Get("Quorate-Coordinator")
	if !c.write() && by != c.via.name || c.write() && !slices.Contains(c.key.owners, by) && c.ownersUp > 0 {
		return fmt.Errorf("coordinated by %q; owners %v", by, c.key.owners)
	}
	if err := c.wantsNumbers(a, v); err != nil {
		return err
	}
	return c.readBack(ctx, v)
}

// wantsNumbers looks at Quorate-Quorum.
func (c *cell) wantsNumbers(a answer, v verdict) error {
	numbers := map[string]int{}
	for member := range strings.SplitSeq(a.header.Get("Quorate-Quorum"), ", ") {
		name, text, _ := strings.Cut(member, "=")
		number, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("Quorate-Quorum: %w", err)
		}
		numbers[name] = number
	}
	level, counted := "r", "replies"
	if c.write() {
		level, counted = "w", "acks"
	}
	stoodIn, members := numbers["fallbacks"], 3
	if _, named := numbers["fallbacks"]; named {
		members++
		if stoodIn == 0 {
			return errors.New("fallbacks=0")
		}
	}
	switch got := numbers[counted]; {
	case len(numbers) != members, numbers["n"] != c.n, numbers[level] != v.needed, got < v.needed, got > c.owners:
		return fmt.Errorf("Quorate-Quorum, want n=%d, %s=%d", c.n, level, v.needed)
	case got-stoodIn > c.ownersUp, stoodIn < v.fallbacks, stoodIn > 0 && !c.sloppy, stoodIn > c.othersUp:
		return fmt.Errorf("Quorate-Quorum: %d of %d owners are up, at least %d fallbacks are needed", c.ownersUp, c.owners, v.fallbacks)
	}
	return nil
}

// readBack reads what was written with the smallest r that must meet it, if there are as many.
func (c *cell) readBack(ctx context.Context, v verdict) error {
	r := c.owners - v.needed + 1
	if !c.write() || c.sloppy || r > c.ownersUp {
		return nil
	}
	a, err := c.via.send(ctx, http.MethodGet, fmt.Sprintf("%s?n=%d&r=%d&timeout=20s", c.key.path, c.n, r), nil)
	if err != nil {
		return err
	}
	if a.status == http.StatusOK && string(a.body) == c.key.path && c.key.value || a.status == http.StatusNotFound && a.header.Get("Quorate-Deleted") == "true" && c.key.empty {
		return nil
	}
	return fmt.Errorf("read back with r=%d: %d %s", r, a.status, a.body)
}

// wantsRefusal expects 503, and nothing done; while the end of a node is not known to everybody, 504 as well.
func (c *cell) wantsRefusal(a answer, v verdict) error {
	kind, outcome := "quorum-unavailable", "not_written"
	switch {
	case a.status == http.StatusServiceUnavailable:
	case a.status == http.StatusGatewayTimeout && !c.known:
		kind, outcome = "quorum-timeout", "indeterminate"
	default:
		return errors.New("want 503, or 504 as long as it is not known")
	}
	if c.write() && outcome == "indeterminate" {
		c.key.value, c.key.empty = true, true
		c.key.sloppy = c.sloppy
	}
	if c.method == http.MethodHead {
		return nil
	}
	p, err := a.problem()
	switch {
	case err != nil:
		return err
	case p.Type != "urn:quorate:"+kind, c.write() && p.Outcome != outcome, !c.write() && p.Outcome != "":
		return fmt.Errorf("want %s, outcome %s of writes", kind, outcome)
	case p.Needed == nil || *p.Needed != v.needed, p.Got == nil || *p.Got >= v.needed:
		return fmt.Errorf("want needed=%d and got less", v.needed)
	case c.known && *p.Got != v.got:
		return fmt.Errorf("want got=%d", v.got)
	case kind == "quorum-timeout" && *p.Got > v.got:
		return fmt.Errorf("want got at most %d", v.got)
	}
	return c.wantsReplicas(&p, v)
}

// wantsReplicas expects every owner in the list, and of one that is down that it was not reached.
func (c *cell) wantsReplicas(p *problem, v verdict) error {
	asked := c.sloppy && c.finding() == findsNothing && v.got == c.ownersUp // in the hope that stand-ins hold something
	for _, name := range c.key.owners {
		switch how := p.replica(name); {
		case how == "":
			return fmt.Errorf("%s is not listed", name)
		case how == "ok" && c.down[name], c.known && how != "unreachable" && c.down[name]:
			return fmt.Errorf("%s is down and listed as %s", name, how)
		case c.known && !c.down[name] && how != "not-sent" && !asked:
			return fmt.Errorf("%s was %s, where nothing is sent", name, how)
		}
	}
	return nil
}

// complete fails if a cell was never asked about.
func (m *matrix) complete(t *testing.T, ns []int) {
	t.Helper()
	size := len(m.c.nodes)
	for _, n := range ns {
		for down := 0; down <= min(n, size-1); down++ {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
				for _, level := range levels(n) {
					for _, sloppy := range m.sloppy {
						m.wantsCell(t, n, down, method, level, sloppy)
					}
				}
			}
		}
	}
}

func (m *matrix) wantsCell(t *testing.T, n, down int, method, level string, sloppy bool) {
	t.Helper()
	for _, owner := range []bool{true, false} {
		if owner && down == n || !owner && len(m.c.nodes) == n {
			continue // there is no such node
		}
		name := cellName(method, question{n, level, sloppy}, down, owner)
		if !m.seen[name] {
			t.Errorf("never asked: %s", name)
		}
	}
}

func cellName(method string, q question, down int, owner bool) string {
	return fmt.Sprintf("%s n=%d level=%s sloppy=%v, %d owners down, through an owner: %v", method, q.n, q.level, q.sloppy, down, owner)
}

// bringBack kills the rest and starts everybody again.
func (m *matrix) bringBack(t *testing.T) {
	t.Helper()
	m.c.killAll(t)
	for _, n := range m.c.nodes {
		n.start(t)
	}
	for _, n := range m.c.nodes {
		n.waitReady(t)
	}
	m.c.waitSettled(t)
	clear(m.down)
	m.everybodyKnows(t)
}

// audit reads every key from all owners: what was acknowledged is there, what was refused is not.
func (m *matrix) audit(t *testing.T) {
	t.Helper()
	err := inParallel(t.Context(), 16, len(m.keys), func(ctx context.Context, i int) error {
		key, via := m.keys[i], m.c.nodes[i%len(m.c.nodes)]
		look := func() error { return key.audit(ctx, via) }
		if key.sloppy {
			return poll(healLimit, look) // fallbacks deliver after a while
		}
		return look()
	})
	if err != nil {
		t.Error(err)
	}
}

func (k *matrixKey) audit(ctx context.Context, via *node) error {
	a, err := via.send(ctx, http.MethodGet, fmt.Sprintf("%s?n=%d&r=all&sloppy=false&timeout=20s", k.path, k.n), nil)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusOK && string(a.body) == k.path && k.value, a.status == http.StatusNotFound && k.empty:
		return nil
	}
	return fmt.Errorf("%s: %d %.200s; may hold its value: %v, nothing: %v", a.request, a.status, a.body, k.value, k.empty)
}
