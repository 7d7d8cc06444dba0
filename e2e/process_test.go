package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is one running or ended command of the product.
type process struct {
	cmd   *exec.Cmd
	lines *lineLog // standard output
	ended chan struct{}
	err   error // of Wait; to be read after ended is closed

	wanted bool // we asked it to end, so its end is no complaint
}

// starter runs functions on one thread that lives as long as the run. The kernel takes the end of the thread
// that forked for the end of the parent, and Go ends threads as it likes.
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

// startProcess starts a command. Its standard error is appended to the file named log, together with a line
// that says what was started.
func startProcess(log string, env []string, argv ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fmt.Fprintf(file, "--- %s\n", strings.Join(argv, " "))

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(cleanEnviron(), env...)
	cmd.Stderr = file
	cmd.SysProcAttr = dieWithUs()
	p := &process{cmd: cmd, lines: &lineLog{}, ended: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		p.lines.readFrom(stdout)
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// cleanEnviron is ours less what would configure a node.
func cleanEnviron() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "QUORATE_") {
			env = append(env, entry)
		}
	}
	// A data race ends the process at once, so that it is seen where it happens.
	return append(env, "GORACE=halt_on_error=1")
}

// signal sends a signal to the process, by its own pid.
func (p *process) signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGINT {
		p.wanted = true
	}
	// The only error is that it has ended already, which the caller sees by itself.
	_ = p.cmd.Process.Signal(sig)
}

// running says whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// exit waits for the end and returns the exit status, -1 for a signal.
func (p *process) exit(t testing.TB) int {
	t.Helper()
	eventually(t, stopLimit, fmt.Sprintf("end of pid %d", p.cmd.Process.Pid), func() error {
		if p.running() {
			return fmt.Errorf("still runs")
		}
		return nil
	})
	return p.cmd.ProcessState.ExitCode()
}

// lineLog keeps what a process has printed, by lines.
type lineLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *lineLog) readFrom(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		l.mu.Lock()
		l.lines = append(l.lines, scanner.Text())
		l.mu.Unlock()
	}
}

// all returns the lines so far.
func (l *lineLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

// find returns the first line with that beginning.
func (l *lineLog) find(prefix string) (string, bool) {
	for _, line := range l.all() {
		if strings.HasPrefix(line, prefix) {
			return line, true
		}
	}
	return "", false
}

// result is what a command that has ended left behind.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the binary to its end with that standard input.
func command(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaryPath(t), args...)
	cmd.Env = cleanEnviron()
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("quorate %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// logComplaints reads the log of a node for what must never stand in it.
func logComplaints(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // never started
	}
	var found []string
	for _, mark := range []string{"panic:", "fatal error:", "WARNING: DATA RACE", "goroutine 1 ["} {
		if at := bytes.Index(text, []byte(mark)); at >= 0 {
			end := min(at+4000, len(text))
			found = append(found, fmt.Sprintf("%s: %s", filepath.Base(path), text[at:end]))
			break
		}
	}
	return found
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
