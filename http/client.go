package http

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/node"
	"github.com/quorate/quorate/quorum"
)

// timeoutSlack is what the client waits longer than the server promised to take.
const timeoutSlack = 5 * time.Second

// Client talks to one node. It follows no redirects, and sends no write twice: what a failed one means is the caller's to judge. If a connection that was
// kept turns out to be closed, net/http opens another one for a read, and for a write of which no byte had gone out.
// It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the node at base, such as http://127.0.0.1:8080. It has connections of its own.
func NewClient(base string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("node address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("node address %q: want one such as http://127.0.0.1:8080", base)
	}
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: idleTime / 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// KeyOptions are what a key request may say; the zero value says nothing, and the bucket decides.
type KeyOptions struct {
	N           int
	W, R        quorum.Level
	Sloppy      *bool
	Timeout     time.Duration
	Context     string // of an earlier answer
	IfMatch     string
	IfNoneMatch string
	Detail      bool // Answer.Replicas is wanted
	Local       bool // reads: this node's own store alone
	NoRepair    bool // reads: repair nothing
}

// Answer is what a node says of a key. Fields that the answer does not have are empty.
type Answer struct {
	Status       int
	Value        []byte
	Siblings     []Sibling // several concurrent values instead of one
	ContentType  string
	ETag         string
	Context      string
	Deleted      bool
	LastModified time.Time
	Quorum       string // n=3, r=2, replies=2
	Coordinator  string
	Replicas     string
}

// Get reads a key. A *Problem tells why there is no value; the Answer then still has what the headers say, such as the context of a key that has
// no value. A value that is as IfNoneMatch says comes as status 304 and no error.
func (c *Client) Get(ctx context.Context, bucket, key string, o KeyOptions) (Answer, error) {
	return c.key(ctx, http.MethodGet, bucket, key, o, nil, "")
}

// Put stores what value yields, and reads it to its end. contentType may be empty. If the error is no *Problem, whether it was stored is unknown.
func (c *Client) Put(ctx context.Context, bucket, key string, value io.Reader, contentType string, o KeyOptions) (Answer, error) {
	return c.key(ctx, http.MethodPut, bucket, key, o, value, contentType)
}

// Delete deletes a key. If the error is no *Problem, whether it was deleted is unknown.
func (c *Client) Delete(ctx context.Context, bucket, key string, o KeyOptions) (Answer, error) {
	return c.key(ctx, http.MethodDelete, bucket, key, o, nil, "")
}

func (c *Client) key(ctx context.Context, method, bucket, key string, o KeyOptions, value io.Reader, contentType string) (Answer, error) {
	wait := o.Timeout
	if wait == 0 {
		wait = node.DefaultTimeout
	}
	if value == nil { // how long a value takes to be sent is not ours to guess
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+timeoutSlack)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+keyPrefix+escapeSegment(bucket)+"/"+escapeSegment(key)+o.query(), value)
	if err != nil {
		return Answer{}, err
	}
	o.setHeaders(req.Header)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	return readAnswer(resp)
}

// escapeSegment encodes all that is not plain. A segment of dots is data, and must not look like a path to anything on the way.
func escapeSegment(s string) string {
	if strings.Trim(s, ".") == "" {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

func (o *KeyOptions) query() string {
	v := url.Values{}
	if o.N != 0 {
		v.Set("n", strconv.Itoa(o.N))
	}
	if o.W != 0 {
		v.Set("w", o.W.String())
	}
	if o.R != 0 {
		v.Set("r", o.R.String())
	}
	if o.Sloppy != nil {
		v.Set("sloppy", strconv.FormatBool(*o.Sloppy))
	}
	if o.Timeout != 0 {
		v.Set("timeout", o.Timeout.String())
	}
	if o.Detail {
		v.Set("detail", "true")
	}
	if o.Local {
		v.Set("local", "true")
	}
	if o.NoRepair {
		v.Set("repair", "false")
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

func (o *KeyOptions) setHeaders(h http.Header) {
	for name, value := range map[string]string{headerContext: o.Context, "If-Match": o.IfMatch, "If-None-Match": o.IfNoneMatch} {
		if value != "" {
			h.Set(name, value)
		}
	}
}

func readAnswer(resp *http.Response) (Answer, error) {
	h := resp.Header
	a := Answer{
		Status:      resp.StatusCode,
		ETag:        h.Get("ETag"),
		Context:     h.Get(headerContext),
		Deleted:     h.Get(headerDeleted) == "true",
		Quorum:      h.Get(headerQuorum),
		Coordinator: h.Get(headerCoordinator),
		Replicas:    h.Get(headerReplicas),
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		a.LastModified = t
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusMultipleChoices:
		var list struct {
			Siblings []Sibling `json:"siblings"`
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return a, fmt.Errorf("read siblings: %w", err)
		}
		a.Siblings = list.Siblings
	case resp.StatusCode < http.StatusMultipleChoices:
		a.Value, a.ContentType = body, h.Get("Content-Type")
	case resp.StatusCode != http.StatusNotModified: // redirects are not a node's either
		return a, readProblem(resp, body)
	}
	return a, nil
}

// readProblem makes an error of an answer that is one. What is not a problem document does not come from a node's handlers.
func readProblem(resp *http.Response, body []byte) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p Problem
	if mediaType == "application/problem+json" && json.Unmarshal(body, &p) == nil && p.Type != "" {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			p.retryAfter = time.Duration(seconds) * time.Second
		}
		return &p
	}
	const most = 200
	return fmt.Errorf("answered %s: %s", resp.Status, bytes.TrimSpace(body[:min(most, len(body))]))
}

// Cluster describes the cluster as the node sees it.
func (c *Client) Cluster(ctx context.Context) (node.ClusterView, error) {
	var v node.ClusterView
	return v, c.document(ctx, "/cluster", &v)
}

// Ring tells where a key lives; n = 0 is the n of the bucket.
func (c *Client) Ring(ctx context.Context, bucket, key string, n int) (node.RingView, error) {
	q := url.Values{"bucket": {bucket}, "key": {key}}
	if n != 0 {
		q.Set("n", strconv.Itoa(n))
	}
	var v node.RingView
	return v, c.document(ctx, "/cluster/ring?"+q.Encode(), &v)
}

// Ready returns nil when the node can serve; a *Problem tells why it cannot.
func (c *Client) Ready(ctx context.Context) error {
	return c.document(ctx, "/readyz", nil)
}

// document gets a JSON document; out may be nil.
func (c *Client) document(ctx context.Context, path string, out any) error {
	answer, err := c.exchange(ctx, http.MethodGet, path, nil)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("answer to GET %s: %w", path, err)
	}
	return nil
}
