package transport

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// TestSlowLargeFrames: a frame that takes longer than the silence of a dead peer is no silence, in either direction.
func TestSlowLargeFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 10 * slice
		network := NewNetwork()
		l, err := network.listen("slow")
		must(t, err)
		ended := make(chan error, 1)
		go func() { ended <- echoSlowly(l, size) }()
		a := network.open(t, "a", idOf(1), func(c *Config) { c.Conns = 1 })
		a.SetPeers(map[ring.ID]Peer{idOf(2): {"slow", "slow"}})
		body := string(bytes.Repeat([]byte("0123456789abcdef"), size/16))
		if r := callIn(a, idOf(2), kindOther, body, time.Minute); r.Err != nil || string(r.Body) != body {
			t.Errorf("got %v and %d bytes", r.Err, len(r.Body))
		}
		must(t, <-ended)
		must(t, l.Close())
	})
}

// echoSlowly accepts one connection and serves one request with a body of the given size on it, a slice every 900 ms.
func echoSlowly(l net.Listener, size int) error {
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	theirs, err := readHello(nc)
	if err != nil {
		return err
	}
	own := hello{min: minVersion, max: maxVersion, self: theirs.want, maxFrame: uint32(size), cluster: theirs.cluster, name: "slow"}
	if _, err := nc.Write(own.judge(theirs).append(nil)); err != nil {
		return err
	}
	b := make([]byte, headSize+size)
	for piece := range slices.Chunk(b, slice) {
		if _, err := io.ReadFull(nc, piece); err != nil {
			return err
		}
		<-time.After(900 * time.Millisecond)
	}
	go io.Copy(io.Discard, nc) // pings
	h, err := parseHead(b, size)
	if err != nil {
		return err
	}
	head{typ: frameResponse, call: h.call, body: size}.put((*[headSize]byte)(b))
	for piece := range slices.Chunk(b, slice) {
		<-time.After(900 * time.Millisecond)
		if _, err := nc.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// scripted is a net.Conn that brings the given bytes and swallows all others.
type scripted struct {
	net.Conn
	*bytes.Reader
}

func (s scripted) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s scripted) Write(b []byte) (int, error) { return len(b), nil }
func (s scripted) Close() error                { return nil }

// FuzzConnection feeds both ends of a connection with whatever follows a good handshake.
func FuzzConnection(f *testing.F) {
	var request, response, ping [headSize]byte
	head{typ: frameRequest, code: uint8(kindOther), call: 1, due: 1000, body: 3}.put(&request)
	head{typ: frameResponse, call: 1, body: 3}.put(&response)
	head{typ: framePing}.put(&ping)
	f.Add(append(request[:], "abc"...))
	f.Add(append(response[:], "abc"...))
	f.Add(append(ping[:], ping[:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := testConfig("a", idOf(1))
		cfg.MaxFrame, cfg.MaxHeld = 1000, 2000
		e, err := New(cfg)
		must(t, err)
		e.Handle(kindOther, ClassOther, echo)
		for _, accepted := range []bool{true, false} {
			c, err := e.newConn(scripted{nil, bytes.NewReader(b)}, hello{self: idOf(2), maxFrame: 1000, name: "b"}, accepted, dues{time.Now()})
			must(t, err)
			completed := 0
			must(t, c.send(&call{kind: kindOther, begun: time.Now(), deadline: time.Now().Add(time.Hour), done: func(Response) { completed++ }}, []byte("x")))
			if cause := c.serve(); cause == nil {
				t.Error("ended without a cause")
			}
			if completed != 1 {
				t.Errorf("the call was completed %d times", completed)
			}
		}
		must(t, e.Close())
		if s := e.Stats(); s.Running != 0 || s.HeldBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestRequestFromBuffers writes a request long after it was made, as one that lay in the buffers of a stopped process is read. Its handler learns
// that its time is up.
func TestRequestFromBuffers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left := make(chan time.Duration, 1)
		p := newPair(t, func(r Request) {
			left <- time.Until(r.Deadline)
			r.Reply(StatusOK, nil)
		}, nil)
		nc, err := p.network.dial(t.Context(), "b")
		must(t, err)
		own := hello{min: minVersion, max: maxVersion, self: idOf(1), want: idOf(2), maxFrame: 100, cluster: p.a.cfg.Cluster, name: "a"}
		d := dues{time.Now()}
		_, err = p.a.introduce(nc, own)
		must(t, err)
		var b [headSize]byte
		head{typ: frameRequest, code: uint8(kindWrite), call: 1, due: d.put(time.Now().Add(100 * time.Millisecond))}.put(&b)
		go io.Copy(io.Discard, nc)
		for range 12 {
			<-time.After(5 * time.Second)
			var ping [headSize]byte
			head{typ: framePing}.put(&ping)
			_, err = nc.Write(ping[:])
			must(t, err)
		}
		_, err = nc.Write(b[:])
		must(t, err)
		if got, want := <-left, 100*time.Millisecond-time.Minute; got != want {
			t.Errorf("the handler has %v, want %v", got, want)
		}
		must(t, nc.Close())
	})
}
