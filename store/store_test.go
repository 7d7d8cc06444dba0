package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

func TestPutGetReopen(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	if !s.Fresh() || !s.Empty() || s.Starts() != 1 || s.Incarnation().IsZero() || s.Actor() == 0 {
		t.Fatalf("a new store: fresh=%t empty=%t starts=%d incarnation=%v actor=%v", s.Fresh(), s.Empty(), s.Starts(), s.Incarnation(), s.Actor())
	}
	k := keyOf("k", 4)
	var dot version.Dot
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, &dot)).Commit)
	wantValues(t, s, k, "one")
	if s.Empty() {
		t.Fatal("a store with a record calls itself empty")
	}
	first, actor := s.Incarnation(), s.Actor()
	mustClose(t, s)

	s = mustOpen(t, testOptions(fs))
	defer mustClose(t, s)
	if s.Fresh() || s.Empty() || s.Starts() != 2 || s.Incarnation() != first || s.Actor() == actor {
		t.Fatalf("reopened: fresh=%t empty=%t starts=%d incarnation=%v actor=%v", s.Fresh(), s.Empty(), s.Starts(), s.Incarnation(), s.Actor())
	}
	r := wantValues(t, s, k, "one")
	if !r.Covers(dot) || !s.Clock(k.Partition).Covers(dot) {
		t.Fatalf("dot %v is not covered by %v and %v", dot, r, s.Clock(k.Partition))
	}
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "two", nil, nil)).Commit)
	wantValues(t, s, k, "two")
}

func TestWipedDirectoryIsAnotherIncarnation(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	first := s.Incarnation()
	mustClose(t, s)
	if err := fs.RemoveAll("data"); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(fs))
	defer mustClose(t, s)
	if s.Incarnation() == first || !s.Fresh() {
		t.Fatalf("incarnation %v after the wipe, %v before; fresh=%t", s.Incarnation(), first, s.Fresh())
	}
}

func TestOneProcessOnly(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	if _, err := Open(testOptions(fs)); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v, want %v", err, ErrLocked)
	}
	mustClose(t, s)
	s = mustOpen(t, testOptions(fs))
	mustClose(t, s)
	if _, err := s.Get(keyOf("k", 4)); !errors.Is(err, ErrClosed) {
		t.Fatalf("get after close: %v, want %v", err, ErrClosed)
	}
	if _, err := s.Update(keyOf("k", 4), 3, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("update after close: %v, want %v", err, ErrClosed)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v, want %v", err, ErrClosed)
	}
}

