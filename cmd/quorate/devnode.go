package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// devNode is one node of a dev cluster: a child process that runs serve.
type devNode struct {
	name, http, gossip, rpc string
	self                    string // this program
	args                    []string
	cmd                     *exec.Cmd     // nil before start
	stdout                  io.ReadCloser // where the ready line comes
	done                    chan struct{} // closed when the process has ended
}

func newDevNode(self string, o devOptions, i int, join string) *devNode {
	n := &devNode{
		self:   self,
		name:   fmt.Sprintf("node-%d", i+1),
		http:   addrAt(o.base + i),
		gossip: addrAt(o.base + gossipOffset + i),
		rpc:    addrAt(o.base + rpcOffset + i),
		done:   make(chan struct{}),
	}
	n.args = []string{"serve", "--name", n.name, "--http", n.http, "--gossip", n.gossip, "--rpc", n.rpc, "--join", join}
	if o.allowFaults {
		n.args = append(n.args, "--allow-faults")
	}
	return n
}

// portsFree fails with the name of the first port that is taken. Somebody may take it right after; the node then says so in its log.
func (n *devNode) portsFree() error {
	for _, addr := range []string{n.http, n.gossip, n.rpc} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return portError(n.name, addr, err)
		}
		l.Close()
	}
	p, err := net.ListenPacket("udp", n.gossip)
	if err != nil {
		return portError(n.name, n.gossip, err)
	}
	return p.Close()
}

func portError(name, addr string, err error) error {
	return fmt.Errorf("%s cannot have port %s (%w); choose other ports with --http-base", name, addr, err)
}

func (n *devNode) dataPath(dir string) string { return filepath.Join(dir, n.name) }
func (n *devNode) logPath(dir string) string  { return filepath.Join(dir, n.name+".log") }

func (n *devNode) argsIn(dir string) []string {
	return append(n.args[:len(n.args):len(n.args)], "--data", n.dataPath(dir))
}

// commandLine is what starts the node again from a shell.
func (n *devNode) commandLine(dir string) string {
	words := append([]string{n.self}, n.argsIn(dir)...)
	for i, w := range words {
		if strings.ContainsAny(w, " \t\n'\"\\$&;|<>()*?[]#~`!{}") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// start starts the process. Its environment has no settings of serve, which would be the same for all.
func (n *devNode) start(dir string) error {
	log, err := os.OpenFile(n.logPath(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(n.self, n.argsIn(dir)...)
	cmd.Stderr = log
	cmd.SysProcAttr = childAttr()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, envPrefix) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd, n.stdout = cmd, stdout
	return nil
}

// report sends the node to ready when it says so, and to exited when it has ended. Both have room for it.
func (n *devNode) report(ready, exited chan<- *devNode) {
	lines := bufio.NewScanner(n.stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			ready <- n
			break
		}
	}
	_, _ = io.Copy(io.Discard, n.stdout)
	_ = n.cmd.Wait() // ended tells how
	close(n.done)
	exited <- n
}

func (n *devNode) pid() int { return n.cmd.Process.Pid }

// ended says how the process ended, once it has.
func (n *devNode) ended() string { return n.cmd.ProcessState.String() }

// signal does nothing to a process that was not started or has ended.
func (n *devNode) signal(s os.Signal) {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}
