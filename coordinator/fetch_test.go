package coordinator

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// Whom a pursuit asks, and when, over a second in steps of one millisecond: a replica that answers at some time, or fails, or never does.
func TestPursuit(t *testing.T) {
	const never = time.Hour
	type replica struct {
		after time.Duration // from when it is asked
		fails bool
	}
	for _, c := range []struct {
		name      string
		near      *replica // has been asked already
		others    []replica
		allowance int
		want      string
	}{
		{"in time", &replica{after: 5 * time.Millisecond}, []replica{{}}, 9, "5ms done"},
		{"late, and another is asked at its p99", &replica{after: never}, []replica{{after: 3 * time.Millisecond}}, 9, "10ms hedge 0, 13ms done"},
		{"late, and still first", &replica{after: 11 * time.Millisecond}, []replica{{after: 3 * time.Millisecond}}, 9, "10ms hedge 0, 11ms done"},
		{"late, and no allowance", &replica{after: 100 * time.Millisecond}, []replica{{after: time.Millisecond}}, 0, "10ms none, 100ms done"},
		{"silent, and no allowance: before the time is up all the same", &replica{after: never}, []replica{{after: never}, {after: time.Millisecond}}, 0,
			"10ms none, 500ms ask 0, 510ms none, 750ms ask 1, 751ms done"},
		{"failed, and the next at once", &replica{after: 2 * time.Millisecond, fails: true}, []replica{{after: time.Millisecond}}, 0, "2ms ask 0, 3ms done"},
		{"all fail", &replica{after: 2 * time.Millisecond, fails: true}, []replica{{after: 3 * time.Millisecond, fails: true}, {after: 4 * time.Millisecond, fails: true}}, 9,
			"2ms ask 0, 5ms ask 1, 9ms nobody"},
		{"nobody was asked", nil, []replica{{after: time.Millisecond}}, 0, "0s ask 0, 1ms done"},
		{"one hedge after another", &replica{after: never}, []replica{{after: never}, {after: never}, {after: time.Millisecond}}, 2,
			"10ms hedge 0, 20ms hedge 1, 30ms none, 510ms ask 2, 511ms done"},
		{"nobody is left", &replica{after: never}, nil, 9, "1s up"},
		{"a hedge fails, and the late one is waited for", &replica{after: 50 * time.Millisecond}, []replica{{after: time.Millisecond, fails: true}}, 9, "10ms hedge 0, 50ms done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			begun := time.Unix(1_700_000_000, 0)
			var said []string
			say := func(at time.Duration, what string) { said = append(said, fmt.Sprint(at, " ", what)) }
			var now time.Duration
			type event struct {
				at    time.Duration
				fails bool
			}
			var pending []event
			left := c.allowance
			p := &pursuit{end: begun.Add(time.Second), patience: func(ring.ID) time.Duration { return 10 * time.Millisecond },
				late: func(ring.ID) {},
				spend: func() bool {
					if left == 0 {
						say(now, "none")
						return false
					}
					left--
					return true
				}}
			for i := range c.others {
				p.ids = append(p.ids, ring.ID{byte(i + 1)})
			}
			if c.near != nil {
				p.asked(ring.ID{99}, begun)
				pending = append(pending, event{c.near.after, c.near.fails})
			}
			for ; ; now += time.Millisecond {
				done := false
				for i := range pending {
					if pending[i].at == now {
						p.open--
						done = done || !pending[i].fails
					}
				}
				if done {
					say(now, "done")
					break
				}
				for {
					ask, hedge, until := p.step(begun.Add(now))
					if !ask {
						if p.open > 0 && !until.After(begun.Add(now)) && now < time.Second {
							t.Fatalf("at %v it waits until %v", now, until.Sub(begun))
						}
						break
					}
					say(now, fmt.Sprintf("%s %d", map[bool]string{true: "hedge", false: "ask"}[hedge], p.next))
					pending = append(pending, event{now + c.others[p.next].after, c.others[p.next].fails})
					id := p.ids[p.next]
					p.next++
					p.asked(id, begun.Add(now))
				}
				if p.open == 0 {
					say(now, "nobody")
					break
				}
				if now == time.Second {
					say(now, "up")
					break
				}
			}
			if got := strings.Join(said, ", "); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// hedging writes a large value, reads it through a node that does not own it until it knows how fast the owners are, and calls test.
func hedging(t *testing.T, value string, test func(w *world, o []*scenarioNode, reader *scenarioNode, read func() error)) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		if _, err := hput(o[0], value, 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		for _, n := range o {
			n.large = 2 * time.Millisecond
		}
		read := func() error {
			got, err := hget(rest[0], 3, 2, nil)
			if err == nil && got != value+";" {
				err = fmt.Errorf("read %.20q", got)
			}
			return err
		}
		for range 50 {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		s := &rest[0].coord.Stats
		if s.Hedges.Load() != 0 || s.Fetches.Load() != 0 {
			t.Fatalf("%d hedges and %d fetches while all answer in time", s.Hedges.Load(), s.Fetches.Load())
		}
		test(w, o, rest[0], read)
	})
}

// The nearest owner has turned slow: the value comes from another at its p99, later reads ask another one first, and nobody takes the slow one for dead.
func TestLateValueIsHedged(t *testing.T) {
	hedging(t, large, func(w *world, o []*scenarioNode, reader *scenarioNode, read func() error) {
		o[0].large = time.Hour
		begun := time.Now()
		if err := read(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 10*time.Millisecond {
			t.Errorf("%v of virtual time for a value that two owners send within 2 ms", took)
		}
		s := &reader.coord.Stats
		if s.Hedges.Load() != 1 || s.HedgesWon.Load() != 1 || s.Fetches.Load() != 1 {
			t.Errorf("%d hedges, %d won, %d fetches; want one of each", s.Hedges.Load(), s.HedgesWon.Load(), s.Fetches.Load())
		}
		for range 100 {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Hedges.Load(); n > 5 {
			t.Errorf("%d hedges: the slow owner is still asked first", n)
		}
		if _, err := hget(reader, 3, 3, nil); err != nil {
			t.Errorf("the slow owner is not asked any more: %v", err)
		}
	})
}

// All owners turn slow, and stay it: what is asked twice is bounded, and every read is answered.
func TestHedgesAreBounded(t *testing.T) {
	hedging(t, large, func(w *world, o []*scenarioNode, reader *scenarioNode, read func() error) {
		const reads = 1000
		for i := range reads {
			for _, n := range o {
				n.large = time.Duration(20+i%200) * time.Millisecond // never what it was
			}
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		s := &reader.coord.Stats
		if n := s.Hedges.Load(); n == 0 || n > hedgeBurst+(reads+50)/hedgeShare {
			t.Errorf("%d hedges for %d reads", n, reads)
		}
		t.Logf("%d hedges, %d won, %d suppressed", s.Hedges.Load(), s.HedgesWon.Load(), s.HedgesSuppressed.Load())
	})
}

// Small values ride along, so that nothing is asked twice however slow one owner is.
func TestSmallValuesAreNotHedged(t *testing.T) {
	hedging(t, "small", func(w *world, o []*scenarioNode, reader *scenarioNode, read func() error) {
		o[0].answers = 300 * time.Millisecond
		for range 50 {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		s := &reader.coord.Stats
		if s.Hedges.Load()+s.HedgesSuppressed.Load()+s.Fetches.Load() != 0 {
			t.Errorf("%d hedges, %d suppressed, %d fetches", s.Hedges.Load(), s.HedgesSuppressed.Load(), s.Fetches.Load())
		}
	})
}

// Without an allowance a value that never comes is asked for again all the same, at half time.
func TestSilentOwnerWithoutAllowance(t *testing.T) {
	hedging(t, large, func(w *world, o []*scenarioNode, reader *scenarioNode, read func() error) {
		reader.coord.hedges.parts.Store(0)
		o[0].large = time.Hour
		if err := read(); err != nil {
			t.Fatal(err)
		}
		s := &reader.coord.Stats
		if s.Hedges.Load() != 0 || s.HedgesSuppressed.Load() != 1 || s.Fetches.Load() != 1 {
			t.Errorf("%d hedges, %d suppressed, %d fetches", s.Hedges.Load(), s.HedgesSuppressed.Load(), s.Fetches.Load())
		}
	})
}

// This node's own copy comes first, and when its disk is late, another's does.
func TestSlowOwnDiskIsHedged(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		if _, err := hput(o[0], large, 3, 3, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		c := o[0].coord
		c.store = slowStore{o[0].store, 0}
		for range 20 {
			if got, err := hget(o[0], 3, 2, nil); err != nil || got != large+";" {
				t.Fatal(got, err)
			}
		}
		if c.Stats.Fetches.Load() != 0 {
			t.Errorf("%d values fetched that are on this node's own disk", c.Stats.Fetches.Load())
		}
		c.store = slowStore{o[0].store, 30 * time.Second}
		if got, err := hget(o[0], 3, 2, nil); err != nil || got != large+";" {
			t.Fatal(got, err)
		}
		if c.Stats.HedgesWon.Load() != 1 {
			t.Errorf("%d hedges won, want one", c.Stats.HedgesWon.Load())
		}
		time.Sleep(time.Minute) // the stalled disk's goroutine ends
		synctest.Wait()
	})
}
