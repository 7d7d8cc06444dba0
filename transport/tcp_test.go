package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// These tests run on loopback sockets and the real clock: they are about what the kernel does in between. Everything else is tested in bubbles.

func openTCP(t testing.TB, name string, id ring.ID, h Handler, tweak func(*Config)) *Endpoint {
	t.Helper()
	cfg := testConfig(name, id)
	if tweak != nil {
		tweak(&cfg)
	}
	e, err := New(cfg)
	must(t, err)
	e.Handle(kindOther, ClassOther, h)
	must(t, e.Open())
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

// eventually waits until a state is reached that nothing signals.
func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !reached(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestTCPSizes(t *testing.T) {
	b := openTCP(t, "b", idOf(2), echo, nil)
	a := openTCP(t, "a", idOf(1), echo, nil)
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", b.Addr()}})
	var wg sync.WaitGroup
	for _, size := range []int{0, 1, 150, readBuffer - headSize, readBuffer, largeBody - 1, largeBody, slice + 1, 3 << 20, 16 << 20} {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(size), 1, 2}, size/3+1)[:size]
			r := a.Call(context.Background(), idOf(2), kindOther, body)
			if r.Err != nil || r.Status != StatusOK || !bytes.Equal(r.Body, body) {
				t.Errorf("%d bytes: %v, %v, %d bytes came back", size, r.Status, r.Err, len(r.Body))
			}
		})
	}
	wg.Wait()
}

// TestTCPLeavesNothing: after Close no goroutine of this package runs, whatever was going on.
func TestTCPLeavesNothing(t *testing.T) {
	b := openTCP(t, "b", idOf(2), echo, nil)
	a := openTCP(t, "a", idOf(1), echo, nil)
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", b.Addr()}, idOf(3): {"c", "127.0.0.1:1"}})
	var wg sync.WaitGroup
	for range 100 {
		wg.Add(2)
		a.Go(idOf(2), kindOther, make([]byte, 1000), time.Time{}, func(Response) { wg.Done() })
		a.Go(idOf(3), kindOther, make([]byte, 1000), time.Time{}, func(Response) { wg.Done() })
	}
	must(t, b.Close())
	must(t, a.Close())
	wg.Wait()
	eventually(t, "no goroutine left", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !bytes.Contains(stacks, []byte("transport.(*"))
	})
}

// puppet is a peer without an endpoint behind it: it shakes hands, and then does as the test says.
func puppet(t *testing.T, act func(nc net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				theirs, err := readHello(nc)
				if err != nil {
					return
				}
				own := hello{min: minVersion, max: maxVersion, self: theirs.want, maxFrame: 1 << 20, cluster: theirs.cluster, name: "puppet"}
				if _, err := nc.Write(own.judge(theirs).append(nil)); err == nil {
					act(nc)
				}
			})
		}
	})
	return l.Addr().String()
}

// TestStoppedPeer: one that accepts and never reads. Calls beyond the queue are refused at once; those queued and those sent fail when its silence
// is noticed.
func TestStoppedPeer(t *testing.T) {
	stopped := make(chan struct{})
	addr := puppet(t, func(net.Conn) { <-stopped })
	t.Cleanup(func() { close(stopped) })
	a := openTCP(t, "a", idOf(1), echo, func(c *Config) { c.PingEvery, c.MaxQueued, c.Conns = 200*time.Millisecond, 1<<20, 1 })
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"puppet", addr}})
	var mu sync.Mutex
	var refused, lostUnsent, lostSent int
	var wg sync.WaitGroup
	body := make([]byte, 10_000)
	done := func(r Response) {
		mu.Lock()
		defer mu.Unlock()
		defer wg.Done()
		switch {
		case errors.Is(r.Err, ErrOverloaded) && !r.Sent:
			refused++
		case errors.Is(r.Err, ErrLost) && errors.Is(r.Err, errSilent) && r.Sent:
			lostSent++
		case errors.Is(r.Err, ErrLost) && errors.Is(r.Err, errSilent):
			lostUnsent++
		default:
			t.Errorf("got %v, sent %v", r.Err, r.Sent)
		}
	}
	const calls = 3000 // 30 MB: more than the sockets' buffers and the queue
	for i := 0; i < calls; i += 100 {
		for range 100 {
			wg.Add(1)
			a.Go(idOf(2), kindOther, body, time.Now().Add(time.Hour), done)
		}
		runtime.Gosched() // the writer fills the socket
	}
	wg.Wait()
	if refused == 0 || lostSent == 0 || refused+lostSent+lostUnsent != calls {
		t.Errorf("%d refused, %d lost after sending, %d before", refused, lostSent, lostUnsent)
	}
}

