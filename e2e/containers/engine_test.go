package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// commandLimit bounds one command of the engine. The longest is the build on a machine that has compiled nothing yet.
const commandLimit = 15 * time.Minute

// command runs a program at the root of the project and returns what it printed on standard output.
func command(env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, tail(string(out)), tail(errs.String()))
	}
	return string(out), nil
}

func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}

// docker runs a command of the engine that must not fail.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(nil, "docker", args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// composeCommand is Compose as this machine has it, version 2 before version 1.
func composeCommand() ([]string, error) {
	if _, err := command(nil, "docker", "compose", "version"); err == nil {
		return []string{"docker", "compose"}, nil
	}
	if _, err := command(nil, "docker-compose", "version"); err == nil {
		return []string{"docker-compose"}, nil
	}
	return nil, errors.New("neither docker compose nor docker-compose works")
}

// need skips the test if there is no engine, or fails it if QUORATE_REQUIRE names docker. QUORATE_LATER names what is run in a section of
// its own, where a machine of two cores is not shared with all other packages.
func need(t *testing.T) (compose []string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("QUORATE_LATER"), ","), "docker") {
		t.Skip("QUORATE_LATER names docker: it has its turn later")
	}
	_, err := command(nil, "docker", "info")
	if err == nil {
		compose, err = composeCommand()
	}
	if err == nil {
		return compose
	}
	if slices.Contains(strings.Split(os.Getenv("QUORATE_REQUIRE"), ","), "docker") {
		t.Fatalf("QUORATE_REQUIRE names docker, but: %v", err)
	}
	t.Skipf("needs docker: %v", err)
	return nil
}

// stage is what the classic builder prints of a layer.
var stage = regexp.MustCompile(`(?m)^ ---> ([0-9a-f]{12})$`)

// buildImage builds the Dockerfile, on base images made here where they cannot be pulled, and returns the name of the image.
func buildImage(t *testing.T) string {
	t.Helper()
	if image := os.Getenv("QUORATE_E2E_IMAGE"); image != "" {
		return image
	}
	began := time.Now()
	made, err := command(nil, "e2e/containers/base-images.sh")
	t.Cleanup(func() {
		for _, name := range strings.Fields(made) {
			remove(t, "image", "rm", name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	based := time.Since(began)
	image := fmt.Sprintf("quorate-e2e:%d", os.Getpid())
	out, err := command(nil, "docker", "build", "--force-rm", "-t", image, ".")
	t.Cleanup(func() {
		remove(t, "image", "rm", "-f", image)
		// The classic builder leaves the first stage behind. If its last step came from the cache, it was there before.
		first, _, more := strings.Cut(out, "FROM scratch")
		layers := stage.FindAllStringSubmatch(first, -1)
		if more && len(layers) > 0 && !strings.Contains(first[strings.LastIndex(first, " : RUN ")+1:], "Using cache") {
			remove(t, "image", "rm", "-f", layers[len(layers)-1][1])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("base images in %.0f s, image in %.0f s, %s bytes", based.Seconds(), (time.Since(began) - based).Seconds(),
		docker(t, "image", "inspect", "-f", "{{.Size}}", image))
	return image
}

// remove takes away what the test made. It runs at its end, when nothing more can be done about a failure than to tell.
func remove(t *testing.T, args ...string) {
	t.Helper()
	if _, err := command(nil, "docker", args...); err != nil {
		t.Log(err)
	}
}

// freePorts returns ports of the loopback address that nobody listens on.
func freePorts(t *testing.T, count int) []int {
	t.Helper()
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are taken before any is given back, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// TestTheSources looks at what the image is made of, so that go test knows when a result that it has kept is out of date.
func TestTheSources(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "../.." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"), strings.HasPrefix(entry.Name(), "compose"), entry.Name() == "Dockerfile", entry.Name() == "go.mod":
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
