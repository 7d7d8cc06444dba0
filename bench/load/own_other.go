//go:build !unix

package load

import (
	"errors"
	"time"
)

func ownCPU() (time.Duration, error) { return 0, errors.ErrUnsupported }
