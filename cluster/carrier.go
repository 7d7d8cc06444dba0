package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/ring"
)

// gossipCarrier moves packets and streams: sockets, or a MemNetwork.
type gossipCarrier interface {
	boundAddr() string
	WriteTo(b []byte, addr string) (time.Time, error)
	PacketCh() <-chan *memberlist.Packet
	DialTimeout(addr string, timeout time.Duration) (net.Conn, error)
	StreamCh() <-chan net.Conn
	Shutdown() error
}

// socketCarrier is memberlist's own transport over UDP and TCP.
type socketCarrier struct {
	*memberlist.NetTransport
	bind netip.Addr
}

// boundAddr is the address bound, or a private address of this machine if it is bound to all.
func (s socketCarrier) boundAddr() string {
	host := s.bind.String()
	if ip, _, err := s.FinalAdvertiseAddr("", 0); err == nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(s.GetAutoBindPort()))
}

// Bounds of the transport; at each, packets are lost and streams closed, which gossip repairs.
const (
	maxDelayed = 4096 // packets that a fault rule holds back at one time
	maxGreets  = 128  // streams that have not yet said who they are from
	maxLearned = 4096 // addresses whose node's name is remembered
)

// fromHeader starts every packet and stream: magic, cluster name, node name. It tells a foreign cluster's traffic
// apart before memberlist sees it, and gives the fault matrix the sender's name, which no address does.
type fromHeader struct{ Cluster, Name string }

var headerMagic = [3]byte{'q', 'g', 1}

func (h fromHeader) encode() []byte {
	b := append(headerMagic[:], byte(len(h.Cluster)), byte(len(h.Name)))
	b = append(b, h.Cluster...)
	return append(b, h.Name...)
}

// readHeader takes a header off a packet or a stream, and not one byte more.
func readHeader(r io.Reader) (fromHeader, error) {
	var fixed [5]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return fromHeader{}, err
	}
	if [3]byte(fixed[:3]) != headerMagic {
		return fromHeader{}, fmt.Errorf("%w: not gossip of this version", ErrCorrupt)
	}
	names := make([]byte, int(fixed[3])+int(fixed[4]))
	if _, err := io.ReadFull(r, names); err != nil {
		return fromHeader{}, err
	}
	h := fromHeader{Cluster: string(names[:fixed[3]]), Name: string(names[fixed[3]:])}
	if ring.CheckName(h.Cluster) != nil || ring.CheckName(h.Name) != nil {
		return fromHeader{}, fmt.Errorf("%w: gossip header", ErrCorrupt)
	}
	return h, nil
}

// carrier is the memberlist.Transport: a gossipCarrier under headers and the fault matrix.
type carrier struct {
	under     gossipCarrier
	advertise netip.AddrPort
	own       fromHeader
	header    []byte // own, encoded
	matrix    *fault.Matrix
	random    func() float64
	nameAt    func(addr string) string       // from the member table; "" if unknown
	where     func(node, addr string) string // where a node of memberlist's that is known at addr is now
	log       *slog.Logger
	foreign   *limiter

	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	wg      sync.WaitGroup
	delayed chan struct{} // one token per packet held back
	greets  chan struct{} // one token per stream being greeted

	mu      sync.Mutex
	learned map[string]string // address → name, from headers
}

var _ memberlist.NodeAwareTransport = (*carrier)(nil)

func newCarrier(under gossipCarrier, advertise netip.AddrPort, cfg *Config, nameAt func(string) string,
	where func(node, addr string) string) *carrier {
	own := fromHeader{Cluster: cfg.ClusterName, Name: cfg.Name}
	t := &carrier{
		under: under, advertise: advertise, own: own, header: own.encode(),
		matrix: cfg.Matrix, random: cfg.Rand, nameAt: nameAt, where: where, log: cfg.Logger,
		foreign: newLimiter(time.Minute),
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{}),
		delayed: make(chan struct{}, maxDelayed), greets: make(chan struct{}, maxGreets),
		learned: make(map[string]string),
	}
	t.wg.Add(2)
	go t.receivePackets()
	go t.receiveStreams()
	return t
}

// FinalAdvertiseAddr ignores what memberlist was configured with: the address was settled before.
func (t *carrier) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

func (t *carrier) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *carrier) StreamCh() <-chan net.Conn           { return t.streams }

// Shutdown stops the carrier below first: its listeners may be handing over something that only this one takes.
func (t *carrier) Shutdown() error {
	err := t.under.Shutdown()
	close(t.done)
	t.wg.Wait()
	return err
}

func (t *carrier) decide(name string, way fault.Direction) fault.Verdict {
	if t.matrix == nil {
		return fault.Verdict{}
	}
	return t.matrix.Decide(name, way, fault.Gossip, t.random)
}

// nameOf finds the node's name behind an address that memberlist sends to.
func (t *carrier) nameOf(a memberlist.Address) string {
	if name, _, ok := strings.Cut(a.Name, "/"); ok {
		return name
	}
	if name := t.nameAt(a.Addr); name != "" {
		return name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learned[a.Addr]
}

func (t *carrier) learn(addr, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.learned) >= maxLearned {
		clear(t.learned)
	}
	t.learned[addr] = name
}