// rewrite changes the database of a closed store behind its back.
func rewrite(t *testing.T, o Options, change func(*pebble.DB) error) {
	t.Helper()
	db, err := pebble.Open(o.Dir, &pebble.Options{FS: o.FS, FormatMajorVersion: pebble.FormatNewest, Logger: pebbleLogger{log: o.Logger}})
	if err != nil {
		t.Fatal(err)
	}
	if err := firstError(change(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestForeignData(t *testing.T) {
	incarnation := metaKey(metaIncarnation)
	for _, c := range []struct {
		name   string
		change func(*pebble.DB) error
		want   error
	}{
		{"newer format", func(db *pebble.DB) error {
			return db.Set(incarnation, append([]byte{valueFormat + 1}, make([]byte, 16)...), nil)
		}, ErrFormat},
		{"short incarnation", func(db *pebble.DB) error { return db.Set(incarnation, []byte{valueFormat, 1, 2}, nil) }, ErrCorrupt},
		{"empty entry", func(db *pebble.DB) error { return db.Set(incarnation, nil, nil) }, ErrFormat},
		{"no incarnation", func(db *pebble.DB) error {
			return db.DeleteRange([]byte{prefixMeta}, []byte{prefixMeta + 1}, nil)
		}, ErrCorrupt},
		{"clock of a newer format", func(db *pebble.DB) error {
			key := make([]byte, clockKeyLen)
			putClockKey(key, 0, version.Actor{ID: 1, N: 3})
			return db.Set(key, []byte{valueFormat + 1, 1, 0}, nil)
		}, ErrFormat},
		{"clock of a foreign partition", func(db *pebble.DB) error {
			key := make([]byte, clockKeyLen)
			putClockKey(key, 4, version.Actor{ID: 1, N: 3})
			return db.Set(key, []byte{valueFormat, 1, 0}, nil)
		}, ErrCorrupt},
		{"log key", func(db *pebble.DB) error { return db.Set([]byte{prefixLog, 1}, []byte{valueFormat}, nil) }, ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			s := mustOpen(t, o)
			mustWait(t, mustUpdate(t, s, keyOf("k", 4), 3, put(version.LWW, "one", nil, nil)).Commit)
			mustClose(t, s)
			rewrite(t, o, c.change)
			if _, err := Open(o); !errors.Is(err, c.want) {
				t.Fatalf("open: %v, want %v", err, c.want)
			}
		})
	}
	o := testOptions(vfs.NewMem())
	mustClose(t, mustOpen(t, o))
	o.Partitions = 8
	if _, err := Open(o); !errors.Is(err, ErrFormat) {
		t.Fatalf("open with other partitions: %v, want %v", err, ErrFormat)
	}
}

func TestCorruptRecord(t *testing.T) {
	o := testOptions(vfs.NewMem())
	s := mustOpen(t, o)
	bad, good := keyOf("bad", 4), keyOf("good", 4)
	mustWait(t, mustUpdate(t, s, bad, 3, put(version.LWW, "one", nil, nil)).Commit)
	mustWait(t, mustUpdate(t, s, good, 3, put(version.LWW, "one", nil, nil)).Commit)
	mustClose(t, s)
	rewrite(t, o, func(db *pebble.DB) error { return db.Set(appendRecordKey(nil, bad), []byte{1, 2, 3}, nil) })
	s = mustOpen(t, o)
	defer mustClose(t, s)
	for range 2 { // the second time from the cache
		if _, err := s.Get(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("get: %v, want %v", err, ErrCorrupt)
		}
	}
	if _, err := s.Update(bad, 3, put(version.LWW, "two", nil, nil)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("update: %v, want %v", err, ErrCorrupt)
	}
	if err := s.Scan(bad.Partition, "b", "", "", func(string, version.Record) bool { return true }); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("scan: %v, want %v", err, ErrCorrupt)
	}
	if n := s.Stats().Corrupt; n != 4 {
		t.Fatalf("%d damaged records counted, want 4", n)
	}
	wantValues(t, s, good, "one")
}

func TestUpdateRefused(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k, no := keyOf("k", 4), errors.New("no")
	var first, second version.Dot
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, &first)).Commit)
	if _, err := s.Update(k, 3, func(version.Record, version.Dot) (version.Record, error) { return version.Record{}, no }); !errors.Is(err, no) {
		t.Fatalf("update: %v, want %v", err, no)
	}
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "two", nil, &second)).Commit)
	if second.Counter != first.Counter+1 {
		t.Fatalf("dots %v and %v: a refused update used one up", first, second)
	}
	for _, bad := range []Key{{Partition: 4, Bucket: "b"}, {Bucket: ""}, {Bucket: "a\x00b"}} {
		if _, err := s.Get(bad); !errors.Is(err, ErrKey) {
			t.Fatalf("get of %v: %v, want %v", bad, err, ErrKey)
		}
	}
	if _, err := s.Update(k, 0, nil); !errors.Is(err, ErrKey) {
		t.Fatalf("n=0: %v, want %v", err, ErrKey)
	}
}

func TestTooLarge(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MaxRecord = 1 << 20
	s := mustOpen(t, o)
	defer mustClose(t, s)
	k := keyOf("k", 4)
	var dot, next version.Dot
	if _, err := s.Update(k, 3, put(version.LWW, strings.Repeat("x", 1<<20), nil, &dot)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("update: %v, want %v", err, ErrTooLarge)
	}
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, strings.Repeat("x", 1<<19), nil, &next)).Commit)
	if next != dot {
		t.Fatalf("dot %v after %v was refused", next, dot)
	}
	checkStore(t, s, nil)
}

// TestLargeBatch writes records larger than half a memtable, which Pebble treats in another way.
func TestLargeBatch(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MemTable = 1 << 20
	s := mustOpen(t, o)
	k, value := keyOf("k", 4), strings.Repeat("x", 1<<21)
	for range 3 {
		mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, value, nil, nil)).Commit)
		wantValues(t, s, k, value)
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	defer mustClose(t, s)
	wantValues(t, s, k, value)
	checkStore(t, s, nil)
}

