package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
)

// still is a membership that never changes.
type still struct {
	Cluster
	rings *layouts.View
}

func (s still) Rings() *layouts.View { return s.rings }

// On a busy node operations overlap, and there is no moment at which none runs: a change of the ring must not wait for one.
func TestFenceUnderLoad(t *testing.T) {
	v, err := layouts.NewVersion(1, layouts.Row{ID: ring.ID{1}, Standing: layouts.Owns, Name: "a", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	rings := layouts.NewView(layouts.Found(v), func(v layouts.Version) layouts.Placement { return v.Place() })
	m := &membership{node: &Node{cluster: still{rings: rings}}}
	m.view.Store(&coordinator.View{Rings: rings, Digest: rings.Digest()})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if m.Enter(rings.Digest()) != coordinator.Entered {
		t.Fatal("the door is shut")
	}
	done := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() { // the next comes in before the last one leaves, as long as it is let in
		inside := 1
		for {
			if m.Enter(rings.Digest()) == coordinator.Entered {
				inside++
			}
			time.Sleep(time.Millisecond)
			if inside > 0 {
				inside--
				m.Leave()
			}
			select {
			case <-done:
				for ; inside > 0; inside-- {
					m.Leave()
				}
				return
			default:
			}
		}
	})
	for range 3 {
		m.fenced.Store(0)
		if err := m.fence(ctx, rings.Digest()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	load.Wait()
	if m.Enter(rings.Digest()) != coordinator.Entered {
		t.Error("the door is shut although nobody waits")
	}
}

// A peer's request may fence a view in the moment between its swap and the wish to record it: it is recorded nevertheless, or the change would wait for this node for ever.
func TestFencedByAPeerIsRecorded(t *testing.T) {
	v, err := layouts.NewVersion(1, layouts.Row{ID: ring.ID{1}, Standing: layouts.Owns, Name: "a", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	rings := layouts.NewView(layouts.Found(v), func(v layouts.Version) layouts.Placement { return v.Place() })
	m := &membership{node: &Node{cluster: still{rings: rings}}, swapped: make(chan struct{}, 1)}
	m.fenced.Store(rings.Digest())
	m.show(&coordinator.View{Rings: rings, Digest: rings.Digest()})
	if len(m.swapped) != 1 {
		t.Error("nobody records the view")
	}
}
