//go:build unix && !linux

package main

import "syscall"

// childAttr keeps a terminal's Ctrl-C from a child: we stop the nodes ourselves, once. Only Linux can make them die with us if we are killed.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
