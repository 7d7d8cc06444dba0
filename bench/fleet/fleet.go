package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/fault"
	kvhttp "github.com/quorate/quorate/http"
)

// Node is one node of a fleet.
type Node struct {
	Name string // its name in the cluster
	URL  string // of its client API, without a slash at the end
	PID  int    // 0 if it is not a process of ours
}

// Fleet is a cluster that is ready. Its methods may be called from anywhere; Close only once.
type Fleet struct {
	nodes   []Node
	clients []*kvhttp.Client // one a node
	members []string
	owned   *owned // nil for targets
}

// Nodes are the nodes that may be spoken to, in the order of their start or of the targets. The caller must not change the slice.
func (f *Fleet) Nodes() []Node { return f.nodes }

// Members are the names of all members of the cluster as the first node saw them at the beginning, sorted. Targets may be only some of them.
// The caller must not change the slice.
func (f *Fleet) Members() []string { return f.members }

// Started tells whether the nodes are processes of ours.
func (f *Fleet) Started() bool { return f.owned != nil }

// answerTime bounds what a node may take for one request of ours.
const answerTime = 10 * time.Second

// SetFaults replaces all fault rules of one node, by its name. It fails if the node does not run with --allow-faults.
func (f *Fleet) SetFaults(ctx context.Context, node string, rules []fault.Rule) error {
	for i, n := range f.nodes {
		if n.Name == node {
			ctx, cancel := context.WithTimeout(ctx, answerTime)
			defer cancel()
			if err := f.clients[i].SetFaults(ctx, rules); err != nil {
				return fmt.Errorf("set faults of %s: %w", node, err)
			}
			return nil
		}
	}
	return fmt.Errorf("set faults: no node is named %q", node)
}

// Heal removes all fault rules of all nodes. It goes on where it fails, and says where.
func (f *Fleet) Heal(ctx context.Context) error {
	var failed []error
	for _, n := range f.nodes {
		failed = append(failed, f.SetFaults(ctx, n.Name, nil))
	}
	return errors.Join(failed...)
}

// Failed yields an error for each process of ours that ends before Close; it is nil for targets.
func (f *Fleet) Failed() <-chan error {
	if f.owned == nil {
		return nil
	}
	return f.owned.failed
}

// Close lets go of all nodes, and ends those that are processes of ours: orderly, or at once if ctx is done or ends meanwhile. Their temporary
// directory is removed; if failed, the logs in it stay, and Progress is told where they are.
func (f *Fleet) Close(ctx context.Context, failed bool) error {
	for _, c := range f.clients {
		c.Close()
	}
	if f.owned == nil {
		return nil
	}
	return f.owned.close(ctx, failed)
}
