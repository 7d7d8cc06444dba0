package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	kvhttp "github.com/quorate/quorate/http"
)

// Dial asks each target, such as http://10.0.0.1:8080, who it is. They must be distinct members of one cluster, and ready.
func Dial(ctx context.Context, targets []string) (*Fleet, error) {
	if len(targets) == 0 {
		return nil, errors.New("no target is given")
	}
	f := &Fleet{}
	cluster := ""
	for _, target := range targets {
		name, err := f.add(ctx, strings.TrimRight(target, "/"), 0)
		switch {
		case err != nil:
		case cluster != "" && name != cluster:
			err = fmt.Errorf("%s belongs to cluster %q and %s to %q", target, name, targets[0], cluster)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close(ctx, true))
		}
		cluster = name
	}
	return f, nil
}

// fleet makes a Fleet of nodes that were started, as soon as all agree that all are members and alive.
func (o *owned) fleet(ctx context.Context) (*Fleet, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.cfg.ReadyTime, fmt.Errorf("not within %v", o.cfg.ReadyTime))
	defer cancel()
	f := &Fleet{}
	for _, p := range o.processes {
		if _, err := f.add(ctx, "http://"+p.HTTP, p.PID()); err != nil {
			return nil, err
		}
	}
	pause := time.NewTicker(agreePause)
	defer pause.Stop()
	var why error
	for {
		members, err := f.agreed(ctx)
		if err == nil {
			f.members, f.owned = members, o
			return f, nil
		}
		if why == nil || ctx.Err() == nil {
			why = err // and not of a look that the end of the time cut short
		}
		select {
		case <-pause.C:
		case gone := <-o.failed:
			return nil, gone
		case <-ctx.Done():
			return nil, fmt.Errorf("the nodes do not agree on their cluster: %w: %w", why, context.Cause(ctx))
		}
	}
}

// agreePause is the pause between two looks at what nodes know of each other: gossip takes a few of them.
const agreePause = 50 * time.Millisecond

// agreed returns the names of all members if every node has the same layout, in which all nodes are members, and holds all for alive.
func (f *Fleet) agreed(ctx context.Context) ([]string, error) {
	layout := ""
	var names []string
	for i, n := range f.nodes {
		view, err := f.clients[i].Cluster(ctx)
		if err != nil {
			return nil, err
		}
		names = names[:0]
		for _, m := range view.Members {
			if m.Status != "member" || m.Liveness != "alive" {
				return nil, fmt.Errorf("%s sees %s as %s, %s", n.Name, m.Name, m.Status, m.Liveness)
			}
			names = append(names, m.Name)
		}
		if len(names) != len(f.nodes) || i > 0 && view.Layout.Version != layout {
			return nil, fmt.Errorf("%s sees %d members of %d, under layout %s", n.Name, len(names), len(f.nodes), view.Layout.Version)
		}
		layout = view.Layout.Version
	}
	slices.Sort(names)
	return names, nil
}

// add asks a node who it is, and returns the name of its cluster.
func (f *Fleet) add(ctx context.Context, url string, pid int) (cluster string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	client, err := kvhttp.NewClient(url)
	if err != nil {
		return "", err
	}
	view, err := client.Cluster(ctx)
	if err == nil && (view.Self == "" || view.Cluster == "") {
		err = errors.New("its answer to GET /cluster names neither a node nor a cluster")
	}
	if err != nil {
		client.Close()
		return "", fmt.Errorf("%s does not answer like a node of Quorate: %w", url, err)
	}
	if err := client.Ready(ctx); err != nil {
		client.Close()
		return "", fmt.Errorf("%s (%s) cannot serve: %w", url, view.Self, err)
	}
	f.clients = append(f.clients, client) // from here on Close lets go of it
	if slices.ContainsFunc(f.nodes, func(n Node) bool { return n.Name == view.Self }) {
		return "", fmt.Errorf("%s is %s, which is among the targets already", url, view.Self)
	}
	f.nodes = append(f.nodes, Node{Name: view.Self, URL: url, PID: pid})
	if f.members == nil {
		for _, m := range view.Members {
			f.members = append(f.members, m.Name)
		}
		slices.Sort(f.members)
	}
	return view.Cluster, nil
}
