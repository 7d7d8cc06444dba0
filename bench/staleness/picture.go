package staleness

import (
	"fmt"
	"math"
	"strings"
)

// bars are eight heights; a slice without what is drawn is blank.
var bars = []rune("▁▂▃▄▅▆▇█")

// printTimeline draws the reads of each side over time: how probable a fresh one was, and how many failed.
func (r *Results) printTimeline(s *strings.Builder, q *QuorumResults) {
	const label = "%-22s "
	for _, line := range q.Timeline {
		fmt.Fprintf(s, label+"%s\n", line.Side+" P(fresh)", drawLine(line.Slices, func(c [3]int) (float64, bool) {
			return float64(c[0]) / float64(c[0]+c[1]), c[0]+c[1] > 0
		}))
		fmt.Fprintf(s, label+"%s\n", line.Side+" available", drawLine(line.Slices, func(c [3]int) (float64, bool) {
			return float64(c[0]+c[1]) / float64(c[0]+c[1]+c[2]), c[0]+c[1]+c[2] > 0
		}))
	}
	if r.Settings.Scenario == None.String() {
		return
	}
	marks := []rune(strings.Repeat(" ", timelineSlices+1))
	for _, m := range []struct {
		at   *float64
		name string
	}{{r.Cut, "^cut"}, {r.Healed, "^healed"}} {
		if m.at == nil {
			continue
		}
		at := int(*m.at / r.Settings.Duration * timelineSlices)
		for i, letter := range []rune(m.name) {
			if at+i < len(marks) {
				marks[at+i] = letter
			}
		}
	}
	fmt.Fprintf(s, label+"%s\n", "", strings.TrimRight(string(marks), " "))
}

// drawLine draws shares. Only 1 has the full height, and only where there is nothing to draw is nothing.
func drawLine(slices [][3]int, shareOf func([3]int) (float64, bool)) string {
	var line strings.Builder
	for _, counts := range slices {
		share, ok := shareOf(counts)
		switch {
		case !ok:
			line.WriteByte(' ')
		case share == 1:
			line.WriteRune(bars[len(bars)-1])
		default:
			line.WriteRune(bars[int(share*float64(len(bars)-1))])
		}
	}
	return line.String()
}

// Measures of the SVG, in pixels.
const (
	svgWidth   = 960
	svgLeft    = 150
	svgRight   = 20
	svgTop     = 90
	panelPitch = 96
	panelTall  = 64
)

// The colours of fresh, stale and failed reads: distinct for those who do not see red and green, too.
var svgColours = [3]string{"#4c9f70", "#d1495b", "#b8bcc4"}

// SVG draws the reads of every quorum and side over time as shares of those that were due, with the cut and the heal.
func (r *Results) SVG() []byte {
	panels := 0
	for i := range r.Quorums {
		panels += len(r.Quorums[i].Timeline)
	}
	height := svgTop + panels*panelPitch + 30
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13" shape-rendering="crispEdges">`+"\n", svgWidth, height)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, height)
	fmt.Fprintf(&s, `<text x="%d" y="26" font-size="17">Reads over time: %d nodes, %s</text>`+"\n", svgLeft, len(r.Nodes), r.Settings.Scenario)
	for i, name := range []string{"fresh", "stale", "failed"} {
		x := svgLeft + 90*i
		fmt.Fprintf(&s, `<rect x="%d" y="38" width="12" height="12" fill="%s"/><text x="%d" y="49">%s</text>`+"\n", x, svgColours[i], x+17, name)
	}
	top := svgTop
	for i := range r.Quorums {
		for _, line := range r.Quorums[i].Timeline {
			r.svgPanel(&s, top, r.Quorums[i].name(), line)
			top += panelPitch
		}
	}
	r.svgMarks(&s, top-panelPitch+panelTall)
	s.WriteString("</svg>\n")
	return []byte(s.String())
}

// svgX is where a second of the run is.
func (r *Results) svgX(second float64) float64 {
	return svgLeft + second/r.Settings.Duration*(svgWidth-svgLeft-svgRight)
}

func (r *Results) svgPanel(s *strings.Builder, top int, quorum string, line Line) {
	const label = `<text x="%d" y="%d" text-anchor="end">%s</text>` + "\n"
	fmt.Fprintf(s, label+label, svgLeft-12, top+panelTall/2-4, quorum, svgLeft-12, top+panelTall/2+14, line.Side)
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%d" height="%d" fill="#f4f5f7"/>`+"\n", svgLeft, top, svgWidth-svgLeft-svgRight, panelTall)
	for i, counts := range line.Slices {
		total := counts[0] + counts[1] + counts[2]
		if total == 0 {
			continue
		}
		from, to := float64(i)*line.Width, math.Min(float64(i+1)*line.Width, r.Settings.Duration)
		fmt.Fprintf(s, `<g><title>%.1f to %.1f s: %d fresh, %d stale, %d failed</title>`, from, to, counts[0], counts[1], counts[2])
		bottom := float64(top + panelTall)
		for kind, count := range counts {
			if count == 0 {
				continue
			}
			tall := panelTall * float64(count) / float64(total)
			bottom -= tall
			fmt.Fprintf(s, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, r.svgX(from), bottom, r.svgX(to)-r.svgX(from), tall, svgColours[kind])
		}
		s.WriteString("</g>\n")
	}
}

// svgMarks draws the axis, the cut and the heal.
func (r *Results) svgMarks(s *strings.Builder, bottom int) {
	const ticks = 6
	for i := range ticks + 1 {
		second := r.Settings.Duration * float64(i) / ticks
		fmt.Fprintf(s, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%.3g s</text>`+"\n", r.svgX(second), bottom+20, second)
	}
	if r.Settings.Scenario == None.String() {
		return
	}
	for _, m := range []struct {
		at   *float64
		name string
	}{{r.Cut, "cut"}, {r.Healed, "healed"}} {
		if m.at == nil {
			continue
		}
		x := r.svgX(*m.at)
		fmt.Fprintf(s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222" stroke-dasharray="4 3"/>`, x, svgTop-6, x, bottom+4)
		fmt.Fprintf(s, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, svgTop-10, m.name)
	}
}
