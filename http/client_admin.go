package http

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/node"
)

// maxAnswer bounds what is read of an answer that is not a value: the metrics of a large cluster take less than 1 MiB.
const maxAnswer = 16 << 20

// SetFaults replaces all fault rules of the node; none heals. A node that runs without --allow-faults answers 404.
func (c *Client) SetFaults(ctx context.Context, rules []fault.Rule) error {
	body, err := fault.EncodeRules(rules)
	if err != nil {
		return err
	}
	_, err = c.exchange(ctx, http.MethodPut, "/faults", body)
	return err
}

// Metrics returns what the node tells Prometheus, as text.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, "/metrics", nil)
}

// Leave asks the node to leave its cluster. It returns when the node has accepted; Cluster shows how far it is.
func (c *Client) Leave(ctx context.Context) error {
	_, err := c.exchange(ctx, http.MethodPost, "/cluster/leave", nil)
	return err
}

// Remove asks the node to take a member out of the ring; force also one that answers. It returns when the node has accepted.
func (c *Client) Remove(ctx context.Context, name string, force bool) error {
	path := "/cluster/remove/" + escapeSegment(name)
	if force {
		path += "?force=true"
	}
	_, err := c.exchange(ctx, http.MethodPost, path, nil)
	return err
}

// exchange does one small request, and returns the body of an answer that is no error.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, node.DefaultTimeout+timeoutSlack)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("answer to %s %s is larger than %d bytes", method, path, maxAnswer)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return nil, readProblem(resp, answer)
	}
	return answer, nil
}
