package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// workDir holds the binary and the shared cluster; it goes when the run ends.
var workDir string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := moreAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

// moreAtOnce lets two parallel tests for each core run at once, unless -parallel says how many: they mostly wait.
func moreAtOnce() error {
	given := raceEnabled // which takes several times as much of a core
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
}

func run(m *testing.M) int {
	var err error
	if workDir, err = os.MkdirTemp("", "quorate-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(workDir)
	code := m.Run()
	if shared.cluster != nil {
		if complaints := shared.cluster.shutdown(); len(complaints) > 0 {
			fmt.Fprintln(os.Stderr, "shared cluster:", strings.Join(complaints, "\n"))
			code = 1
		}
	}
	return code
}

// buildBinary returns the path of the binary under test, built at the first call.
var buildBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("QUORATE_E2E_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	if err := touchSources(); err != nil {
		return "", err
	}
	path := filepath.Join(workDir, "quorate")
	args, cgo := []string{"build", "-o", path}, "0"
	if raceEnabled {
		args, cgo = append(args, "-race"), "1"
	}
	cmd := exec.Command("go", append(args, "../cmd/quorate")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/quorate: %w\n%s", err, out)
	}
	return path, nil
})

// touchSources looks at every source file of the product. go test remembers which files of the module a
// test has looked at, and only so knows that a cached result is stale when the product has changed, of which
// these tests import nothing.
func touchSources() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
}

func binaryPath(t testing.TB) string {
	t.Helper()
	path, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shared is the cluster of the tests that harm nothing.
var shared struct {
	once    sync.Once
	cluster *cluster
}

// sharedCluster returns three settled nodes, without fault endpoint, that all callers use one after the
// other. The caller must leave them as they are: buckets and keys of its own only.
func sharedCluster(t *testing.T) *cluster {
	t.Helper()
	shared.once.Do(func() {
		c := layOut(t, workDir, 3)
		shared.cluster = c
		c.launch(t)
	})
	c := shared.cluster
	if c == nil || !c.up {
		t.Fatal("the shared cluster did not come up: see the first test that used it")
	}
	c.watch(t)
	return c
}

// slow skips a test in the short set, which is to take less than a minute.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not in the short set")
	}
}

// need skips the test if the machine lacks what: probe says why. If QUORATE_REQUIRE names it, the test fails.
func need(t *testing.T, what string, probe func() error) {
	t.Helper()
	err := probe()
	if err == nil {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("QUORATE_REQUIRE"), ","), what) {
		t.Fatalf("QUORATE_REQUIRE names %s, but: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}

var errNotRoot = errors.New("not root")

// Bounds on "at all". They are long because a machine with two cores may be doing other things as well, and
// cost nothing when all is well.
const (
	startLimit = 60 * time.Second
	stopLimit  = 60 * time.Second
	healLimit  = 90 * time.Second
	soon       = 30 * time.Second
)

// pollPause is the pause between two looks at a condition.
const pollPause = 20 * time.Millisecond

// eventually looks at a condition until it holds, and fails with its last complaint at the limit.
func eventually(t testing.TB, limit time.Duration, what string, condition func() error) {
	t.Helper()
	if err := poll(limit, condition); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

// poll returns nil as soon as the condition does, and its last complaint at the limit.
func poll(limit time.Duration, condition func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	pause := time.NewTicker(pollPause)
	defer pause.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-pause.C:
		}
	}
}

// never looks at a condition that must stay wrong for a while. It can miss what comes later, but never fails
// without cause.
func never(t testing.TB, while time.Duration, what string, condition func() bool) {
	t.Helper()
	err := poll(while, func() error {
		if condition() {
			return nil
		}
		return errNotYet
	})
	if err == nil {
		t.Fatalf("%s: must not be", what)
	}
}

var errNotYet = errors.New("not yet")
