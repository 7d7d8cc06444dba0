package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// clockTicks is the unit of times in /proc. Linux has it at 100 a second on every architecture that Go knows.
const clockTicks = 100

// processUsage reads /proc.
func processUsage(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	return parseStat(string(stat))
}

// parseStat takes utime, stime and rss, the fields 14, 15 and 24 of proc(5). The second field is the program's name in parentheses, and may hold anything.
func parseStat(stat string) (Usage, error) {
	const user, system, rss = 14, 15, 24
	const after = 3 // the number of the first field after the name
	at := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[at+1:])
	if at < 0 || len(fields) <= rss-after {
		return Usage{}, fmt.Errorf("%.60q is not a process's status", stat)
	}
	var number [3]uint64
	for i, field := range []int{user, system, rss} {
		n, err := strconv.ParseUint(fields[field-after], 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("field %d of a process's status: %w", field, err)
		}
		number[i] = n
	}
	return Usage{CPUSeconds: float64(number[0]+number[1]) / clockTicks, RSSBytes: number[2] * uint64(os.Getpagesize())}, nil
}
