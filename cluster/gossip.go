package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/quorate/quorate/ring"
)

// Sizes of gossip.
const (
	packetSize    = 1400     // what memberlist may put into one packet, our header included; fits every common MTU
	maxRowMessage = 1200     // a longer row waits for the push/pull: it would not fit a packet beside its framing
	inboxLength   = 1024     // messages waiting to be handled, and
	inboxBytes    = 64 << 20 // their bytes; those beyond either are dropped, as packets are
)

// gossipConfig is memberlist's configuration. Its LAN values are the base: with its "local" ones 30 nodes took over 20 s to agree.
func (c *Cluster) gossipConfig(t memberlist.Transport) *memberlist.Config {
	mc := memberlist.DefaultLANConfig()
	mc.Name = c.nodeName()
	mc.Transport = t
	mc.Label = c.cfg.ClusterName
	mc.PushPullInterval = c.cfg.Timing.PushPull
	mc.ProbeInterval, mc.ProbeTimeout = c.cfg.Timing.Probe, c.cfg.Timing.ProbeTimeout
	mc.EnableCompression = false // LZW costs more per packet than all else, and the state is small
	mc.TCPTimeout = c.cfg.Timing.DialTimeout
	mc.GossipVerifyIncoming, mc.GossipVerifyOutgoing = true, true
	mc.UDPBufferSize = packetSize - len(fromHeader{c.cfg.ClusterName, c.cfg.Name}.encode())
	mc.Logger = memberlistLogger(c.log)
	mc.Delegate, mc.Events, mc.Ping = c.delegate, c.peers, c.peers
	return mc
}

// nodeName is unique to one start, so that memberlist never sees a name move to another address or to a namesake.
func (c *Cluster) nodeName() string {
	return c.cfg.Name + "/" + strconv.FormatUint(c.cfg.Boot, 16)
}

// listen opens the gossip address and settles which one to advertise.
func (c *Cluster) listen(ctx context.Context) (*carrier, error) {
	under, err := c.openCarrier(ctx)
	if err != nil {
		return nil, err
	}
	advertise, err := c.settleAddr(ctx, under.boundAddr())
	if err != nil {
		return nil, errors.Join(err, under.Shutdown())
	}
	return newCarrier(under, advertise, &c.cfg, c.nameAt, c.moves.where), nil
}

func (c *Cluster) openCarrier(ctx context.Context) (gossipCarrier, error) {
	if c.cfg.Network != nil {
		return c.cfg.Network.listen(c.cfg.BindGossip)
	}
	bind := c.cfg.BindGossip
	if strings.HasPrefix(bind, ":") {
		bind = "0.0.0.0" + bind
	}
	at, err := c.resolve(ctx, bind)
	if err != nil {
		return nil, fmt.Errorf("cluster: gossip address: %w", err)
	}
	t, err := openSockets(at[0], memberlistLogger(c.log))
	if err != nil {
		return nil, fmt.Errorf("cluster: gossip on %s: %w", c.cfg.BindGossip, err)
	}
	return socketCarrier{t, at[0].Addr()}, nil
}

// freePortTries is how often a free port is asked for: with one UDP port in ten taken, all fail once in 10^10 starts.
const freePortTries = 10

// openSockets listens on a port for TCP and UDP. The kernel chooses port 0 by what is free for TCP; one that is taken for UDP is given back for another.
func openSockets(at netip.AddrPort, log *log.Logger) (t *memberlist.NetTransport, err error) {
	tries := 1
	if at.Port() == 0 {
		tries = freePortTries
	}
	for range tries {
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{at.Addr().String()}, BindPort: int(at.Port()), Logger: log})
		if err == nil {
			break
		}
	}
	return t, err
}

// settleAddr decides where others reach this node's gossip: memberlist wants an IP, while the table's row keeps the name that was
// advertised, for joining again later.
func (c *Cluster) settleAddr(ctx context.Context, bound string) (netip.AddrPort, error) {
	if c.cfg.Advertise.Gossip == "" {
		c.cfg.Advertise.Gossip = bound
	}
	host, port, err := net.SplitHostPort(c.cfg.Advertise.Gossip)
	if err == nil && port == "0" {
		_, port, err = net.SplitHostPort(bound)
		c.cfg.Advertise.Gossip = net.JoinHostPort(host, port)
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster: advertised gossip address: %w", err)
	}
	addrs, err := c.resolve(ctx, c.cfg.Advertise.Gossip)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster: advertised gossip address: %w", err)
	}
	if addrs[0].Addr().IsUnspecified() {
		return netip.AddrPort{}, fmt.Errorf("cluster: gossip cannot advertise %s; name an address that others reach", addrs[0])
	}
	return addrs[0], nil
}

