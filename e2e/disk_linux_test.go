package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// probeMount returns why this process cannot mount a file system.
func probeMount() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	dir, err := os.MkdirTemp("", "quorate-mount-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := syscall.Mount("quorate", dir, "tmpfs", 0, "size=64k"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return syscall.Unmount(dir, 0)
}

// mountSmall returns a folder with a file system of its own, of that many bytes.
func mountSmall(t *testing.T, size int64) string {
	t.Helper()
	need(t, "mount", probeMount)
	dir := t.TempDir()
	if err := syscall.Mount("quorate", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room in a folder, and returns what makes room again.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size >= 512; {
		if _, err = file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// noSpace returns why an answer is not that of a node with a full disk.
func noSpace(a answer) error {
	p, err := a.problem()
	switch {
	case err != nil:
		return err
	case a.status != http.StatusServiceUnavailable || p.Type != "urn:quorate:no-space" || p.Outcome != "not_written":
		return fmt.Errorf("%s: %d %s", a.request, a.status, a.body)
	case a.header.Get("Retry-After") == "":
		return fmt.Errorf("%s: no Retry-After", a.request)
	}
	return nil
}

const smallDisk = 512 << 20

// TestFullDisk takes all room away from a node that stands alone: it stays up, keeps reading, refuses writes,
// and takes them again by itself.
func TestFullDisk(t *testing.T) {
	slow(t)
	disk := mountSmall(t, smallDisk)
	c := layOut(t, t.TempDir(), 1)
	n := c.nodes[0]
	n.data = filepath.Join(disk, "data")
	c.endWith(t)
	c.launch(t)
	for i := range 200 {
		n.put(t, fmt.Sprintf("/kv/disk/stored-%d", i), strings.Repeat("v", 1000)).wants(t, http.StatusNoContent)
	}
	release := fill(t, disk)
	eventually(t, soon, "writes are refused", func() error { return noSpace(n.put(t, fresh("disk"), "v")) })
	for i := range 200 {
		n.get(t, fmt.Sprintf("/kv/disk/stored-%d", i)).wantsValue(t, strings.Repeat("v", 1000))
	}
	if err := noSpace(n.delete(t, "/kv/disk/stored-0")); err != nil {
		t.Error(err)
	}
	// Hammering changes nothing: not one of these may be half done.
	for i := range 500 {
		path := fmt.Sprintf("/kv/disk/refused-%d", i)
		if a := n.put(t, path, strings.Repeat("v", 10_000)); a.status != http.StatusServiceUnavailable {
			t.Fatalf("%s: %d %s", a.request, a.status, a.body)
		}
		n.get(t, path).wants(t, http.StatusNotFound)
	}
	release()
	eventually(t, soon, "writes are taken again", func() error { return tries(t, n, "w=1") })
	n.kill(t)
	n.restart(t)
	n.get(t, "/kv/disk/stored-0").wantsValue(t, strings.Repeat("v", 1000))
}

// TestOneFullDisk fills the disk of one node of three: the others' w=2 goes on, w=3 tells which replica
// refused.
func TestOneFullDisk(t *testing.T) {
	slow(t)
	disk := mountSmall(t, smallDisk)
	c := layOut(t, t.TempDir(), 3)
	full := c.nodes[1]
	full.data = filepath.Join(disk, "data")
	c.endWith(t)
	c.launch(t)
	path := fresh("disk")
	c.nodes[0].put(t, path+"?w=3", "v").wants(t, http.StatusNoContent)
	release := fill(t, disk)
	for _, n := range []*node{c.nodes[0], c.nodes[2]} {
		eventually(t, soon, "w=3 fails", func() error {
			a := n.put(t, fresh("disk")+"?w=3&timeout=2s", "v")
			if a.status == http.StatusNoContent {
				return errNotYet
			}
			p, err := a.problem()
			if err == nil && (a.status < 503 || p.replica(full.name) == "ok") {
				err = fmt.Errorf("%d %+v", a.status, p)
			}
			return err
		})
		n.put(t, fresh("disk")+"?w=2", "v").wants(t, http.StatusNoContent)
		n.get(t, path+"?r=3").wantsValue(t, "v")
	}
	full.get(t, path+"?local=true").wantsValue(t, "v")
	release()
	for _, n := range c.nodes {
		eventually(t, soon, "w=3 through "+n.name, func() error { return tries(t, n, "w=3") })
	}
}

// TestReadOnlyData starts a node on a folder that it cannot write to: it says so and ends. A node that
// answered from there would be a zombie.
func TestReadOnlyData(t *testing.T) {
	disk := mountSmall(t, smallDisk)
	c := layOut(t, t.TempDir(), 1)
	n := c.nodes[0]
	n.data = filepath.Join(disk, "data")
	c.endWith(t)
	c.launch(t)
	path := fresh("disk")
	n.put(t, path, "v").wants(t, http.StatusNoContent)
	n.kill(t)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("quorate", disk, "tmpfs", syscall.MS_REMOUNT|flags, fmt.Sprint("size=", smallDisk)); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	r := command(t, "", n.args()...)
	if r.code != 1 || strings.Contains(r.stdout, "ready") || !strings.Contains(r.stderr, n.data) {
		t.Errorf("%+v", r)
	}
	empty := slices.Clone(n.args())
	empty[slices.Index(empty, n.data)] = filepath.Join(disk, "empty")
	if r := command(t, "", empty...); r.code != 1 || strings.Contains(r.stdout, "ready") {
		t.Errorf("%+v", r)
	}
	remount(0)
	n.restart(t)
	n.get(t, path).wantsValue(t, "v")
}
