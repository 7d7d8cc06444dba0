package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// freePorts returns the first of some ports in a row that are free.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	for range 100 {
		_, text, err := net.SplitHostPort(freeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		base, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		row := 1
		for row < count && strings.HasSuffix(freeAddress(t), fmt.Sprint(":", base+row)) {
			row++
		}
		if row == count {
			return base
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

// TestDev follows the README: one command, then the URLs, pids and curl lines that it prints. One node is
// killed by its printed pid; Ctrl-C ends the rest.
func TestDev(t *testing.T) {
	base, dir := freePorts(t, 3), t.TempDir()
	log := filepath.Join(dir, "dev.log")
	p, err := startProcess(log, nil, binaryPath(t), "dev", "--nodes", "3",
		"--http-base", strconv.Itoa(base), "--data", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.signal(syscall.SIGINT)
		p.exit(t)
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(p.lines.all(), "\n"), tail(log, 40))
		}
		for _, complaint := range logComplaints(log) {
			t.Error(complaint)
		}
	})
	var curls []string
	eventually(t, startLimit, "three curl lines", func() error {
		curls = nil
		for _, line := range p.lines.all() {
			if at := strings.Index(line, "curl "); at >= 0 {
				curls = append(curls, line[at:])
			}
		}
		if len(curls) < 3 {
			return fmt.Errorf("%q", p.lines.all())
		}
		return nil
	})
	var nodes []*node
	for i := range 3 {
		n := &node{name: fmt.Sprint("dev node ", i+1), http: fmt.Sprintf("127.0.0.1:%d", base+i), client: newClient()}
		nodes = append(nodes, n)
		n.get(t, "/readyz").wants(t, http.StatusOK)
	}
	path := fresh("dev")
	nodes[0].put(t, path+"?w=3", "hello").wants(t, http.StatusNoContent)
	nodes[1].get(t, path).wantsValue(t, "hello")
	nodes[2].get(t, path).wantsValue(t, "hello")
	runCurls(t, curls)

	pids := devPids(p.lines.all())
	if len(pids) < 3 {
		t.Fatalf("pids %v in %q", pids, p.lines.all())
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("pid %d: %v", pid, err)
		}
	}
	killOne(t, nodes, pids[2])
	p.signal(syscall.SIGINT)
	if code := p.exit(t); code != 0 {
		t.Errorf("Ctrl-C: exit status %d", code)
	}
	for _, pid := range pids {
		eventually(t, soon, fmt.Sprint("end of pid ", pid), func() error {
			if syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("still there")
			}
			return nil
		})
	}
	for _, n := range nodes {
		if a, err := n.send(t.Context(), http.MethodGet, "/healthz", nil); err == nil {
			t.Errorf("%s still answers", a.request)
		}
	}
}

// killOne kills the third node by the pid that dev has printed for it; the other two go on.
func killOne(t *testing.T, nodes []*node, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	path := fresh("dev")
	nodes[0].put(t, path+"?w=2&timeout=20s", "still").wants(t, http.StatusNoContent)
	nodes[1].get(t, path+"?r=2&timeout=20s").wantsValue(t, "still")
	quorumError(t, nodes[0].put(t, path+"?w=3&timeout=1s", "v"), 3, true)
}

var pidMark = regexp.MustCompile(`(?i)\bpid[ =:]+(\d+)`)

// devPids reads the pids out of what dev has printed.
func devPids(lines []string) []int {
	var pids []int
	for _, line := range lines {
		for _, match := range pidMark.FindAllStringSubmatch(line, -1) {
			if pid, err := strconv.Atoi(match[1]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// runCurls runs the printed lines as a person would, where there is a curl.
func runCurls(t *testing.T, lines []string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("no curl: the printed lines are not run")
		return
	}
	for _, line := range lines {
		cmd := exec.Command("sh", "-c", line)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out.String())
		}
		t.Logf("%s\n%s", line, out.String())
	}
}
