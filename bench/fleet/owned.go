package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/quorate/quorate/internal/child"
)

// owned are the processes of a fleet that was started.
type owned struct {
	cfg       Config
	dir       string
	temporary bool
	processes []*child.Process
	failed    chan error    // room for every process
	closing   chan struct{} // closed when an end is no failure any more
}

// makeDir makes the directory. One that holds something is refused: it may be the data of a cluster.
func (o *owned) makeDir() (err error) {
	if o.dir == "" {
		o.temporary = true
		o.dir, err = os.MkdirTemp("", "quorate-bench-")
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(o.dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: data of a cluster to measure go to a new directory", o.dir)
	}
	return err
}

// start starts all nodes on ports that are free now. retry tells that a port was taken meanwhile.
func (o *owned) start(ctx context.Context) (retry bool, err error) {
	specs, err := o.specs()
	if err != nil {
		return false, err
	}
	o.processes, o.failed, o.closing = nil, make(chan error, len(specs)), make(chan struct{})
	for _, s := range specs {
		p, err := child.Start(s)
		if err != nil {
			return false, fmt.Errorf("start %s: %w", s.Name, err)
		}
		o.processes = append(o.processes, p)
		go report(p, o.closing, o.failed)
	}
	o.cfg.say("started %d nodes; data and logs are in %s", len(specs), o.dir)
	return o.waitReady(ctx)
}

// specs lays the nodes out on free ports.
func (o *owned) specs() ([]child.Spec, error) {
	const perNode = 3 // HTTP, gossip, node to node
	addrs, err := freePorts(o.cfg.Nodes * perNode)
	if err != nil {
		return nil, fmt.Errorf("find free ports: %w", err)
	}
	specs := make([]child.Spec, o.cfg.Nodes)
	var join []string
	for i := range specs {
		mine := addrs[i*perNode:]
		specs[i] = child.Spec{Binary: o.cfg.Binary, Name: fmt.Sprintf("node-%d", i+1), HTTP: mine[0], Gossip: mine[1], RPC: mine[2], Dir: o.dir, Flags: o.cfg.Flags}
		join = append(join, mine[1])
	}
	for i := range specs {
		if len(specs) > 1 { // one alone has nobody to wait for
			specs[i].Join = join
		}
		if o.cfg.AllowFaults {
			specs[i].Flags = append(specs[i].Flags[:len(specs[i].Flags):len(specs[i].Flags)], "--allow-faults")
		}
	}
	return specs, nil
}

// freePorts finds addresses on loopback whose port is free for TCP and UDP. It holds all of them until it has the last, so they differ.
func freePorts(count int) ([]string, error) {
	var addrs []string
	for range 4 * count { // a TCP port may be taken for UDP
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		defer p.Close()
		if addrs = append(addrs, l.Addr().String()); len(addrs) == count {
			return addrs, nil
		}
	}
	return nil, errors.New("too few that are free for TCP and UDP")
}

// report tells failed that a node has ended, unless it was to end.
func report(p *child.Process, closing <-chan struct{}, failed chan<- error) {
	<-p.Ended()
	select {
	case <-closing:
	default:
		failed <- fmt.Errorf("%s (pid %d) has ended: %s; its log is %s", p.Name, p.PID(), p.State(), p.LogPath())
	}
}

// waitReady waits for all ready lines. retry tells that a node has ended because a port was taken.
func (o *owned) waitReady(ctx context.Context) (retry bool, err error) {
	late := time.NewTimer(o.cfg.ReadyTime)
	defer late.Stop()
	for i, p := range o.processes {
		select {
		case <-p.Ready():
			o.cfg.say("%s is ready (%d of %d): http://%s pid %d", p.Name, i+1, len(o.processes), p.HTTP, p.PID())
		case err := <-o.failed:
			return o.portTaken(), fmt.Errorf("a node ended before all were ready: %w", err)
		case <-ctx.Done():
			return false, ctx.Err()
		case <-late.C:
			return false, fmt.Errorf("%s is not ready after %v; its log is %s", p.Name, o.cfg.ReadyTime, p.LogPath())
		}
	}
	return false, nil
}

// portTaken looks for the reason in the logs.
func (o *owned) portTaken() bool {
	for _, p := range o.processes {
		if text, err := os.ReadFile(p.LogPath()); err == nil && bytes.Contains(text, []byte(syscall.EADDRINUSE.Error())) {
			return true
		}
	}
	return false
}

// discard kills all nodes, and removes what they wrote, before they are started anew.
func (o *owned) discard() error {
	o.kill()
	var failed []error
	for _, p := range o.processes {
		failed = append(failed, os.RemoveAll(p.DataPath()), os.RemoveAll(p.LogPath()))
	}
	return errors.Join(failed...)
}

// kill ends all nodes at once.
func (o *owned) kill() {
	for _, p := range o.processes {
		p.Signal(os.Kill)
	}
	for _, p := range o.processes {
		<-p.Ended()
	}
}

// close asks all nodes to end, kills those that have not within the time, and cleans up.
func (o *owned) close(ctx context.Context, failed bool) error {
	if o.closing != nil {
		close(o.closing)
	}
	for _, p := range o.processes {
		p.Signal(syscall.SIGTERM)
	}
	enough := time.NewTimer(o.cfg.StopTime)
	defer enough.Stop()
	for _, p := range o.processes {
		select {
		case <-p.Ended():
			continue
		case <-ctx.Done():
		case <-enough.C:
			o.cfg.say("%s has not drained within %v and is killed", p.Name, o.cfg.StopTime)
		}
		o.kill()
		break
	}
	return o.cleanUp(failed)
}

// cleanUp removes a temporary directory, or all of it but the logs.
func (o *owned) cleanUp(failed bool) error {
	switch {
	case !o.temporary:
		o.cfg.say("data and logs of the nodes are in %s", o.dir)
		return nil
	case !failed:
		return os.RemoveAll(o.dir)
	}
	var wrong []error
	for _, p := range o.processes {
		wrong = append(wrong, os.RemoveAll(p.DataPath()))
	}
	if len(o.processes) == 0 {
		return os.RemoveAll(o.dir)
	}
	o.cfg.say("logs of the nodes are kept in %s", o.dir)
	return errors.Join(wrong...)
}
