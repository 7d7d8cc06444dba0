package store

import (
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/quorate/quorate/version"
)

// TestTableStatsOfADamagedTable: a table whose statistics cannot be read does not keep a processor busy, which in virtual time would be for ever.
func TestTableStatsOfADamagedTable(t *testing.T) {
	hangs := time.AfterFunc(time.Minute, func() { panic("the statistics of a damaged table are read without a pause") }) // in real time
	defer hangs.Stop()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		s := mustOpen(t, testOptions(fs))
		for i := range 200 {
			mustUpdate(t, s, keyOf(fmt.Sprint("k", i), 4), 3, put(version.LWW, "v", nil, nil))
		}
		flush(s)
		mustClose(t, s)
		s = mustOpen(t, testOptions(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			// Not the opening of the table, which whoever reads it shares with the statistics.
			if op.Kind == errorfs.OpFileReadAt && inTableStats() && !calledBy(".(*fileCacheHandle).openFile") {
				return syscall.EIO
			}
			return nil
		}))))
		defer mustClose(t, s)
		time.Sleep(time.Minute) // virtual
		if errs := s.Stats().BackgroundErrors; errs < 30 || errs > 100 {
			t.Errorf("%d errors in a minute, want one or so a second", errs)
		}
		for i := range 200 {
			wantValues(t, s, keyOf(fmt.Sprint("k", i), 4), "v")
		}
	})
}
