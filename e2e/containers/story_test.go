package containers

import (
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cutFor is how long the network of one node is taken away: longer than anything in the product that could give up.
const cutFor = 65 * time.Second

// TestFleet is a day in the life of compose.yaml.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("not in the short set")
	}
	compose := need(t)
	f := newFleet(t, compose, buildImage(t))
	up(t, f)
	if t.Failed() {
		return
	}
	ids := identities(t, f)
	l := startTraffic(f.nodes)
	stopped := false
	halt := func() {
		if !stopped {
			stopped = true
			l.stop()
		}
	}
	t.Cleanup(halt)

	for _, chapter := range []struct {
		name string
		tell func(*testing.T, *fleet, *traffic)
	}{{"kill", killed}, {"cut", cut}, {"rolling restart", rolled}} {
		began := time.Now()
		chapter.tell(t, f, l)
		t.Logf("%s: %.0f s", chapter.name, time.Since(began).Seconds())
	}
	halt()
	l.report(t, f.nodes)
	for name, id := range identities(t, f) {
		if before, ok := ids[name]; ok && before != id {
			t.Errorf("%s was restarted with its volume and has another identity", name)
		}
	}
	faulted(t, f)
	measured(t, f)
	wiped(t, f, l)
}

// up starts the five and speaks to each.
func up(t *testing.T, f *fleet) {
	t.Helper()
	began := time.Now()
	f.do(t, "up", "-d", "--no-build")
	for _, n := range f.nodes {
		eventually(t, n.name+" is ready", n.ready)
	}
	t.Logf("from up to five ready: %.1f s", time.Since(began).Seconds())
	f.waitSettled(t)
	for i, n := range f.nodes {
		path := "/kv/hello/" + n.name
		n.wants(t, http.StatusNoContent, http.MethodPut, path, n.name)
		other := f.nodes[(i+1)%len(f.nodes)]
		if a := other.wants(t, http.StatusOK, http.MethodGet, path, ""); a.body != n.name {
			t.Errorf("%s through %s: %q", path, other.name, a.body)
		}
		n.wants(t, http.StatusNotFound, http.MethodGet, "/faults", "")
		// The image as such: nobody in particular, nothing but the volume to write to, and a health check of its own.
		id := n.container(t)
		if got := docker(t, "inspect", "-f", "{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{len .Mounts}}", id); got != "true 65532:65532 1" {
			t.Errorf("%s: read-only, user, mounts: %s", n.name, got)
		}
		eventually(t, n.name+" is healthy", func() error {
			if got := docker(t, "inspect", "-f", "{{.State.Health.Status}}", id); got != "healthy" {
				return errNot(got)
			}
			return nil
		})
	}
	f.nodes[0].wants(t, http.StatusOK, http.MethodGet, "/metrics", "")
}

type errNot string

func (e errNot) Error() string { return "it is " + string(e) }

// identities are the incarnations of the five.
func identities(t *testing.T, f *fleet) map[string]string {
	t.Helper()
	ids := map[string]string{}
	members, err := f.nodes[0].members()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		ids[n.name] = members[n.name].ID
	}
	return ids
}

// killed kills one container, leaves it dead until its peers know, and starts it on its volume.
func killed(t *testing.T, f *fleet, l *traffic) {
	t.Helper()
	victim := f.nodes[1]
	id := victim.container(t)
	l.fault(victim, "kill", func() { docker(t, "kill", id) })
	knownDead(t, f, victim)
	docker(t, "start", id)
	f.waitSettled(t)
	l.with(victim)
}

// knownDead waits until all others hold the node for dead.
func knownDead(t *testing.T, f *fleet, victim *node) {
	t.Helper()
	for _, n := range f.nodes {
		if n == victim {
			continue
		}
		eventually(t, n.name+" holds "+victim.name+" for dead", func() error {
			members, err := n.members()
			if err == nil && members[victim.name].Liveness != "dead" {
				err = errNot(members[victim.name].Liveness)
			}
			return err
		})
	}
}

