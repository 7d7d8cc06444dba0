package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

// The errors of this package. What a method returns wraps one of them, with what was tried.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrIO: the disk failed. A write that met it may or may not be there later; the store reopens itself.
	ErrIO = errors.New("store: disk failure")
	// ErrNoSpace: the disk has less room than the floor. Reads go on; writes come back when there is room.
	ErrNoSpace = errors.New("store: too little disk space for writes")
	// ErrReadOnly: the directory cannot be written to.
	ErrReadOnly = errors.New("store: directory is not writable")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("store: directory is in use by another process")
	// ErrFormat: the directory was written by a version of the program that this one does not understand.
	ErrFormat = errors.New("store: unknown format")
	// ErrCorrupt: what was read from the disk is not what was written.
	ErrCorrupt = errors.New("store: corrupt data")
	// ErrSiblings: the record would raise n and leave something of the lower n alive.
	ErrSiblings = version.ErrSiblings
	// ErrFuture: a version carries a dot of this store's present actor that this store never issued.
	ErrFuture = errors.New("store: a dot of this actor that it never issued")
	// ErrElided: a version without its value cannot be stored.
	ErrElided = errors.New("store: a version lacks its value")
	// ErrTooLarge: the record is larger than Options.MaxRecord.
	ErrTooLarge = errors.New("store: record too large")
	// ErrHandOffSpace: the hand-offs would take more than Options.MaxHandOffs. Nothing was written.
	ErrHandOffSpace = errors.New("store: no room for hand-offs")
	// ErrReopened: the store was opened anew since the opening that was named. Nothing was written.
	ErrReopened = errors.New("store: opened anew since")
	// ErrKey: the partition does not exist, or the bucket is empty or holds a zero byte.
	ErrKey = errors.New("store: invalid key")
)

// diskError wraps what the file system said into the sentinel that a caller can act on.
func diskError(did string, err error) error {
	kind := ErrIO
	switch {
	case vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT):
		kind = ErrNoSpace
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		kind = ErrReadOnly
	}
	return fmt.Errorf("%w: %s: %w", kind, did, err)
}
