package store

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
)

// Options hold the numbers of a store. Tests run with the same ones as the binary, but for FS, Dir and Rand.
type Options struct {
	FS         vfs.FS
	Dir        string
	Partitions int // of the cluster; fixed when the directory is born
	// Rand draws incarnations and actor ids. A sequence must not repeat between two openings of one directory.
	Rand   func() uint64
	Logger *slog.Logger

	// FreeFloor is the free space, in bytes, below which writes stop. On a disk smaller than 20 times that, a twentieth of it.
	FreeFloor uint64
	// RecordCache bounds the bytes of records kept in memory; a record found there costs neither a search nor a block read.
	RecordCache int64
	// BlockCache bounds the bytes of Pebble's blocks kept in memory.
	BlockCache int64
	// MemTable is the size in bytes at which what was written is turned into a table. Memory reaches a small multiple of it.
	MemTable uint64
	// MaxRecord bounds the encoded size of one record, siblings included.
	MaxRecord int
	// MaxDetached bounds the detached intervals kept in the clock of a partition. Forgetting more is safe for those who ask what is here; who asks what else is, asks SyncedBound.
	MaxDetached int
	// MaxHandOffs bounds the bytes of keys and values that are kept for owners which this node stood in for.
	MaxHandOffs int
}

// DefaultOptions returns the numbers that the product runs with, for a directory that the caller still has to name.
func DefaultOptions() Options {
	return Options{
		FS:         vfs.Default,
		Partitions: ring.DefaultPartitions,
		Rand:       random,
		Logger:     slog.New(slog.DiscardHandler),
		// Writes stop, flushes go on: what is in the log and in at most 16 memtables still has to become tables, while the log it came
		// from is only deleted after that, and compactions need room before they free any.
		FreeFloor: 512 << 20,
		// 100-byte records take about 300 bytes here, so this holds 200,000 hot keys.
		RecordCache: 64 << 20,
		// Index and filter blocks of 10 GB of data take about 50 MB; the rest serves reads that the record cache misses.
		BlockCache: 128 << 20,
		// What a processor's cache holds: a search in a memtable of 64 MiB misses it at every step, and three of them cost a write more
		// than the flushes that they save. Measured from 2 to 64 MiB (docs/performance.md).
		MemTable: 4 << 20,
		// The largest value a client may send several times over, so that siblings can be read and resolved; and with the rest of a page it
		// still fits a message between nodes (transport's MaxFrame, 64 MiB), or catching up would end at it.
		MaxRecord: 63 << 20,
		// Holes come from lost messages and close when logs are exchanged; 1,024 of them are 16 KiB.
		MaxDetached: 1024,
		// Three minutes of 50,000 small writes a second, and little of any disk.
		MaxHandOffs: 1 << 30,
	}
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails: it ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}

// Validate names the first option that is out of range.
func (o *Options) Validate() error {
	switch {
	case o.FS == nil || o.Rand == nil || o.Logger == nil:
		return fmt.Errorf("store: FS, Rand and Logger must be set")
	case o.Dir == "":
		return fmt.Errorf("store: no directory")
	case o.RecordCache < 0 || o.BlockCache < 0:
		return fmt.Errorf("store: a cache cannot have a negative size")
	case o.MemTable < 1<<20 || o.MemTable > 1<<30:
		return fmt.Errorf("store: a memtable of %d bytes: want 1 MiB to 1 GiB", o.MemTable)
	case o.MaxRecord < 1<<10 || o.MaxRecord > 1<<30:
		return fmt.Errorf("store: records of up to %d bytes: want 1 KiB to 1 GiB", o.MaxRecord)
	case o.MaxDetached < 1:
		return fmt.Errorf("store: %d detached intervals: want at least 1", o.MaxDetached)
	case o.MaxHandOffs < 0:
		return fmt.Errorf("store: %d bytes of hand-offs: want none or more", o.MaxHandOffs)
	}
	return ring.CheckPartitions(o.Partitions)
}
