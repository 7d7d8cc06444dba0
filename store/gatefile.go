package store

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gateFile is a file of which every change passes the gate.
type gateFile struct {
	vfs.File
	gate  *gate
	name  string
	vital bool
}

func (f *gateFile) mutate(what string, change func() error) (bool, error) {
	return f.gate.mutate(f.vital, what, f.name, change)
}

// Write implements vfs.File.
func (f *gateFile) Write(p []byte) (n int, err error) {
	made, err := f.mutate("write", func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	if err == nil && !made {
		n = len(p)
	}
	return n, err
}

// WriteAt implements vfs.File.
func (f *gateFile) WriteAt(p []byte, off int64) (n int, err error) {
	made, err := f.mutate("write", func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	if err == nil && !made {
		n = len(p)
	}
	return n, err
}

// Preallocate implements vfs.File.
func (f *gateFile) Preallocate(offset, length int64) error {
	_, err := f.mutate("preallocate", func() error { return f.File.Preallocate(offset, length) })
	return err
}

// Sync implements vfs.File.
func (f *gateFile) Sync() error {
	_, err := f.mutate("sync", f.File.Sync)
	return err
}

// SyncData implements vfs.File.
func (f *gateFile) SyncData() error {
	_, err := f.mutate("sync", f.File.SyncData)
	return err
}

// SyncTo implements vfs.File.
func (f *gateFile) SyncTo(length int64) (full bool, err error) {
	made, err := f.mutate("sync", func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full || (err == nil && !made), err
}

// Close implements vfs.File. The file is closed in any case, and only then may the error be hidden.
func (f *gateFile) Close() error {
	err := f.File.Close()
	_, err = f.mutate("close", func() error { return err })
	return err
}

// sink swallows what is written after the gate has tripped.
type sink struct{ size atomic.Int64 }

func (s *sink) Close() error                           { return nil }
func (s *sink) Read([]byte) (int, error)               { return 0, os.ErrInvalid }
func (s *sink) ReadAt([]byte, int64) (int, error)      { return 0, os.ErrInvalid }
func (s *sink) Preallocate(int64, int64) error         { return nil }
func (s *sink) Sync() error                            { return nil }
func (s *sink) SyncTo(int64) (bool, error)             { return true, nil }
func (s *sink) SyncData() error                        { return nil }
func (s *sink) Prefetch(int64, int64) error            { return nil }
func (s *sink) Fd() uintptr                            { return vfs.InvalidFd }
func (s *sink) Stat() (vfs.FileInfo, error)            { return sinkInfo(s.size.Load()), nil }
func (s *sink) WriteAt(p []byte, _ int64) (int, error) { return s.Write(p) }

func (s *sink) Write(p []byte) (int, error) {
	s.size.Add(int64(len(p)))
	return len(p), nil
}

// sinkInfo describes a sink: its value is the number of bytes swallowed.
type sinkInfo int64

func (i sinkInfo) Name() string           { return "sink" }
func (i sinkInfo) Size() int64            { return int64(i) }
func (i sinkInfo) Mode() os.FileMode      { return 0o600 }
func (i sinkInfo) ModTime() time.Time     { return time.Time{} }
func (i sinkInfo) IsDir() bool            { return false }
func (i sinkInfo) Sys() any               { return nil }
func (i sinkInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
