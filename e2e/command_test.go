package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestUsage holds exit status 2 for wrong usage and 0 for --help, everywhere.
func TestUsage(t *testing.T) {
	for _, sub := range []string{"", "serve", "dev", "get", "put", "delete", "status", "ring", "health", "version"} {
		help := command(t, "", strings.Fields(sub+" --help")...)
		if help.code != 0 || !strings.Contains(help.stdout, "Usage") {
			t.Errorf("quorate %s --help: status %d, %.300s", sub, help.code, help.stdout+help.stderr)
		}
		wrong := command(t, "", strings.Fields(sub+" --no-such-flag")...)
		if wrong.code != 2 || wrong.stderr == "" {
			t.Errorf("quorate %s --no-such-flag: status %d, %.300s", sub, wrong.code, wrong.stderr)
		}
	}
	for _, line := range []string{"nonsense", "get", "get a/b c", "put", "put a/b c d", "delete", "ring", "get nobucket", "version 1"} {
		if wrong := command(t, "", strings.Fields(line)...); wrong.code != 2 || wrong.stderr == "" {
			t.Errorf("quorate %s: status %d, %.300s", line, wrong.code, wrong.stderr)
		}
	}
	if v := command(t, "", "version"); v.code != 0 || strings.TrimSpace(v.stdout) == "" {
		t.Errorf("quorate version: %+v", v)
	}
}

// TestCommandsOnKeys works with get, put and delete on each node.
func TestCommandsOnKeys(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		name, url := strings.TrimPrefix(fresh("commands"), "/kv/"), "http://"+n.http
		run := func(wantCode int, stdin string, args ...string) result {
			t.Helper()
			r := command(t, stdin, append(args, "--url", url)...)
			if r.code != wantCode {
				t.Fatalf("quorate %s: status %d, want %d\n%s\n%s", strings.Join(args, " "), r.code, wantCode, r.stdout, r.stderr)
			}
			return r
		}
		if r := run(1, "", "get", name); r.stdout != "" || r.stderr == "" {
			t.Errorf("an absent key prints %q, %q", r.stdout, r.stderr)
		}
		run(0, "", "put", name, "a value", "--w", "3")
		if r := run(0, "", "get", name, "--r", "all"); strings.TrimSuffix(r.stdout, "\n") != "a value" {
			t.Errorf("get prints %q", r.stdout)
		}
		for _, other := range c.nodes {
			other.get(t, "/kv/"+name).wantsValue(t, "a value")
		}
		binary := everyByte()
		run(0, binary, "put", name, "-")
		n.get(t, "/kv/"+name).wantsValue(t, binary)
		if r := run(0, "", "get", name); r.stdout != binary {
			t.Errorf("get prints %q", r.stdout)
		}
		run(1, "", "put", name, "x", "--w", "4", "--n", "5")
		run(1, "", "put", name, "x", "--context", "nonsense")
		token := n.get(t, "/kv/"+name).token(t)
		run(0, "", "put", name, "y", "--context", token, "--timeout", "2s")
		run(0, "", "delete", name)
		run(1, "", "get", name)
		n.get(t, "/kv/"+name).wants(t, http.StatusNotFound)
		// A key is data on the command line too.
		run(0, "", "put", "commands/a b/../c%41?#", "odd")
		n.get(t, "/kv/commands/"+escapeAll("a b/../c%41?#")).wantsValue(t, "odd")
	})
	nowhere := freeAddress(t)
	for _, line := range []string{"get a/b", "put a/b c", "delete a/b", "status", "ring a/b", "health"} {
		if r := command(t, "", append(strings.Fields(line), "--url", "http://"+nowhere)...); r.code != 1 || r.stderr == "" {
			t.Errorf("quorate %s where nobody listens: %+v", line, r)
		}
	}
}

// TestStatusCommand prints the members as a table and as JSON.
func TestStatusCommand(t *testing.T) {
	c := sharedCluster(t)
	c.each(t, func(t *testing.T, n *node) {
		table := command(t, "", "status", "--url", "http://"+n.http)
		if table.code != 0 {
			t.Fatalf("%+v", table)
		}
		for _, other := range c.nodes {
			if !regexp.MustCompile(`(?m)^.*` + other.name + `\b.*alive`).MatchString(table.stdout) {
				t.Errorf("%s is not alive in\n%s", other.name, table.stdout)
			}
		}
		var v view
		machine := command(t, "", "status", "--json", "--url", "http://"+n.http)
		if err := json.Unmarshal([]byte(machine.stdout), &v); err != nil || len(v.Members) != 3 {
			t.Errorf("--json: %v\n%s", err, machine.stdout)
		}
	})
}

// TestRingAndHealthCommands prints a preference list, and says by the exit status whether a node is ready.
func TestRingAndHealthCommands(t *testing.T) {
	c := sharedCluster(t)
	path := fresh("commands")
	owners := c.nodes[0].ring(t, path, "").Owners
	c.each(t, func(t *testing.T, n *node) {
		r := command(t, "", "ring", strings.TrimPrefix(path, "/kv/"), "--url", "http://"+n.http)
		at := -1
		for _, owner := range owners {
			next := strings.Index(r.stdout, owner)
			if r.code != 0 || next <= at {
				t.Fatalf("the owners are %v, in this order; printed:\n%s%s", owners, r.stdout, r.stderr)
			}
			at = next
		}
		if h := command(t, "", "health", "--url", "http://"+n.http); h.code != 0 {
			t.Errorf("health: %+v", h)
		}
	})
}

