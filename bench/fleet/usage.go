package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Usage is what a node has used so far.
type Usage struct {
	CPUSeconds float64 // of user and system, since its start
	RSSBytes   uint64  // resident now
}

// Usage reads what the nodes have used, in the order of Nodes: from the operating system for processes of ours where it tells, from /metrics
// otherwise. A node whose figures cannot be read has an error in its place, and the zero Usage.
func (f *Fleet) Usage(ctx context.Context) ([]Usage, []error) {
	used, failed := make([]Usage, len(f.nodes)), make([]error, len(f.nodes))
	for i := range f.nodes {
		if used[i], failed[i] = f.usage(ctx, i); failed[i] != nil {
			failed[i] = fmt.Errorf("what %s uses: %w", f.nodes[i].Name, failed[i])
		}
	}
	return used, failed
}

func (f *Fleet) usage(ctx context.Context, i int) (Usage, error) {
	if pid := f.nodes[i].PID; pid != 0 {
		used, err := processUsage(pid)
		if !errors.Is(err, errors.ErrUnsupported) {
			return used, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	text, err := f.clients[i].Metrics(ctx)
	if err != nil {
		return Usage{}, err
	}
	return parseMetrics(string(text))
}

// The series of Prometheus's process collector, which has them on Linux, macOS and Windows.
const (
	cpuSeries = "process_cpu_seconds_total"
	rssSeries = "process_resident_memory_bytes"
)

// parseMetrics finds the two series, which have no labels, in Prometheus's text format.
func parseMetrics(text string) (Usage, error) {
	var used Usage
	found := 0
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name != cpuSeries && name != rssSeries {
			continue
		}
		number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(number >= 0 && number < 1<<62) {
			return Usage{}, fmt.Errorf("%s is %.40q", name, value)
		}
		if name == cpuSeries {
			used.CPUSeconds = number
		} else {
			used.RSSBytes = uint64(number)
		}
		found++
	}
	if found != 2 {
		return Usage{}, fmt.Errorf("its /metrics lack %s or %s", cpuSeries, rssSeries)
	}
	return used, nil
}
