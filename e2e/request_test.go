package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// client is an HTTP client for one node. It follows no redirects and adds no headers.
type client struct {
	http *http.Client
}

func newClient() *client {
	return &client{http: &http.Client{
		Timeout:       90 * time.Second, // above the longest timeout that a request can ask for
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true},
	}}
}

// forget drops the connections to a process that is gone.
func (c *client) forget() { c.http.CloseIdleConnections() }

// answer is a response, read to its end.
type answer struct {
	request string
	status  int
	header  http.Header
	body    []byte
}

// option changes a request before it is sent.
type option func(*http.Request)

// with sets a header.
func with(name, value string) option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// seen gives the request what its client has seen.
func seen(token string) option { return with("Quorate-Context", token) }

// send makes a request. The path is sent as it stands, with its escapes and its query.
func (n *node) send(ctx context.Context, method, path string, body []byte, options ...option) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+n.http+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, option := range options {
		option(request)
	}
	response, err := n.client.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return answer{
		request: fmt.Sprintf("%s %s on %s", method, path, n.name),
		status:  response.StatusCode, header: response.Header, body: content,
	}, nil
}

// do is send where the exchange itself must not fail.
func (n *node) do(t testing.TB, method, path string, body []byte, options ...option) answer {
	t.Helper()
	a, err := n.send(t.Context(), method, path, body, options...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (n *node) get(t testing.TB, path string, options ...option) answer {
	t.Helper()
	return n.do(t, http.MethodGet, path, nil, options...)
}

func (n *node) put(t testing.TB, path, value string, options ...option) answer {
	t.Helper()
	return n.do(t, http.MethodPut, path, []byte(value), options...)
}

func (n *node) delete(t testing.TB, path string, options ...option) answer {
	t.Helper()
	return n.do(t, http.MethodDelete, path, nil, options...)
}

var keys atomic.Int64

// fresh returns the path of a key that nobody has used, in that bucket.
func fresh(bucket string) string {
	return fmt.Sprintf("/kv/%s/key-%d", bucket, keys.Add(1))
}

// wants fails unless the status is that.
func (a answer) wants(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, want %d\n%v\n%.2000s", a.request, a.status, status, a.header, a.body)
	}
	return a
}

// wantsValue fails unless the answer is this one value.
func (a answer) wantsValue(t testing.TB, value string) answer {
	t.Helper()
	a.wants(t, http.StatusOK)
	if string(a.body) != value {
		t.Fatalf("%s: %d bytes %.200q, want %d bytes %.200q", a.request, len(a.body), a.body, len(value), value)
	}
	return a
}

// token returns the context of the answer, which must be there.
func (a answer) token(t testing.TB) string {
	t.Helper()
	return a.must(t, "Quorate-Context")
}

// must returns a header, which must be there.
func (a answer) must(t testing.TB, name string) string {
	t.Helper()
	value := a.header.Get(name)
	if value == "" {
		t.Fatalf("%s: no %s in %v", a.request, name, a.header)
	}
	return value
}

// wantsQuorum fails unless Quorate-Quorum has these numbers, `acks` or `replies` being at least what was
// asked for and at most n, and Quorate-Coordinator is there.
func (a answer) wantsQuorum(t testing.TB, n int, kind string, needed int) {
	t.Helper()
	numbers := map[string]int{}
	for member := range strings.SplitSeq(a.must(t, "Quorate-Quorum"), ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(member), "=")
		number, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: Quorate-Quorum: %v", a.request, err)
		}
		numbers[name] = number
	}
	counted := map[string]string{"w": "acks", "r": "replies"}[kind]
	if len(numbers) != 3 || numbers["n"] != n || numbers[kind] != needed || numbers[counted] < needed || numbers[counted] > n {
		t.Fatalf("%s: Quorate-Quorum %q, want n=%d, %s=%d, %s=at least %d", a.request, a.header.Get("Quorate-Quorum"), n, kind, needed, counted, needed)
	}
	a.must(t, "Quorate-Coordinator")
}

// problem is the body of an error.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Outcome  string `json:"outcome"`
	Needed   *int   `json:"needed"`
	Got      *int   `json:"got"`
	Replicas []struct {
		Name    string   `json:"name"`
		Outcome string   `json:"outcome"`
		Detail  string   `json:"detail"`
		MS      *float64 `json:"ms"`
	} `json:"replicas"`
}

// wantsProblem fails unless the answer is a problem document of that status and kind; the contract does not
// name every kind: "" stands for any.
func (a answer) wantsProblem(t testing.TB, status int, kind string) problem {
	t.Helper()
	a.wants(t, status)
	p, err := a.problem()
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" && p.Type != "urn:quorate:"+kind {
		t.Fatalf("%s: type %q, want urn:quorate:%s\n%s", a.request, p.Type, kind, a.body)
	}
	return p
}

