package main

import "syscall"

// childAttr makes a child die with us, however we end, and keeps a terminal's Ctrl-C from it: we stop the nodes ourselves, once.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
