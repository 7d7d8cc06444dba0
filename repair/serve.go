package repair

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// session is an exchange that this node answers.
type session struct {
	id   uint64
	peer ring.ID
	want store.Wanted

	mu   sync.Mutex // one page at a time
	snap *store.Snapshot
	used time.Time // guarded by sessions.mu
}

// sessions are the exchanges that this node answers now: a few, each for as long as its peer asks on.
type sessions struct {
	mu   sync.Mutex
	most int
	open map[uint64]*session
}

// add makes room by ending what the peer had open before; false at the bound.
func (s *sessions) add(n *session, now time.Time) (ended []*session, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, o := range s.open {
		if o.peer == n.peer {
			delete(s.open, id)
			ended = append(ended, o)
		}
	}
	if len(s.open) >= s.most {
		return ended, false
	}
	n.id, n.used = rand.Uint64()|1, now
	for s.open[n.id] != nil {
		n.id += 2
	}
	s.open[n.id] = n
	return ended, true
}

func (s *sessions) get(id uint64, peer ring.ID, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.open[id]
	if n == nil || n.peer != peer {
		return nil
	}
	n.used = now
	return n
}

// remove takes out a session, or all that were used last before a time.
func (s *sessions) remove(id uint64, before time.Time) (ended []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.open {
		if key == id || n.used.Before(before) {
			delete(s.open, key)
			ended = append(ended, n)
		}
	}
	return ended
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Serve answers the requests of other nodes' exchanges. It may block on the disk.
func (x *Exchanger) Serve(req transport.Request) {
	status, body := x.answer(&req)
	req.Reply(status, body)
}

func (x *Exchanger) answer(req *transport.Request) (transport.Status, []byte) {
	switch req.Kind {
	case KindCompare:
		m, err := decodeCompare(req.Body)
		if err != nil {
			return statusBad, []byte(err.Error())
		}
		return x.serveCompare(req, &m)
	case KindOpen:
		m, err := decodeOpen(req.Body)
		if err != nil {
			return statusBad, []byte(err.Error())
		}
		return x.serveOpen(req, &m)
	}
	m, err := decodeNext(req.Body)
	if err != nil {
		return statusBad, []byte(err.Error())
	}
	if req.Kind == KindEnd {
		if x.sessions.get(m.Session, req.From, time.Now()) != nil {
			x.end(x.sessions.remove(m.Session, time.Time{}))
		}
		return transport.StatusOK, nil
	}
	return x.servePage(req, &m)
}

// enter is the fence: it refuses another layout, and returns only when nothing runs any more that an older one let in.
func (x *Exchanger) enter(req *transport.Request, layout uint64) (Ownership, transport.Status, []byte) {
	ctx, cancel := context.WithDeadline(context.Background(), req.Deadline)
	defer cancel()
	switch x.member.Fence(ctx, layout) {
	case FenceOther:
		return Ownership{}, statusLayout, x.member.Table()
	case FenceFrozen:
		return Ownership{}, statusFrozen, nil
	}
	return x.member.Ownership(), transport.StatusOK, nil
}

func (x *Exchanger) serveCompare(req *transport.Request, m *compare) (transport.Status, []byte) {
	o, status, body := x.enter(req, m.Layout)
	if status != transport.StatusOK {
		return status, body
	}
	answer := compared{Gaining: o.gaining()}
	for _, h := range m.Hashes {
		if int(h.Partition) >= o.Layout.Partitions() {
			return statusBad, []byte("no such partition")
		}
		s, ok := shareOf(o.Layout, h.Partition, o.Self, req.From)
		if !ok {
			continue
		}
		// Not the empty clock of a failing disk: the caller would take it for "you have all that I have".
		clock, err := x.store.SyncedClock(s.Partition)
		if err != nil {
			return statusStore, []byte(err.Error())
		}
		if clock = clock.AtLeast(s.Least); clock.Hash() != h.Hash {
			answer.Clocks = append(answer.Clocks, clocked{s.Partition, clock})
		}
	}
	return transport.StatusOK, answer.append(nil)
}

func (x *Exchanger) serveOpen(req *transport.Request, m *open) (transport.Status, []byte) {
	o, status, body := x.enter(req, m.Layout)
	if status != transport.StatusOK {
		return status, body
	}
	s, ok := share{}, int(m.Partition) < o.Layout.Partitions()
	if ok {
		s, ok = shareOf(o.Layout, m.Partition, o.Self, req.From)
	}
	if !ok {
		return statusBad, []byte("no such partition, or not owned by both")
	}
	snap, err := x.store.Snapshot(m.Partition)
	if err != nil {
		return statusStore, []byte(err.Error())
	}
	n := &session{peer: req.From, snap: snap, want: store.Wanted{Known: m.Clock, Least: s.Least}}
	ended, ok := x.sessions.add(n, time.Now())
	x.end(ended)
	if !ok {
		x.end([]*session{n})
		return statusBusy, nil
	}
	return x.read(n, version.Dot{}, &page{Session: n.id, Gaining: o.gaining(), Clock: snap.Clock().AtLeast(s.Least)})
}

func (x *Exchanger) servePage(req *transport.Request, m *next) (transport.Status, []byte) {
	o, status, body := x.enter(req, m.Layout)
	if status != transport.StatusOK {
		return status, body
	}
	n := x.sessions.get(m.Session, req.From, time.Now())
	if n == nil {
		return statusUnknown, nil
	}
	return x.read(n, m.After, &page{Session: n.id, Gaining: o.gaining()})
}

// read fills a page, and ends the session with the last one: a caller that does not get it starts again.
func (x *Exchanger) read(n *session, after version.Dot, p *page) (transport.Status, []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := 0
	var err error
	p.After, p.Last, err = n.snap.Page(n.want, after, func(k store.Key, r version.Record) bool {
		p.Records = append(p.Records, logged{k.Bucket, k.Key, r})
		size += len(k.Bucket) + len(k.Key) + sizeOf(&r)
		return size < x.cfg.Page
	})
	if err != nil {
		x.end(x.sessions.remove(n.id, time.Time{}))
		return statusStore, []byte(err.Error())
	}
	if p.Last {
		x.end(x.sessions.remove(n.id, time.Time{}))
	}
	p.Pressure = x.pressure()
	x.busy()
	x.Stats.Served.Add(int64(len(p.Records)))
	return transport.StatusOK, p.append(make([]byte, 0, size+size/4))
}

// sizeOf is about what a record takes in a message.
func sizeOf(r *version.Record) int {
	size := 16 + 20*r.Vector.Len()
	for i := range r.Versions {
		size += 40 + len(r.Versions[i].ContentType) + len(r.Versions[i].Value)
	}
	return size
}

func (x *Exchanger) end(ended []*session) {
	for _, n := range ended {
		if err := n.snap.Close(); err != nil {
			x.log.Warn("an exchange's snapshot", "err", err)
		}
	}
}
