package main

import (
	"bytes"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, r := range []struct {
		terminal bool
		want     string
	}{
		{true, "begins\n\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Knext\n\r\x1b[Kthree\n"},
		{false, "begins\none\ntwo\nnext\nthree\n"},
	} {
		var out bytes.Buffer
		p := newProgress(&out)
		p.terminal = r.terminal
		p.Phase("begins")
		p.Second("one")
		p.Second("two")
		p.Phase("next")
		p.Second("three")
		p.end()
		p.end()
		if out.String() != r.want {
			t.Errorf("terminal %v: %q, want %q", r.terminal, out.String(), r.want)
		}
	}
}

func TestSizesFlag(t *testing.T) {
	for text, want := range map[string][2]int{"100": {100, 100}, "1KiB": {1024, 1024}, "10-2kB": {10, 2000}, "0": {0, 0}} {
		var least, most int
		if err := (sizesFlag{&least, &most}).Set(text); err != nil || [2]int{least, most} != want {
			t.Errorf("%s: %d, %d, %v", text, least, most, err)
		}
	}
	least, most := 10, 2000
	if got := (sizesFlag{&least, &most}).String(); got != "10-2000" {
		t.Error(got)
	}
}
