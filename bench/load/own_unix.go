//go:build unix

package load

import (
	"syscall"
	"time"
)

// ownCPU is what this process has used, user and system. Nodes that it started are processes of their own, and not in it.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
