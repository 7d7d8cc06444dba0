package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tableRetryPause keeps Pebble, which retries a failed flush or compaction at once and for ever, from burning a core on a full disk.
const tableRetryPause = time.Second

// gate is the file system that Pebble sees. Pebble cannot survive an error of its log or manifest: it panics with its commit lock
// held, or calls Logger.Fatalf, or goes on showing what was never synced. So it never sees one. The first such error *trips* the
// gate: it is recorded, and from then on nothing reaches the disk any more; Pebble is told that all went well. For the disk that is a
// crash at this point, which Pebble is built for; for Pebble it is a healthy disk, so it can be closed without a leak. The store, which
// looks at the gate after each sync and before it believes it, reports the failure, and opens the directory anew.
//
// An error while writing a table does not trip the gate: Pebble handles it by trying again, and reads go on meanwhile.
type gate struct {
	vfs.FS
	failure atomic.Pointer[gateFailure]
	// tripped is closed when the gate trips, closing when the database above is about to be closed.
	tripped, closing chan struct{}
	closeOnce        sync.Once
	// tableFailed is told of every failed write to a table.
	tableFailed func(error)
	pauseUntil  atomic.Int64 // Unix nanoseconds
}

type gateFailure struct {
	err error
	// fatal: Pebble found its own state broken, so that reads cannot be trusted either.
	fatal bool
}

func newGate(fs vfs.FS, tableFailed func(error)) *gate {
	return &gate{FS: fs, tripped: make(chan struct{}), closing: make(chan struct{}), tableFailed: tableFailed}
}

// err returns why the gate tripped, nil while it has not.
func (g *gate) err() error {
	if f := g.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

func (g *gate) isFatal() bool {
	f := g.failure.Load()
	return f != nil && f.fatal
}

func (g *gate) trip(err error, fatal bool) {
	if g.failure.CompareAndSwap(nil, &gateFailure{err: err, fatal: fatal}) {
		close(g.tripped)
	}
}

// beginClose lets whoever waits in the gate go, so that the database can be closed.
func (g *gate) beginClose() { g.closeOnce.Do(func() { close(g.closing) }) }

func (g *gate) isClosing() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

// vital files are those of which Pebble does not survive an error.
func vital(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, markerPrefix)
}

// A marker is a file whose name says which of several files is in force.
const markerPrefix = "marker."

// mutate runs one change of a file. It reports whether the change was made; if not, and the error is nil, the caller pretends.
func (g *gate) mutate(isVital bool, what, name string, change func() error) (made bool, err error) {
	if failure := g.err(); failure != nil {
		if isVital || g.isClosing() {
			return false, nil
		}
		return false, failure
	}
	if err = change(); err == nil {
		return true, nil
	}
	if isVital {
		g.trip(diskError(fmt.Sprintf("%s %s", what, filepath.Base(name)), err), false)
		return false, nil
	}
	g.pauseUntil.Store(time.Now().Add(tableRetryPause).UnixNano())
	g.tableFailed(diskError(fmt.Sprintf("%s %s", what, filepath.Base(name)), err))
	return false, err
}

// awaitTable holds back the next table after a failed one, and every table once the gate has tripped: what is written then is
// thrown away, so it is enough that it goes through when the database is being closed and may be waiting for it.
func (g *gate) awaitTable() {
	if g.err() == nil {
		pause := time.Until(time.Unix(0, g.pauseUntil.Load()))
		if pause <= 0 {
			return
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
			return
		case <-g.closing:
			return
		case <-g.tripped:
		}
	}
	<-g.closing
}

func (g *gate) newFile(isVital bool, what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	if !isVital {
		g.awaitTable()
	}
	var file vfs.File
	made, err := g.mutate(isVital, what, name, func() (err error) {
		file, err = open()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !made:
		file = &sink{}
	}
	return &gateFile{File: file, gate: g, name: name, vital: isVital}, nil
}

// Create implements vfs.FS.
func (g *gate) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.newFile(vital(name), "create", name, func() (vfs.File, error) {
		if strings.HasPrefix(filepath.Base(name), markerPrefix) {
			// Pebble syncs the directory after it has made a marker. A crash before that may keep the marker and lose the file it names,
			// where a file system does not keep the order of names; then the database could never be opened again.
			if err := syncDir(g.FS, g.FS.PathDir(name)); err != nil {
				return nil, err
			}
		}
		return g.FS.Create(name, category)
	})
}

func syncDir(fs vfs.FS, name string) error {
	dir, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return firstError(dir.Sync(), dir.Close())
}

// ReuseForWrite implements vfs.FS.
func (g *gate) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.newFile(vital(to), "reuse for", to, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, category) })
}

// OpenReadWrite implements vfs.FS.
func (g *gate) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.newFile(vital(name), "open", name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, opts...) })
}

// OpenDir implements vfs.FS. A directory is opened to be synced, on which manifest and log depend.
func (g *gate) OpenDir(name string) (vfs.File, error) {
	dir, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &gateFile{File: dir, gate: g, name: name, vital: true}, nil
}

// change lets a change of names through while the gate has not tripped, and pretends afterwards.
func (g *gate) change(do func() error) error {
	if g.err() != nil {
		return nil
	}
	return do()
}

// Remove implements vfs.FS.
func (g *gate) Remove(name string) error {
	return g.change(func() error { return g.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (g *gate) RemoveAll(name string) error {
	return g.change(func() error { return g.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (g *gate) Rename(from, to string) error {
	return g.change(func() error { return g.FS.Rename(from, to) })
}

// Link implements vfs.FS.
func (g *gate) Link(from, to string) error {
	return g.change(func() error { return g.FS.Link(from, to) })
}

// MkdirAll implements vfs.FS.
func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.change(func() error { return g.FS.MkdirAll(dir, perm) })
}

// Unwrap implements vfs.FS.
func (g *gate) Unwrap() vfs.FS { return g.FS }
