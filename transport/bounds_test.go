package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/ring"
)

func TestSizeLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := NewNetwork()
		open := func(name string, id ring.ID, largest int) *Endpoint {
			cfg := memoryConfig(name, id)
			cfg.MaxFrame = largest
			e, err := network.New(cfg)
			must(t, err)
			e.Handle(kindOther, ClassOther, func(r Request) { r.Reply(StatusOK, append(r.Body, '!')) })
			must(t, e.Open())
			t.Cleanup(func() { e.Close() })
			e.SetPeers(map[ring.ID]Peer{idOf(1): {"wide", "wide"}, idOf(2): {"narrow", "narrow"}})
			return e
		}
		wide := open("wide", idOf(1), 200)
		open("narrow", idOf(2), 100)
		call := func(size int) Response {
			return wide.Call(context.Background(), idOf(2), kindOther, make([]byte, size))
		}
		wantErr(t, call(201), ErrTooLarge, false) // for this node
		wantErr(t, call(101), ErrTooLarge, false) // for the other, which has said so in its hello
		if r := call(100); r.Err != nil || r.Status != StatusTooLarge {
			t.Errorf("response of 101 bytes: got %v, %v", r.Status, r.Err)
		}
		if r := call(99); r.Err != nil || r.Status != StatusOK || len(r.Body) != 100 {
			t.Errorf("response of 100 bytes: got %v, %v", r.Status, r.Err)
		}
	})
}

func TestOverloadedPeer(t *testing.T) {
	for name, tweak := range map[string]func(*Config){
		"requests": func(c *Config) { c.MaxRunning = 2 },
		"bytes":    func(c *Config) { c.MaxFrame, c.MaxHeld = 10, 20 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				release := make(chan struct{})
				p := newPair(t, func(r Request) {
					<-release
					r.Reply(StatusOK, nil)
				}, tweak)
				done := make(chan Response, 3)
				for range 3 {
					p.a.Go(idOf(2), kindOther, make([]byte, 10), time.Time{}, func(r Response) { done <- r })
				}
				if r := <-done; r.Err != nil || r.Status != StatusOverloaded || !r.Sent {
					t.Errorf("third call: %+v, want overloaded", r)
				}
				close(release)
				wantOK(t, <-done, "")
				wantOK(t, <-done, "")
				wantOK(t, p.call(kindOther, "again"), "")
				synctest.Wait()
				if s := p.b.Stats(); s.Running != 0 || s.HeldBytes != 0 || s.RequestsRefused != 1 {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

func TestTooManyPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t, func(r Request) {
			<-time.After(time.Second / 2)
			r.Reply(StatusOK, nil)
		}, func(c *Config) { c.MaxPending, c.Conns = 2, 1 })
		done := make(chan Response, 3)
		start := func(n int) {
			for range n {
				p.a.Go(idOf(2), kindOther, nil, time.Time{}, func(r Response) { done <- r })
			}
		}
		start(3) // all before the first dial has succeeded
		wantErr(t, <-done, ErrOverloaded, false)
		wantOK(t, <-done, "")
		wantOK(t, <-done, "")
		start(3) // all on the connection
		wantErr(t, <-done, ErrOverloaded, false)
		wantOK(t, <-done, "")
		wantOK(t, <-done, "")
		if h := p.a.Health(idOf(2)); h.Failures != 0 {
			t.Errorf("health %+v: what this node refuses is no failure of the peer", h)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	if err := testConfig("a", idOf(1)).Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"cluster": func(c *Config) { c.Cluster = "" },
		"name":    func(c *Config) { c.Name = string(make([]byte, 256)) },
		"self":    func(c *Config) { c.Self = ring.ID{} },
		"frame":   func(c *Config) { c.MaxFrame = frameCeiling + 1 },
		"conns":   func(c *Config) { c.Conns = 0 },
		"queued":  func(c *Config) { c.MaxQueued = 0 },
		"held":    func(c *Config) { c.MaxHeld = c.MaxFrame - 1 },
		"ping":    func(c *Config) { c.PingEvery = 0 },
		"backoff": func(c *Config) { c.BackoffMax = c.BackoffMin - 1 },
	} {
		cfg := testConfig("a", idOf(1))
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
