package load

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/quorate/quorate/bench/workload"
)

// outcome is what became of an operation.
type outcome uint8

const (
	succeeded outcome = iota
	notFound          // of a read: the cluster says that there is nothing
	failed
)

// session does operations on one connection, one after the other.
type session struct {
	conn     *conn
	values   workload.Values
	bucket   string // path of the bucket
	read     string // query of reads
	write    string // and of writes
	siblings int    // values seen that were several
	requests int    // sent so far
	uri      []byte
}

func newSession(cfg Config, host string, values workload.Values) *session {
	read, write := url.Values{}, url.Values{}
	for _, q := range []url.Values{read, write} {
		if cfg.N != 0 {
			q.Set("n", strconv.Itoa(cfg.N))
		}
		if cfg.Timeout != 0 {
			q.Set("timeout", cfg.Timeout.String())
		}
	}
	if cfg.R != "" {
		read.Set("r", cfg.R)
	}
	if cfg.W != "" {
		write.Set("w", cfg.W)
	}
	s := &session{conn: newConn(host, cfg.answerTime()), values: values, bucket: "/kv/" + cfg.Bucket}
	s.read, s.write = query(read), query(write)
	return s
}

func query(v url.Values) string {
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// do does one operation. If it failed, reason says why, and pause that there is nobody there to speak to. After the end of ctx it fails.
func (s *session) do(ctx context.Context, op workload.Op) (result outcome, reason string, pause bool) {
	status, err := s.send(ctx, op)
	var f *failure
	switch {
	case errors.As(err, &f):
		return failed, f.reason, f.connect
	case err != nil:
		return failed, err.Error(), false
	case status == http.StatusMultipleChoices && op.Kind == workload.Read:
		s.siblings++
		return succeeded, "", false
	case status == http.StatusNotFound && (op.Kind == workload.Read || op.Kind == workload.Scan):
		return notFound, "", false
	case status < http.StatusOK || status >= http.StatusMultipleChoices:
		return failed, s.conn.problem(), false
	}
	return succeeded, "", false
}

func (s *session) send(ctx context.Context, op workload.Op) (status int, err error) {
	switch op.Kind {
	case workload.Read:
		return s.get(ctx, s.keyURI(op.Key, s.read))
	case workload.Scan:
		return s.get(ctx, s.scanURI(op))
	case workload.ReadModifyWrite:
		status, err := s.get(ctx, s.keyURI(op.Key, s.read))
		if err != nil || status >= http.StatusBadRequest && status != http.StatusNotFound {
			return status, err
		}
		return s.store(ctx, op, string(s.conn.response.Header.Peek(contextHeader)))
	default:
		return s.store(ctx, op, "")
	}
}

func (s *session) get(ctx context.Context, uri string) (status int, err error) {
	s.requests++
	return s.conn.read(ctx, uri)
}

func (s *session) store(ctx context.Context, op workload.Op, seen string) (status int, err error) {
	s.requests++
	return s.conn.write(ctx, s.keyURI(op.Key, s.write), s.values.Of(op.Size, op.From), seen)
}

func (s *session) keyURI(key uint64, query string) string {
	s.uri = append(append(s.uri[:0], s.bucket...), '/')
	s.uri = append(workload.AppendKey(s.uri, key), query...)
	return string(s.uri)
}

// scanURI lists some keys after one.
func (s *session) scanURI(op workload.Op) string {
	s.uri = append(append(s.uri[:0], s.bucket...), "?after="...)
	s.uri = append(workload.AppendKey(s.uri, op.Key), "&limit="...)
	return string(strconv.AppendInt(s.uri, int64(op.Scan), 10))
}
