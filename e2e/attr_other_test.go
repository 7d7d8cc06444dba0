//go:build !linux

package e2e

import "syscall"

// dieWithUs is Linux's; elsewhere a run that is killed may leave processes behind.
func dieWithUs() *syscall.SysProcAttr { return nil }
