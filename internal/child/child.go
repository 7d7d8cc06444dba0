package child

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// settingsPrefix leads the environment variables that serve reads as flags.
const settingsPrefix = "QUORATE_"

// Spec says which node to run.
type Spec struct {
	Binary            string // the quorate program
	Name              string
	HTTP, Gossip, RPC string   // where it listens, host:port
	Join              []string // gossip addresses; none: no --join
	Dir               string   // its data go to Dir/Name, its log to Dir/Name.log
	Flags             []string // more flags of serve
}

// DataPath is the node's data directory.
func (s Spec) DataPath() string { return filepath.Join(s.Dir, s.Name) }

// LogPath is where the node's log goes.
func (s Spec) LogPath() string { return filepath.Join(s.Dir, s.Name+".log") }

// args are the arguments of the process.
func (s Spec) args() []string {
	args := []string{"serve", "--name", s.Name, "--http", s.HTTP, "--gossip", s.Gossip, "--rpc", s.RPC}
	if len(s.Join) > 0 {
		args = append(args, "--join", strings.Join(s.Join, ","))
	}
	args = append(args, s.Flags...)
	return append(args, "--data", s.DataPath())
}

// CommandLine is what starts the node from a shell.
func (s Spec) CommandLine() string {
	words := append([]string{s.Binary}, s.args()...)
	for i, w := range words {
		if strings.ContainsAny(w, " \t\n'\"\\$&;|<>()*?[]#~`!{}") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// PortError says which port of a node is taken.
type PortError struct {
	Node, Addr string
	Err        error
}

func (e *PortError) Error() string {
	return fmt.Sprintf("%s cannot have port %s (%v)", e.Node, e.Addr, e.Err)
}

func (e *PortError) Unwrap() error { return e.Err }

// PortsFree returns a *PortError for the first port that is taken. Somebody may take it right after; the node then says so in its log.
func (s Spec) PortsFree() error {
	for _, addr := range []string{s.HTTP, s.Gossip, s.RPC} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return &PortError{s.Name, addr, err}
		}
		l.Close()
	}
	p, err := net.ListenPacket("udp", s.Gossip)
	if err != nil {
		return &PortError{s.Name, s.Gossip, err}
	}
	return p.Close()
}

// Process is a node that was started. Its methods may be called from anywhere.
type Process struct {
	Spec
	cmd   *exec.Cmd
	ready chan struct{}
	ended chan struct{}
}

// starter runs functions on one thread that lives as long as this process. The kernel takes the end of the thread that forked for the end of
// the parent, and Go ends threads as it likes.
var starter = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// Start starts the process. Its directory must exist.
func Start(s Spec) (*Process, error) {
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(s.Binary, s.args()...)
	cmd.Stderr = log
	cmd.SysProcAttr = attr()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, settingsPrefix) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &Process{Spec: s, cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	go p.watch(stdout)
	return p, nil
}

// watch waits for the ready line and for the end.
func (p *Process) watch(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			close(p.ready)
			break
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	_ = p.cmd.Wait() // State tells how
	close(p.ended)
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ready is closed once the node has said that it can serve.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// Ended is closed once the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// State says how the process ended; it may be called after Ended is closed.
func (p *Process) State() string { return p.cmd.ProcessState.String() }

// Signal does nothing to a process that has ended.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }
