package store

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Run with: go test -run '^$' -bench . -benchtime 200000x ./store/
// The directory is on the disk of TMPDIR; cpu-µs/op is the CPU time of the whole process, compactions and syncs included.

const (
	benchWriters = 64
	benchKeys    = 100_000
)

// benchTime: stamps only need to grow.
var benchTime = time.Unix(1_700_000_000, 0)

func benchStore(b *testing.B, change func(*Options)) *Store {
	o := DefaultOptions()
	o.FS, o.Dir = vfs.Default, b.TempDir()
	if change != nil {
		change(&o)
	}
	s := mustOpen(b, o)
	b.Cleanup(func() { mustClose(b, s) })
	return s
}

func benchKey(i uint64) Key {
	name := fmt.Sprintf("key%08d", i)
	return Key{Partition: ring.PartitionOf(ring.Hash("bench", name), ring.DefaultPartitions), Bucket: "bench", Key: name}
}

func benchNames(n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = benchKey(uint64(i))
	}
	return keys
}

func cpuMicros() float64 {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Sec+ru.Stime.Sec)*1e6 + float64(ru.Utime.Usec+ru.Stime.Usec)
}

// run spreads b.N operations over goroutines.
func run(b *testing.B, workers int, op func(worker int, r *rand.Rand) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	before := cpuMicros()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for left.Add(-1) >= 0 {
				if err := op(w, r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric((cpuMicros()-before)/float64(b.N), "cpu-µs/op")
}

func fillStore(b *testing.B, s *Store, keys []Key, value []byte) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range benchWriters {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(keys)); i = next.Add(1) - 1 {
				res, err := s.Update(keys[i], 3, put(version.LWW, string(value), nil, nil))
				if err == nil {
					err = res.Commit.Wait()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func benchValue(n int) []byte {
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(rand.Uint32())
	}
	return v
}

func BenchmarkUpdate(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, cache := range []int64{0, 64 << 20} {
			b.Run(fmt.Sprintf("size=%d/cache=%dM", size, cache>>20), func(b *testing.B) {
				s := benchStore(b, func(o *Options) { o.RecordCache = cache })
				keys, value := benchNames(benchKeys), benchValue(size)
				fillStore(b, s, keys, value)
				var hlc version.HLC
				run(b, benchWriters, func(_ int, r *rand.Rand) error {
					res, err := s.Update(keys[r.IntN(len(keys))], 3, func(local version.Record, dot version.Dot) (version.Record, error) {
						return version.Supersede(local, version.Write{Dot: dot, Mode: version.LWW, Value: value, Stamp: hlc.Next(benchTime, local.MaxStamp(), dot.Actor.ID)})
					})
					if err != nil {
						return err
					}
					return res.Commit.Wait()
				})
			})
		}
	}
}

// BenchmarkStand is a write that a fallback coordinates, of keys that it mostly holds already; and, beside it, how long it takes to open a store that
// holds 100,000 of them.
func BenchmarkStand(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := benchStore(b, nil)
			keys, value := benchNames(benchKeys), benchValue(size)
			targets := []ring.ID{owner(1), owner(2), owner(3)}
			var hlc version.HLC
			stand := func(k Key) error {
				res, err := s.StandUpdate(k, 3, targets, func(local version.Record, dot version.Dot) (version.Record, error) {
					return version.Supersede(local, version.Write{Dot: dot, Mode: version.LWW, Value: value, Stamp: hlc.Next(benchTime, local.MaxStamp(), dot.Actor.ID)})
				})
				if err != nil {
					return err
				}
				return res.Commit.Wait()
			}
			var next atomic.Int64
			var fill sync.WaitGroup
			for range benchWriters {
				fill.Go(func() {
					for i := next.Add(1) - 1; i < benchKeys; i = next.Add(1) - 1 {
						if err := stand(keys[i]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			fill.Wait()
			run(b, benchWriters, func(_ int, r *rand.Rand) error { return stand(keys[r.IntN(len(keys))]) })
			b.StopTimer()
			o := s.opts
			o.Dir += "-copy"
			if err := s.cur.Load().db.Checkpoint(o.Dir); err != nil {
				b.Fatal(err)
			}
			begun := time.Now()
			again, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(begun).Milliseconds()), "open-ms")
			if got := again.HandOffs(); got.Count != benchKeys {
				b.Errorf("%+v", got)
			}
			mustClose(b, again)
		})
	}
}

// BenchmarkApply is a replica's share of a write: what a coordinator made in one store is applied to another.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := benchStore(b, nil)
			keys, value := benchNames(benchKeys), benchValue(size)
			fillStore(b, s, keys, value)
			incoming := foreignRecords(b.N, keys, value)
			var next atomic.Int64
			run(b, benchWriters, func(int, *rand.Rand) error {
				in := &incoming[next.Add(1)-1]
				res, err := s.Apply(in.key, in.record)
				if err != nil {
					return err
				}
				return res.Commit.Wait()
			})
		})
	}
}

