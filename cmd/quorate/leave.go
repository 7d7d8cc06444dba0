package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
)

const (
	changePoll = 250 * time.Millisecond
	// changePatience is how long a node that says nothing may still come back, as after a restart, before nobody waits for it any more.
	changePatience = 30 * time.Second
	// askTime bounds one look at a node: what is slower counts as no answer.
	askTime = 3 * time.Second
	// busyPause is how long a change that the ring has no room for yet is not asked for again.
	busyPause = time.Second
)

func isRingBusy(err error) bool {
	var p *kvhttp.Problem
	return errors.As(err, &p) && p.Type == "urn:quorate:ring-busy"
}

// changeFlags are the flags of the commands that wait for a change of the ring.
type changeFlags struct {
	clientFlags
	timeout time.Duration
	noWait  bool
}

func (f *changeFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	f.add(cmd.Flags())
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "stop waiting after this long (default: wait until it is done); the change goes on")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "return as soon as the node has accepted")
}

// run asks for a change, and then waits for it.
func (f *changeFlags) run(cmd *cobra.Command, ask func(ctx context.Context, c *kvhttp.Client, before node.ClusterView) (changeWait, error)) error {
	if f.timeout < 0 {
		return usagef("--timeout: %v: want a time above 0", f.timeout)
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := cmd.Context()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	before, err := client.Cluster(ctx)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	show := &changeLine{progress: p}
	w, err := ask(ctx, client, before)
	for isRingBusy(err) && !f.noWait {
		show.tell(stay("not begun: as many changes of the ring as can be are under way"), false)
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return fmt.Errorf("not begun: %w", err)
		}
		w, err = ask(ctx, client, before)
	}
	if err != nil || f.noWait {
		return err
	}
	err = watcher{client: client, show: show, every: changePoll}.wait(ctx, w)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("not done after %v; the change goes on, and `quorate status` shows it", f.timeout)
	}
	return err
}

// sight is what one look at a node has shown: its view, or that it did not give one.
type sight struct {
	view  node.ClusterView
	err   error         // nil: there is a view
	quiet time.Duration // how long there has been none
}

// changeWait decides, after each look, whether a change is done, and what is told until then.
type changeWait interface {
	// next returns what to tell, and whether it is over: with an error if it will not be done. others asks another member for its view; it may take a moment.
	next(s sight, others func(addr string) (node.ClusterView, error)) (line line, over bool, err error)
}

// watcher looks at a node again and again.
type watcher struct {
	client *kvhttp.Client
	show   *changeLine
	every  time.Duration
}

func (w watcher) wait(ctx context.Context, change changeWait) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	answered := time.Now()
	for {
		view, err := look(ctx, w.client)
		if err == nil {
			answered = time.Now()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line, over, err := change.next(sight{view, err, time.Since(answered)}, func(addr string) (node.ClusterView, error) {
			c, err := kvhttp.NewClient("http://" + addr)
			if err != nil {
				return node.ClusterView{}, err
			}
			defer c.Close()
			return look(ctx, c)
		})
		if err != nil {
			return err
		}
		w.show.tell(line, over)
		if over {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func look(ctx context.Context, c *kvhttp.Client) (node.ClusterView, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return c.Cluster(ctx)
}

// line is what is told of a change. Where lines stay, it is told again only if the key is another one.
type line struct{ text, key string }

func stay(text string) line { return line{text, text} }

// changeLine tells lines: on a terminal one that is written over, elsewhere one for each change.
type changeLine struct {
	progress *progress
	last     line
}

func (c *changeLine) tell(l line, final bool) {
	same := l.key == c.last.key
	if c.progress.terminal {
		same = l.text == c.last.text
	}
	c.last = l
	switch {
	case final:
		c.progress.Phase(l.text)
	case !same && l.text != "":
		c.progress.Second(l.text)
	}
}

func newLeave() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Hand a node's data over and take it out of the cluster",
		Long: `Ask the node at --url to leave, and wait until it has gone. It hands what it holds to
the other members while it goes on serving, leaves the member table, and its process
exits with 0. Then its data directory can be deleted.

How far it is is told on standard error: what share of the reports of the new owners
has come in, and whom the change waits for. A member that is down holds it up until it
is back, or removed. An interrupt ends the waiting, not the leaving. If too many other
changes are under way for it to begin, it is asked again until it does.

Exit status 0: the node itself, before it ended, or another member said that it is no
member any more. 1: it refused; or it stopped answering for 30 s while the others have it
as a member still. It then goes on leaving as soon as it is started again.`,
		Example: "  quorate leave --url http://127.0.0.1:8003",
		Args:    argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, c *kvhttp.Client, before node.ClusterView) (changeWait, error) {
				self, ok := memberNamed(before, before.Self)
				if !ok {
					return nil, fmt.Errorf("%s is in no cluster yet", before.Self)
				}
				return &departure{id: self.ID, name: self.Name, peers: before.Members}, c.Leave(ctx)
			})
		},
	}
	f.addTo(cmd)
	return cmd
}