// TestProcessStoppedAndContinued does the same with SIGSTOP, and after SIGCONT the peer is found again.
func TestProcessStoppedAndContinued(t *testing.T) {
	server := exec.Command(os.Args[0], "-test.run=^$")
	server.Env = append(os.Environ(), echoServerEnv+"=1")
	stdin, err := server.StdinPipe()
	must(t, err)
	stdout, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { stdin.Close(); server.Wait() })
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	a := openTCP(t, "a", idOf(1), echo, func(c *Config) { c.PingEvery, c.DialTimeout = 200*time.Millisecond, time.Second })
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"server", strings.TrimSpace(addr)}})
	call := func() Response { return callIn(a, idOf(2), kindOther, "x", time.Hour) }
	wantOK(t, call(), "x")
	must(t, server.Process.Signal(syscall.SIGSTOP))
	r := call()
	for r.Err == nil { // the signal takes a moment
		r = call()
	}
	wantErr(t, r, ErrLost, true)
	eventually(t, "a dial fails", func() bool { return errors.Is(a.Health(idOf(2)).LastErr, ErrUnreachable) })
	wantErr(t, call(), ErrUnreachable, false)
	must(t, server.Process.Signal(syscall.SIGCONT))
	eventually(t, "up again", func() bool { return a.Health(idOf(2)).Up })
	wantOK(t, call(), "x")
}

// TestBrokenWithCallsPending: the peer takes some requests, answers one of them, and is gone.
func TestBrokenWithCallsPending(t *testing.T) {
	const calls = 50
	addr := puppet(t, func(nc net.Conn) {
		r := bufio.NewReader(nc)
		b := make([]byte, calls*(headSize+3))
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		h, err := parseHead(b[:headSize], 1000)
		if err != nil {
			return
		}
		var answer [headSize]byte
		head{typ: frameResponse, call: h.call}.put(&answer)
		nc.Write(answer[:])
	})
	a := openTCP(t, "a", idOf(1), echo, func(c *Config) { c.Conns = 1 })
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"puppet", addr}})
	done := make(chan Response, calls)
	for range calls {
		a.Go(idOf(2), kindOther, []byte("abc"), time.Now().Add(time.Hour), func(r Response) { done <- r })
	}
	answered := 0
	for range calls {
		if r := <-done; r.Err == nil {
			answered++
		} else {
			wantErr(t, r, ErrLost, true)
		}
	}
	if answered != 1 {
		t.Errorf("%d calls answered, want 1", answered)
	}
}

// TestRubbishFromAcceptor: whatever follows a good handshake, the calls fail, and the endpoint goes on.
func TestRubbishFromAcceptor(t *testing.T) {
	var request, response [headSize]byte
	head{typ: frameRequest, call: 1, due: 1}.put(&request)
	head{typ: frameResponse, call: 1, body: 2 << 30}.put(&response)
	b := openTCP(t, "b", idOf(2), echo, nil)
	for name, rubbish := range map[string]string{
		"text":            "HTTP/1.1 400 Bad Request\r\n\r\n",
		"zeros":           strings.Repeat("\x00", 100),
		"ones":            strings.Repeat("\xff", 100),
		"a request":       string(request[:]),
		"a huge response": string(response[:]),
	} {
		t.Run(name, func(t *testing.T) {
			addr := puppet(t, func(nc net.Conn) {
				io.WriteString(nc, rubbish)
				io.Copy(io.Discard, nc)
			})
			a := openTCP(t, "a", idOf(1), echo, nil)
			a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", b.Addr()}, idOf(3): {"puppet", addr}})
			r := callIn(a, idOf(3), kindOther, "", time.Hour)
			if !errors.Is(r.Err, ErrProtocol) && !errors.Is(r.Err, ErrUnreachable) { // unreachable: broken before the call was on it
				t.Errorf("got %v", r.Err)
			}
			wantOK(t, callIn(a, idOf(2), kindOther, "fine", time.Minute), "fine")
		})
	}
}

