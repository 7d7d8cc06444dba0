package repair

import (
	"bytes"
	"context"
	"fmt"
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
	id     uint64
	peer   ring.ID
	shares []share          // whose partitions ascend
	clocks []version.Vector // of the snapshot, for the n of the share
	snap   *store.Snapshot
	used   time.Time // guarded by sessions.mu

	mu   sync.Mutex      // one page at a time
	want []*store.Wanted // by share, nil for what is not wanted
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
	case KindShow:
		m, err := decodeShow(req.Body)
		if err != nil {
			return statusBad, []byte(err.Error())
		}
		return x.serveShow(req, &m)
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

// fence refuses another view, and returns only when nothing runs any more that an older one let in.
func (x *Exchanger) fence(req *transport.Request, digest uint64) (Ownership, transport.Status, []byte) {
	ctx, cancel := context.WithDeadline(context.Background(), req.Deadline)
	defer cancel()
	switch x.member.Fence(ctx, digest) {
	case FenceOther:
		return Ownership{}, statusLayout, x.member.Table()
	case FenceFrozen:
		return Ownership{}, statusFrozen, nil
	}
	o := x.member.Ownership()
	if o.Rings == nil || o.Digest != digest {
		return Ownership{}, statusFrozen, nil // it has just changed
	}
	return o, transport.StatusOK, nil
}

func (x *Exchanger) serveCompare(req *transport.Request, m *compare) (transport.Status, []byte) {
	o, status, body := x.fence(req, m.Digest)
	if status != transport.StatusOK {
		return status, body
	}
	all := x.territory(&o).shares[req.From]
	// Not the empty clock of a failing disk: the caller would take it for "you have all that I have".
	clocks, err := x.bounds(&o, req.From, all)
	if err != nil {
		return statusStore, []byte(err.Error())
	}
	hashes := hashesOf(clocks)
	answer := compared{Equal: rootOf(hashes) == m.Root}
	if width := int(m.Width); !answer.Equal && width > 0 {
		mine := salted(hashes, m.Salt, m.Width)
		if len(m.Hashes) != len(mine) {
			return statusBad, []byte("not as many partitions as both own")
		}
		for i, s := range all {
			if at := i * width; !bytes.Equal(mine[at:at+width], m.Hashes[at:at+width]) {
				answer.Partitions = append(answer.Partitions, s.Partition)
			}
		}
	}
	return transport.StatusOK, answer.append(nil)
}

func (x *Exchanger) serveOpen(req *transport.Request, m *open) (transport.Status, []byte) {
	o, status, body := x.fence(req, m.Digest)
	if status != transport.StatusOK {
		return status, body
	}
	n := &session{peer: req.From}
	for i, p := range m.Partitions {
		s, ok := sharedWith(&o, req.From, m, i)
		if !ok {
			return statusBad, []byte(fmt.Sprintf("partition %d: there is no such one, or it is not owned by both", p))
		}
		n.shares = append(n.shares, s)
	}
	var err error
	if m.Hold {
		if status, err = x.hold(n, m); status == statusBusy {
			return status, nil
		}
	} else {
		n.clocks, err = x.bounds(&o, req.From, n.shares)
	}
	if err != nil {
		return statusStore, []byte(err.Error())
	}
	answer := opened{Session: n.id, Holds: make([]bool, len(n.clocks)), Rows: make([]version.Vector, len(n.clocks)), Holed: make([][]version.Entry, len(n.clocks))}
	answer.Differ = differing(columnHashes(n.clocks, len(m.Columns)), m.Columns)
	for i, clock := range n.clocks {
		answer.Rows[i], answer.Holed[i] = inColumns(clock, answer.Differ), holed(clock, answer.Differ)
		answer.Holds[i] = !m.Former && o.Rings.Holds(o.Self, n.shares[i].Partition, int(n.shares[i].Least))
	}
	return transport.StatusOK, answer.append(nil)
}

// sharedWith is what a peer may see of the i-th partition that it asks for: what both own, or of a former owner what the peer owns.
func sharedWith(o *Ownership, peer ring.ID, m *open, i int) (share, bool) {
	p := m.Partitions[i]
	switch {
	case int(p) >= o.Rings.Partitions():
		return share{}, false
	case m.Former:
		return share{p, m.Least[i]}, o.Rings.Keeps(peer, p, int(m.Least[i]))
	}
	return shareOf(o.Rings, p, o.Self, peer)
}

// hold takes a snapshot for a session and keeps it.
func (x *Exchanger) hold(n *session, m *open) (transport.Status, error) {
	snap, err := x.store.Snapshot(m.Partitions...)
	if err != nil {
		return statusStore, err
	}
	n.snap = snap
	for _, s := range n.shares {
		clock := snap.Clock(s.Partition)
		if m.Former {
			if clock, err = unlimited(snap, s.Partition); err != nil {
				x.end([]*session{n})
				return statusStore, err
			}
		}
		n.clocks = append(n.clocks, clock.AtLeast(s.Least))
	}
	ended, ok := x.sessions.add(n, time.Now())
	x.end(ended)
	if !ok {
		x.end([]*session{n})
		return statusBusy, nil
	}
	return transport.StatusOK, nil
}

func (x *Exchanger) servePage(req *transport.Request, m *next) (transport.Status, []byte) {
	if _, status, body := x.fence(req, m.Digest); status != transport.StatusOK {
		return status, body
	}
	n := x.sessions.get(m.Session, req.From, time.Now())
	if n == nil {
		return statusUnknown, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.First && !n.begin(m) || n.want == nil {
		return statusBad, []byte("partitions that are not of the exchange, or none")
	}
	return x.read(n, m, &page{})
}

// begin takes down what the peer has: of some actors what it says, of the others what the snapshot has.
func (n *session) begin(m *next) bool {
	if len(m.Wanted) != len(n.shares) {
		return false
	}
	n.want = make([]*store.Wanted, len(n.shares))
	known := m.Known
	for i, wanted := range m.Wanted {
		if wanted {
			n.want[i] = &store.Wanted{Known: overlay(n.clocks[i], known[0]), Least: n.shares[i].Least}
			known = known[1:]
		}
	}
	return true
}

// read fills a page, and ends the session with the last one: a caller that does not get it starts again.
func (x *Exchanger) read(n *session, m *next, p *page) (transport.Status, []byte) {
	size, records, most := 0, 0, x.cfg.Page
	if m.Bytes > 0 {
		most = min(most, int(m.Bytes))
	}
	at, after := m.At, m.After
	p.Last = true
	for i, w := range n.want {
		s := n.shares[i]
		if w == nil || s.Partition < at {
			continue
		}
		if s.Partition > at || m.First {
			after = version.Dot{}
		}
		if size >= most {
			p.At, p.After, p.Last = s.Partition, after, false
			break
		}
		sec := section{Partition: s.Partition, Beneath: beneath(n.snap.Clock(s.Partition), s.Least)}
		last, end, err := n.snap.Page(s.Partition, *w, after, func(k store.Key, r version.Record) bool {
			sec.Records = append(sec.Records, logged{k.Bucket, k.Key, r})
			size += len(k.Bucket) + len(k.Key) + sizeOf(&r)
			return size < most
		})
		if err != nil {
			x.end(x.sessions.remove(n.id, time.Time{}))
			return statusStore, []byte(err.Error())
		}
		if records += len(sec.Records); len(sec.Records) > 0 {
			p.Sections = append(p.Sections, sec)
		}
		if !end {
			p.At, p.After, p.Last = s.Partition, last, false
			break
		}
	}
	if p.Last {
		x.end(x.sessions.remove(n.id, time.Time{}))
	}
	p.Pressure = x.pressure()
	x.busy()
	x.Stats.Served.Add(int64(records))
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
