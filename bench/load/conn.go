package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// conn is one connection to one node, opened when it is needed. Of the HTTP library it uses what reads and writes messages, not its pool: one
// request at a time on a connection of one's own is both cheaper and what is to be measured (docs/decisions/0010).
type conn struct {
	host    string // host:port
	timeout time.Duration

	tcp  net.Conn // nil if there is none
	in   *bufio.Reader
	out  *bufio.Writer
	stop func() bool // lets go of the context that would interrupt tcp
	used time.Time   // when it had its last answer

	get, put fasthttp.Request // two, since one that had a body keeps announcing its length
	response fasthttp.Response
}

const (
	bufferBytes = 8 << 10  // holds the headers of an answer; a value goes past it
	maxBody     = 64 << 20 // of an answer: siblings in base64, or a scan

	// maxIdle is how long a connection may have rested to be written to. A node closes those that rest for two minutes, which is no failure of it.
	maxIdle = time.Minute
)

func newConn(host string, timeout time.Duration) *conn {
	c := &conn{host: host, timeout: timeout, in: bufio.NewReaderSize(nil, bufferBytes), out: bufio.NewWriterSize(nil, bufferBytes)}
	for _, r := range []*fasthttp.Request{&c.get, &c.put} {
		r.Header.SetNoDefaultContentType(true)
		r.Header.SetHost(host)
	}
	c.put.Header.SetMethod(http.MethodPut)
	return c
}

// failure is why there is no answer, in the words of the results. Connect tells that nothing was sent.
type failure struct {
	reason  string
	connect bool
	err     error
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// read sends a GET and reads the answer, of which it returns the status; the rest is in response until the next request. After a failure,
// which is a *failure, the connection is closed.
func (c *conn) read(ctx context.Context, uri string) (status int, err error) {
	c.get.Header.SetRequestURI(uri)
	return c.do(ctx, &c.get)
}

// write is the same for a PUT. seen is the context to send with it, if any.
func (c *conn) write(ctx context.Context, uri string, body []byte, seen string) (status int, err error) {
	c.put.Header.SetRequestURI(uri)
	c.put.SetBodyRaw(body)
	if seen != "" {
		c.put.Header.Set(contextHeader, seen)
	} else {
		c.put.Header.Del(contextHeader)
	}
	return c.do(ctx, &c.put)
}

func (c *conn) do(ctx context.Context, request *fasthttp.Request) (status int, err error) {
	if c.tcp != nil && time.Since(c.used) > maxIdle {
		c.close()
	}
	if c.tcp == nil {
		if err := c.open(ctx); err != nil {
			return 0, err
		}
	}
	if err := c.exchange(ctx, request); err != nil {
		c.close()
		return 0, classify(err)
	}
	c.used = time.Now()
	if c.response.ConnectionClose() {
		c.close()
	}
	return c.response.StatusCode(), nil
}

const contextHeader = "Quorate-Context"

func (c *conn) open(ctx context.Context) error {
	dialer := net.Dialer{Timeout: c.timeout}
	tcp, err := dialer.DialContext(ctx, "tcp", c.host)
	if err != nil {
		if isTimeout(err) && ctx.Err() == nil {
			err = os.ErrDeadlineExceeded // a dialer's own time-out says that it is a context's, too
		}
		f := classify(err)
		f.connect = true
		return f
	}
	c.tcp, c.used = tcp, time.Now()
	c.in.Reset(tcp)
	c.out.Reset(tcp)
	c.stop = context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) }) // what waits on it fails at once
	return nil
}

func (c *conn) exchange(ctx context.Context, request *fasthttp.Request) error {
	if err := c.tcp.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // or its end came before the deadline that we have just set
		return err
	}
	if err := request.Write(c.out); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.response.ReadLimitBody(c.in, maxBody)
}

// close closes the connection; the next request opens a new one.
func (c *conn) close() {
	if c.tcp != nil {
		c.stop()
		_ = c.tcp.Close()
		c.tcp = nil
	}
}

// classify puts a failure into words of which there are few.
func classify(err error) *failure {
	reason := "no HTTP answer"
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		reason = "interrupted"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), isTimeout(err):
		reason = "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		reason = "connection refused"
	case errors.As(err, &dns):
		reason = "host not found"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		reason = "out of sockets here"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		reason = "connection lost"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		reason = "answer too large"
	case isNetwork(err):
		reason = "network error"
	}
	return &failure{reason: reason, err: err}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// problem names an answer that is an error: its status, and the type of its problem document.
func (c *conn) problem() string {
	status := c.response.StatusCode()
	var p struct {
		Type string `json:"type"`
	}
	const most = 60
	if strings.HasPrefix(string(c.response.Header.ContentType()), "application/problem+json") && json.Unmarshal(c.response.Body(), &p) == nil && p.Type != "" {
		name := strings.TrimPrefix(p.Type, "urn:quorate:")
		return fmt.Sprintf("%d %s", status, name[:min(most, len(name))])
	}
	return fmt.Sprintf("%d %s", status, http.StatusText(status))
}
