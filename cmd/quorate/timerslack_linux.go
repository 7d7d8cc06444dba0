package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	prSetTimerSlack = 29 // of prctl(2)
	prGetTimerSlack = 30

	kernelSlack = 50 * time.Microsecond
	nodeSlack   = 500 * time.Microsecond

	// relaxedEnv marks a process that has been through relaxTimers, so that a system which forgets the slack is asked once only.
	relaxedEnv = "QUORATE_TIMERS_RELAXED"
)

// relaxTimers lets the kernel end this process's timed sleeps up to nodeSlack late, so that a node sleeps more often than it wakes up: while
// there are system calls that take long, such as syncs, the Go runtime looks after them every 20 µs, and that took 11 % of a node's CPU
// under load (docs/decisions/0025-timer-slack.md).
//
// Threads inherit the slack when they are made, and the runtime's are there before main. So the program is executed anew, once, in the same
// process. Whoever started it with another slack than the kernel's own has chosen, and nothing is done; nor if anything fails.
func relaxTimers() {
	if _, done := os.LookupEnv(relaxedEnv); done {
		_ = os.Unsetenv(relaxedEnv) // it is no setting, and settings that are none are warned of
		return
	}
	if timerSlack() != kernelSlack {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	path, err := os.Executable()
	if err != nil {
		return
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(nodeSlack), 0, 0, 0, 0); errno != 0 || timerSlack() != nodeSlack {
		return
	}
	_ = syscall.Exec(path, os.Args, append(os.Environ(), relaxedEnv+"=1"))
}

// timerSlack is that of the calling thread; negative if it is not known.
func timerSlack() time.Duration {
	slack, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prGetTimerSlack, 0, 0, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return time.Duration(slack)
}