// cut takes one node's network away for more than a minute, starts a sixth node meanwhile, which gets its address, and
// gives the network back.
func cut(t *testing.T, f *fleet, l *traffic) {
	t.Helper()
	lonely, sixth := f.nodes[3], f.all[5]
	id, before := lonely.container(t), lonely.address(t)
	l.fault(lonely, "cut", func() { docker(t, "network", "disconnect", f.network(), id) })
	began := time.Now()
	knownDead(t, f, lonely)

	f.do(t, "up", "-d", "--no-build", sixth.name)
	eventually(t, "the sixth node is ready", sixth.ready)
	sixth.wants(t, http.StatusOK, http.MethodGet, "/kv/hello/node-1", "")
	l.with(sixth)

	// The side of one: it lives, it serves what needs one replica, and it says so where it cannot.
	if out, err := lonely.inside(t, "health"); err != nil {
		t.Errorf("a node with data is ready, cut off or not: %v %s", err, out)
	}
	for time.Since(began) < cutFor {
		out, err := lonely.inside(t, "put", "cut/off", "v", "--w", "2", "--timeout", "300ms")
		if err == nil {
			t.Fatalf("a write with w=2 was acknowledged by a node that is cut off: %s", out)
		}
		if !strings.Contains(err.Error(), "not_written") && !strings.Contains(err.Error(), "indeterminate") {
			t.Errorf("the error does not say what became of the write: %v", err)
		}
		if _, err := lonely.inside(t, "get", "hello/node-1", "--r", "2", "--timeout", "300ms"); err == nil {
			t.Fatal("a read with r=2 was answered by a node that is cut off")
		}
	}
	status, err := f.nodes[0].inside(t, "status")
	t.Logf("cut off for %.0f s:\n%s%v", time.Since(began).Seconds(), status, err)

	docker(t, "network", "connect", "--alias", lonely.name, f.network(), id)
	healed := time.Now()
	f.nodes = f.all
	f.waitSettled(t)
	t.Logf("%s was at %s and is at %s, %s is at %s; all see all alive after %.1f s", lonely.name, before, lonely.address(t), sixth.name,
		sixth.address(t), time.Since(healed).Seconds())
	l.with(lonely)
}

// rolled restarts the five one after the other, each in good order and at another address than before: somebody else takes the
// one that it had.
func rolled(t *testing.T, f *fleet, l *traffic) {
	t.Helper()
	for _, n := range f.all[:5] {
		id, before := n.container(t), n.address(t)
		l.without(n)
		docker(t, "stop", "-t", "20", id)
		if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", id); code != "0" {
			t.Errorf("%s: exit status %s after SIGTERM", n.name, code)
		}
		squatter := f.project + "-in-the-place-of-" + n.name
		defer remove(t, "rm", "-f", "-v", squatter)
		docker(t, "run", "-d", "--name", squatter, "--network", f.network(), "-e", "QUORATE_CLUSTER=squatters", f.image)
		docker(t, "start", id)
		if after := n.address(t); after == before {
			t.Errorf("%s is at %s again, which was to change", n.name, after)
		}
		f.waitSettled(t)
		l.with(n)
	}
}

