package containers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// fleet is compose.yaml under a name of this run.
type fleet struct {
	project string
	image   string
	compose []string
	env     []string
	nodes   []*node // the five that come up by themselves; more are added when they are started
	all     []*node
	http    *http.Client
}

// node is one service of compose.yaml.
type node struct {
	fleet *fleet
	name  string
	url   string
}

// newFleet prepares a fleet that goes, with all it has, when the test ends.
func newFleet(t *testing.T, compose []string, image string) *fleet {
	t.Helper()
	f := &fleet{
		project: fmt.Sprintf("quorate-e2e-%d", os.Getpid()), image: image, compose: compose, env: []string{"QUORATE_IMAGE=" + image},
		http: &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	for i, port := range freePorts(t, 6) {
		f.env = append(f.env, fmt.Sprintf("QUORATE_PORT_%d=%d", i+1, port))
		f.all = append(f.all, &node{fleet: f, name: fmt.Sprintf("node-%d", i+1), url: fmt.Sprintf("http://127.0.0.1:%d", port)})
	}
	f.nodes = f.all[:5:5]
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := f.try("logs", "--no-color", "--tail", "60")
			t.Logf("ends of the logs:\n%s", out)
		}
		if out, err := f.try("down", "-v", "--remove-orphans", "--timeout", "1"); err != nil {
			t.Log(out, err)
		}
	})
	return f
}

func (f *fleet) try(args ...string) (string, error) {
	all := append(append([]string{}, f.compose[1:]...), "-p", f.project)
	return command(f.env, f.compose[0], append(all, args...)...)
}

// do runs a command of Compose that must not fail.
func (f *fleet) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := f.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// network is the one network of the fleet.
func (f *fleet) network() string { return f.project + "_default" }

// container is the engine's name for the node's present container.
func (n *node) container(t *testing.T) string {
	t.Helper()
	id := n.fleet.do(t, "ps", "-q", n.name)
	if id == "" {
		t.Fatalf("%s has no container", n.name)
	}
	return id
}

func (n *node) address(t *testing.T) string {
	t.Helper()
	return docker(t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", n.container(t))
}

// inside runs the product's command line in the node's container.
func (n *node) inside(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return command(nil, "docker", append([]string{"exec", n.container(t), "/quorate"}, args...)...)
}

// answer is a response, read to its end.
type answer struct {
	status int
	body   string
	header http.Header
}

func (n *node) send(method, path, body string) (answer, error) {
	request, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	response, err := n.fleet.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(content), response.Header}, err
}

// wants makes a request that must be answered with that status.
func (n *node) wants(t *testing.T, status int, method, path, body string) answer {
	t.Helper()
	a, err := n.send(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("%s %s on %s: status %d, want %d\n%.1000s", method, path, n.name, a.status, status, a.body)
	}
	return a
}

type member struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Status   string `json:"status"`
	Liveness string `json:"liveness"`
	Gaining  bool   `json:"gaining"`
}

// members is how the node sees the cluster.
func (n *node) members() (map[string]member, error) {
	a, err := n.send(http.MethodGet, "/cluster", "")
	if err != nil {
		return nil, err
	}
	var view struct {
		Members []member `json:"members"`
	}
	if err := json.Unmarshal([]byte(a.body), &view); err != nil {
		return nil, fmt.Errorf("status %d: %w", a.status, err)
	}
	found := map[string]member{}
	for _, m := range view.Members {
		found[m.Name] = m
	}
	return found, nil
}

// ready returns why the node cannot serve.
func (n *node) ready() error {
	a, err := n.send(http.MethodGet, "/readyz", "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%s: status %d %s", n.name, a.status, a.body)
	}
	return err
}

// waitSettled waits until every node is ready and sees every one alive.
func (f *fleet) waitSettled(t *testing.T) {
	t.Helper()
	for _, n := range f.nodes {
		eventually(t, n.name+" is ready and sees all the others alive", func() error {
			if err := n.ready(); err != nil {
				return err
			}
			members, err := n.members()
			if err != nil {
				return err
			}
			for _, other := range f.nodes {
				if m := members[other.name]; m.Liveness != "alive" {
					return fmt.Errorf("%s is %q, %q", other.name, m.Status, m.Liveness)
				}
			}
			return nil
		})
	}
}

// limit is a bound on "at all": a cut of more than a minute heals within seconds, on a machine that has nothing else to do.
const limit = 120 * time.Second

// eventually looks at a condition until it holds, and fails with its last complaint at the limit.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	pause := time.NewTicker(20 * time.Millisecond) // between two looks
	defer pause.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-pause.C:
		}
	}
}
