package coordinator

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/store"
)

// TestLinesOfADeadDisk: every write fails on a dead disk, and the log gets one line a second, with the number of those left out.
func TestLinesOfADeadDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{fmt.Errorf("update: %w", store.ErrIO), errUnsynced} {
			var out bytes.Buffer
			c := New(DefaultConfig(), nil, nil, nil, nil, slog.New(slog.NewTextHandler(&out, nil)))
			for _, left := range []string{"left_out=0", "left_out=9"} {
				out.Reset()
				for range 10 {
					if e := c.storeFailed(&writing{}, err); e == nil {
						t.Fatal("no answer")
					}
				}
				if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, left) {
					t.Errorf("%v: want one line with %s:\n%s", err, left, got)
				}
				time.Sleep(time.Second) // virtual
			}
		}
	})
}
