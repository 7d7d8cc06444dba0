package cluster

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"time"

	"github.com/quorate/quorate/internal/ration"
)

// limiter lets one event through per interval.
type limiter struct{ *ration.Ration }

func newLimiter(every time.Duration) *limiter { return &limiter{ration.New(every)} }

func (l *limiter) allow() bool {
	_, ok := l.Take(time.Now())
	return ok
}

// memberlistLogger turns memberlist's log lines into slog records, one level below what memberlist thinks of them: a peer that
// does not answer is an error to it, and everyday life to a cluster. What matters this package logs itself.
func memberlistLogger(to *slog.Logger) *log.Logger {
	return log.New(lineWriter{to}, "", 0)
}

type lineWriter struct{ to *slog.Logger }

var lineLevels = []struct {
	prefix string
	level  slog.Level
}{
	{"[ERR] ", slog.LevelInfo},
	{"[ERROR] ", slog.LevelInfo},
	{"[WARN] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelDebug},
	{"[DEBUG] ", slog.LevelDebug - 4},
}

func (w lineWriter) Write(line []byte) (int, error) {
	text := bytes.TrimRight(line, "\n")
	level := slog.LevelInfo
	for _, l := range lineLevels {
		if rest, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			text, level = rest, l.level
			break
		}
	}
	w.to.Log(context.Background(), level, string(bytes.TrimPrefix(text, []byte("memberlist: "))), "from", "memberlist")
	return len(line), nil
}