// wantsWriteProblem is wantsProblem for a write, which must also say what became of it.
func (a answer) wantsWriteProblem(t testing.TB, status int, kind, outcome string) problem {
	t.Helper()
	p := a.wantsProblem(t, status, kind)
	if p.Outcome != outcome {
		t.Fatalf("%s: outcome %q, want %q\n%s", a.request, p.Outcome, outcome, a.body)
	}
	return p
}

// problem reads the body as a problem document and checks what every one must have.
func (a answer) problem() (problem, error) {
	var p problem
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" {
		return p, fmt.Errorf("%s: status %d with Content-Type %q: not a problem document\n%.500s", a.request, a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		return p, fmt.Errorf("%s: %w\n%.500s", a.request, err, a.body)
	}
	if !strings.HasPrefix(p.Type, "urn:quorate:") || p.Title == "" || p.Detail == "" || p.Status != a.status {
		return p, fmt.Errorf("%s: status %d with an incomplete problem document: %s", a.request, a.status, a.body)
	}
	return p, nil
}

// outcomes are the words for what became of a request at one replica.
var outcomes = []string{"ok", "timeout", "unreachable", "refused", "error", "not-sent"}

// wantsReplicas fails unless both numbers and the replicas of a quorum error are there and make sense.
func (p problem) wantsReplicas(t testing.TB, needed int) {
	t.Helper()
	if p.Needed == nil || *p.Needed != needed || p.Got == nil || *p.Got >= needed || *p.Got < 0 {
		t.Fatalf("%s: needed and got are not %d and less: %+v", p.Type, needed, p)
	}
	if len(p.Replicas) == 0 {
		t.Fatalf("%s: no replicas: %+v", p.Type, p)
	}
	for _, r := range p.Replicas {
		if r.Name == "" || !slices.Contains(outcomes, r.Outcome) {
			t.Fatalf("%s: replica %+v", p.Type, r)
		}
	}
}

// replica returns the outcome at one replica, "" if it is not listed.
func (p problem) replica(name string) string {
	for _, r := range p.Replicas {
		if r.Name == name {
			return r.Outcome
		}
	}
	return ""
}

// decode reads a JSON body.
func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if media, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil || media != "application/json" {
		t.Fatalf("%s: Content-Type %q, want application/json", a.request, a.header.Get("Content-Type"))
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%s: %v\n%.500s", a.request, err, a.body)
	}
}

// view is GET /cluster.
type view struct {
	Cluster    string `json:"cluster"`
	Self       string `json:"self"`
	Partitions int    `json:"partitions"`
	Layout     struct {
		Version  string `json:"version"`
		Settled  bool   `json:"settled"`
		Live     int    `json:"live"`
		Progress *struct {
			Done    int     `json:"done"`
			Of      int     `json:"of"`
			Percent float64 `json:"percent"`
		} `json:"progress"`
		Waiting []struct {
			What string   `json:"what"`
			For  []string `json:"for"`
		} `json:"waiting"`
	} `json:"layout"`
	CatchUp struct {
		Remaining int     `json:"remaining"`
		Rate      float64 `json:"rate"`
	} `json:"catch_up"`
	Members []member `json:"members"`
}

type member struct {
	Name       string  `json:"name"`
	ID         string  `json:"id"`
	Zone       string  `json:"zone"`
	Weight     float64 `json:"weight"`
	Status     string  `json:"status"`
	Liveness   string  `json:"liveness"`
	Gaining    bool    `json:"gaining"`
	Behind     int     `json:"behind"`
	HTTP       string  `json:"http"`
	RPC        string  `json:"rpc"`
	Gossip     string  `json:"gossip"`
	Partitions *int    `json:"partitions"`
}

// waitsFor says whether the ring's change waits for that member.
func (v view) waitsFor(name string) bool {
	for _, w := range v.Layout.Waiting {
		if slices.Contains(w.For, name) {
			return true
		}
	}
	return false
}

// member returns one member by its name, or a zero one.
func (v view) member(name string) member {
	for _, m := range v.Members {
		if m.Name == name {
			return m
		}
	}
	return member{}
}

// view asks the node how it sees the cluster.
func (n *node) view() (view, error) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	a, err := n.send(ctx, http.MethodGet, "/cluster", nil)
	if err != nil {
		return view{}, err
	}
	if a.status != http.StatusOK {
		return view{}, fmt.Errorf("%s: status %d %.200s", a.request, a.status, a.body)
	}
	var v view
	return v, json.Unmarshal(a.body, &v)
}
