package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// roleEnv makes this test's program play a node that dev starts.
const roleEnv = "DEV_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" && len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(playNode())
	}
	os.Exit(m.Run())
}

// playNode is ready at once, and ends when it is asked to.
func playNode() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	if _, inherited := os.LookupEnv("QUORATE_NAME"); inherited {
		return 3
	}
	fmt.Println("ready", strings.Join(os.Args[1:], " "))
	<-signals
	return 0
}

// freeBase finds ports for a dev cluster of n nodes.
func freeBase(t *testing.T, n int) int {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", addrAt(0))
		if err != nil {
			t.Fatal(err)
		}
		base := l.Addr().(*net.TCPAddr).Port
		l.Close()
		o := devOptions{nodes: n, base: base}
		free := o.validate() == nil
		for i := 0; free && i < n; i++ {
			free = devSpecs("", o, "")[i].PortsFree() == nil
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// started runs dev and returns what it prints, line by line.
func started(t *testing.T, o devOptions) (stop func() error, next func(prefix string) string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- runDev(ctx, o, w)
		w.Close()
	}()
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		text, rest := make([]byte, 4096), ""
		for {
			n, err := r.Read(text)
			rest += string(text[:n])
			for {
				line, after, ok := strings.Cut(rest, "\n")
				if !ok {
					break
				}
				lines <- line
				rest = after
			}
			if err != nil {
				return
			}
		}
	}()
	next = func(prefix string) string {
		for line := range lines {
			if strings.HasPrefix(line, prefix) {
				return line
			}
		}
		t.Fatalf("dev did not print %q", prefix)
		return ""
	}
	stop = func() error {
		cancel()
		for range lines {
		}
		return <-ended
	}
	return stop, next
}

func TestDevStartsReportsAndStops(t *testing.T) {
	t.Setenv(roleEnv, "node")
	t.Setenv("QUORATE_NAME", "not for the nodes of dev")
	o := devOptions{nodes: 2, base: freeBase(t, 2), data: t.TempDir(), allowFaults: true}
	stop, next := started(t, o)
	first := strings.Fields(next("node-1"))
	pid, err := strconv.Atoi(first[2])
	if err != nil || first[3] != "http://"+addrAt(o.base) {
		t.Fatal(first)
	}
	next("ready: 2 nodes")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next("node-1 (pid " + first[2] + ") has ended: signal: killed")
	again := next("  /")
	for _, want := range []string{"serve --name node-1", "--http " + addrAt(o.base), "--gossip " + addrAt(o.base+100), "--rpc " + addrAt(o.base+200),
		"--join " + addrAt(o.base+100) + "," + addrAt(o.base+101), "--allow-faults", "--data " + o.data + "/node-1"} {
		if !strings.Contains(again, want) {
			t.Errorf("%s is not in %s", want, again)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.data + "/node-1.log"); err != nil {
		t.Error(err)
	}
}

func TestDevRemovesItsOwnDirectory(t *testing.T) {
	t.Setenv(roleEnv, "node")
	stop, next := started(t, devOptions{nodes: 1, base: freeBase(t, 1)})
	dir := strings.TrimSuffix(strings.Fields(next("data and logs"))[5], ",")
	next("ready")
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dir)
	}
}

func TestDevFailsWhenAllNodesDo(t *testing.T) {
	t.Setenv(roleEnv, "node")
	stop, next := started(t, devOptions{nodes: 1, base: freeBase(t, 1)})
	pid, err := strconv.Atoi(strings.Fields(next("node-1"))[2])
	if err != nil {
		t.Fatal(err)
	}
	next("ready")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next("stopping")
	if err := stop(); err == nil {
		t.Error("a cluster without a node goes on")
	}
}

func TestDevNamesTheBusyPort(t *testing.T) {
	base := freeBase(t, 2)
	l, err := net.Listen("tcp", addrAt(base+rpcOffset+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = runDev(t.Context(), devOptions{nodes: 2, base: base}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "node-2 cannot have port "+addrAt(base+rpcOffset+1)) {
		t.Error(err)
	}
}
