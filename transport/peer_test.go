package transport

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/ring"
)

func (n *Network) open(t *testing.T, name string, id ring.ID, tweak func(*Config)) *Endpoint {
	t.Helper()
	cfg := memoryConfig(name, id)
	if tweak != nil {
		tweak(&cfg)
	}
	e, err := n.New(cfg)
	must(t, err)
	e.Handle(kindOther, ClassOther, func(r Request) { r.Reply(StatusOK, []byte(name)) })
	must(t, e.Open())
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

// TestPeerDiesAndReturns: calls in flight fail at once, later ones at once and unsent, and those after its return succeed.
func TestPeerDiesAndReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := NewNetwork()
		a := network.open(t, "a", idOf(1), nil)
		b := network.open(t, "b", idOf(2), nil)
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "b"}})
		call := func() Response { return callIn(a, idOf(2), kindOther, "", time.Second) }
		wantOK(t, call(), "b")
		synctest.Wait() // for the second connection
		must(t, b.Close())
		synctest.Wait()
		began := time.Now()
		wantErr(t, call(), ErrUnreachable, false)
		if took := time.Since(began); took > a.cfg.BackoffMin { // the pause before the redial
			t.Errorf("the first call after the death took %v", took)
		}
		wantErr(t, call(), ErrUnreachable, false)
		if s := a.Stats(); s.Broken != 2 || s.Connected != 0 || s.DialFailures == 0 {
			t.Errorf("stats %+v", s)
		}
		<-time.After(time.Minute)
		network.open(t, "b", idOf(2), nil)
		<-time.After(a.cfg.BackoffMax)
		wantOK(t, call(), "b")
	})
}

// TestDialsAreFew: a peer that stays away costs a dial per BackoffMax and connection, whatever is called.
func TestDialsAreFew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := NewNetwork()
		a := network.open(t, "a", idOf(1), nil)
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "b"}})
		if a.Stats().Dials != 0 {
			t.Error("dialled before the first call")
		}
		for range 1000 {
			wantErr(t, callIn(a, idOf(2), kindOther, "", time.Second), ErrUnreachable, false)
		}
		if n := a.Stats().Dials; n != 1 {
			t.Errorf("%d dials for a thousand calls at one moment", n)
		}
		<-time.After(time.Hour)
		if n := a.Stats().Dials; n < 1800 || n > 3610 {
			t.Errorf("%d dials in an hour, want one in 1 to 2 s", n)
		}
	})
}

// TestAnotherNodeAnswers: the address of a dead node was taken over by another.
func TestAnotherNodeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		network := NewNetwork()
		a := network.open(t, "a", idOf(1), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		b := network.open(t, "b", idOf(3), nil)
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "b"}})
		r := callIn(a, idOf(2), kindOther, "", time.Second)
		wantErr(t, r, ErrUnreachable, false)
		wantErr(t, r, ErrRefused, false)
		if h := a.Health(idOf(2)); !errors.Is(h.LastErr, ErrRefused) || !strings.Contains(h.LastErr.Error(), idOf(3).String()) {
			t.Errorf("health %+v does not say who answered", h)
		}
		must(t, a.Close())
		if n := strings.Count(log.String(), "node unreachable"); n != 1 {
			t.Errorf("reported %d times:\n%s", n, log.String())
		}
		synctest.Wait()
		if s := b.Stats(); s.HandshakesRefused == 0 || s.Requests != 0 {
			t.Errorf("stats of the other %+v", s)
		}
	})
}

func TestForeignCluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := NewNetwork()
		a := network.open(t, "a", idOf(1), nil)
		network.open(t, "b", idOf(2), func(c *Config) { c.Cluster = "other" })
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "b"}})
		wantErr(t, callIn(a, idOf(2), kindOther, "", time.Second), ErrRefused, false)
		r, from := a.CallAddr(t.Context(), "b", kindOther, nil)
		wantErr(t, r, ErrRefused, false)
		if !from.IsZero() || !strings.Contains(r.Err.Error(), `"other"`) {
			t.Errorf("from %v: %v", from, r.Err)
		}
	})
}

// TestAddressBook: a peer that leaves it, or moves, is no longer called where it was.
func TestAddressBook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := NewNetwork()
		a := network.open(t, "a", idOf(1), nil)
		network.open(t, "old", idOf(2), nil)
		call := func() Response { return callIn(a, idOf(2), kindOther, "", time.Second) }
		wantErr(t, call(), ErrUnreachable, false)
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "old"}})
		wantOK(t, call(), "old")
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "old"}})
		synctest.Wait()
		if s := a.Stats(); s.Connected != 2 || s.Dials != 2 {
			t.Errorf("the same book again: stats %+v", s)
		}

		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "new"}})
		wantErr(t, call(), ErrUnreachable, false) // nobody there yet
		network.open(t, "new", idOf(2), nil)
		<-time.After(a.cfg.BackoffMax)
		wantOK(t, call(), "new")

		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "nowhere"}})
		wantErr(t, call(), ErrUnreachable, false)
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", "new"}}) // does not wait for the pause after the failure
		wantOK(t, call(), "new")

		a.SetPeers(nil)
		wantErr(t, call(), ErrUnreachable, false)
		synctest.Wait()
		if s := a.Stats(); s.Connected != 0 {
			t.Errorf("%d connections to nobody", s.Connected)
		}
		if h := a.Health(idOf(2)); h != (Health{}) {
			t.Errorf("health of nobody: %+v", h)
		}
	})
}

// TestHealthTimes: the round trip follows what calls take, and Slow stays above it.
func TestHealthTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pause := 10 * time.Millisecond
		p := newPair(t, func(r Request) {
			<-time.After(pause)
			r.Reply(StatusOK, nil)
		}, nil)
		for _, pause = range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 5 * time.Millisecond} {
			for range 100 {
				wantOK(t, p.call(kindRead, ""), "")
			}
			h := p.a.Health(idOf(2))
			if h.RTT < pause*9/10 || h.RTT > pause*11/10 || h.Slow < h.RTT || h.Slow > 2*pause {
				t.Errorf("calls of %v: RTT %v, Slow %v", pause, h.RTT, h.Slow)
			}
		}
	})
}
