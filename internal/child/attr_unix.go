//go:build unix && !linux

package child

import "syscall"

// attr keeps a terminal's Ctrl-C from a child: we stop the nodes ourselves, once. Only Linux can make them die with us if we are killed.
func attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
