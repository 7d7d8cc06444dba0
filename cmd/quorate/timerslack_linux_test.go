package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestRelaxTimers: all threads of a process that relaxes its timers have the slack, it stays the same process, nothing of it is left in the
// environment, and a slack that somebody has chosen is kept.
func TestRelaxTimers(t *testing.T) {
	const child = "QUORATE_TEST_SLACK"
	if os.Getenv(child) != "" {
		relaxTimers()
		other := make(chan time.Duration)
		go func() {
			runtime.LockOSThread()
			other <- timerSlack()
		}()
		_, left := os.LookupEnv(relaxedEnv)
		fmt.Printf("%d %v %v %v\n", os.Getpid(), timerSlack(), <-other, left)
		os.Exit(0)
	}
	for given, want := range map[time.Duration]time.Duration{kernelSlack: nodeSlack, 70 * time.Microsecond: 70 * time.Microsecond} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRelaxTimers$")
		cmd.Env = append(os.Environ(), child+"=1")
		runtime.LockOSThread() // a process inherits the slack of the thread that starts it
		before := timerSlack()
		syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(given), 0, 0, 0, 0)
		out, err := cmd.Output()
		syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(before), 0, 0, 0, 0)
		runtime.UnlockOSThread()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out), fmt.Sprintf("%d %v %v false\n", cmd.Process.Pid, want, want); got != want {
			t.Errorf("started with %v: process, slack, another thread's and whether the mark is left are %q, want %q", given, got, want)
		}
	}
}
