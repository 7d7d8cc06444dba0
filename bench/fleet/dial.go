package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// fleet makes a Fleet of nodes that were started.
func (o *owned) fleet(ctx context.Context) (*Fleet, error) {
	f := &Fleet{}
	for _, p := range o.processes {
		if _, err := f.add(ctx, "http://"+p.HTTP, p.PID()); err != nil {
			return nil, err
		}
	}
	if len(f.members) != len(o.processes) {
		return nil, fmt.Errorf("%d nodes were started and %v are members", len(o.processes), f.members)
	}
	f.owned = o
	return f, nil
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