func TestMeta(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	for _, name := range []string{"bucket/b", "bucket/a", "members"} {
		if err := s.SaveMeta(name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveMeta(metaStarts, nil); !errors.Is(err, ErrKey) {
		t.Fatalf("a reserved name: %v, want %v", err, ErrKey)
	}
	mustClose(t, s)
	s = mustOpen(t, testOptions(fs))
	defer mustClose(t, s)
	var got []string
	for name, value := range s.Meta("bucket/") {
		got = append(got, name+"="+string(value))
	}
	if want := []string{"bucket/a=bucket/a", "bucket/b=bucket/b"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	if got, err := s.LoadMeta("none"); got != nil || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if !s.Empty() {
		t.Fatal("entries are no records")
	}
}

func TestScan(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	for _, name := range []string{"a", "b1", "b2", "b\xff", "c"} {
		for _, bucket := range []string{"b", "c"} {
			mustUpdate(t, s, Key{Partition: 1, Bucket: bucket, Key: name}, 3, put(version.LWW, name, nil, nil)) // not waited for
		}
	}
	for _, c := range []struct {
		from, prefix string
		want         []string
	}{
		{"", "", []string{"a", "b1", "b2", "b\xff", "c"}},
		{"b2", "", []string{"b2", "b\xff", "c"}},
		{"", "b", []string{"b1", "b2", "b\xff"}},
		{"b11", "b", []string{"b2", "b\xff"}},
		{"c", "b", nil},
		{"a", "b\xff", []string{"b\xff"}},
	} {
		var got []string
		err := s.Scan(1, "b", c.from, c.prefix, func(key string, r version.Record) bool {
			if v := values(r); len(v) != 1 || v[0] != key {
				t.Fatalf("%q: %q", key, v)
			}
			got = append(got, key)
			return true
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Fatalf("from %q prefix %q: %q, %v; want %q", c.from, c.prefix, got, err, c.want)
		}
	}
	calls := 0
	if err := s.Scan(1, "b", "", "", func(string, version.Record) bool { calls++; return false }); err != nil || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

func TestRealDisk(t *testing.T) {
	o := testOptions(vfs.Default)
	o.Dir = filepath.Join(t.TempDir(), "a", "b")
	s := mustOpen(t, o)
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v, want %v", err, ErrLocked)
	}
	k := keyOf("k", 4)
	mustWait(t, mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, nil)).Commit)
	if st := s.Stats(); st.FreeBytes == 0 || st.DiskBytes == 0 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	s = mustOpen(t, o)
	defer mustClose(t, s)
	wantValues(t, s, k, "one")
}

// TestClockLag: clocks are written often enough that opening reads few log entries, and opening finds the rest there.
func TestClockLag(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Partitions = 1
	s := mustOpen(t, o)
	own := version.Actor{ID: s.Actor(), N: 3}
	const writes = 4*clockLag + 7
	var last *Commit
	for i := range writes {
		last = mustUpdate(t, s, keyOf(fmt.Sprint(i), 1), 3, put(version.LWW, "v", nil, nil)).Commit
		if got := s.cur.Load().parts[0].saved[own].highest; got+clockLag < uint64(i+1) {
			t.Fatalf("after %d writes the clock is written up to %d", i+1, got)
		}
	}
	mustWait(t, last)
	want := s.Clock(0)
	mustClose(t, s)
	s = mustOpen(t, o)
	defer mustClose(t, s)
	if got := s.Clock(0); !got.Equal(want) {
		t.Fatalf("clock %v, was %v", got, want)
	}
}

func TestPeek(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem()))
	defer mustClose(t, s)
	k := keyOf("k", 4)
	if _, ok := s.Peek(k); ok {
		t.Fatal("an absent key is not in the cache")
	}
	c := mustUpdate(t, s, k, 3, put(version.LWW, "one", nil, nil)).Commit
	if _, ok := s.Peek(k); ok {
		t.Fatal("a write that nobody waited for was shown")
	}
	mustWait(t, c)
	r, ok := s.Peek(k)
	if want := wantValues(t, s, k, "one"); !ok || !r.Equal(want) {
		t.Fatalf("%v, %t; want %v", r, ok, want)
	}
}
