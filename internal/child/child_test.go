package child

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// roleEnv makes this test's program play a part in a test.
const roleEnv = "CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleEnv) == "parent":
		os.Exit(playParent())
	case os.Getenv(roleEnv) == "node" && len(os.Args) > 1 && os.Args[1] == "serve":
		os.Exit(playNode())
	}
	os.Exit(m.Run())
}

// playNode is ready at once, and ends when it is asked to.
func playNode() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	if _, inherited := os.LookupEnv("QUORATE_NAME"); inherited {
		return 3
	}
	fmt.Println("something else first")
	fmt.Println("ready name=x")
	<-signals
	return 0
}

// playParent starts a child, says which, and waits to be killed.
func playParent() int {
	os.Setenv(roleEnv, "node")
	p, err := Start(Spec{Binary: os.Args[0], Name: "node-1", Dir: os.Getenv("CHILD_TEST_DIR")})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	<-p.Ready()
	fmt.Println(p.PID())
	select {}
}

func spec(t *testing.T) Spec {
	t.Helper()
	t.Setenv(roleEnv, "node")
	return Spec{Binary: os.Args[0], Name: "node-1", HTTP: "h:1", Gossip: "g:2", RPC: "r:3", Join: []string{"g:2", "g:4"}, Dir: t.TempDir(), Flags: []string{"--n", "5"}}
}

func TestStartReadyEnd(t *testing.T) {
	t.Setenv("QUORATE_NAME", "not for children")
	s := spec(t)
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ready()
	p.Signal(syscall.SIGTERM)
	<-p.Ended()
	if p.State() != "exit status 0" {
		t.Error(p.State())
	}
	p.Signal(os.Kill) // nobody is there any more
	if _, err := os.Stat(s.LogPath()); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	s := spec(t)
	s.Binary += "-that-is-not-there"
	if _, err := Start(s); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	s := Spec{Binary: "/a b/quorate", Name: "node-1", HTTP: "h:1", Gossip: "g:2", RPC: "r:3", Join: []string{"g:2", "g:4"}, Dir: "/d'e", Flags: []string{"--n", "5"}}
	const want = `'/a b/quorate' serve --name node-1 --http h:1 --gossip g:2 --rpc r:3 --join g:2,g:4 --n 5 --data '/d'\''e/node-1'`
	if got := s.CommandLine(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPortsFree(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := Spec{Name: "node-7", HTTP: "127.0.0.1:0", RPC: "127.0.0.1:0", Gossip: taken.LocalAddr().String()}
	var port *PortError
	if err := s.PortsFree(); !errors.As(err, &port) || port.Node != "node-7" || port.Addr != s.Gossip || !strings.Contains(err.Error(), s.Gossip) {
		t.Error(err)
	}
	s.Gossip = "127.0.0.1:0"
	if err := s.PortsFree(); err != nil {
		t.Error(err)
	}
}
