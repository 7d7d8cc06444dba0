package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

// The time-out of a request: what it is when not given, and how much may be asked for.
const (
	DefaultTimeout = 5 * time.Second
	MaxTimeout     = 60 * time.Second
)

// Get reads a key. Errors are *coordinator.Error.
func (n *Node) Get(ctx context.Context, req coordinator.GetRequest) (coordinator.GetResult, error) {
	params, _, err := n.resolve(req.Bucket, &req.Options)
	if err != nil {
		return coordinator.GetResult{}, err
	}
	begun := time.Now()
	res, err := n.coord.Get(ctx, &req, params)
	if err == nil {
		n.pulse.Observe(time.Since(begun))
	}
	return res, err
}

// Put stores a value or a tombstone. Errors are *coordinator.Error.
func (n *Node) Put(ctx context.Context, req coordinator.PutRequest) (coordinator.PutResult, error) {
	params, mode, err := n.resolve(req.Bucket, &req.Options)
	if err != nil {
		return coordinator.PutResult{}, err
	}
	if len(req.Value) > n.cfg.MaxValue {
		return coordinator.PutResult{}, n.refuse(coordinator.TooLarge, fmt.Sprintf("a value of %d bytes: at most %d", len(req.Value), n.cfg.MaxValue))
	}
	begun := time.Now()
	res, err := n.coord.Put(ctx, &req, params, mode)
	if err == nil {
		n.pulse.Observe(time.Since(begun))
	}
	return res, err
}

// resolve fills in what the request does not say from the bucket, and checks the whole.
func (n *Node) resolve(bucket string, o *coordinator.Options) (quorum.Params, version.Mode, error) {
	if ok, reason := n.Ready(); !ok {
		e := n.refuse(coordinator.NotReady, reason)
		if n.draining.Load() {
			e.Code = coordinator.Draining
		}
		e.RetryAfter = time.Second
		return quorum.Params{}, 0, e
	}
	props, _ := n.Bucket(bucket)
	p := quorum.Params{N: props.N, W: props.W, R: props.R, Sloppy: props.Sloppy}
	if o.N != 0 {
		// A bucket's number that the request's smaller n cannot give means all of them.
		p.N, p.W, p.R = o.N, within(p.W, o.N), within(p.R, o.N)
	}
	if o.W != 0 {
		p.W = o.W
	}
	if o.R != 0 {
		p.R = o.R
	}
	if o.Sloppy != nil {
		p.Sloppy = *o.Sloppy
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if err := p.Validate(); err != nil {
		return p, 0, n.refuse(coordinator.BadRequest, err.Error())
	}
	if o.Timeout < 0 || o.Timeout > MaxTimeout {
		return p, 0, n.refuse(coordinator.BadRequest, fmt.Sprintf("timeout %v: want more than 0 and at most %v", o.Timeout, MaxTimeout))
	}
	return p, props.mode(), nil
}

func within(l quorum.Level, n int) quorum.Level {
	if number, literal := l.Literal(); literal && number > n {
		return quorum.All
	}
	return l
}

func (n *Node) refuse(code coordinator.Code, detail string) *coordinator.Error {
	return &coordinator.Error{Code: code, Detail: detail, Coordinator: n.cfg.Name}
}

var errNotStarted = errors.New("starting")
