package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
	"pgregory.net/rapid"
)

func FuzzClockValue(f *testing.F) {
	f.Add([]byte{valueFormat, 5, 0})
	f.Add([]byte{valueFormat, 0, 2, 2, 0, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		actor := version.Actor{ID: 1, N: 3}
		e, err := decodeClock(b, actor)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
				t.Fatalf("%x: %v", b, err)
			}
			return
		}
		if again := appendClock(nil, e); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %v, which encodes to %x", b, e, again)
		}
	})
}

func TestClockValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v version.Vector
		actor := version.Actor{ID: 1, N: 3}
		v.AddBase(actor, rapid.Uint64Range(0, 5).Draw(t, "base"))
		for _, c := range rapid.SliceOfN(rapid.Uint64Range(1, 40), 1, 20).Draw(t, "counters") {
			v.Add(version.Dot{Actor: actor, Counter: c})
		}
		want, _ := v.Entry(actor)
		got, err := decodeClock(appendClock(nil, want), actor)
		if err != nil {
			t.Fatal(err)
		}
		var again version.Vector
		addEntry(&again, got)
		if !again.Equal(v) {
			t.Fatalf("%v became %v", v, again)
		}
	})
}

func TestKeysKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (Key, version.Dot) {
			return Key{Partition: ring.Partition(rapid.Uint16().Draw(t, name)), Bucket: rapid.StringMatching(`[a-c]{1,3}`).Draw(t, name), Key: string(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, name))},
				version.Dot{Actor: version.Actor{ID: version.ActorID(rapid.Uint64().Draw(t, name)), N: rapid.Uint8().Draw(t, name)}, Counter: rapid.Uint64().Draw(t, name)}
		}
		k, d := draw("k")
		o, e := draw("o")
		if got, ok := parseRecordKey(appendRecordKey(nil, k)); !ok || got != k {
			t.Fatalf("%v became %v", k, got)
		}
		lk, lo := make([]byte, logKeyLen), make([]byte, logKeyLen)
		putLogKey(lk, k.Partition, d)
		putLogKey(lo, o.Partition, e)
		if p, got, ok := parseLogKey(lk); !ok || p != k.Partition || got != d {
			t.Fatalf("%v became %v", d, got)
		}
		if k.Partition == o.Partition && d.Actor == e.Actor && (d.Counter < e.Counter) != (bytes.Compare(lk, lo) < 0) {
			t.Fatalf("%v and %v are out of order as %x and %x", d, e, lk, lo)
		}
		if k.Partition == o.Partition && k.Bucket == o.Bucket && (k.Key < o.Key) != (bytes.Compare(appendRecordKey(nil, k), appendRecordKey(nil, o)) < 0) {
			t.Fatalf("%q and %q are out of order", k.Key, o.Key)
		}
	})
}

// TestCacheBound: the cache stays within its bytes, keeps what was used last, and tells keys of one hash apart.
func TestCacheBound(t *testing.T) {
	c := newCache(cacheShards*16*(cacheOverhead+3), 2)
	has := func(hash uint64, key string) bool {
		_, ok := c.get(hash, []byte(key))
		return ok
	}
	const shard = uint64(3) << 32
	for i := range uint64(100) {
		c.put(shard|i, []byte("d\x00\x01"), version.Record{N: 1})
		has(shard, "d\x00\x01")
	}
	if !has(shard, "d\x00\x01") || has(shard|1, "d\x00\x01") || !has(shard|99, "d\x00\x01") {
		t.Fatal("not the least recently used went")
	}
	if has(shard, "d\x00\x00") {
		t.Fatal("another key of the same hash was taken for it")
	}
	if s := c.shard(shard); s.used > s.max || len(s.entries) != 16 {
		t.Fatalf("%d bytes of %d in %d entries", s.used, s.max, len(s.entries))
	}
	c.put(shard|99, []byte("d\x00\x01"), version.Record{N: 1, Versions: []version.Version{{Value: make([]byte, 4096)}}})
	if has(shard|99, "d\x00\x01") {
		t.Fatal("a record larger than an eighth of its shard was kept")
	}

	c.put(shard|1, []byte("d\x00\x00"), version.Record{N: 1})
	c.removePartition(1)
	if has(shard|98, "d\x00\x01") || !has(shard|1, "d\x00\x00") {
		t.Fatal("not what was kept of the dropped partition is forgotten")
	}
	if c.put(shard|98, []byte("d\x00\x01"), version.Record{N: 1}); !has(shard|98, "d\x00\x01") {
		t.Fatal("what came after the drop is forgotten too")
	}
}