type keyedRecord struct {
	key    Key
	record version.Record
}

// foreignRecords makes n writes of another node.
func foreignRecords(n int, keys []Key, value []byte) []keyedRecord {
	r := rand.New(rand.NewPCG(3, 4))
	clocks := make(map[ring.Partition]*version.Vector)
	actor := version.Actor{ID: 42, N: 3}
	out := make([]keyedRecord, n)
	for i := range out {
		k := keys[r.IntN(len(keys))]
		clock := clocks[k.Partition]
		if clock == nil {
			clock = new(version.Vector)
			clocks[k.Partition] = clock
		}
		entry, _ := clock.Entry(actor)
		w := version.Write{Dot: version.Dot{Actor: actor, Counter: entry.Base + 1}, Mode: version.LWW, Value: value,
			Stamp: version.Stamp{Time: 1<<62 + uint64(i), Actor: 42}, Context: *clock}
		out[i] = keyedRecord{k, version.NewRecord(w)}
		clock.Add(w.Dot)
	}
	return out
}

func BenchmarkGet(b *testing.B) {
	for _, c := range []struct {
		name         string
		cache, block int64
	}{{"record-cache", 64 << 20, 128 << 20}, {"block-cache", 0, 128 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			s := benchStore(b, func(o *Options) { o.RecordCache, o.BlockCache = c.cache, c.block })
			keys := benchNames(benchKeys)
			fillStore(b, s, keys, benchValue(100))
			run(b, benchWriters, func(_ int, r *rand.Rand) error {
				rec, err := s.Get(keys[r.IntN(len(keys))])
				if err == nil && rec.IsAbsent() {
					b.Error("a key is missing")
				}
				return err
			})
		})
	}
	b.Run("absent", func(b *testing.B) {
		s := benchStore(b, nil)
		keys := benchNames(2 * benchKeys)
		fillStore(b, s, keys[:benchKeys], benchValue(100))
		run(b, benchWriters, func(_ int, r *rand.Rand) error {
			_, err := s.Get(keys[benchKeys+r.IntN(benchKeys)])
			return err
		})
	})
}

// BenchmarkBare is what the same write costs without versions, clocks and log: a Get and a synced batch of two keys on bare Pebble.
func BenchmarkBare(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{MemTableSize: 64 << 20, CacheSize: 128 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: pebbleLogger{log: slog.New(slog.DiscardHandler)}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			value := benchValue(size)
			for i := range benchKeys {
				_ = db.Set(bareKey(uint64(i), 'd'), value, pebble.NoSync)
			}
			run(b, benchWriters, func(_ int, r *rand.Rand) error {
				key := bareKey(r.Uint64N(benchKeys), 'd')
				if _, closer, err := db.Get(key); err == nil {
					_ = closer.Close()
				}
				batch := db.NewBatch()
				_ = batch.Set(key, value, nil)
				key[0] = 'l'
				_ = batch.Set(key, value[:16], nil)
				err := db.ApplyNoSyncWait(batch, pebble.Sync)
				if err == nil {
					err = batch.SyncWait()
				}
				_ = batch.Close()
				return err
			})
		})
	}
}

func bareKey(i uint64, prefix byte) []byte {
	k := benchKey(i)
	return append(append([]byte{prefix}, k.Bucket...), k.Key...)
}