// resolveTimeout bounds one look-up.
const resolveTimeout = 2 * time.Second

// resolve finds the addresses behind host:port; at least one, or an error.
func (c *Cluster) resolve(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %s: %w", hostPort, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := c.cfg.Resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, err)
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolving %s: no address", host)
	}
	return addrs, nil
}

// nameAt finds a node's name by its gossip address: among the running ones, then in the table.
func (c *Cluster) nameAt(addr string) string {
	if name := c.join.nameAt(addr); name != "" {
		return name
	}
	for _, m := range c.Table().Present() {
		if m.Addrs.Gossip == addr {
			return m.Name
		}
	}
	return ""
}

// delegate is memberlist's way to our state. Its methods are called from memberlist's goroutines and do not block,
// except LocalState, whose goroutine is a stream's own.
type delegate struct {
	meta  []byte
	state func() []byte
	rows  *memberlist.TransmitLimitedQueue
	inbox chan []byte
	held  atomic.Int64 // bytes in inbox
}

func (d *delegate) NodeMeta(int) []byte { return d.meta }

func (d *delegate) NotifyMsg(msg []byte) { d.receive(msg) }

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.rows.GetBroadcasts(overhead, limit)
}

func (d *delegate) LocalState(bool) []byte { return d.state() }

func (d *delegate) MergeRemoteState(state []byte, _ bool) { d.receive(state) }

// receive copies, because memberlist may reuse the buffer.
func (d *delegate) receive(msg []byte) {
	size := int64(len(msg))
	if d.held.Add(size) <= inboxBytes {
		select {
		case d.inbox <- bytes.Clone(msg):
			return
		default:
		}
	}
	d.held.Add(-size)
}

// rowBroadcast spreads one row by gossip; a newer one of the same incarnation takes its place.
type rowBroadcast struct {
	id  ring.ID
	msg []byte
}

var _ memberlist.NamedBroadcast = rowBroadcast{}

func (b rowBroadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b rowBroadcast) Name() string                          { return b.id.String() }
func (b rowBroadcast) Message() []byte                       { return b.msg }
func (b rowBroadcast) Finished()                             {}

// localState is what a push/pull carries.
func (c *Cluster) localState() []byte {
	var extra []byte
	if c.cfg.Extra != nil {
		extra = c.cfg.Extra.State()
	}
	if len(extra) > MaxExtra {
		if c.extraTooLong.allow() {
			c.log.Error("replicated state is too long to be gossiped", "bytes", len(extra), "limit", MaxExtra)
		}
		extra = nil
	}
	return encodeState(c.knows(), extra)
}

// handleGossip works through what the delegate took in.
func (c *Cluster) handleGossip() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case b := <-c.delegate.inbox:
			if m, err := decodeUserMessage(b); err != nil {
				c.log.Debug("gossip message refused", "err", err)
			} else {
				c.handleMessage(m)
			}
			c.delegate.held.Add(-int64(len(b)))
		}
	}
}

func (c *Cluster) handleMessage(m userMessage) {
	switch m.Kind {
	case msgProbe:
		answer := probe{Nonce: m.Probe.Nonce, From: c.hello()}
		if err := c.list.SendToAddress(memberlist.Address{Addr: m.Probe.ReplyTo}, answer.encode()); err != nil {
			c.log.Debug("probe not answered", "to", m.Probe.ReplyTo, "err", err)
		}
	case msgAnswer:
		if c.join.answered(m.Probe, time.Now()) {
			c.wake()
		}
	case msgRow:
		c.mergeHeard(m.Knows, false)
	case msgState:
		c.mergeHeard(m.Knows, true)
		if len(m.Extra) > 0 && c.cfg.Extra != nil {
			if err := c.cfg.Extra.Merge(m.Extra); err != nil && c.saveFailed.allow() {
				c.log.Error("replicated state not merged", "err", err)
			}
		}
	}
}

// gossipNode is as much of memberlist's record of the peer as sending needs.
func (p *peer) gossipNode() *memberlist.Node {
	at := netip.MustParseAddrPort(p.addr)
	return &memberlist.Node{Name: p.node, Addr: at.Addr().AsSlice(), Port: at.Port()}
}
