package version

import (
	"fmt"
	"testing"
	"time"
)

// small is what most keys are: one value of 100 bytes in an lww bucket, stored stripped.
func small(counter uint64) Record {
	var clock Vector
	clock.AddBase(Actor{alice, 3}, counter)
	return NewRecord(Write{
		Dot: Dot{Actor{alice, 3}, counter}, Stamp: Stamp{noon + counter, alice}, Mode: LWW,
		ContentType: "application/octet-stream", Value: make([]byte, 100),
	}).Strip(clock)
}

func clockOf(actors int) Vector {
	var v Vector
	for i := range actors {
		v.AddBase(Actor{alice + ActorID(i), 3}, uint64(1000*(i+1)))
	}
	return v
}

func TestAllocations(t *testing.T) {
	clock, buf := clockOf(4), make([]byte, 0, 4096)
	r := small(7)
	b := AppendRecord(nil, r)
	ahead := Dot{Actor{alice + 1, 3}, 3000}
	cases := []struct {
		name string
		most float64
		do   func()
	}{
		{"Covers", 0, func() { clock.Covers(ahead) }},
		{"CoversAll", 0, func() { clock.CoversAll(clock) }},
		{"AppendRecord", 0, func() { AppendRecord(buf, r) }},
		{"DecodeRecord", 3, func() { _, _ = DecodeRecord(b) }},
		{"Strip", 0, func() { r.Strip(clock) }},
		{"Fill", 1, func() { r.Fill(clock) }},
	}
	for _, c := range cases {
		if got := testing.AllocsPerRun(100, c.do); got > c.most {
			t.Errorf("%s: %v allocations, at most %v", c.name, got, c.most)
		}
	}
}

func BenchmarkCovers(b *testing.B) {
	for _, actors := range []int{1, 4, 64} {
		v, d := clockOf(actors), Dot{Actor{alice + ActorID(actors-1), 3}, 1 << 40}
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Covers(d)
			}
		})
	}
}

// Dots that arrive in pairs the wrong way round, as from concurrent writers.
func BenchmarkClockAdd(b *testing.B) {
	v, a := clockOf(4), Actor{alice + 1, 3}
	counter := uint64(2000)
	b.ReportAllocs()
	for b.Loop() {
		v.Add(Dot{a, counter + 2})
		v.Add(Dot{a, counter + 1})
		counter += 2
	}
}

func BenchmarkSupersede(b *testing.B) {
	for _, actors := range []int{3, 30} {
		clock := clockOf(actors)
		local := small(7).Fill(clock)
		w := Write{Dot: Dot{Actor{alice, 3}, 1001}, Stamp: Stamp{noon + 1000, alice}, Mode: LWW, Value: make([]byte, 100)}
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Supersede(local, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, actors := range []int{3, 30} {
		clock := clockOf(actors)
		local, incoming := small(7).Fill(clock), small(8).Fill(clock)
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Merge(local, incoming)
			}
		})
	}
}

func BenchmarkFill(b *testing.B) {
	for _, actors := range []int{3, 30} {
		clock, r := clockOf(actors), small(7)
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Fill(clock)
			}
		})
	}
}

func BenchmarkStrip(b *testing.B) {
	clock := clockOf(3)
	r := small(7).Fill(clock)
	b.ReportAllocs()
	for b.Loop() {
		r.Strip(clock)
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	for _, actors := range []int{0, 3, 30} {
		r, buf := small(7).Fill(clockOf(actors)), make([]byte, 0, 4096)
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				AppendRecord(buf, r)
			}
			b.ReportMetric(float64(len(AppendRecord(nil, r))), "bytes")
		})
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	for _, actors := range []int{0, 3, 30} {
		enc := AppendRecord(nil, small(7).Fill(clockOf(actors)))
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRecord(enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkToken(b *testing.B) {
	token := ReadToken(small(7).Fill(clockOf(3)))
	text := token.Encode("bucket", "key")
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			token.Encode("bucket", "key")
		}
		b.ReportMetric(float64(len(text)), "chars")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeToken(text, "bucket", "key"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHLC(b *testing.B) {
	var h HLC
	now := time.Unix(1_700_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		h.Next(now, Stamp{}, alice)
	}
}
