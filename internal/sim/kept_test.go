package sim

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestKeptSeeds runs every seed that has ever failed; of the short set, which is also what runs under the race detector, every fourth.
func TestKeptSeeds(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "seeds"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kept := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		number, why, _ := strings.Cut(lines.Text(), " ")
		if number == "" || number == "#" {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil || strings.TrimSpace(why) == "" {
			t.Fatalf("%q: want a seed and why", lines.Text())
		}
		if kept++; testing.Short() && kept%4 != 0 {
			continue
		}
		for _, v := range simulated(t, seed, nil).Violations {
			t.Errorf("seed %d (%s): %v", seed, strings.TrimSpace(why), v)
		}
	}
}

// TestOrdinaryBuild looks for the mutations in a binary built as it is shipped: nothing of them may be there.
func TestOrdinaryBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("not in the short set: it builds the binary")
	}
	path := filepath.Join(t.TempDir(), "quorate")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/quorate").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command("go", "tool", "nm", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "internal/mutation") {
			t.Errorf("in the binary: %s", line)
		}
	}
}
