package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

// flipBit changes one bit in the tables of a directory, where text stands in them, and returns in how many places.
func flipBit(t *testing.T, fs vfs.FS, dir, text string) (places int) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if filepath.Ext(name) != ".sst" {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		table := make([]byte, info.Size())
		if _, err := f.ReadAt(table, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if at := strings.Index(string(table), text); at >= 0 {
			places++
			if _, err := f.WriteAt([]byte{table[at] ^ 1}, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return places
}

// TestDamagedBlock: a flipped bit in a block of any size is found by one checksum, so that not even a large one keeps a processor busy, and its
// partition locked, with the search for it.
func TestDamagedBlock(t *testing.T) {
	for _, size := range []int{5 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			o.Partitions = 1
			s := mustOpen(t, o)
			bad, good := keyOf("bad", 1), keyOf("good", 1)
			mustUpdate(t, s, bad, 3, put(version.LWW, strings.Repeat("-", size)+"here"+strings.Repeat("-", size), nil, nil))
			flush(s)
			mustUpdate(t, s, good, 3, put(version.LWW, "one", nil, nil))
			mustClose(t, s)
			if places := flipBit(t, o.FS, o.Dir, "here"); places != 1 {
				t.Fatalf("the value is in %d tables", places)
			}
			s = mustOpen(t, o)
			defer mustClose(t, s)
			for range 2 {
				if _, err := s.Get(bad); !errors.Is(err, ErrCorrupt) || !errors.Is(err, errBlock) {
					t.Fatalf("get: %v, want %v", err, errBlock)
				}
			}
			mustWait(t, mustUpdate(t, s, good, 3, put(version.LWW, "two", nil, nil)).Commit)
			wantValues(t, s, good, "two")
			if st := s.Stats(); st.Corrupt == 0 || st.Failures != 0 {
				t.Errorf("%d damaged records counted, %d failures of the disk", st.Corrupt, st.Failures)
			}
		})
	}
}

// TestLinesOfDamage: however often damaged data is read, the log gets one line a second of each kind, with the number of those left out and without stacks.
func TestLinesOfDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := testOptions(vfs.NewMem())
		o.Partitions, o.Logger = 1, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
		s := mustOpen(t, o)
		bad := keyOf("bad", 1)
		mustUpdate(t, s, bad, 3, put(version.LWW, strings.Repeat("-", 5000)+"here", nil, nil))
		flush(s)
		mustClose(t, s)
		flipBit(t, o.FS, o.Dir, "here")
		s = mustOpen(t, o)
		defer mustClose(t, s)
		read := func() []string {
			out.Reset()
			for range 100 {
				if _, err := s.Get(bad); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("get: %v, want %v", err, ErrCorrupt)
				}
			}
			return strings.Split(strings.TrimSpace(out.String()), "\n")
		}
		for _, left := range []string{"left_out=0", "left_out=99"} {
			lines := read()
			if len(lines) != 2 {
				t.Fatalf("%d lines, want one of the record and one of the table", len(lines))
			}
			for _, line := range lines {
				if !strings.Contains(line, left) || len(line) > 500 {
					t.Errorf("want %s, and no stack: %s", left, line)
				}
			}
			time.Sleep(time.Second) // virtual
		}
	})
}