// heard returns the addresses that packets of this cluster have come from, in order.
func (t *carrier) heard() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.learned))
}

func (t *carrier) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t *carrier) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	v := t.decide(t.nameOf(a), fault.Out)
	if v.Drop {
		return time.Now(), nil
	}
	to := t.where(a.Name, a.Addr)
	packet := make([]byte, 0, len(t.header)+len(b))
	packet = append(append(packet, t.header...), b...)
	if v.Delay == 0 {
		return t.under.WriteTo(packet, to)
	}
	t.later(v.Delay, func() {
		if _, err := t.under.WriteTo(packet, to); err != nil {
			t.log.Debug("gossip: delayed packet not sent", "to", to, "err", err)
		}
	})
	return time.Now(), nil
}

// later runs f after a delay, or never, if too many wait already.
func (t *carrier) later(delay time.Duration, f func()) {
	select {
	case t.delayed <- struct{}{}:
		time.AfterFunc(delay, func() {
			<-t.delayed
			f()
		})
	default:
	}
}

func (t *carrier) receivePackets() {
	defer t.wg.Done()
	for {
		select {
		case p := <-t.under.PacketCh():
			t.receivePacket(p)
		case <-t.done:
			return
		}
	}
}

func (t *carrier) receivePacket(p *memberlist.Packet) {
	r := sliceReader{p.Buf}
	h, err := readHeader(&r)
	if err != nil {
		t.log.Debug("gossip: packet refused", "from", p.From, "err", err)
		return
	}
	p.Buf = r.rest
	from := p.From.String()
	if h.Cluster != t.own.Cluster {
		// An empty packet is the other side's notice that it refuses this one's.
		if t.refuse(h, from) && len(p.Buf) > 0 {
			_, _ = t.under.WriteTo(t.header, from)
		}
		return
	}
	t.learn(from, h.Name)
	v := t.decide(h.Name, fault.In)
	switch {
	case len(p.Buf) == 0 || v.Drop:
	case v.Delay > 0:
		t.later(v.Delay, func() { t.deliver(p) })
	default:
		t.deliver(p)
	}
}

func (t *carrier) deliver(p *memberlist.Packet) {
	select {
	case t.packets <- p:
	case <-t.done:
	}
}

// refuse warns of a foreign node, unless it did so lately.
func (t *carrier) refuse(h fromHeader, from string) bool {
	if !t.foreign.allow() {
		return false
	}
	t.log.Warn("gossip refused: it belongs to another cluster",
		"its_cluster", h.Cluster, "its_name", h.Name, "from", from, "own_cluster", t.own.Cluster)
	return true
}

// DialAddressTimeout opens a stream, unless a rule cuts either way: a stream needs both.
func (t *carrier) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	delay, err := t.streamFault(t.nameOf(a))
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if delay > 0 {
		time.Sleep(min(delay, timeout))
	}
	if timeout -= time.Since(start); timeout <= 0 {
		return nil, fmt.Errorf("gossip: dial %s: %w", a.Addr, errTimeout)
	}
	conn, err := t.under.DialTimeout(t.where(a.Name, a.Addr), timeout)
	if err != nil {
		return nil, err
	}
	// memberlist writes its label before it sets a deadline.
	if err = conn.SetDeadline(time.Now().Add(timeout)); err == nil {
		_, err = conn.Write(t.header)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (t *carrier) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

var errCut = errors.New("gossip: cut by a fault rule")

// streamFault decides on a whole stream with a peer: how long it is held up, or that there is none.
func (t *carrier) streamFault(name string) (time.Duration, error) {
	in, out := t.decide(name, fault.In), t.decide(name, fault.Out)
	if in.Drop || out.Drop {
		return 0, fmt.Errorf("%w: %s", errCut, name)
	}
	return in.Delay + out.Delay, nil
}

func (t *carrier) receiveStreams() {
	defer t.wg.Done()
	for {
		select {
		case conn := <-t.under.StreamCh():
			select {
			case t.greets <- struct{}{}:
				go t.greet(conn)
			default:
				_ = conn.Close()
			}
		case <-t.done:
			return
		}
	}
}

// greetTimeout is how long an accepted stream may take to say who it is from.
const greetTimeout = 5 * time.Second

// greet reads a stream's header and hands it to memberlist. It ends by itself within greetTimeout and the delay of a rule.
func (t *carrier) greet(conn net.Conn) {
	defer func() { <-t.greets }()
	h, err := fromHeader{}, conn.SetDeadline(time.Now().Add(greetTimeout))
	if err == nil {
		h, err = readHeader(conn)
	}
	if err == nil && h.Cluster != t.own.Cluster {
		t.refuse(h, conn.RemoteAddr().String())
		err = fmt.Errorf("gossip: stream of cluster %s", h.Cluster)
	}
	var delay time.Duration
	if err == nil {
		delay, err = t.streamFault(h.Name)
	}
	if err != nil {
		t.log.Debug("gossip: stream refused", "from", conn.RemoteAddr(), "err", err)
		_ = conn.Close()
		return
	}
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-t.done:
		_ = conn.Close()
		return
	}
	select {
	case t.streams <- conn:
	case <-t.done:
		_ = conn.Close()
	}
}

// sliceReader reads from a slice and keeps what is left in reach.
type sliceReader struct{ rest []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
