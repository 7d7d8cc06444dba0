package sim

import (
	"context"
	"log/slog"

	"github.com/quorate/quorate/internal/check"
	"github.com/quorate/quorate/ring"
)

// journal reads a node's log for what checkers want to know: who caught up from whom, and what is dropped. It passes everything on.
type journal struct {
	slog.Handler
	n *simNode
}

// newJournal returns a handler for a node; the trace gets what it passes on, if there is one.
func newJournal(n *simNode) slog.Handler {
	if n.w.log == nil {
		return journal{slog.DiscardHandler, n}
	}
	return journal{slog.NewTextHandler(tracer{n}, &slog.HandlerOptions{Level: slog.LevelInfo}), n}
}

// Enabled implements slog.Handler.
func (j journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelDebug }

// WithAttrs implements slog.Handler.
func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journal{j.Handler.WithAttrs(attrs), j.n}
}

// WithGroup implements slog.Handler.
func (j journal) WithGroup(name string) slog.Handler { return journal{j.Handler.WithGroup(name), j.n} }

// Handle implements slog.Handler.
func (j journal) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "dropping what this node owns no more":
		var p ring.Partition
		var digest uint64
		r.Attrs(func(attr slog.Attr) bool {
			switch attr.Key {
			case "partition":
				p, _ = attr.Value.Any().(ring.Partition)
			case "view":
				digest = attr.Value.Uint64()
			}
			return true
		})
		j.n.w.drops(j.n, p, digest)
	case "caught up":
		a := check.Adoption{Node: j.n.name, At: j.n.w.now()}
		r.Attrs(func(attr slog.Attr) bool {
			switch attr.Key {
			case "from":
				a.From = attr.Value.String()
			case "clocks":
				a.Clocks = int(attr.Value.Int64())
			}
			return true
		})
		a.Gaining = j.n.w.gaining(a.From)
		j.n.w.mu.Lock()
		j.n.w.run.Adoptions = append(j.n.w.run.Adoptions, a)
		j.n.w.mu.Unlock()
	}
	if !j.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return j.Handler.Handle(ctx, r)
}

// gaining asks a node itself whether it holds nothing yet of all that it owns.
func (w *world) gaining(name string) bool {
	m := w.byName(name).members()
	if m == nil || m.dead.Load() || m.Rings() == nil {
		return false
	}
	v, owns := m.Rings(), false
	for p := range ring.Partition(v.Partitions()) {
		least := v.Least(m.cfg.ID, p)
		for n := least; n > 0 && n <= ring.MaxReplicas; n++ {
			if v.Holds(m.cfg.ID, p, n) {
				return false
			}
		}
		owns = owns || least > 0
	}
	return owns
}
