package repair

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
)

// BenchmarkDeliver serves an owner with 2,000 keys, 130 bytes each with key, targets and a short value, both on the disk that TMPDIR is on; per operation: one key. Keys of one message
// share its two syncs, the owner's and the fallback's.
func BenchmarkDeliver(b *testing.B) {
	for _, page := range []int{1, 4 << 10, DefaultDeliverConfig().Page} {
		b.Run(fmt.Sprint("page=", page), func(b *testing.B) {
			left := 0
			var w *world
			for range b.N {
				if left == 0 {
					b.StopTimer()
					if w != nil {
						w.close()
					}
					w = benchWorld(b)
					w.nodes[0].d.cfg.Page = page
					left = 2000
					b.StartTimer()
					w.nodes[0].d.errand(b.Context(), w.nodes[1].id)
				}
				left--
			}
			b.StopTimer()
			if s := &w.nodes[0].d.Stats; s.Delivered.Load() != 2000 || s.Settled.Load() != 1 {
				b.Errorf("%d delivered, %d times dots", s.Delivered.Load(), s.Settled.Load())
			}
			w.close()
		})
	}
}

func benchWorld(b *testing.B) *world {
	w := crashWorld(b, vfs.Default, vfs.Default)
	for _, key := range w.together("k", 2000) {
		w.stand(w.nodes[0], key, version.LWW)
	}
	return w
}