// TestRubbishFromDialer: before and after the handshake.
func TestRubbishFromDialer(t *testing.T) {
	good := hello{min: minVersion, max: maxVersion, self: idOf(1), want: idOf(2), maxFrame: 100, cluster: "test", name: "a"}
	var response, huge [headSize]byte
	head{typ: frameResponse, call: 1}.put(&response)
	head{typ: frameRequest, call: 1, due: 1, body: 1 << 29}.put(&huge)
	e := openTCP(t, "b", idOf(2), echo, nil)
	all := map[string]string{
		"nothing":           "",
		"text":              "GET / HTTP/1.1\r\nHost: quorate\r\n\r\n",
		"half a handshake":  string(good.append(nil)[:20]),
		"a long handshake":  helloMagic + "\xff\xff",
		"zeros after hello": string(good.append(nil)) + strings.Repeat("\x00", 100),
		"a response":        string(good.append(nil)) + string(response[:]),
		"a huge request":    string(good.append(nil)) + string(huge[:]),
	}
	t.Run("all", func(t *testing.T) { // at once, because silence takes DialTimeout to be noticed
		for name, rubbish := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				nc, err := net.Dial("tcp", e.Addr())
				must(t, err)
				defer nc.Close()
				_, err = io.WriteString(nc, rubbish)
				must(t, err)
				io.Copy(io.Discard, nc) // until it is hung up on
				r, _ := e.CallAddr(context.Background(), e.Addr(), kindOther, []byte("fine"))
				wantOK(t, r, "fine")
			})
		}
	})
	eventually(t, "all gone", func() bool { return e.Stats().Accepted == 0 })
	if s := e.Stats(); s.Requests != 7 || s.HandshakesRefused != 4 {
		t.Errorf("stats %+v", s)
	}
}

// TestRefusals: what the acceptor says to those who are not welcome.
func TestRefusals(t *testing.T) {
	e := openTCP(t, "b", idOf(2), echo, nil)
	good := hello{min: minVersion, max: maxVersion, self: idOf(1), want: idOf(2), maxFrame: 100, cluster: "test", name: "a"}
	for _, test := range []struct {
		name   string
		change func(*hello)
		want   verdict
	}{
		{"foreign", func(h *hello) { h.cluster = "other" }, verdictForeign},
		{"stranger", func(h *hello) { h.want = idOf(3) }, verdictStranger},
		{"version", func(h *hello) { h.min, h.max = maxVersion+1, maxVersion+2 }, verdictVersion},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := good
			test.change(&own)
			nc, err := net.Dial("tcp", e.Addr())
			must(t, err)
			defer nc.Close()
			_, err = nc.Write(own.append(nil))
			must(t, err)
			answer, err := readHello(nc)
			if err != nil || answer.verdict != test.want || answer.self != idOf(2) || answer.min != minVersion || answer.max != maxVersion {
				t.Errorf("got %+v, %v, want verdict %d", answer, err, test.want)
			}
			if n, err := nc.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read %d bytes, %v, want EOF", n, err)
			}
		})
	}
}

// TestTooManyConnections: those beyond the bound are hung up on, and the others go on.
func TestTooManyConnections(t *testing.T) {
	b := openTCP(t, "b", idOf(2), echo, func(c *Config) { c.MaxAccepted = 2 })
	a := openTCP(t, "a", idOf(1), echo, nil)
	a.SetPeers(map[ring.ID]Peer{idOf(2): {"b", b.Addr()}})
	wantOK(t, callIn(a, idOf(2), kindOther, "x", time.Minute), "x")
	eventually(t, "both connected", func() bool { return b.Stats().Accepted == 2 })
	nc, err := net.Dial("tcp", b.Addr())
	must(t, err)
	defer nc.Close()
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was served")
	}
	wantOK(t, callIn(a, idOf(2), kindOther, "y", time.Minute), "y")
}

// TestPeerThatTakesNoResponses: it asks and never reads. What is queued for it stays bounded, and in the end it is hung up on.
func TestPeerThatTakesNoResponses(t *testing.T) {
	response := make([]byte, 256<<10)
	e := openTCP(t, "b", idOf(2), func(r Request) { r.Reply(StatusOK, response) }, func(c *Config) { c.MaxQueued = 1 << 20 })
	nc, err := net.Dial("tcp", e.Addr())
	must(t, err)
	defer nc.Close()
	own := hello{min: minVersion, max: maxVersion, self: idOf(1), want: idOf(2), maxFrame: 1 << 20, cluster: "test", name: "a"}
	_, err = nc.Write(own.append(nil))
	must(t, err)
	for number := uint64(1); err == nil; number++ {
		var request [headSize]byte
		head{typ: frameRequest, code: uint8(kindOther), call: number, due: 1000}.put(&request)
		_, err = nc.Write(request[:])
	}
	eventually(t, "hung up on", func() bool { s := e.Stats(); return s.Accepted == 0 && s.Running == 0 })
	if s := e.Stats(); s.RequestsRefused == 0 || s.HeldBytes != 0 {
		t.Errorf("stats %+v", s)
	}
}
