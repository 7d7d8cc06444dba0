package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/ring"
)

// TestServe runs a node of its own, on free ports, through one write and a restart.
func TestServe(t *testing.T) {
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Data, cfg.HTTP, cfg.Gossip, cfg.RPC = "alone", t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = slog.New(slog.DiscardHandler)
	for _, write := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := serve(ctx, cfg, w)
			w.CloseWithError(io.EOF)
			ended <- err
		}()
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			t.Fatal(err, <-ended)
		}
		fields := strings.Fields(line)
		if len(fields) != 5 || fields[0] != "ready" || fields[1] != "name=alone" || !strings.HasPrefix(fields[3], "gossip=") || !strings.HasPrefix(fields[4], "rpc=") {
			t.Fatalf("it printed %q", line)
		}
		c, err := kvhttp.NewClient("http://" + strings.TrimPrefix(fields[2], "http="))
		if err != nil {
			t.Fatal(err)
		}
		if write {
			if _, err := c.Put(t.Context(), "b", "k", strings.NewReader("v"), "", kvhttp.KeyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := c.Get(t.Context(), "b", "k", kvhttp.KeyOptions{}); err != nil || string(a.Value) != "v" {
			t.Fatalf("%v: %+v", err, a)
		}
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func TestServeNamesTheBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", addrAt(0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	status, _, errOut := quorate(t, "", "serve", "--data", t.TempDir(), "--name", "n", "--http", l.Addr().String())
	if status != 1 || !strings.Contains(errOut, l.Addr().String()) {
		t.Errorf("%d: %s", status, errOut)
	}
}

func newTestLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// interrupted are signals of which one has come.
func interrupted() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signals <- os.Interrupt
	return signals
}

// ending is a process that is ready at once, and then ends with err.
type ending struct {
	err    error
	failed chan error
}

func (e *ending) Start(context.Context, string) error { return nil }
func (e *ending) WaitReady(context.Context) error     { return nil }
func (e *ending) Failed() <-chan error                { return e.failed }
func (e *ending) Name() string                        { return "a" }
func (e *ending) Addrs() ring.Addrs                   { e.failed <- e.err; return ring.Addrs{HTTP: "h:1"} }

func TestLiveTellsHowItEnded(t *testing.T) {
	cfg := node.DefaultConfig()
	cfg.Logger = slog.New(slog.DiscardHandler)
	for _, want := range []error{node.ErrLeft, errors.New("another incarnation has its place")} {
		var out strings.Builder
		err := live(t.Context(), cfg, &ending{want, make(chan error, 1)}, "h:1", &out, nil)
		if !errors.Is(err, want) || !strings.HasPrefix(out.String(), "ready name=a http=h:1 ") {
			t.Errorf("%v, want %v; it printed %q", err, want, out.String())
		}
	}
}
