package transport

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/quorate/quorate/ring"
)

// echoServerEnv makes the test binary a server for the benchmark: caller and server in processes of their own, as in a cluster.
const echoServerEnv = "QUORATE_TRANSPORT_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echoServerEnv) != "" {
		serveEcho()
		return
	}
	os.Exit(m.Run())
}

// serveEcho serves until its standard input is closed.
func serveEcho() {
	e, err := New(testConfig("server", idOf(2)))
	if err != nil {
		panic(err)
	}
	e.Handle(kindOther, ClassOther, echo)
	if err := e.Open(); err != nil {
		panic(err)
	}
	fmt.Println(e.Addr())
	io.Copy(io.Discard, os.Stdin)
	e.Close()
}

// The kinds that tests register, one of each class.
const (
	kindOther Kind = iota + 1
	kindWrite
	kindRead
)

func echo(r Request) { r.Reply(StatusOK, r.Body) }

func idOf(n byte) ring.ID { return ring.ID{0: n, 15: n} }

func testConfig(name string, id ring.ID) Config {
	cfg := DefaultConfig()
	cfg.Cluster, cfg.Self, cfg.Name, cfg.Listen = "test", id, name, "127.0.0.1:0"
	return cfg
}
