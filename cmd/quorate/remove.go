package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
)

func newRemove() *cobra.Command {
	var f changeFlags
	force := false
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a dead member out of the ring",
		Long: `Take a member that has stopped for good out of the ring, through the node at --url,
and wait until the other members hold its share again. What it alone held is lost. A
node that still runs and can be reached should leave instead.

The removal counts once more than half of the members have recorded it, so that two
sides of a split cannot remove each other. --force takes out a member that answers, and
waits for no majority: only if it has certainly stopped, or must not count any more.

How far it is is told on standard error. An interrupt ends the waiting, not the removal.`,
		Example: `  quorate remove node-3
  quorate remove node-3 --url http://127.0.0.1:8001 --no-wait`,
		Args: argCount(1, 1, "the NAME of a member"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(ctx context.Context, c *kvhttp.Client, before node.ClusterView) (changeWait, error) {
				r := &removal{name: args[0]}
				if m, ok := memberNamed(before, args[0]); ok {
					r.id = m.ID
					if m.Status != "joining" {
						r.version = before.Layout.Version
					}
				}
				return r, c.Remove(ctx, args[0], force)
			})
		},
	}
	f.addTo(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "take it out though it answers, and without a majority")
	return cmd
}

// removal waits until a member is out and the ring has settled without it.
type removal struct {
	name, id string
	version  string // of the layout that it was in; empty if it owned nothing
}

func (r *removal) next(s sight, _ func(addr string) (node.ClusterView, error)) (line, bool, error) {
	if s.err != nil {
		if s.quiet < changePatience {
			return stay("the node at --url does not answer"), false, nil
		}
		return line{}, false, fmt.Errorf("the removal was accepted; the node at --url does not answer any more, so ask another for its status: %w", s.err)
	}
	_, listed := memberWith(s.view, r.id)
	changed := r.version == "" || s.view.Layout.Version != r.version
	if !listed && changed && s.view.Layout.Settled {
		return stay(r.name + " is out of the ring, and the ring has settled"), true, nil
	}
	l := changeText(s.view)
	return line{r.name + " is being removed: " + l.text, l.key}, false, nil
}
