package transport

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/ring"
)

// BenchmarkEcho measures one call with 150 bytes there and back between two processes, and the processor time of both.
//
//	go test ./transport/ -run '^$' -bench Echo -benchtime 3s -count 10
func BenchmarkEcho(b *testing.B) {
	server := exec.Command(os.Args[0], "-test.run=^$")
	server.Env = append(os.Environ(), echoServerEnv+"=1")
	stdin, err := server.StdinPipe()
	must(b, err)
	stdout, err := server.StdoutPipe()
	must(b, err)
	must(b, server.Start())
	defer server.Wait()
	defer stdin.Close()
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	must(b, err)

	e, err := New(testConfig("client", idOf(1)))
	must(b, err)
	must(b, e.Open())
	defer e.Close()
	to := idOf(2)
	e.SetPeers(map[ring.ID]Peer{to: {Name: "server", Addr: strings.TrimSpace(addr)}})

	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			body := bytes.Repeat([]byte("x"), 150)
			b.ReportAllocs()
			began := cpu(b, os.Getpid()) + cpu(b, server.Process.Pid)
			b.ResetTimer()
			callMany(b, e, to, callers, body)
			b.StopTimer()
			used := cpu(b, os.Getpid()) + cpu(b, server.Process.Pid) - began
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func callMany(b *testing.B, e *Endpoint, to ring.ID, callers int, body []byte) {
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range b.N*(i+1)/callers - b.N*i/callers {
				if r := e.Call(context.Background(), to, kindOther, body); r.Err != nil || len(r.Body) != len(body) {
					b.Errorf("call: %+v", r)
					return
				}
			}
		})
	}
	wg.Wait()
}

// cpu is the processor time that a process has used. The kernel counts it in hundredths of a second for others; our own it knows better.
func cpu(tb testing.TB, pid int) time.Duration {
	if pid == os.Getpid() {
		var usage syscall.Rusage
		must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(tb, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	user, err := strconv.Atoi(fields[11])
	must(tb, err)
	system, err := strconv.Atoi(fields[12])
	must(tb, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