// wiped loses the volume of one node: what comes back under its name is somebody else, and knows that it knows nothing.
func wiped(t *testing.T, f *fleet, l *traffic) {
	t.Helper()
	n := f.nodes[4]
	before := identities(t, f)[n.name]
	docker(t, "rm", "-f", n.container(t))
	docker(t, "volume", "rm", f.project+"_data-5")
	f.do(t, "up", "-d", "--no-build", n.name)
	for _, other := range f.nodes {
		eventually(t, other.name+" sees another incarnation of "+n.name, func() error {
			members, err := other.members()
			if err == nil && (members[n.name].ID == before || !members[n.name].Gaining) {
				err = errNot(members[n.name].ID)
			}
			return err
		})
	}
	f.waitSettled(t)
	knows := func(r *register) {
		t.Helper()
		if a, err := n.send(http.MethodGet, r.path+"?local=true", ""); err != nil || a.status == http.StatusNotFound && a.header.Get("Quorate-Deleted") == "" && owns(t, n, r) {
			t.Errorf("%s, which lost its volume, on %s: status %d %v", n.name, r.path, a.status, err)
		}
	}
	for _, r := range l.all[:100] {
		knows(r)
		if a, err := n.send(http.MethodGet, r.path+"?r=1&"+patience, ""); err != nil || a.status != http.StatusOK && r.acked.Load() > 0 {
			t.Errorf("GET %s with r=1 through %s, which lost its volume: status %d %s %v", r.path, n.name, a.status, a.body, err)
		}
	}
	// With nobody else to ask, it has no answer, or that of who was refilled: never less than what was acknowledged.
	docker(t, "network", "disconnect", f.network(), n.container(t))
	for _, r := range l.all[100:110] {
		out, err := n.inside(t, "get", strings.TrimPrefix(r.path, "/kv/"), "--r", "1", "--timeout", "500ms")
		number, parseErr := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
		if err == nil && (parseErr != nil || number < r.acked.Load()) || err != nil && strings.Contains(err.Error(), "not found") {
			t.Errorf("%s, which lost its volume, alone, on %s: %q %v", n.name, r.path, out, err)
		}
	}
	docker(t, "network", "connect", "--alias", n.name, f.network(), n.container(t))
	f.waitSettled(t)
}

// owns says whether the node is one of the key's three.
func owns(t *testing.T, n *node, r *register) bool {
	t.Helper()
	a := n.wants(t, http.StatusOK, http.MethodGet, "/cluster/ring?n=3&bucket=fleet&key="+strings.TrimPrefix(r.path, "/kv/fleet/"), "")
	owners, _, _ := strings.Cut(a.body, `"fallbacks"`)
	return strings.Contains(owners, `"`+n.name+`"`)
}

// measured lets the bench tool cut the fleet's last node off through the published ports, and judge what clients saw: the same verdict as
// on processes that it starts itself.
func measured(t *testing.T, f *fleet) {
	t.Helper()
	var targets []string
	for _, n := range f.nodes {
		targets = append(targets, n.url)
	}
	out, err := command(nil, "go", "run", "./cmd/quorate", "bench", "staleness", "--scenario", "isolate-one", "--duration", "12s",
		"--targets", strings.Join(targets, ","), "--out", filepath.Join(t.TempDir(), "result"))
	if err != nil || !strings.Contains(out, "every promise held") || !strings.Contains(out, "no read was stale") {
		t.Errorf("bench staleness: %v\n%s", err, out)
	}
	f.waitSettled(t)
}

// faulted recreates the fleet with compose.faults.yaml and isolates a node through its published port.
func faulted(t *testing.T, f *fleet) {
	t.Helper()
	f.do(t, "-f", "compose.yaml", "-f", "compose.faults.yaml", "up", "-d", "--no-build")
	f.nodes = f.all[:5]
	f.waitSettled(t)
	one, other := f.nodes[3], f.nodes[0]
	one.wants(t, http.StatusNoContent, http.MethodPut, "/faults", `{"rules":[{"peer":"*","drop":true}]}`)
	knownDead(t, f, one)
	for _, path := range []string{"/kv/hello/node-1?r=2&timeout=500ms", "/kv/hello/node-2?r=2&timeout=500ms"} {
		if a, err := one.send(http.MethodGet, path, ""); err != nil || a.status < 500 {
			t.Errorf("r=2 through an isolated node: status %d %v", a.status, err)
		}
		other.wants(t, http.StatusOK, http.MethodGet, strings.Replace(path, "500ms", "20s", 1), "")
	}
	one.wants(t, http.StatusNoContent, http.MethodDelete, "/faults", "")
	f.waitSettled(t)
	eventually(t, "r=2 through "+one.name, func() error { // what it was dialling when the rules went has to end first
		a, err := one.send(http.MethodGet, "/kv/hello/node-1?r=2", "")
		if err == nil && a.status != http.StatusOK {
			err = errNot(a.body)
		}
		return err
	})
}
