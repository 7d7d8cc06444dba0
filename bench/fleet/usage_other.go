//go:build !linux

package fleet

import "errors"

// processUsage is for systems whose processes are not to be read: the node's own /metrics tell.
func processUsage(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
