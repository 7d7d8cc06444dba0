package child

import "syscall"

// attr makes a child die with us, however we end, and keeps a terminal's Ctrl-C from it: we stop the nodes ourselves, once.
func attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
