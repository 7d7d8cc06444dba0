package transport

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBlockedHandlers: handlers that block hold up nobody else, in whatever order requests come, and a worker is not more than one job needs.
func TestBlockedHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newPair(t, func(r Request) {
			if r.Kind == kindWrite {
				<-release
			}
			r.Reply(StatusOK, nil)
		}, func(c *Config) { c.Conns = 1 })
		wantOK(t, p.call(kindOther, ""), "")
		const each = 3 * maxIdle
		blocked, quick := make(chan Response, each), make(chan Response, each)
		for range each {
			p.a.Go(idOf(2), kindWrite, nil, time.Time{}, func(r Response) { blocked <- r })
			p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { quick <- r })
		}
		synctest.Wait()
		if len(quick) != each || len(blocked) != 0 {
			t.Fatalf("beside %d blocked handlers, %d of %d quick ones answered, and %d blocked ones", each, len(quick), each, len(blocked))
		}
		if s := p.b.Stats(); s.Running != each {
			t.Errorf("%d requests run, want %d", s.Running, each)
		}
		close(release)
		for range each {
			wantOK(t, <-blocked, "")
		}
		synctest.Wait()
		p.b.workers.mu.Lock()
		defer p.b.workers.mu.Unlock()
		if w := &p.b.workers; w.idle > maxIdle || w.coming || len(w.queue) != 0 {
			t.Errorf("at rest %d workers are kept, %d jobs, coming=%t", w.idle, len(w.queue)-w.next, w.coming)
		}
	})
}
