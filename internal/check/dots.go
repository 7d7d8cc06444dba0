package check

import (
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// placed is a dot where it counts: counters run per partition.
type placed struct {
	partition ring.Partition
	dot       version.Dot
}

// dots looks for one dot on two different values.
func dots(m *Model, report func(string, ...any)) {
	type use struct {
		key     KeyName
		value   string
		deleted bool
	}
	uses := map[placed]use{}
	note := func(h *history, d version.Dot, value string, deleted bool) {
		if d == (version.Dot{}) {
			return
		}
		at, now := placed{m.partition(h), d}, use{h.name, value, deleted}
		if before, known := uses[at]; known && before != now {
			report("%v in partition %d is both %+v and %+v", d, at.partition, before, now)
		}
		uses[at] = now
	}
	for _, h := range m.keys {
		for _, w := range h.writes {
			if w.Outcome == Acked {
				note(h, w.dot(), w.Value, w.Kind == Delete)
			}
		}
		for _, read := range h.reads {
			for _, s := range read.Shown {
				note(h, s.Dot, s.Value, s.Deleted)
			}
		}
		for _, rep := range m.Replicas {
			for _, s := range rep.Copies[h.name].Shown {
				note(h, s.Dot, s.Value, s.Deleted)
			}
		}
	}
}
