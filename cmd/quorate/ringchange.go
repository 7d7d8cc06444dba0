package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/quorate/quorate/node"
)

// changeText tells in one line how far a change of the ring is. Its key leaves out what moves all the time.
func changeText(v node.ClusterView) line {
	waits := ""
	for _, w := range v.Layout.Waiting {
		waits += "; waits for " + waitText(v, w)
	}
	p := v.Layout.Progress
	if p == nil {
		return stay("begins" + waits)
	}
	text := percentText(p)
	if moved := movedText(v.Self, p); moved != "" {
		text += ", " + moved
	}
	return line{text + waits, strconv.Itoa(int(p.Percent)) + waits}
}

// printChange prints how far a change of the ring is, if one is under way.
func printChange(out io.Writer, v node.ClusterView) {
	if v.Layout.Progress == nil && len(v.Layout.Waiting) == 0 {
		return
	}
	if p := v.Layout.Progress; p != nil {
		fmt.Fprintf(out, "ring change: %s, %s live\n", percentText(p), counted(v.Layout.Live, "layout"))
		if moved := movedText(v.Self, p); moved != "" {
			fmt.Fprintf(out, "  %s\n", moved)
		}
	}
	for _, w := range v.Layout.Waiting {
		fmt.Fprintf(out, "  waits for %s\n", waitText(v, w))
	}
	fmt.Fprintln(out)
}

func percentText(p *node.ProgressView) string {
	return fmt.Sprintf("%.1f %% (%d of %d reports)", p.Percent, p.Done, p.Of)
}

// movedText says what the answering node has fetched; empty if it has nothing to fetch.
func movedText(self string, p *node.ProgressView) string {
	switch {
	case p.Remaining > 0:
		return fmt.Sprintf("%s has fetched %s, %s to go", self, bytesText(p.Bytes), counted(int(p.Remaining), "version"))
	case p.Bytes > 0:
		return fmt.Sprintf("%s has fetched %s", self, bytesText(p.Bytes))
	}
	return ""
}

// waitText names what is waited for, and beside whom that does not answer how it stands.
func waitText(v node.ClusterView, w node.WaitView) string {
	names := make([]string, len(w.For))
	for i, name := range w.For {
		names[i] = name
		if m, ok := memberNamed(v, name); ok && m.Liveness != "alive" {
			names[i] += " (" + m.Liveness + ")"
		}
	}
	if len(names) == 0 {
		return w.What
	}
	return w.What + ": " + strings.Join(names, ", ")
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/(1<<10), 0
	for v >= 1<<10 && i < len(units)-1 {
		v, i = v/(1<<10), i+1
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