// departure waits until a node that was asked to leave has gone.
type departure struct {
	id, name string
	peers    []node.MemberView // as it last saw them
	left     bool              // it has said that it is no member any more
}

func (d *departure) next(s sight, others func(addr string) (node.ClusterView, error)) (line, bool, error) {
	if s.err != nil {
		return d.silent(s, others)
	}
	if s.view.Self != d.name {
		return line{}, false, fmt.Errorf("%s answers where %s did: --url must lead to one node. %s goes on leaving", s.view.Self, d.name, d.name)
	}
	self, listed := memberNamed(s.view, d.name)
	switch {
	case len(s.view.Members) == 0 && !d.left: // it was started again, and has not read its table yet, or has lost it
		if gone, _ := d.ask(others); gone {
			return d.gone(), true, nil
		}
		return stay(d.name + " is starting"), false, nil
	case listed && self.ID != d.id:
		return d.gone(), true, nil // another incarnation stands there
	case !listed:
		d.left = true
		return stay(d.name + " has left, and is stopping"), false, nil
	}
	d.peers = s.view.Members
	if s.view.Layout.Settled {
		return stay(d.name + " is leaving: the others have its data; it drops its own and makes sure that nobody needs it"), false, nil
	}
	l := changeText(s.view)
	return line{d.name + " is leaving: " + l.text, l.key}, false, nil
}

func (d *departure) gone() line {
	return stay(d.name + " has left the cluster; its data directory can be deleted")
}

// silent is next for a node that gave no view. One that has ended after it left is gone; of any other the members know.
func (d *departure) silent(s sight, others func(addr string) (node.ClusterView, error)) (line, bool, error) {
	var p *kvhttp.Problem
	stopping := errors.As(s.err, &p) // the process is there
	if d.left {
		if stopping {
			return stay(d.name + " has left, and is stopping"), false, nil
		}
		return d.gone(), true, nil
	}
	gone, why := d.ask(others)
	if d.left = gone; gone {
		return d.silent(s, others)
	}
	if s.quiet < changePatience {
		return stay(d.name + " does not answer: " + why), false, nil
	}
	return line{}, false, fmt.Errorf("%s does not answer any more (%w), and %s. Start it again and it goes on leaving; if it is lost: quorate remove %s, with the --url of another member",
		d.name, s.err, why, d.name)
}

// ask asks the other members whether it is one still. One who says that it is not is enough: rows of the table do not come back.
func (d *departure) ask(others func(addr string) (node.ClusterView, error)) (gone bool, why string) {
	why = "no other member can be asked whether it has left"
	for _, m := range d.peers {
		if m.ID == d.id {
			continue
		}
		v, err := others(m.HTTP)
		if err != nil || len(v.Members) == 0 {
			continue
		}
		row, listed := memberWith(v, d.id)
		if !listed {
			return true, ""
		}
		why = fmt.Sprintf("it has not left: %s has it as %s, %s", v.Self, row.Status, row.Liveness)
	}
	return false, why
}

func memberNamed(v node.ClusterView, name string) (node.MemberView, bool) {
	for _, m := range v.Members {
		if m.Name == name {
			return m, true
		}
	}
	return node.MemberView{}, false
}

func memberWith(v node.ClusterView, id string) (node.MemberView, bool) {
	for _, m := range v.Members {
		if m.ID == id {
			return m, true
		}
	}
	return node.MemberView{}, false
}
