package fleet

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	const stat = "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 123 45 0 0 20 0 8 0 99 1000 17 18446744073709551615"
	used, err := parseStat(stat)
	if want := (Usage{CPUSeconds: 1.68, RSSBytes: 17 * uint64(os.Getpagesize())}); err != nil || used != want {
		t.Errorf("%+v, %v, want %+v", used, err, want)
	}
	for _, bad := range []string{"", "1 (x) S", "no parentheses at all", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x 45 0 0 20 0 8 0 99 1000 17"} {
		if used, err := parseStat(bad); err == nil {
			t.Errorf("%q: %+v", bad, used)
		}
	}
	if _, err := processUsage(1 << 30); err == nil {
		t.Error("a process that is not there uses something")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 123 45 0 0 20 0 8 0 99 1000 17 18446744073709551615")
	f.Fuzz(func(_ *testing.T, stat string) { _, _ = parseStat(stat) })
}
