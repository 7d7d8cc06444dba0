package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mood is how a disk behaves. The zero value is healthy and takes no time.
type mood struct {
	sync    time.Duration // mean of what a sync of the log takes; it is what lies between writing and having written
	full    bool
	failing bool // writes and syncs fail
	flaky   bool // and some reads of tables
}

// disk is what a node's data directory lies on. It survives the node.
type disk struct {
	mem   *vfs.MemFS
	older *vfs.MemFS // a copy taken earlier, for a rollback
}

// life is a disk as one life of a node uses it: after a crash the old life goes on, to its end, on what has become another world.
type life struct {
	vfs.FS
	random *chance
	mood   atomic.Pointer[mood]
	// onSync is called once, before the next sync of the log.
	onSync atomic.Pointer[func()]
	logged atomic.Int64 // bytes in the present log
}

func newLife(fs vfs.FS, random *chance) *life {
	l := &life{FS: fs, random: random}
	l.mood.Store(&mood{})
	return l
}

func (l *life) check(name string) error {
	switch m := l.mood.Load(); {
	case m.full:
		return &os.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
	case m.failing:
		return &os.PathError{Op: "write", Path: name, Err: syscall.EIO}
	}
	return nil
}

// diskSize is what the store is told of; its floor is a twentieth of it at most.
const diskSize = 10 << 30

// GetDiskUsage implements vfs.FS.
func (l *life) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if l.mood.Load().full {
		return vfs.DiskUsage{TotalBytes: diskSize, UsedBytes: diskSize}, nil
	}
	return vfs.DiskUsage{TotalBytes: diskSize, AvailBytes: diskSize / 2, UsedBytes: diskSize / 2}, nil
}

func (l *life) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	log := strings.HasSuffix(name, ".log")
	if log {
		l.logged.Store(0)
	}
	return &file{File: f, life: l, name: name, log: log}, nil
}

// Create implements vfs.FS.
func (l *life) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := l.check(name); err != nil {
		return nil, err
	}
	f, err := l.FS.Create(name, c)
	return l.file(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (l *life) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := l.check(to); err != nil {
		return nil, err
	}
	f, err := l.FS.ReuseForWrite(from, to, c)
	return l.file(to, f, err)
}

// OpenReadWrite implements vfs.FS.
func (l *life) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.OpenReadWrite(name, c, opts...)
	return l.file(name, f, err)
}

// Open implements vfs.FS.
func (l *life) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.Open(name, opts...)
	return l.file(name, f, err)
}

// Unwrap implements vfs.FS.
func (l *life) Unwrap() vfs.FS { return l.FS }

type file struct {
	vfs.File
	life *life
	name string
	log  bool
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.life.mood.Load().flaky && f.life.random.float() < 0.5 {
		return 0, &os.PathError{Op: "read", Path: f.name, Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	if err := f.life.check(f.name); err != nil {
		return 0, err
	}
	if f.log {
		f.life.logged.Add(int64(len(p)))
	}
	return f.File.Write(p)
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

func (f *file) sync(do func() error) error {
	if f.log {
		f.life.pass()
	}
	if err := f.life.check(f.name); err != nil {
		return err
	}
	return do()
}

// pass is the time that a sync of the log takes.
func (l *life) pass() {
	if hook := l.onSync.Swap(nil); hook != nil {
		(*hook)()
	}
	if mean := l.mood.Load().sync; mean > 0 && l.logged.Load() < safeLog && !closingLog() {
		time.Sleep(time.Duration(l.random.exp() * float64(mean)))
	}
}

// safeLog is how many bytes a log may have for its syncs to take time. Beyond it the first memtable of Pebble, of 256 KiB, may fill up;
// then a new log is begun under the lock that every write takes, behind whatever sync is under way: no time may pass then (doc.go, 2).
const safeLog = 100 << 10

// closingLog reports whether Pebble is closing a log, which it does with its own lock held when a store that has opened badly is closed.
func closingLog() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, ".closeInternal") {
			return true
		}
		if !more {
			return false
		}
	}
}

// flip damages some bytes of a file that holds data: a table if tables is set, or else the log. It returns what it did, "" if there is no such file.
func flip(fs *vfs.MemFS, dir string, tables bool, r *rand.Rand) string {
	names, err := fs.List(dir)
	if err != nil {
		return ""
	}
	suffix := ".log"
	if tables {
		suffix = ".sst"
	}
	var found []string
	for _, name := range names {
		if info, err := fs.Stat(filepath.Join(dir, name)); err == nil && strings.HasSuffix(name, suffix) && info.Size() > 512 {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	name := found[r.IntN(len(found))]
	data, err := fs.UnsafeGetFileDataBuffer(filepath.Join(dir, name))
	if err != nil || len(data) == 0 {
		return ""
	}
	at := r.IntN(len(data))
	data[at] ^= 1 << r.IntN(8)
	return fmt.Sprintf("byte %d of %d of %s", at, len(data), name)
}