// readyLine is what serve prints when it is ready.
var readyLine = regexp.MustCompile(`^ready name=(\S+) http=(\S+) gossip=(\S+) rpc=(\S+)$`)

// TestReadyLineAndLogs: one line on standard output, and JSON on standard error, which is no terminal here.
func TestReadyLineAndLogs(t *testing.T) {
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		match := readyLine.FindStringSubmatch(n.waitReady(t))
		if match == nil || match[1] != n.name || strings.TrimPrefix(match[2], "http://") != n.http || match[3] != n.gossip || match[4] != n.rpc {
			t.Errorf("%q", n.waitReady(t))
		}
		if n.stop(t) != 0 {
			t.Error("exit status not 0")
		}
		if lines := n.proc.lines.all(); len(lines) != 1 {
			t.Errorf("standard output: %q", lines)
		}
		text, err := os.ReadFile(n.log)
		if err != nil {
			t.Fatal(err)
		}
		for entry := range strings.Lines(string(text)) {
			if entry = strings.TrimSpace(entry); entry != "" && !strings.HasPrefix(entry, "---") && !json.Valid([]byte(entry)) {
				t.Errorf("not JSON on standard error: %q", entry)
			}
		}
	}
}

// TestSettings gives one setting in the file, the environment and on the command line: flag beats environment
// beats file.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "quorate.yaml")
	http1, gossip, rpc := freeAddress(t), freeAddress(t), freeAddress(t)
	yaml := fmt.Sprintf("name: from-file\nhttp: %q\ngossip: %q\nrpc: %q\ndata: %q\nmax-value: 1000\ncluster: from-file\n",
		http1, gossip, rpc, filepath.Join(dir, "data"))
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		env  []string
		args []string
		name string
	}{
		{nil, nil, "from-file"},
		{[]string{"QUORATE_NAME=from-env"}, nil, "from-env"},
		{[]string{"QUORATE_NAME=from-env", "QUORATE_MAX_VALUE=2000"}, []string{"--name", "from-flag"}, "from-flag"},
	} {
		t.Run(row.name, func(t *testing.T) {
			argv := append([]string{binaryPath(t), "serve", "--config", file, "--data", filepath.Join(dir, row.name)}, row.args...)
			log := filepath.Join(dir, row.name+".log")
			p, err := startProcess(log, row.env, argv...)
			if err != nil {
				t.Fatal(err)
			}
			n := &node{name: row.name, http: http1, log: log, proc: p, client: newClient()}
			alone := &cluster{name: "from-file", nodes: []*node{n}}
			alone.endWith(t)
			if line := n.waitReady(t); !strings.HasPrefix(line, "ready name="+row.name+" ") {
				t.Errorf("%q", line)
			}
			if v, err := n.view(); err != nil || v.Cluster != "from-file" {
				t.Errorf("%+v, %v", v, err)
			}
			over := map[bool]int{true: 2001, false: 1001}[row.name == "from-flag"]
			path := fresh("settings")
			n.put(t, path, strings.Repeat("v", over-1)).wants(t, http.StatusNoContent)
			n.put(t, path, strings.Repeat("v", over)).wantsWriteProblem(t, http.StatusRequestEntityTooLarge, "", "not_written")
			n.stop(t)
		})
	}
}

// TestDefaultNumbers gives a cluster other defaults for its buckets.
func TestDefaultNumbers(t *testing.T) {
	c := newCluster(t, 1, "--n", "2", "--w", "1", "--r", "all", "--partitions", "64", "--zone", "attic", "--weight", "3")
	n, path := c.nodes[0], fresh("defaults")
	n.bucketOf(t, "b").wants(t, 2, 1, "all", "lww")
	n.put(t, path, "v").wants(t, http.StatusNoContent).wantsQuorum(t, 2, "w", 1)
	n.get(t, path).wantsValue(t, "v").wantsQuorum(t, 2, "r", 1)
	v, err := n.view()
	if err != nil || v.Partitions != 64 || v.member(n.name).Zone != "attic" || v.member(n.name).Weight != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestRefusesToStart gives serve what it cannot work with: it says so and ends, and is never ready.
func TestRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, 1)
	taken := c.nodes[0]
	usual := func(more ...string) []string {
		return append([]string{
			"serve", "--name", "odd", "--data", filepath.Join(dir, "data"),
			"--http", freeAddress(t), "--gossip", freeAddress(t), "--rpc", freeAddress(t),
		}, more...)
	}
	rows := map[string][]string{
		"data is a file":        usual("--data", file),
		"data of another":       usual("--data", taken.data),
		"http address taken":    usual("--http", taken.http),
		"gossip address taken":  usual("--gossip", taken.gossip),
		"rpc address taken":     usual("--rpc", taken.rpc),
		"partitions":            usual("--partitions", "100"),
		"too many partitions":   usual("--partitions", "8192"),
		"n":                     usual("--n", "17"),
		"w above n":             usual("--n", "2", "--w", "3"),
		"weight":                usual("--weight", "0"),
		"no such configuration": usual("--config", filepath.Join(dir, "absent.yaml")),
		"bad configuration":     usual("--config", file),
	}
	for name, args := range rows {
		r := command(t, "", args...)
		if r.code != 1 && r.code != 2 || r.stderr == "" || strings.Contains(r.stdout, "ready") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	serves(t, taken)
}
