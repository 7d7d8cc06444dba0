package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// goTree lists the files below a folder of the Go toolchain's own source tree, relative to the tree's root:
// thousands of real names and contents of every size, on every machine that can run these tests.
func goTree(t *testing.T, folder string) (root string, files []string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(strings.TrimSpace(string(out)), "src")
	err = filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(root, path)
		files = append(files, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d files in %s", len(files), root)
	}
	return root, files
}

// treePath is where a file of the tree is kept. Slashes stay; what a URL cannot hold is escaped.
func treePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/kv/go-src/" + strings.Join(parts, "/")
}

// TestGoSourceTree puts every file of the tree through node 1 and reads it back through nodes 2 and 3, byte
// for byte. Node 3 is killed after a third of the writes and is back for the last third; no request may fail
// for it.
func TestGoSourceTree(t *testing.T) {
	folder := "."
	if testing.Short() {
		folder = "net"
	}
	root, files := goTree(t, folder)
	c := newCluster(t, 3)
	third := len(files) / 3
	putFiles(t, c.nodes[0], root, files[:third], nil)
	putFiles(t, c.nodes[0], root, files[third:2*third], func() { c.nodes[2].kill(t) })
	putFiles(t, c.nodes[0], root, files[2*third:], func() { c.nodes[2].restart(t) })
	c.waitSettled(t)

	var total atomic.Int64
	for _, n := range c.nodes[1:] {
		err := inParallel(t.Context(), 16, len(files), func(ctx context.Context, i int) error {
			want, err := os.ReadFile(filepath.Join(root, files[i]))
			if err != nil {
				return err
			}
			a, err := n.send(ctx, http.MethodGet, treePath(files[i])+"?timeout=30s", nil)
			if err != nil {
				return err
			}
			if a.status != http.StatusOK || !bytes.Equal(a.body, want) {
				return fmt.Errorf("%s: status %d, %d bytes, want %d: %.200q", a.request, a.status, len(a.body), len(want), a.body)
			}
			total.Add(int64(len(want)))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d files written once and read twice, %d bytes read", len(files), total.Load())
}

// putFiles writes files through a node. During, if given, happens while the writes go on, after the first of
// them.
func putFiles(t *testing.T, n *node, root string, files []string, during func()) {
	t.Helper()
	started, done := make(chan struct{}, len(files)), make(chan error, 1)
	go func() {
		done <- inParallel(t.Context(), 16, len(files), func(ctx context.Context, i int) error {
			content, err := os.ReadFile(filepath.Join(root, files[i]))
			if err != nil {
				return err
			}
			a, err := n.send(ctx, http.MethodPut, treePath(files[i])+"?timeout=30s", content)
			if err != nil {
				return err
			}
			if a.status != http.StatusNoContent {
				return fmt.Errorf("%s: status %d %.300s", a.request, a.status, a.body)
			}
			started <- struct{}{}
			return nil
		})
	}()
	if during != nil {
		select {
		case <-started:
			during()
		case err := <-done:
			done <- err
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
