package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// errBlock: a block of a table does not have its checksum.
var errBlock = fmt.Errorf("store: a block of a table is damaged: %w", pebble.ErrCorruption)

// tableFile is a table that is read. It finds a damaged block before Pebble does. Pebble would look for the one bit that flipped, by up to 327,680
// checksums of the whole block: minutes for a block of 8 MiB, as large as the value in it, for each read of it and with the partition's lock held.
type tableFile struct {
	vfs.File
	name string
}

// Open implements vfs.FS.
func (g *gate) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	return &tableFile{File: f, name: filepath.Base(name)}, nil
}

// ReadAt implements vfs.File. What does not have a checksum at its end is an error if it was read as a block, and else what it is: a table's footer, say.
func (f *tableFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if err == nil && !hasChecksum(p[:n]) && readsBlock() {
		return 0, fmt.Errorf("%w: %s, %d bytes from %d on", errBlock, f.name, n, off)
	}
	return n, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hasChecksum reports whether a block ends with the checksum of the rest: the masked CRC-32C of LevelDB's tables, which is what Pebble writes.
func hasChecksum(p []byte) bool {
	if len(p) < block.TrailerLen {
		return false
	}
	rest := len(p) - 4
	sum := crc32.Checksum(p[:rest], castagnoli)
	return binary.LittleEndian.Uint32(p[rest:]) == (sum>>15|sum<<17)+0xa282ead8
}

// readsBlock reports whether Pebble's reader of single blocks, which checks their checksums, has called.
func readsBlock() bool {
	return calledBy("/sstable/block.(*Reader).doRead")
}
